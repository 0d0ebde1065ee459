//! One figure: bytes and calls, counted by slot, with a peak.
//!
//! Each slot has one writer, so that it counts with plain loads and stores; whoever reads sums
//! up. What is shared by threads is only the balance that slots have reported, of which the peak
//! is the highest. A slot reports once its own balance since the last report has moved by 32
//! KiB, and looks at that after at most 64 KiB of allocations or of frees:
//!
//! ```text
//! allocated reaches alloc_until, or freed reaches free_until  ->  settle: report, set both anew
//! ```
//!
//! so at no time more than 64 KiB per thread are unreported, and the peak is exact to that. The
//! same two numbers are how a sample or a change of state is noticed: they are set lower. All
//! zero is the state before the first call, so a static of figures takes no room in a binary and
//! no memory before it is used. The last slot is the shared one: it is added to atomically, and
//! reports every call.

use super::local::SLOTS;
use super::stats::AllocatorStats;
use crate::Bytes;
use crate::account::Padded;
use crate::sync::{AtomicI64, AtomicU64, Ordering};

/// The most that a thread has not reported to the peak.
pub(super) const UNREPORTED: u64 = 64 << 10;

/// Bytes and calls on one subject.
pub(super) struct Figure {
    slots: [Slot; SLOTS + 1],
    /// Current bytes, as far as slots have reported.
    reported: Padded<AtomicI64>,
    /// The highest that `reported` was.
    peak: AtomicI64,
}

/// What a `realloc` changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) old: usize,
    pub(super) new: usize,
}

/// What one thread counts.
#[repr(align(64))]
struct Slot {
    allocations: AtomicU64,
    allocated: AtomicU64,
    alloc_until: AtomicU64,
    frees: AtomicU64,
    freed: AtomicU64,
    free_until: AtomicU64,
    /// Of `allocated - freed`, how much is reported.
    reported: AtomicU64,
}

/// `counter += by`, by its only writer.
#[inline]
fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

impl Slot {
    const fn new() -> Self {
        Self {
            allocations: AtomicU64::new(0),
            allocated: AtomicU64::new(0),
            alloc_until: AtomicU64::new(0),
            frees: AtomicU64::new(0),
            freed: AtomicU64::new(0),
            free_until: AtomicU64::new(0),
            reported: AtomicU64::new(0),
        }
    }

    /// Whether `size` bytes can be counted as allocated and nothing is due.
    #[inline]
    fn has_alloc_room(&self, size: usize) -> bool {
        let allocated = self.allocated.load(Ordering::Relaxed);
        allocated.wrapping_add(size as u64) < self.alloc_until.load(Ordering::Relaxed)
    }

    /// Whether `size` bytes can be counted as freed and nothing is due.
    #[inline]
    fn has_free_room(&self, size: usize) -> bool {
        let freed = self.freed.load(Ordering::Relaxed);
        freed.wrapping_add(size as u64) < self.free_until.load(Ordering::Relaxed)
    }

    #[inline]
    fn count_alloc(&self, size: usize) {
        bump(&self.allocations, 1);
        bump(&self.allocated, size as u64);
    }

    #[inline]
    fn count_free(&self, size: usize) {
        bump(&self.frees, 1);
        bump(&self.freed, size as u64);
    }
}

impl Figure {
    pub(super) const fn new() -> Self {
        Self {
            slots: [const { Slot::new() }; SLOTS + 1],
            reported: Padded(AtomicI64::new(0)),
            peak: AtomicI64::new(0),
        }
    }

    /// Counts an allocation of less than [`UNREPORTED`] bytes in the thread's own `slot`, unless
    /// something is due.
    #[inline]
    pub(super) fn try_alloc(&self, slot: usize, size: usize) -> bool {
        let slot = &self.slots[slot];
        let has_room = slot.has_alloc_room(size);
        if has_room {
            slot.count_alloc(size);
        }
        has_room
    }

    /// Counts a free of less than [`UNREPORTED`] bytes in the thread's own `slot`, unless
    /// something is due.
    #[inline]
    pub(super) fn try_free(&self, slot: usize, size: usize) -> bool {
        let slot = &self.slots[slot];
        let has_room = slot.has_free_room(size);
        if has_room {
            slot.count_free(size);
        }
        has_room
    }

