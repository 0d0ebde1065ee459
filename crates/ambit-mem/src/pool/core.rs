//! Giving out, taking back, shedding.
//!
//! The pool's limits are places (objects) and room (bytes). What is free of them is in
//! [`Shared`]; a thread's list takes some when an object first comes back to it, and keeps them
//! when the object is given out again, so that the same thread can take it back without asking.
//! A thread that finds its list empty gives back what it kept for objects that went elsewhere.
//!
//! No lock is held while foreign code runs: hooks, destructors, and whatever a reservation
//! calls (reclaimers, this pool's own included).

use std::ptr::null_mut;

use super::chain::{Chain, Entry};
use super::lifecycle::Lifecycle;
use super::local::{self, LOCAL, Local, Share, Slot};
use super::{PoolConfig, PoolStats};
use crate::sync::{AtomicPtr, AtomicU64, Mutex, Ordering, lock};
use crate::{Account, Bytes, OverBudget, Reclaimer, Reservation, thread_number};

/// What a byte of a kept object is worth: little, for it can be made anew.
const WORTH: f64 = 0.0;

pub(super) struct Core<T> {
    pub lifecycle: Lifecycle<T>,
    config: PoolConfig,
    /// By thread number; null where the thread never gave anything back. Threads without a
    /// number use what is shared.
    slots: [AtomicPtr<Slot<T>>; thread_number::MOST],
    shared: Mutex<Shared<T>>,
    created: AtomicU64,
    dropped: AtomicU64,
    /// The bytes of the pool itself.
    _charge: Reservation,
    /// Last, so that it is dropped when it holds nothing any more, and can be forgotten.
    account: Account,
}

/// What all threads share.
struct Shared<T> {
    objects: Chain<T>,
    /// What no thread has; the objects here have theirs beside it.
    free: Share,
    /// Objects given out from here to threads without a list.
    reused: u64,
    /// Most places that were ever taken.
    peak: usize,
}

impl<T> Shared<T> {
    /// Takes a place for an object of `bytes`.
    fn take(&mut self, bytes: u64, max_pooled: usize) -> bool {
        if self.free.places == 0 || self.free.room < bytes {
            return false;
        }
        self.free.places -= 1;
        self.free.room -= bytes;
        self.peak = self.peak.max(max_pooled - self.free.places);
        true
    }

    /// Takes back what was reserved.
    fn put(&mut self, share: Share) {
        self.free.places += share.places;
        self.free.room += share.room;
    }

    /// Takes an object for good, with its place.
    fn give_up(&mut self) -> Option<Box<Entry<T>>> {
        let entry = self.objects.pop()?;
        self.put(Share { places: 1, room: entry.charged() });
        Some(entry)
    }
}

