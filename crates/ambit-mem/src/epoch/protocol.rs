//! The protocol, and why it is sound.
//!
//! There is an era, a number that grows with each collection, under the collector's lock.
//!
//! - Pin: read the era `e`; publish `lower = e`, and with it `upper = e`; fence.
//! - Load: read the pointer, then the era; if it is `upper`, done; else publish it as `upper`,
//!   fence, and load again.
//! - Replace, under the lock: note the era in the new object as its birth, swap the pointer, note
//!   the era in the old object as that of its retirement, put it into the garbage.
//! - Collect, under the lock: the era grows by one; fence; read all readers' eras; an object is
//!   free unless a reader has `lower <= retired` and `birth <= upper`.
//!
//! Suppose that a reader got `X` from a pointer. (1) `birth <= upper`: the era that it read
//! after the pointer was at least `X`'s birth, since that was read before the swap which the
//! pointer's load saw; and it was `upper`. (2) `lower <= retired`: otherwise the era had passed
//! `retired` before the pin, after `X` was unlinked under the same lock, so the pin's load of the
//! era saw the unlinking, and the load of the pointer, later, could not have seen `X`. (3) A
//! collection that finds `X` in the garbage comes after the unlinking. If its fence were before
//! the reader's last fence, the load after that could not have seen `X`; so it is after, and
//! sees the eras published before the reader's fence, or later ones. Later ones of the same pin
//! cover more; of a later pin, they were published after the earlier guard was gone. So by (1)
//! and (2) `X` stays. What `X` owns goes with `X`: who read it through `X` holds a guard that
//! covers `X`.
//!
//! A reader that never moves on so keeps what lived in the eras up to its last load: at most what
//! was reachable then, and one step of garbage.

use std::mem::replace;
use std::sync::atomic::AtomicU64 as Counter;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::barrier::Fences;
use super::garbage::{Garbage, Object};
use super::readers::{Readers, Slot};
use super::thread::Identity;
use super::{CollectorOptions, CollectorStats, GarbageFull, Owned, PinnedReader, Refused};
use crate::account::Padded;
use crate::sync::modelled::{self, AtomicU64, Ordering};
use crate::sync::{Mutex, lock};
use crate::{Account, Bytes, OverBudget, Reclaimer, Reservation};

/// Parts of the cap that are retired between two collections.
const STEPS_PER_CAP: u64 = 16;
/// Objects that are retired between two collections, where their bytes do not bring one earlier.
const STEP_OBJECTS: u64 = 64;

pub(super) struct Inner {
    era: Padded<AtomicU64>,
    fences: Fences,
    pub(super) readers: Readers,
    /// Tells collectors apart.
    pub(super) id: u64,
    cap: u64,
    started: Instant,
    /// Bytes retired and not freed: raised under the lock of `state`, lowered anywhere.
    held: Counter,
    freed: Counter,
    state: modelled::Mutex<State>,
    names: Mutex<Vec<Name>>,
    _held: Reservation,
    /// Last, so that it outlives the reservations.
    pub(super) account: Account,
}

struct Name {
    name: String,
    _held: Reservation,
}

struct State {
    garbage: Garbage,
    /// Bytes and objects of garbage that bring the next collection.
    next: (u64, u64),
    /// Eras of the pinned readers, as the last collection read them. Charged with the slots.
    pinned: Vec<(u64, u64)>,
    peak: u64,
    retired: u64,
    collections: u64,
    refused: u64,
}

impl Inner {
    pub(super) fn new(account: &Account, options: CollectorOptions) -> Result<Self, OverBudget> {
        static IDS: Counter = Counter::new(super::thread::NO_COLLECTOR + 1);
        let cap = options.cap.get();
        Ok(Self {
            // Not 0, which is the birth of what readers find by other ways.
            era: Padded(AtomicU64::new(1)),
            fences: Fences::choose(options.barrier),
            readers: Readers::new(),
            id: IDS.fetch_add(1, Relaxed),
            cap,
            account: account.clone(),
            started: Instant::now(),
            held: Counter::new(0),
            freed: Counter::new(0),
            state: modelled::Mutex::new(State {
                garbage: Garbage::new(),
                next: (cap / STEPS_PER_CAP, STEP_OBJECTS),
                pinned: Vec::new(),
                peak: 0,
                retired: 0,
                collections: 0,
                refused: 0,
            }),
            names: Mutex::new(Vec::new()),
            _held: account.reserve(Bytes::of(size_of::<Self>()))?,
        })
    }

    /// The number of a reader's name.
    pub(super) fn name(&self, name: &str) -> Result<u32, OverBudget> {
        // Beside the text its place in the list, which is at most half empty.
        let held = self.account.reserve(Bytes::of(name.len() + 2 * size_of::<Name>()))?;
        let mut names = lock(&self.names);
        let found = names.iter().position(|known| known.name == name);
        if found.is_none() {
            names.push(Name { name: name.to_owned(), _held: held });
        }
        Ok(found.unwrap_or(names.len() - 1) as u32)
    }