    /// Whether [`Figure::try_alloc`] would count this.
    #[inline]
    pub(super) fn has_alloc_room(&self, slot: usize, size: usize) -> bool {
        self.slots[slot].has_alloc_room(size)
    }

    /// Whether [`Figure::try_free`] would count this.
    #[inline]
    pub(super) fn has_free_room(&self, slot: usize, size: usize) -> bool {
        self.slots[slot].has_free_room(size)
    }

    /// Whether a `realloc` can be counted and nothing is due; then both sizes are below
    /// [`UNREPORTED`].
    #[inline]
    pub(super) fn has_realloc_room(&self, slot: usize, sizes: Sizes) -> bool {
        let slot = &self.slots[slot];
        slot.has_alloc_room(sizes.new) && slot.has_free_room(sizes.old)
    }

    /// Counts a `realloc` that there is room for.
    #[inline]
    pub(super) fn count_realloc(&self, slot: usize, sizes: Sizes) {
        let slot = &self.slots[slot];
        slot.count_alloc(sizes.new);
        slot.count_free(sizes.old);
    }

    /// Takes back an allocation counted by [`Figure::try_alloc`] that failed.
    #[cold]
    pub(super) fn uncount_alloc(&self, slot: usize, size: usize) {
        let slot = &self.slots[slot];
        bump(&slot.allocations, 1_u64.wrapping_neg());
        bump(&slot.allocated, (size as u64).wrapping_neg());
    }

    /// Counts an allocation of any size in any slot; has the slot settled if that is due.
    #[inline]
    pub(super) fn alloc(&self, slot: usize, size: usize, settle: impl FnOnce()) {
        if slot == SLOTS {
            return self.alloc_shared(size);
        }
        let own = &self.slots[slot];
        own.count_alloc(size);
        if own.allocated.load(Ordering::Relaxed) >= own.alloc_until.load(Ordering::Relaxed) {
            settle();
        }
    }

    /// Counts a free of any size in any slot; has the slot settled if that is due.
    #[inline]
    pub(super) fn free(&self, slot: usize, size: usize, settle: impl FnOnce()) {
        if slot == SLOTS {
            return self.free_shared(size);
        }
        let own = &self.slots[slot];
        own.count_free(size);
        if own.freed.load(Ordering::Relaxed) >= own.free_until.load(Ordering::Relaxed) {
            settle();
        }
    }

    #[cold]
    fn alloc_shared(&self, size: usize) {
        let shared = &self.slots[SLOTS];
        shared.allocations.fetch_add(1, Ordering::Relaxed);
        shared.allocated.fetch_add(size as u64, Ordering::Relaxed);
        self.report(size as i64);
    }

    #[cold]
    fn free_shared(&self, size: usize) {
        let shared = &self.slots[SLOTS];
        shared.frees.fetch_add(1, Ordering::Relaxed);
        shared.freed.fetch_add(size as u64, Ordering::Relaxed);
        self.report((size as i64).wrapping_neg());
    }

    /// Reports a slot's balance, if it is worth it, and says when to look again: after `within`
    /// bytes of allocations at the latest.
    #[cold]
    pub(super) fn settle(&self, slot: usize, within: u64) {
        let Some(own) = self.slots[..SLOTS].get(slot) else { return };
        let allocated = own.allocated.load(Ordering::Relaxed);
        let freed = own.freed.load(Ordering::Relaxed);
        let net = allocated.wrapping_sub(freed);
        let mut balance = net.wrapping_sub(own.reported.load(Ordering::Relaxed)).cast_signed();
        if balance.unsigned_abs() >= UNREPORTED / 2 {
            self.report(balance);
            own.reported.store(net, Ordering::Relaxed);
            balance = 0;
        }
        let more = (UNREPORTED - balance.max(0).unsigned_abs()).min(within);
        let less = UNREPORTED - balance.min(0).unsigned_abs();
        own.alloc_until.store(allocated.wrapping_add(more), Ordering::Relaxed);
        own.free_until.store(freed.wrapping_add(less), Ordering::Relaxed);
    }

    /// Has something be due at a slot's next call, whatever its size.
    pub(super) fn disarm(&self, slot: usize) {
        self.slots[slot].alloc_until.store(0, Ordering::Relaxed);
        self.slots[slot].free_until.store(0, Ordering::Relaxed);
    }

