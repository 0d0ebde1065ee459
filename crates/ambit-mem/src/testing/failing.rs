//! An allocator that fails when a test says so.
//!
//! What a thread asks for is counted down, and the allocation that reaches zero gets nothing. Other
//! threads do not notice. Most of the standard library ends the process when an allocation fails; this
//! reaches the code that does not: `try_reserve` and allocators used by hand.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

thread_local! {
    /// Allocations until one fails, that one included; 0 for none.
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// Passes everything on to the allocator `A`, but fails the allocation that [`each_failure`] names.
#[derive(Debug, Default, Clone, Copy)]
pub struct FailingAllocator<A> {
    inner: A,
}

impl<A> FailingAllocator<A> {
    /// Passes on to `inner`.
    pub const fn new(inner: A) -> Self {
        Self { inner }
    }
}

/// Whether this allocation is the one to fail.
fn fails() -> bool {
    // A thread that is ending has no countdown any more.
    LEFT.try_with(|left| {
        let now = left.get();
        left.set(now.saturating_sub(1));
        now == 1
    })
    .unwrap_or(false)
}

/// Takes the countdown back, also when the work panics.
struct Planted;

impl Drop for Planted {
    fn drop(&mut self) {
        LEFT.set(0);
    }
}

/// Runs `work` with the first allocation of this thread failing, then with the second, and so on
/// until none of a run failed; returns the number of runs. `work` gets the number of the failed
/// allocation, from 0, and says whether it failed. It works through a [`FailingAllocator`]: the
/// global one, or one used by hand.
///
/// # Panics
/// Where a run fails although no allocation of it did.
pub fn each_failure(mut work: impl FnMut(u64) -> bool) -> u64 {
    let mut nth = 0;
    loop {
        LEFT.set(nth + 1);
        let planted = Planted;
        let failed = work(nth);
        let reached = LEFT.get() == 0;
        drop(planted);
        nth += 1;
        if !reached {
            assert!(!failed, "the work fails although none of its {} allocations does", nth - 1);
            return nth;
        }
    }
}

// SAFETY: every call is passed on unchanged to `inner`, whose contract is the same, or answered
// with null, which `GlobalAlloc` allows at any time.
unsafe impl<A: GlobalAlloc> GlobalAlloc for FailingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if fails() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller holds up `alloc`'s contract for this layout.
        unsafe { self.inner.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if fails() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller holds up `alloc_zeroed`'s contract for this layout.
        unsafe { self.inner.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller got `pointer` from this allocator with this layout, so `inner` gave it.
        unsafe { self.inner.dealloc(pointer, layout) };
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if fails() {
            return std::ptr::null_mut();
        }
        // SAFETY: as for `dealloc`, and the caller vouches for `new_size`.
        unsafe { self.inner.realloc(pointer, layout, new_size) }
    }
}
