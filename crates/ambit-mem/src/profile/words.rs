//! A fixed array of atomic words that the counted allocator never sees.
//!
//! The profiler's tables are written while the program allocates, so they can neither grow nor
//! come from the allocator that is being watched: that would count the watcher, and could call
//! it again from within. They come zeroed from the system's allocator, once, when the profiler
//! starts, and go back when it stops. Large ones are untouched pages until they are written.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::Deref;
use std::ptr::NonNull;

use crate::Bytes;
use crate::sync::AtomicU64;

/// A fixed array of atomic words, zero at first.
#[derive(Debug)]
pub(crate) struct Words {
    start: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY: the array is owned, and shared access goes through atomic words only.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// `len` zero words; `None` where the system has no memory left.
    pub(crate) fn new(len: usize) -> Option<Self> {
        let layout = Self::layout(len)?;
        // SAFETY: the layout is not empty, because `layout` rounds a length of 0 up.
        let start = unsafe { System.alloc_zeroed(layout) };
        NonNull::new(start.cast::<AtomicU64>()).map(|start| Self { start, len })
    }

    /// What `len` words take.
    pub(crate) const fn footprint(len: usize) -> Bytes {
        Bytes::new((len as u64).saturating_mul(size_of::<AtomicU64>() as u64))
    }

    fn layout(len: usize) -> Option<Layout> {
        Layout::array::<AtomicU64>(len.max(1)).ok()?.align_to(64).ok()
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `start` points to `len` words that live as long as `self`; zero bytes are a
        // valid atomic word; nobody has them other than as shared atomics.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if let Some(layout) = Self::layout(self.len) {
            // SAFETY: `start` came from the system's allocator with the layout of this length,
            // and is given back once.
            unsafe { System.dealloc(self.start.as_ptr().cast(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn words_start_at_zero_and_keep_what_is_written() {
        for len in [0, 1, 1000] {
            let words = Words::new(len).unwrap();
            assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
            words
                .iter()
                .enumerate()
                .for_each(|(at, word)| word.store(at as u64, Ordering::Relaxed));
            let sum: u64 = words.iter().map(|word| word.load(Ordering::Relaxed)).sum();
            assert_eq!(sum as usize, len * len.saturating_sub(1) / 2);
        }
    }

    #[test]
    fn a_length_that_no_address_space_holds_is_refused() {
        assert!(Words::new(usize::MAX / 4).is_none());
    }
}