    fn report(&self, balance: i64) {
        let now = self.reported.0.fetch_add(balance, Ordering::Relaxed).wrapping_add(balance);
        if now > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// Bytes allocated in a slot so far.
    pub(super) fn allocated(&self, slot: usize) -> u64 {
        self.slots[slot].allocated.load(Ordering::Relaxed)
    }

    /// Starts the peak anew, from what is in use now.
    pub(super) fn reset_peak(&self) {
        self.peak.store(self.reported.0.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The numbers now; `age_us` is passed on.
    pub(super) fn stats(&self, age_us: u64) -> AllocatorStats {
        let sum = |counter: fn(&Slot) -> &AtomicU64| {
            let counts = self.slots.iter().map(|slot| counter(slot).load(Ordering::Acquire));
            counts.fold(0, u64::wrapping_add)
        };
        // Frees first: a free that is seen has had its allocation counted before.
        let (frees, freed) = (sum(|slot| &slot.frees), sum(|slot| &slot.freed));
        let allocated = sum(|slot| &slot.allocated);
        let current = allocated.saturating_sub(freed);
        let peak = self.peak.load(Ordering::Relaxed).max(0).cast_unsigned();
        AllocatorStats {
            current: Bytes::new(current),
            peak: Bytes::new(peak.max(current)),
            allocations: sum(|slot| &slot.allocations),
            frees,
            allocated: Bytes::new(allocated),
            freed: Bytes::new(freed),
            age_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Calls in one case.
    const MOST: usize = if cfg!(miri) { 30 } else { 400 };

    static UNUSED: Figure = Figure::new();

    fn boxed() -> Box<Figure> {
        Box::new(Figure::new())
    }

    #[test]
    fn nothing_counted_is_nothing() {
        assert_eq!(UNUSED.stats(7), AllocatorStats { age_us: 7, ..AllocatorStats::default() });
    }

    #[test]
    fn something_is_due_at_the_limit_and_not_one_byte_before() {
        let figure = boxed();
        figure.settle(3, u64::MAX);
        assert!(!figure.try_alloc(3, UNREPORTED as usize));
        assert!(!figure.try_alloc(3, UNREPORTED as usize + 1));
        assert!(figure.try_alloc(3, UNREPORTED as usize - 1));
        assert!(!figure.try_alloc(3, 1));
        assert!(!figure.try_free(3, UNREPORTED as usize));
        assert!(figure.try_free(3, UNREPORTED as usize - 1));
        figure.settle(3, 10);
        assert!(!figure.try_alloc(3, 10));
        assert!(figure.try_alloc(3, 9));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 256 }))]

        /// Against two plain numbers: everything is exact but the peak, which is within the
        /// bound that the header states.
        #[test]
        fn figures_are_exact_and_the_peak_is_within_64_kib_per_slot(
            calls in proptest::collection::vec((0..4_usize, 1..200_000_usize, any::<bool>()), 1..MOST),
        ) {
            const SLOT: [usize; 4] = [0, 1, 77, SLOTS];
            let figure = boxed();
            let (mut current, mut peak, mut allocated, mut allocations) = (0_usize, 0, 0, 0);
            for (slot, size, is_alloc) in calls {
                let slot = SLOT[slot];
                if is_alloc {
                    if slot == SLOTS || !figure.try_alloc(slot, size) {
                        figure.alloc(slot, size, || figure.settle(slot, u64::MAX));
                    }
                    current += size;
                    allocated += size;
                    allocations += 1;
                    peak = peak.max(current);
                } else {
                    let size = size.min(current);
                    if slot == SLOTS || !figure.try_free(slot, size) {
                        figure.free(slot, size, || figure.settle(slot, u64::MAX));
                    }
                    current -= size;
                }
                let stats = figure.stats(0);
                prop_assert_eq!(stats.current, Bytes::of(current));
                prop_assert_eq!(stats.allocated, Bytes::of(allocated));
                prop_assert_eq!(stats.freed, Bytes::of(allocated - current));
                prop_assert_eq!(stats.allocations, allocations);
            }
            let bound = 3 * UNREPORTED;
            let said = figure.stats(0).peak.get();
            prop_assert!(said.abs_diff(peak as u64) <= bound, "said {}, was {}", said, peak);
            figure.reset_peak();
            let reset = figure.stats(0).peak.get();
            prop_assert!(reset.abs_diff(current as u64) <= bound, "said {}, is {}", reset, current);
        }
    }
}
