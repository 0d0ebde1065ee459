//! What has each reader published, and where does a collector find it?
//!
//! A slot per thread that ever pinned this collector, found by the thread's number, in buckets
//! that double and never move. Only the thread writes to its slot; collectors read it. `more`
//! counts the guards that the thread has beside one, so that pins nest; the eras are those of
//! the oldest.
//!
//! A slot is `owner`'s until another thread with the same number finds it idle, by an acquiring
//! load of the owner's last, releasing, store; so whatever the owner did is before what it does.
//! The owner has given its number back by then, and with it forgotten the slot.

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
    /// Guards of the owner, beside the first.
    pub more: AtomicU64,
    /// The era in which the oldest guard began, or `IDLE`.
    pub lower: AtomicU64,
    /// The latest era, if later than that, in which the owner loaded a pointer.
    pub upper: AtomicU64,
    /// Which reader the oldest guard is of.
    pub reader: AtomicU32,
    /// 1 where the owner's number goes back with its guard. Then `more` counts one too many, so that
    /// only those who look at `more` have to look here.
    is_transient: AtomicU32,
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

impl Slot {
    fn new() -> Self {
        Self {
            owner: AtomicU64::new(Identity::NOBODY.bits()),
            more: AtomicU64::new(0),
            lower: AtomicU64::new(IDLE),
            upper: AtomicU64::new(0),
            reader: AtomicU32::new(0),
            is_transient: AtomicU32::new(0),
            seen: AtomicU64::new(IDLE),
            seen_at_ms: AtomicU64::new(0),
        }
    }

    /// Whether the owner has no guard.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.lower.load(Ordering::Relaxed) == IDLE
    }

    /// Whether the owner has one guard.
    #[inline]
    pub(super) fn is_single(&self) -> bool {
        let uncounted = u64::from(self.is_transient.load(Ordering::Relaxed));
        self.more.load(Ordering::Relaxed) == uncounted
    }

    /// Counts one more guard beside the first.
    #[cold]
    pub(super) fn nest(&self) {
        self.more.store(self.more.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// A guard ends.
    #[inline]
    pub(super) fn end(&self) {
        if self.more.load(Ordering::Relaxed) == 0 {
            self.lower.store(IDLE, Ordering::Release);
        } else {
            self.unnest();
        }
    }

    /// A guard ends that is not the only one, or is transient.
    #[cold]
    fn unnest(&self) {
        let more = self.more.load(Ordering::Relaxed) - 1;
        self.more.store(more, Ordering::Relaxed);
        if self.is_transient.load(Ordering::Relaxed) == 1 {
            self.is_transient.store(0, Ordering::Relaxed);
            self.lower.store(IDLE, Ordering::Release);
            thread::give_back(Identity::from_bits(self.owner.load(Ordering::Relaxed)));
        }
    }

    /// The eras that this slot's guards may see objects of; `None` without guards.
    pub(super) fn interval(&self) -> Option<(u64, u64)> {
        let lower = self.lower.load(Ordering::Acquire);
        // `upper` second: it only grows, so it covers what the guard of this `lower` saw.
        (lower != IDLE).then(|| (lower, self.upper.load(Ordering::Acquire).max(lower)))
    }
}

impl Readers {
    pub(super) fn new() -> Self {
        Self { buckets: [const { OnceLock::new() }; BUCKETS] }
    }

    /// This thread's slot of collector `id`, which these are the readers of.
    #[inline]
    pub(super) fn own(&self, id: u64, account: &Account) -> Result<&Slot, OverBudget> {
        let Some(slot) = thread::remembered(id) else {
            return self.look_for(id, account);
        };
        // SAFETY: `look_for` remembered it for the one collector of this number, so it is in one of
        // our buckets, which stay as long as we do. It is this thread's: the number by which it was
        // found has not been given back, or the slot would be forgotten.
        Ok(unsafe { &*slot })
    }

    #[cold]
    fn look_for(&self, id: u64, account: &Account) -> Result<&Slot, OverBudget> {
        loop {
            let (identity, is_transient) = thread::current_or_drawn();
            let slot = self.slot(identity.number(), account).inspect_err(|_| {
                if is_transient {
                    thread::give_back(identity);
                }
            })?;
            if slot.owner.load(Ordering::Relaxed) != identity.bits() {
                if slot.lower.load(Ordering::Acquire) != IDLE {
                    // A guard of an ended thread is alive here. Its number stays away.
                    thread::abandon();
                    continue;
                }
                slot.owner.store(identity.bits(), Ordering::Relaxed);
            }
            if is_transient {
                slot.is_transient.store(1, Ordering::Relaxed);
                slot.more.store(1, Ordering::Relaxed);
            } else {
                thread::remember(id, slot);
            }
            return Ok(slot);
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
    fn every_number_has_a_place_of_its_own() {
        let mut next = (0, 0);
        for number in 0..10_000 {
            assert_eq!(place(number), next, "{number}");
            next.1 += 1;
            if next.1 == 1 << (next.0 as u32 + FIRST) {
                next = (next.0 + 1, 0);
            }
        }
        assert!(place(u32::MAX as usize - 2).0 < BUCKETS);
    }
}
