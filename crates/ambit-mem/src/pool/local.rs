//! One thread's list of a pool, and how others get at it.
//!
//! A [`Slot`] is a lock that is nearly free for one thread, its owner: to enter, the owner
//! writes `busy` and reads `revoked`, with a light fence in between; both are plain accesses.
//! Others enter only under the pool's lock: they write `revoked`, pass a heavy fence, and wait
//! until the owner is not busy. Where the system has no such pair, both are full fences. Of two who enter at once at least one sees the other's flag: an
//! owner who sees `revoked` leaves at once and goes through the pool's lock, the other waits.
//! Between entering and leaving the owner runs a few instructions of this crate and nothing
//! else, so the wait is short.
//!
//! A slot outlives its thread: what a dead thread left is found by the next thread of the same
//! number, and by whoever sheds.

use std::cell::UnsafeCell;

use super::chain::{Chain, Entry};
use crate::sync::{self, AtomicBool, Ordering};
use crate::{Reservation, fence};

/// The fence between [`Slot::revoke`], of any number of slots, and [`Slot::inside`].
pub(super) fn shut_out() {
    if fence::is_offered() {
        fence::heavy();
    } else {
        sync::fence(Ordering::SeqCst);
    }
}

/// Objects that a thread keeps to itself, at most.
pub(super) const LOCAL: usize = 32;

/// What a slot holds: objects, and the places and bytes of the pool's limits that are reserved
/// for them. Those of an object that is out stay reserved for its return.
pub(super) struct Local<T> {
    /// One object beside the list, with a place of its own. Who takes and gives back one object
    /// at a time uses it alone: a pointer that goes and comes back is the only thing that one
    /// turn has to wait for from the last.
    first: Option<Box<Entry<T>>>,
    /// Bytes reserved for `first`; 0 while it has no place.
    first_room: u64,
    list: Chain<T>,
    /// Objects that may be in the list: at least as many as are.
    places: usize,
    /// Bytes that may be in the list: at least as many as are.
    room: u64,
    /// Objects given out from here.
    pub reused: u64,
}

/// One thread's list, with the flags that guard it.
#[repr(align(64))]
pub(super) struct Slot<T> {
    busy: AtomicBool,
    revoked: AtomicBool,
    /// Does who shuts the owner out pay for both fences?
    is_light: bool,
    local: UnsafeCell<Local<T>>,
    /// The bytes of the slot itself.
    _charge: Reservation,
}

// SAFETY: `local` is reached by one thread at a time (see `own` and `revoke`), so sharing a
// slot moves objects between threads but never shares one.
unsafe impl<T: Send> Sync for Slot<T> {}

/// Places and bytes of the pool's limits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Share {
    pub places: usize,
    pub room: u64,
}

impl<T> Local<T> {
    fn new() -> Self {
        Self { first: None, first_room: 0, list: Chain::default(), places: 0, room: 0, reused: 0 }
    }

    /// Takes an object.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Box<Entry<T>>> {
        let entry = self.first.take().or_else(|| self.list.pop())?;
        self.reused += 1;
        Some(entry)
    }

    /// Keeps an object where there is a place for it.
    #[inline]
    pub(super) fn keep(&mut self, entry: Box<Entry<T>>) -> Result<(), Box<Entry<T>>> {
        if self.first.is_none() && entry.charged() <= self.first_room {
            self.first = Some(entry);
            return Ok(());
        }
        let fits = self.list.len() < self.places
            && self.list.bytes().saturating_add(entry.charged()) <= self.room;
        if !fits {
            return Err(entry);
        }
        self.list.push(entry);
        Ok(())
    }

    /// Keeps an object with a place of its own, taken for it.
    pub(super) fn keep_with_place(&mut self, entry: Box<Entry<T>>) {
        if self.first.is_none() && self.first_room == 0 {
            self.first_room = entry.charged();
            self.first = Some(entry);
        } else {
            self.places += 1;
            self.room += entry.charged();
            self.list.push(entry);
        }
    }

    /// Takes an object for good, with its place.
    pub(super) fn give_up(&mut self) -> Option<(Box<Entry<T>>, Share)> {
        if let Some(entry) = self.list.pop() {
            let share = Share { places: 1, room: entry.charged() };
            self.places -= share.places;
            self.room -= share.room;
            return Some((entry, share));
        }
        let entry = self.first.take()?;
        Some((entry, Share { places: 1, room: std::mem::take(&mut self.first_room) }))
    }

    /// Gives up what is reserved for objects that are not here.
    pub(super) fn gather(&mut self) -> Share {
        let mut share =
            Share { places: self.places - self.list.len(), room: self.room - self.list.bytes() };
        self.places = self.list.len();
        self.room = self.list.bytes();
        // Bytes without a place are worth nothing, so `first` keeps both or none.
        if self.first.is_none() && self.first_room > 0 {
            share.places += 1;
            share.room += std::mem::take(&mut self.first_room);
        }
        share
    }

    pub(super) fn len(&self) -> usize {
        self.list.len() + usize::from(self.first.is_some())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.list.bytes() + self.first.as_ref().map_or(0, |entry| entry.charged())
    }
}

impl<T> Slot<T> {
    pub(super) fn new(charge: Reservation) -> Self {
        Self {
            busy: AtomicBool::new(false),
            revoked: AtomicBool::new(false),
            is_light: fence::is_offered(),
            local: UnsafeCell::new(Local::new()),
            _charge: charge,
        }
    }

    /// Runs `work` on the owner's list, or gives it back where somebody else is in there.
    ///
    /// # Safety
    /// The caller is the owner: no other thread calls this at the same time, and earlier calls
    /// of earlier owners happened before. `work` runs no foreign code and does not enter again.
    #[inline]
    pub(super) unsafe fn own<R>(&self, work: impl FnOnce(&mut Local<T>) -> R) -> Option<R> {
        self.busy.store(true, Ordering::Relaxed);
        if self.is_light {
            fence::light();
        } else {
            sync::fence(Ordering::SeqCst);
        }
        // Acquire: pairs with the release in `admit`, so that what others did here is seen.
        if self.revoked.load(Ordering::Acquire) {
            self.busy.store(false, Ordering::Relaxed);
            return None;
        }
        // SAFETY: `busy` was written before the fence and `revoked` read after it. Who revokes
        // writes `revoked` before the other fence and reads `busy` after it; so either we
        // saw `revoked` and left, or they see `busy` and wait for the release below. The caller
        // vouches that no other owner is in here.
        let result = work(unsafe { &mut *self.local.get() });
        self.busy.store(false, Ordering::Release);
        Some(result)
    }

    /// Shuts the owner out. [`shut_out`] and [`Slot::inside`] follow.
    pub(super) fn revoke(&self) {
        self.revoked.store(true, Ordering::Relaxed);
    }

    /// Lets the owner in again.
    pub(super) fn admit(&self) {
        self.revoked.store(false, Ordering::Release);
    }

    /// The list, once its owner has left it.
    ///
    /// # Safety
    /// The caller holds the pool's lock, and called [`Slot::revoke`] and then [`shut_out`]. It calls this once until [`Slot::admit`], and lets go of the list before.
    #[expect(clippy::mut_from_ref, reason = "the flags make the reference the only one")]
    pub(super) unsafe fn inside(&self) -> &mut Local<T> {
        while self.busy.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: `revoked` is set and the fence passed, so an owner that enters from now on
        // leaves without touching the list; one that was inside has left, and the acquire above
        // shows what it did. The pool's lock keeps all others out.
        unsafe { &mut *self.local.get() }
    }
}