    /// Publishes that the slot's thread is pinned from now on.
    #[inline]
    pub(super) fn begin(&self, slot: &Slot, reader: u32) {
        let era = self.era.0.load(Ordering::Acquire);
        slot.reader.store(reader, Ordering::Relaxed);
        self.fences.publish(&slot.lower, era);
    }

    /// Whether what the slot's thread has just loaded is covered by what it published. If not,
    /// it is from now on, and it must load again.
    #[inline]
    pub(super) fn covers(&self, slot: &Slot) -> bool {
        let era = self.era.0.load(Ordering::Acquire);
        let is_covered =
            era == slot.lower.load(Ordering::Relaxed) || era == slot.upper.load(Ordering::Relaxed);
        if !is_covered {
            self.fences.publish(&slot.upper, era);
        }
        is_covered
    }

    /// Marks an object that will be published, by a pointer that nobody else has yet.
    pub(super) fn publish(&self, object: Object) {
        object.publish(self.era.0.load(Ordering::Acquire));
    }

    /// Whether an object may ever become garbage.
    pub(super) fn check(&self, weight: u64) -> Result<(), GarbageFull> {
        if weight <= self.cap {
            return Ok(());
        }
        let mut state = modelled::lock(&self.state);
        state.refused += 1;
        Err(self.full(&state, weight))
    }

    /// Publishes `new` by `swap`, under the lock, and retires what `current` says was published
    /// there before.
    ///
    /// # Safety
    /// `swap` makes the only pointer to the object of `current` lead to `new` instead.
    pub(super) unsafe fn replace(
        &self,
        new: Object,
        current: impl Fn() -> Result<Object, Refused>,
        swap: impl FnOnce(),
    ) -> Result<(), Refused> {
        self.check(new.weight()).map_err(Refused::Full)?;
        let (mut state, old) = self.admit(current)?;
        let era = self.era.0.load(Ordering::Relaxed);
        new.publish(era);
        swap();
        // SAFETY: the caller's word.
        unsafe { self.add(&mut state, old, era) };
        self.settle(state);
        Ok(())
    }

    /// Retires an object that pinned readers may have found anyhow.
    pub(super) fn retire<T>(&self, owned: Owned<T>) -> Result<(), (Owned<T>, GarbageFull)> {
        let node = owned.into_node();
        // SAFETY: the node is alive, and ours until it is in the list.
        let object = unsafe { Object::of(node) };
        object.publish(0);
        match self.admit(|| Ok(object)) {
            Ok((mut state, object)) => {
                let era = self.era.0.load(Ordering::Relaxed);
                // SAFETY: it was owned, so no pointer of ours leads to it, and it is in no list.
                unsafe { self.add(&mut state, object, era) };
                self.settle(state);
                Ok(())
            }
            // SAFETY: the node is the one from above, and in no list.
            Err(full) => Err((unsafe { Owned::from_node(node) }, full)),
        }
    }

    /// The lock, and what `current` says, once the garbage has room for it.
    fn admit<E: From<GarbageFull>>(
        &self,
        current: impl Fn() -> Result<Object, E>,
    ) -> Result<(modelled::MutexGuard<'_, State>, Object), E> {
        let mut has_collected = false;
        loop {
            let mut state = modelled::lock(&self.state);
            let object = current()?;
            let weight = object.weight();
            if self.held.load(Relaxed).saturating_add(weight) <= self.cap {
                return Ok((state, object));
            }
            if has_collected {
                state.refused += 1;
                return Err(self.full(&state, weight).into());
            }
            has_collected = true;
            let freed = self.collect(&mut state);
            drop(state);
            self.free(freed);
        }
    }

    /// Puts an object into the garbage.
    ///
    /// # Safety
    /// As for [`Garbage::retire`]; there is room for it.
    unsafe fn add(&self, state: &mut State, object: Object, era: u64) {
        let held = self.held.fetch_add(object.weight(), Relaxed) + object.weight();
        state.peak = state.peak.max(held);
        state.retired += 1;
        // SAFETY: the caller's word.
        unsafe { state.garbage.retire(object, era) };
    }

    /// Collects if it is time, and lets go of the lock.
    fn settle(&self, mut state: modelled::MutexGuard<'_, State>) {
        if state.garbage.bytes < state.next.0 && state.garbage.len < state.next.1 {
            return;
        }
        let freed = self.collect(&mut state);
        drop(state);
        self.free(freed);
    }

