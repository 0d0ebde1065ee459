//! A fixed array of atomic words that the counted allocator never sees.
//!
//! The profiler's tables are written while the program allocates, so they can neither grow nor
//! come from the allocator that is being watched: that would count the watcher, and could call
//! it again from within. Nor do they come from the heap of the C library, where tables of
//! megabytes change which of the program's blocks can grow in place. They are mapped from the
//! kernel, zeroed, once, when the profiler starts, and go back when it stops; pages are taken as
//! they are written.

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
        let bytes = Self::mapped(len)?;
        let (access, kind) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping of no file, at an address that the kernel chooses, touches nothing
        // that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return None;
        }
        NonNull::new(start.cast::<AtomicU64>()).map(|start| Self { start, len })
    }

    /// What `len` words take.
    pub(crate) const fn footprint(len: usize) -> Bytes {
        Bytes::new((len as u64).saturating_mul(size_of::<AtomicU64>() as u64))
    }

    /// Bytes of the mapping; at least one word, because an empty one is refused.
    fn mapped(len: usize) -> Option<usize> {
        len.max(1).checked_mul(size_of::<AtomicU64>()).filter(|bytes| *bytes <= isize::MAX as usize)
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
        if let Some(bytes) = Self::mapped(self.len) {
            // SAFETY: `start` is a mapping of this many bytes that nobody else has, given back
            // once.
            unsafe { libc::munmap(self.start.as_ptr().cast(), bytes) };
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
