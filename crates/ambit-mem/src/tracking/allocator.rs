//! An allocator that counts: current and peak bytes, allocations and frees.
//!
//! It wraps any other allocator. Counters are sharded by thread, so two threads rarely share a
//! cache line; inside `alloc` there is no lock and no allocation. The peak is kept by each
//! shard reporting to a shared counter whenever its own balance moved by 64 KiB, so it is
//! exact to that per shard. A library never installs an allocator; a binary does:
//!
//! ```
//! use ambit_mem::TrackingAllocator;
//! use std::alloc::System;
//!
//! #[global_allocator]
//! static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);
//!
//! let kept = vec![0u8; 1 << 20];
//! assert!(ALLOCATOR.stats().current.get() >= 1 << 20);
//! # drop(kept);
//! ```

use std::alloc::{GlobalAlloc, Layout};

use crate::Bytes;
use crate::account::Padded;
use crate::shard;
use crate::sync::{AtomicI64, AtomicU64, Ordering};

const SHARDS: usize = 16;
/// Balance that a shard keeps to itself before it reports.
const REPORT: i64 = 64 << 10;

/// What an allocator has handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AllocatorStats {
    /// Bytes allocated and not freed.
    pub current: Bytes,
    /// The most that `current` ever was, to within 64 KiB per shard.
    pub peak: Bytes,
    /// Allocations, growths and shrinkages included.
    pub allocations: u64,
    /// Frees, growths and shrinkages included.
    pub frees: u64,
}

/// Counts what goes through the allocator `A`.
#[derive(Debug)]
pub struct TrackingAllocator<A> {
    inner: A,
    shards: [Padded<Shard>; SHARDS],
    reported: Padded<AtomicI64>,
    peak: AtomicI64,
}

#[derive(Debug, Default)]
struct Shard {
    /// Bytes not reported yet; may be negative.
    balance: AtomicI64,
    allocations: AtomicU64,
    frees: AtomicU64,
}

impl<A> TrackingAllocator<A> {
    /// Counts for `inner`.
    pub const fn new(inner: A) -> Self {
        Self {
            inner,
            shards: [const {
                Padded(Shard {
                    balance: AtomicI64::new(0),
                    allocations: AtomicU64::new(0),
                    frees: AtomicU64::new(0),
                })
            }; SHARDS],
            reported: Padded(AtomicI64::new(0)),
            peak: AtomicI64::new(0),
        }
    }

    /// The numbers now.
    pub fn stats(&self) -> AllocatorStats {
        let sum = |read: fn(&Shard) -> u64| self.shards.iter().map(|shard| read(&shard.0)).sum();
        let kept: i64 =
            self.shards.iter().map(|shard| shard.0.balance.load(Ordering::Relaxed)).sum();
        let current = (self.reported.0.load(Ordering::Relaxed) + kept).max(0);
        let peak = self.peak.load(Ordering::Relaxed).max(current);
        AllocatorStats {
            current: Bytes::new(current.cast_unsigned()),
            peak: Bytes::new(peak.cast_unsigned()),
            allocations: sum(|shard| shard.allocations.load(Ordering::Relaxed)),
            frees: sum(|shard| shard.frees.load(Ordering::Relaxed)),
        }
    }

    #[inline]
    fn shard(&self) -> &Shard {
        &self.shards[shard::index() & (SHARDS - 1)].0
    }

    #[inline]
    fn add(&self, bytes: usize) {
        let shard = self.shard();
        shard.allocations.fetch_add(1, Ordering::Relaxed);
        let balance = shard.balance.fetch_add(bytes as i64, Ordering::Relaxed) + bytes as i64;
        if balance >= REPORT {
            self.report(shard);
        }
    }

    #[inline]
    fn sub(&self, bytes: usize) {
        let shard = self.shard();
        shard.frees.fetch_add(1, Ordering::Relaxed);
        let balance = shard.balance.fetch_sub(bytes as i64, Ordering::Relaxed) - bytes as i64;
        if balance <= -REPORT {
            self.report(shard);
        }
    }

    #[cold]
    fn report(&self, shard: &Shard) {
        let balance = shard.balance.swap(0, Ordering::Relaxed);
        let now = self.reported.0.fetch_add(balance, Ordering::Relaxed) + balance;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on unchanged to `inner`, whose contract is the same; counting
// neither allocates nor unwinds nor touches the memory handed out.
unsafe impl<A: GlobalAlloc> GlobalAlloc for TrackingAllocator<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller holds up `alloc`'s contract for this layout.
        let pointer = unsafe { self.inner.alloc(layout) };
        if !pointer.is_null() {
            self.add(layout.size());
        }
        pointer
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller holds up `alloc_zeroed`'s contract for this layout.
        let pointer = unsafe { self.inner.alloc_zeroed(layout) };
        if !pointer.is_null() {
            self.add(layout.size());
        }
        pointer
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller got `pointer` from this allocator with this layout, so `inner` gave
        // it with this layout.
        unsafe { self.inner.dealloc(pointer, layout) };
        self.sub(layout.size());
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as for `dealloc`, and the caller vouches for `new_size`.
        let moved = unsafe { self.inner.realloc(pointer, layout, new_size) };
        if !moved.is_null() {
            self.add(new_size);
            self.sub(layout.size());
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[test]
    fn sizes_are_counted_through_growth_shrinkage_and_free() {
        let allocator = TrackingAllocator::new(System);
        let layout = Layout::from_size_align(1 << 20, 64).unwrap();
        // SAFETY: the layout is not empty; each pointer is used with the layout it came with
        // and freed once.
        unsafe {
            let pointer = allocator.alloc_zeroed(layout);
            assert_eq!(*pointer, 0);
            assert_eq!(allocator.stats().current, Bytes::mib(1));
            let pointer = allocator.realloc(pointer, layout, 3 << 20);
            assert_eq!(allocator.stats().current, Bytes::mib(3));
            let layout = Layout::from_size_align(3 << 20, 64).unwrap();
            let pointer = allocator.realloc(pointer, layout, 100);
            assert_eq!(allocator.stats().current, Bytes::new(100));
            allocator.dealloc(pointer, Layout::from_size_align(100, 64).unwrap());
        }
        let stats = allocator.stats();
        assert_eq!(stats.current, Bytes::ZERO);
        assert!(stats.peak >= Bytes::mib(3), "{stats:?}");
        assert_eq!((stats.allocations, stats.frees), (3, 3));
    }

    #[test]
    fn threads_that_free_for_each_other_balance_out() {
        let allocator = TrackingAllocator::new(System);
        let layout = Layout::from_size_align(4096, 8).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                // SAFETY: the layout is not empty, and the pointer is freed once, with it.
                let pointers: Vec<usize> =
                    (0..100).map(|_| unsafe { allocator.alloc(layout) } as usize).collect();
                let allocator = &allocator;
                scope.spawn(move || {
                    for pointer in pointers {
                        // SAFETY: as above.
                        unsafe { allocator.dealloc(pointer as *mut u8, layout) };
                    }
                });
            }
        });
        assert_eq!(allocator.stats().current, Bytes::ZERO);
    }
}