    /// Takes out of the garbage what no reader may see.
    fn collect(&self, state: &mut State) -> Garbage {
        let era = self.era.0.load(Ordering::Relaxed);
        self.era.0.store(era + 1, Ordering::Release);
        state.collections += 1;
        let freed = if self.fences.meet() {
            let State { garbage, pinned, .. } = state;
            let now = self.milliseconds();
            pinned.clear();
            for slot in self.readers.iter() {
                let Some(eras) = slot.interval() else { continue };
                pinned.push(eras);
                if slot.seen.load(Ordering::Relaxed) != eras.0 {
                    slot.seen.store(eras.0, Ordering::Relaxed);
                    slot.seen_at_ms.store(now, Ordering::Relaxed);
                }
            }
            garbage.split_off(|object| !pinned.iter().any(|&eras| object.is_seen_by(eras)))
        } else {
            Garbage::new()
        };
        // What stays is looked at again when as much has come, so that each object is looked at
        // a few times only, however long a reader stalls.
        let (bytes, len) = (state.garbage.bytes, state.garbage.len);
        let step = (self.cap / STEPS_PER_CAP).max(bytes);
        state.next = (bytes.saturating_add(step), len + len.max(STEP_OBJECTS));
        freed
    }

    /// Frees what a collection took out, under no lock.
    fn free(&self, freed: Garbage) {
        /// Takes what is left back where a destructor panics.
        struct Rest<'a>(&'a Inner, Garbage);
        impl Drop for Rest<'_> {
            fn drop(&mut self) {
                let rest = replace(&mut self.1, Garbage::new());
                if rest.len > 0 {
                    modelled::lock(&self.0.state).garbage.append(rest);
                }
            }
        }
        let mut rest = Rest(self, freed);
        let count = |weight| {
            self.held.fetch_sub(weight, Relaxed);
            self.freed.fetch_add(1, Relaxed);
        };
        // SAFETY: a collection found that no reader may see these.
        while unsafe { rest.1.free_one(count) } {}
    }

    pub(super) fn flush(&self) -> Bytes {
        let mut state = modelled::lock(&self.state);
        let freed = self.collect(&mut state);
        drop(state);
        let bytes = Bytes::new(freed.bytes);
        self.free(freed);
        bytes
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The pinned threads, the one of the oldest era first.
    fn pinned_in(&self, state: &State) -> Vec<PinnedReader> {
        let now = self.milliseconds();
        let pinned = self.readers.iter().filter_map(|slot| Some((slot, slot.interval()?)));
        let mut pinned: Vec<_> = pinned.collect();
        pinned.sort_by_key(|(_, eras)| eras.0);
        let names = lock(&self.names);
        let of = |(slot, eras): (&Slot, (u64, u64))| {
            let name = names.get(slot.reader.load(Ordering::Relaxed) as usize);
            let was_seen = slot.seen.load(Ordering::Relaxed) == eras.0;
            let since = if was_seen { slot.seen_at_ms.load(Ordering::Relaxed) } else { now };
            let seen = state.garbage.iter().filter(|object| object.is_seen_by(eras));
            PinnedReader {
                name: name.map(|name| name.name.clone()).unwrap_or_default(),
                thread: Identity::from_bits(slot.owner.load(Ordering::Relaxed)).thread(),
                age: Duration::from_millis(now.saturating_sub(since)),
                holds: Bytes::new(seen.map(Object::weight).sum()),
            }
        };
        pinned.into_iter().map(of).collect()
    }

    pub(super) fn pinned(&self) -> Vec<PinnedReader> {
        self.pinned_in(&modelled::lock(&self.state))
    }

    fn full(&self, state: &State, weight: u64) -> GarbageFull {
        let pinned = self.pinned_in(state);
        let holder = pinned.into_iter().find(|reader| !reader.holds.is_zero());
        GarbageFull {
            requested: Bytes::new(weight),
            held: Bytes::new(self.held.load(Relaxed)),
            cap: Bytes::new(self.cap),
            reader: holder.map(|reader| (reader.name, reader.age)),
        }
    }

    pub(super) fn stats(&self) -> CollectorStats {
        let state = modelled::lock(&self.state);
        CollectorStats {
            held: Bytes::new(self.held.load(Relaxed)),
            peak: Bytes::new(state.peak),
            cap: Bytes::new(self.cap),
            retired: state.retired,
            freed: self.freed.load(Relaxed),
            collections: state.collections,
            refused: state.refused,
            is_asymmetric: self.fences == Fences::Asymmetric,
        }
    }
}

impl Reclaimer for Inner {
    /// An estimate: readers may pin and unpin meanwhile.
    fn reclaimable(&self) -> Bytes {
        let state = modelled::lock(&self.state);
        let pinned: Vec<_> = self.readers.iter().filter_map(Slot::interval).collect();
        let free = state.garbage.iter();
        let free = free.filter(|object| !pinned.iter().any(|&eras| object.is_seen_by(eras)));
        Bytes::new(free.map(Object::weight).sum())
    }

    /// Nothing: nobody will ask for it again.
    fn worth_per_byte(&self) -> f64 {
        0.0
    }

    fn shed(&self, _wanted: Bytes) -> Bytes {
        self.flush()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Guards borrow readers, which keep us alive, so there are none.
        let rest = replace(&mut modelled::lock(&self.state).garbage, Garbage::new());
        self.free(rest);
    }
}
