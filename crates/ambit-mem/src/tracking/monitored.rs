//! The same figures for one arena, one pool, or one collection's allocator.
//!
//! [`MonitoredAllocator`] is for allocators of which there are many and that few threads use at a
//! time: its counters are five words of its own, added to atomically, and its peak is exact. It
//! is a [`GlobalAlloc`] where what it wraps is one, and an `allocator_api2` [`Allocator`] where
//! what it wraps is one: hashbrown's maps and the vectors of `allocator_api2` and bumpalo take
//! those, and `&Bump` is one. A reference to a monitored allocator is one, too, so that the
//! figures can be read while a collection uses it.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

use super::stats::{AllocatorStats, now_us};
use crate::Bytes;
use crate::sync::{AtomicU64, Ordering};

/// Counts what goes through one allocator `A`.
///
/// # Cost
/// Three atomic additions for an allocation and its free, one more while the peak rises; 48 bytes.
///
/// # Example
/// ```
/// use allocator_api2::vec::Vec;
/// use ambit_mem::{Bytes, MonitoredAllocator};
/// use bumpalo::Bump;
///
/// let bump = Bump::new();
/// let monitored = MonitoredAllocator::new(&bump);
/// let mut rows = Vec::new_in(&monitored);
/// rows.extend_from_slice(&[1u32, 2, 3, 4]);
/// assert_eq!(monitored.stats().current, Bytes::new(16));
/// drop(rows);
/// assert_eq!(monitored.stats().current, Bytes::ZERO);
/// assert_eq!(monitored.stats().peak, Bytes::new(16));
/// ```
#[derive(Debug)]
pub struct MonitoredAllocator<A> {
    inner: A,
    allocations: AtomicU64,
    allocated: AtomicU64,
    frees: AtomicU64,
    freed: AtomicU64,
    peak: AtomicU64,
    started_us: AtomicU64,
}

impl<A> MonitoredAllocator<A> {
    /// Counts for `inner`.
    pub const fn new(inner: A) -> Self {
        Self {
            inner,
            allocations: AtomicU64::new(0),
            allocated: AtomicU64::new(0),
            frees: AtomicU64::new(0),
            freed: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            started_us: AtomicU64::new(0),
        }
    }

    /// The allocator that it counts for.
    pub const fn inner(&self) -> &A {
        &self.inner
    }

    /// Gives the allocator back.
    pub fn into_inner(self) -> A {
        self.inner
    }

    /// The numbers now. `current` is what was not freed, whether or not an arena can use freed
    /// bytes again; `peak` is exact where one thread allocates at a time.
    pub fn stats(&self) -> AllocatorStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        // Frees first: a free that is seen has had its allocation counted before.
        let (frees, freed) = (load(&self.frees), load(&self.freed));
        let allocated = load(&self.allocated);
        let current = allocated.saturating_sub(freed);
        let started = load(&self.started_us);
        AllocatorStats {
            current: Bytes::new(current),
            peak: Bytes::new(load(&self.peak).max(current)),
            allocations: load(&self.allocations),
            frees,
            allocated: Bytes::new(allocated),
            freed: Bytes::new(freed),
            age_us: if started == 0 { 0 } else { now_us().saturating_sub(started) },
        }
    }

    /// Starts the peak anew, from what is in use now.
    pub fn reset_peak(&self) {
        self.peak.store(self.stats().current.get(), Ordering::Relaxed);
    }

    /// Empty blocks are no allocations.
    #[inline]
    fn count_alloc(&self, size: usize) {
        if size == 0 {
            return;
        }
        if self.allocations.fetch_add(1, Ordering::Relaxed) == 0 {
            self.started_us.store(now_us().max(1), Ordering::Relaxed);
        }
        let size = size as u64;
        // Who sees an allocation of another thread sees the frees that it made before.
        let allocated = self.allocated.fetch_add(size, Ordering::AcqRel).wrapping_add(size);
        let current = allocated.saturating_sub(self.freed.load(Ordering::Relaxed));
        if current > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(current, Ordering::Relaxed);
        }
    }

    #[inline]
    fn count_free(&self, size: usize) {
        if size == 0 {
            return;
        }
        self.frees.fetch_add(1, Ordering::Relaxed);
        self.freed.fetch_add(size as u64, Ordering::Relaxed);
    }

    /// A block that grew or shrank: the old one ends first, as if it had done so in place.
    #[inline]
    fn count_resized(&self, old: usize, new: usize) {
        self.count_free(old);
        self.count_alloc(new);
    }
}

// SAFETY: every call is passed on unchanged to `inner`, whose contract is the same; counting
// neither allocates nor unwinds nor touches the memory handed out.
unsafe impl<A: GlobalAlloc> GlobalAlloc for MonitoredAllocator<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says.
        let block = unsafe { self.inner.alloc(layout) };
        if !block.is_null() {
            self.count_alloc(layout.size());
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller says.
        let block = unsafe { self.inner.alloc_zeroed(layout) };
        if !block.is_null() {
            self.count_alloc(layout.size());
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller says.
        unsafe { self.inner.dealloc(pointer, layout) };
        self.count_free(layout.size());
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as the caller says.
        let block = unsafe { self.inner.realloc(pointer, layout, new_size) };
        if !block.is_null() {
            self.count_resized(layout.size(), new_size);
        }
        block
    }
}