impl<T: Send + 'static> Core<T> {
    pub(super) fn new(
        config: PoolConfig,
        account: Account,
        lifecycle: Lifecycle<T>,
    ) -> Result<Self, OverBudget> {
        let charge = account.reserve(Bytes::new(size_of::<Self>() as u64))?;
        let shared = Shared {
            objects: Chain::default(),
            free: Share { places: config.max_pooled, room: config.max_retained_bytes.get() },
            reused: 0,
            peak: 0,
        };
        let core = Self {
            lifecycle,
            config,
            account,
            slots: [const { AtomicPtr::new(null_mut()) }; thread_number::MOST],
            shared: Mutex::new(shared),
            created: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            _charge: charge,
        };
        for _ in 0..core.config.initial_capacity {
            let mut entry = core.make();
            core.charge(&mut entry)?;
            let bytes = entry.charged();
            let mut shared = lock(&core.shared);
            if bytes > core.config.max_object_bytes.get()
                || !shared.take(bytes, core.config.max_pooled)
            {
                break;
            }
            shared.objects.push(entry);
        }
        Ok(core)
    }

    /// Gives an object out.
    #[inline]
    pub(super) fn acquire(&self) -> Box<Entry<T>> {
        // SAFETY: `take` runs nothing foreign.
        let local = self.slot().and_then(|slot| unsafe { slot.own(Local::take) }.flatten());
        local.unwrap_or_else(|| self.acquire_slowly())
    }

    /// Takes an object back.
    #[inline]
    pub(super) fn release(&self, mut entry: Box<Entry<T>>) {
        if let Some(reset) = &self.lifecycle.reset {
            reset(&mut entry.value);
        }
        if self.measure(&entry) != entry.charged() && !self.recharge(&mut entry) {
            self.discard(entry);
            return;
        }
        let refused = match self.slot() {
            // SAFETY: `keep` runs nothing foreign: it links the object or hands it back.
            Some(slot) => unsafe { keep(slot, entry) },
            None => Some(entry),
        };
        if let Some(entry) = refused {
            self.release_slowly(entry);
        }
    }

    /// The list of this thread, if it has one.
    #[inline]
    fn slot(&self) -> Option<&Slot<T>> {
        let slot = self.slots.get(thread_number::number()?)?.load(Ordering::Acquire);
        // SAFETY: a slot that was published stays until the pool is dropped.
        unsafe { slot.as_ref() }
    }

    /// Bytes of an object with all that it holds.
    #[inline]
    fn measure(&self, entry: &Entry<T>) -> u64 {
        let held = (self.lifecycle.footprint)(&entry.value);
        held.get().saturating_add(size_of::<Entry<T>>() as u64)
    }

    fn make(&self) -> Box<Entry<T>> {
        Entry::new((self.lifecycle.create)())
    }

    /// Charges an object for what it holds now.
    fn charge(&self, entry: &mut Entry<T>) -> Result<(), OverBudget> {
        let bytes = Bytes::new(self.measure(entry));
        match &mut entry.charge {
            Some(charge) => charge.resize(bytes),
            none => {
                *none = Some(self.account.reserve(bytes)?);
                Ok(())
            }
        }
    }

    /// Charges an object that grew or shrank, unless it is too large to keep, or does not fit.
    #[cold]
    fn recharge(&self, entry: &mut Entry<T>) -> bool {
        self.measure(entry) <= self.config.max_object_bytes.get() && self.charge(entry).is_ok()
    }

    fn discard(&self, entry: Box<Entry<T>>) {
        if self.config.track_stats {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        drop(entry);
    }

    #[cold]
    fn acquire_slowly(&self) -> Box<Entry<T>> {
        let kept = {
            let mut shared = lock(&self.shared);
            match self.slot() {
                // SAFETY: `refill` runs nothing foreign.
                Some(slot) => unsafe { slot.own(|local| refill(&mut shared, local)) }.flatten(),
                None => {
                    let entry = shared.give_up();
                    shared.reused += u64::from(entry.is_some());
                    entry
                }
            }
        };
        kept.unwrap_or_else(|| {
            if self.config.track_stats {
                self.created.fetch_add(1, Ordering::Relaxed);
            }
            self.make()
        })
    }

    #[cold]
    fn release_slowly(&self, entry: Box<Entry<T>>) {
        let spare = self.spare_slot();
        let refused = {
            let mut shared = lock(&self.shared);
            self.publish(spare);
            let most = self.config.max_pooled;
            match self.slot() {
                Some(slot) => {
                    let mut entry = Some(entry);
                    // SAFETY: `keep_with_place` runs nothing foreign.
                    unsafe {
                        slot.own(|local| {
                            entry = entry
                                .take()
                                .and_then(|entry| keep_with_place(&mut shared, local, entry, most));
                        });
                    }
                    entry
                }
                None if shared.take(entry.charged(), most) => {
                    shared.objects.push(entry);
                    None
                }
                None => Some(entry),
            }
        };
        if let Some(entry) = refused {
            self.discard(entry);
        }
    }

    /// A slot for this thread where it has none and may have one.
    fn spare_slot(&self) -> Option<(usize, Box<Slot<T>>)> {
        let number = thread_number::number()?;
        if self.slot().is_some() {
            return None;
        }
        let charge = self.account.reserve(Bytes::new(size_of::<Slot<T>>() as u64)).ok()?;
        Some((number, Box::new(Slot::new(charge))))
    }

    /// Puts a slot in its place, under the lock, so that who revokes all slots sees it before
    /// or not at all. Nobody else could have put one there: the number is this thread's.
    fn publish(&self, spare: Option<(usize, Box<Slot<T>>)>) {
        if let Some((number, slot)) = spare {
            self.slots[number].store(Box::into_raw(slot), Ordering::Release);
        }
    }

    fn all_slots(&self) -> impl Iterator<Item = &Slot<T>> {
        // SAFETY: a slot that was published stays until the pool is dropped.
        self.slots.iter().filter_map(|slot| unsafe { slot.load(Ordering::Acquire).as_ref() })
    }

    /// Runs `work` on the list of every thread, none of which is in it.
    fn visit(&self, shared: &mut Shared<T>, mut work: impl FnMut(&mut Shared<T>, &mut Local<T>)) {
        self.all_slots().for_each(Slot::revoke);
        local::shut_out();
        for slot in self.all_slots() {
            // SAFETY: we hold the lock that `shared` is behind, each slot was revoked, the
            // fence has passed, and each is visited once and left before it is admitted.
            work(shared, unsafe { slot.inside() });
            slot.admit();
        }
    }

    pub(super) fn stats(&self) -> PoolStats {
        let mut shared = lock(&self.shared);
        let (mut size, mut bytes) = (shared.objects.len(), shared.objects.bytes());
        let mut reused = shared.reused;
        self.visit(&mut shared, |_, local| {
            size += local.len();
            bytes += local.bytes();
            reused += local.reused;
        });
        if !self.config.track_stats {
            reused = 0;
        }
        let created = self.created.load(Ordering::Relaxed);
        PoolStats {
            total_acquired: reused + created,
            reused,
            created,
            dropped: self.dropped.load(Ordering::Relaxed),
            current_pool_size: size,
            peak_pool_size: shared.peak,
            retained_bytes: Bytes::new(bytes),
        }
    }
}

