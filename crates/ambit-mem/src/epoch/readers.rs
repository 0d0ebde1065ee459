//! What has each reader published, and where does a collector find it?
//!
//! A slot per thread that ever pinned this collector, found by the thread's number, in buckets
//! that double and never move. Only the thread writes to its slot; collectors read it. `depth`
//! counts the guards of the thread, so that pins nest; the eras are those of the oldest.
//!
//! A slot is `owner`'s until another thread with the same number finds its `depth` at 0. The
//! other thread got the number through a lock, or sees `depth` at 0 by an acquiring load of the
//! owner's last, releasing, store; so whatever the owner did is before what it does.

use std::sync::OnceLock;

use super::thread::{self, Identity};
use crate::sync::modelled::{AtomicU32, AtomicU64, Ordering};
use crate::{Account, Bytes, OverBudget, Reservation};

/// `lower` of a slot without guards.
pub(super) const IDLE: u64 = u64::MAX;

/// Slots of the first bucket, as a power of two.
const FIRST: u32 = if cfg!(loom) { 1 } else { 2 };
/// Buckets: for as many threads as numbers there are.
const BUCKETS: usize = 31;
/// What a slot costs: itself, and its pair of eras in a collector's list.
const PER_SLOT: usize = size_of::<Slot>() + size_of::<(u64, u64)>();

/// What a thread has published.
#[repr(align(64))]
pub(super) struct Slot {
    /// Whose it is, as the bits of an identity.
    pub owner: AtomicU64,
    /// Guards of the owner.
    pub depth: AtomicU64,
    /// The era in which the oldest guard began, or `IDLE`.
    pub lower: AtomicU64,
    /// The latest era in which the owner loaded a pointer.
    pub upper: AtomicU64,
    /// Which reader the oldest guard is of.
    pub reader: AtomicU32,
    /// The collector's notes, under its lock: the `lower` that it saw, and milliseconds from
    /// its start to when it first saw that.
    pub seen: AtomicU64,
    pub seen_at_ms: AtomicU64,
}

struct Bucket {
    slots: Box<[Slot]>,
    _held: Reservation,
}

/// A collector's slots.
pub(super) struct Readers {
    buckets: [OnceLock<Bucket>; BUCKETS],
}

/// A slot that is this thread's, for one guard.
pub(super) struct Claim<'a> {
    pub slot: &'a Slot,
    /// To be given back with the guard.
    pub transient: Option<Identity>,
}

impl Slot {
    fn new() -> Self {
        Self {
            owner: AtomicU64::new(Identity::NOBODY.bits()),
            depth: AtomicU64::new(0),
            lower: AtomicU64::new(IDLE),
            upper: AtomicU64::new(0),
            reader: AtomicU32::new(0),
            seen: AtomicU64::new(IDLE),
            seen_at_ms: AtomicU64::new(0),
        }
    }

    /// Counts one more guard beside others.
    #[inline(never)]
    pub(super) fn nest(&self) {
        self.depth.store(self.depth.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Counts one guard less, where others stay.
    #[inline(never)]
    pub(super) fn unnest(&self) {
        self.depth.store(self.depth.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }

    /// The eras that this slot's guards may see objects of; `None` without guards.
    pub(super) fn interval(&self) -> Option<(u64, u64)> {
        let lower = self.lower.load(Ordering::Acquire);
        // `upper` second: it only grows, so it covers what the guard of this `lower` saw.
        (lower != IDLE).then(|| (lower, self.upper.load(Ordering::Acquire)))
    }
}

impl Readers {
    pub(super) fn new() -> Self {
        Self { buckets: [const { OnceLock::new() }; BUCKETS] }
    }

    /// This thread's slot, if it has used it before.
    #[inline]
    pub(super) fn own(&self) -> Option<&Slot> {
        let identity = thread::current();
        let (bucket, offset) = place(identity.number());
        let slot = self.buckets.get(bucket)?.get()?.slots.get(offset)?;
        (slot.owner.load(Ordering::Relaxed) == identity.bits()).then_some(slot)
    }

    /// This thread's slot, at its first use.
    #[cold]
    pub(super) fn claim(&self, account: &Account) -> Result<Claim<'_>, OverBudget> {
        loop {
            let (identity, is_transient) = thread::current_or_drawn();
            let slot = self.slot(identity.number(), account).inspect_err(|_| {
                if is_transient {
                    thread::give_back(identity);
                }
            })?;
            let is_own = slot.owner.load(Ordering::Relaxed) == identity.bits();
            if is_own || slot.depth.load(Ordering::Acquire) == 0 {
                slot.owner.store(identity.bits(), Ordering::Relaxed);
                return Ok(Claim { slot, transient: is_transient.then_some(identity) });
            }
            // A guard of an ended thread is alive here. Its number stays away.
            thread::abandon();
        }
    }

    fn slot(&self, number: usize, account: &Account) -> Result<&Slot, OverBudget> {
        let (index, offset) = place(number);
        let bucket = match self.buckets[index].get() {
            Some(bucket) => bucket,
            None => {
                let slots = 1_usize << (FIRST as usize + index);
                let held = account.reserve(Bytes::of(slots * PER_SLOT))?;
                // Another thread may be faster; then its bucket serves.
                self.buckets[index].get_or_init(|| Bucket {
                    slots: (0..slots).map(|_| Slot::new()).collect(),
                    _held: held,
                })
            }
        };
        Ok(&bucket.slots[offset])
    }

    /// All slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.buckets.iter().filter_map(OnceLock::get).flat_map(|bucket| &bucket.slots)
    }
}

/// The bucket of a number, and where in it.
#[inline]
fn place(number: usize) -> (usize, usize) {
    let shifted = number as u64 + (1 << FIRST);
    let bucket = shifted.ilog2();
    ((bucket - FIRST) as usize, (shifted - (1 << bucket)) as usize)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_of_its_own_and_no_identity_has_none() {
        let mut next = (0, 0);
        for number in 0..10_000 {
            assert_eq!(place(number), next, "{number}");
            next.1 += 1;
            if next.1 == 1 << (next.0 as u32 + FIRST) {
                next = (next.0 + 1, 0);
            }
        }
        assert!(place(u32::MAX as usize - 1).0 <= BUCKETS);
        assert!(Readers::new().own().is_none());
    }
}