// SAFETY: every call is passed on unchanged to `inner`, whose contract is the same. A block stays
// valid while `inner` does, which moves with the monitored allocator; it cannot be cloned.
unsafe impl<A: Allocator> Allocator for MonitoredAllocator<A> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = self.inner.allocate(layout)?;
        self.count_alloc(layout.size());
        Ok(block)
    }

    #[inline]
    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = self.inner.allocate_zeroed(layout)?;
        self.count_alloc(layout.size());
        Ok(block)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: as the caller says.
        unsafe { self.inner.deallocate(block, layout) };
        self.count_free(layout.size());
    }

    #[inline]
    unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: as the caller says.
        let grown = unsafe { self.inner.grow(block, old, new) }?;
        self.count_resized(old.size(), new.size());
        Ok(grown)
    }

    #[inline]
    unsafe fn grow_zeroed(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: as the caller says.
        let grown = unsafe { self.inner.grow_zeroed(block, old, new) }?;
        self.count_resized(old.size(), new.size());
        Ok(grown)
    }

    #[inline]
    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: as the caller says.
        let shrunk = unsafe { self.inner.shrink(block, old, new) }?;
        self.count_resized(old.size(), new.size());
        Ok(shrunk)
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::System;

    use allocator_api2::alloc::Global;
    use allocator_api2::vec::Vec;
    use bumpalo::Bump;
    use hashbrown::HashMap;

    use super::*;

    #[test]
    fn a_map_in_an_arena_is_counted_and_the_rest_of_the_arena_is_not() {
        let bump = Bump::new();
        bump.alloc_slice_fill_copy(1000, 0_u8);
        let monitored = MonitoredAllocator::new(&bump);
        let hasher = foldhash::fast::FixedState::default();
        let mut map = HashMap::with_hasher_in(hasher, &monitored);
        assert_eq!(monitored.stats(), AllocatorStats::default());
        for key in 0..100_u64 {
            map.insert(key, key * key);
        }
        let grown = monitored.stats();
        assert_eq!(grown.current, Bytes::of(map.allocation_size()));
        assert!(grown.peak > grown.current, "{grown:?}");
        assert_eq!(grown.allocations, grown.frees + 1);
        monitored.reset_peak();
        drop(map);
        let dropped = monitored.stats();
        assert_eq!((dropped.current, dropped.peak), (Bytes::ZERO, grown.current));
        assert_eq!((dropped.allocated, dropped.freed), (grown.allocated, grown.allocated));
    }

    #[test]
    fn growth_and_shrinkage_are_a_free_and_an_allocation() {
        let monitored = MonitoredAllocator::new(Global);
        let mut numbers: Vec<u64, _> = Vec::with_capacity_in(4, &monitored);
        numbers.push(7);
        numbers.reserve_exact(9);
        numbers.shrink_to_fit();
        let stats = monitored.stats();
        assert_eq!((stats.current, stats.peak), (Bytes::new(8), Bytes::new(80)));
        assert_eq!((stats.allocations, stats.frees), (3, 2));
        assert_eq!((stats.allocated, stats.freed), (Bytes::new(120), Bytes::new(112)));
        numbers.clear();
        numbers.shrink_to_fit();
        let stats = monitored.stats();
        assert_eq!((stats.current, stats.allocations, stats.frees), (Bytes::ZERO, 3, 3));
    }

    #[test]
    fn a_global_allocator_is_counted_by_its_calls() {
        let monitored = MonitoredAllocator::new(System);
        let layout = Layout::from_size_align(100, 4).unwrap();
        // SAFETY: the layout is not empty, and the pointer is freed once, with its layout.
        unsafe {
            let pointer = monitored.alloc_zeroed(layout);
            assert_eq!(*pointer, 0);
            let pointer = monitored.realloc(pointer, layout, 300);
            monitored.dealloc(pointer, Layout::from_size_align(300, 4).unwrap());
            monitored.dealloc(monitored.alloc(layout), layout);
        }
        let stats = monitored.stats();
        assert_eq!((stats.current, stats.peak), (Bytes::ZERO, Bytes::new(300)));
        assert_eq!((stats.allocations, stats.frees), (3, 3));
        assert_eq!(stats.allocated, Bytes::new(500));
    }

    #[test]
    fn threads_of_one_pool_lose_no_call() {
        const CALLS: u64 = if cfg!(miri) { 50 } else { 20_000 };
        let monitored = MonitoredAllocator::new(System);
        let layout = Layout::from_size_align(64, 8).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..CALLS {
                        // SAFETY: the layout is not empty; the pointer is freed once, with it.
                        unsafe { monitored.dealloc(monitored.alloc(layout), layout) };
                    }
                });
            }
        });
        let stats = monitored.stats();
        assert_eq!((stats.allocations, stats.frees), (3 * CALLS, 3 * CALLS));
        assert_eq!((stats.current, stats.allocated), (Bytes::ZERO, Bytes::new(192 * CALLS)));
        assert!(stats.peak <= Bytes::new(192) && stats.peak >= Bytes::new(64), "{stats:?}");
    }
}