/// Keeps an object in the owner's list, if there is a place; else hands it back.
///
/// # Safety
/// The caller is the slot's owner, see [`Slot::own`].
#[inline]
unsafe fn keep<T>(slot: &Slot<T>, entry: Box<Entry<T>>) -> Option<Box<Entry<T>>> {
    let mut entry = Some(entry);
    // SAFETY: the caller is the owner, and `keep` runs nothing foreign.
    unsafe {
        slot.own(|local| entry = entry.take().and_then(|entry| local.keep(entry).err()));
    }
    entry
}

/// Moves up to half a list from the shared objects to an empty one, and takes one of them.
fn refill<T>(shared: &mut Shared<T>, local: &mut Local<T>) -> Option<Box<Entry<T>>> {
    shared.put(local.gather());
    for _ in 0..LOCAL / 2 {
        let Some(entry) = shared.objects.pop() else { break };
        local.keep_with_place(entry);
    }
    local.take()
}

/// Keeps an object in a list, with a place of its own if the list has none left; a full list
/// moves half of its objects to the shared ones.
fn keep_with_place<T>(
    shared: &mut Shared<T>,
    local: &mut Local<T>,
    entry: Box<Entry<T>>,
    max_pooled: usize,
) -> Option<Box<Entry<T>>> {
    if local.len() >= LOCAL {
        for _ in 0..LOCAL / 2 {
            let Some((moved, share)) = local.give_up() else { break };
            shared.put(Share { places: 0, room: share.room - moved.charged() });
            shared.objects.push(moved);
        }
    }
    let entry = local.keep(entry).err()?;
    // What the list has for others may be what this one lacks.
    shared.put(local.gather());
    if !shared.take(entry.charged(), max_pooled) {
        return Some(entry);
    }
    local.keep_with_place(entry);
    None
}

impl<T: Send + 'static> Reclaimer for Core<T> {
    fn reclaimable(&self) -> Bytes {
        self.stats().retained_bytes
    }

    fn worth_per_byte(&self) -> f64 {
        WORTH
    }

    fn shed(&self, wanted: Bytes) -> Bytes {
        let mut shed = Chain::default();
        {
            let mut shared = lock(&self.shared);
            while shed.bytes() < wanted.get() {
                let Some(entry) = shared.give_up() else { break };
                shed.push(entry);
            }
            if shed.bytes() < wanted.get() {
                self.visit(&mut shared, |shared, local| {
                    while shed.bytes() < wanted.get() {
                        let Some((entry, share)) = local.give_up() else { break };
                        shared.put(share);
                        shed.push(entry);
                    }
                    shared.put(local.gather());
                });
            }
        }
        if self.config.track_stats {
            self.dropped.fetch_add(shed.len() as u64, Ordering::Relaxed);
        }
        Bytes::new(shed.bytes())
    }
}

impl<T> Drop for Core<T> {
    fn drop(&mut self) {
        for slot in &mut self.slots {
            let slot = std::mem::replace(slot.get_mut(), null_mut());
            if !slot.is_null() {
                // SAFETY: it came from a box in `publish`, and nobody else can reach it: the
                // pool is borrowed exclusively.
                drop(unsafe { Box::from_raw(slot) });
            }
        }
    }
}
