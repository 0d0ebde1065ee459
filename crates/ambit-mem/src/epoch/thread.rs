//! Which thread is this, as a small number that no other living thread has?
//!
//! Numbers are drawn at a thread's first pin and given back when it ends, so they stay below the
//! most threads that ever lived at once, and tables are indexed by them. An identity is a number
//! with the count of its owners, so a thread is told from an earlier one of the same number.
//!
//! Beside its identity a thread remembers which slots it used last, so that a pin does not look
//! for its slot each time.
//!
//! A thread can pin even while its thread-locals are being destroyed, after its number was given
//! back: then each pin draws a number for itself. And a guard kept in another thread-local can
//! outlive its thread's number; `readers` finds the slot still in use then, and the next owner
//! of the number leaves it for good.

use std::cell::Cell;
#[cfg(not(loom))]
use std::ptr::null;
use std::thread::ThreadId;

use super::readers::Slot;
use crate::sync::{Mutex, lock};

/// A number in the lower half, the count of its owners in the upper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64);

/// The identity of a thread that has not drawn one. Its number is in no table.
const UNSET: Identity = Identity(u64::MAX);
/// The identity of a thread that has given its own back. Its number is in no table.
const ENDED: Identity = Identity(u64::MAX - 1);

/// Slots that a thread remembers; a power of two.
#[cfg(not(loom))]
const REMEMBERED: usize = 4;
/// The number of no collector.
pub(super) const NO_COLLECTOR: u64 = 0;

static NUMBERS: Mutex<Numbers> = Mutex::new(Numbers { owners: Vec::new(), free: Vec::new() });

struct Numbers {
    /// For each number how often it was drawn, and by which thread last.
    owners: Vec<(u32, ThreadId)>,
    free: Vec<u32>,
}

#[cfg(not(loom))]
thread_local! {
    // A constant start value and no destructor: reading it is one load.
    static IDENTITY: Cell<Identity> = const { Cell::new(UNSET) };
    static LAST_USED: [Cell<(u64, *const Slot)>; REMEMBERED] =
        const { [const { Cell::new((NO_COLLECTOR, null())) }; REMEMBERED] };
    static AT_END: AtEnd = const { AtEnd };
}

// Under the model checker a thread's number is what its test says.
#[cfg(loom)]
loom::thread_local! {
    static IDENTITY: Cell<Identity> = Cell::new(UNSET);
}

/// Gives the thread's number back when the thread ends.
#[cfg(not(loom))]
struct AtEnd;

#[cfg(not(loom))]
impl Drop for AtEnd {
    fn drop(&mut self) {
        // From here on the slots may become another thread's.
        LAST_USED.with(|slots| slots.iter().for_each(|slot| slot.set((NO_COLLECTOR, null()))));
        let last = IDENTITY.replace(ENDED);
        if last != UNSET {
            give_back(last);
        }
    }
}

impl Identity {
    /// No identity at all.
    pub(super) const NOBODY: Self = UNSET;

    #[inline]
    pub(super) fn number(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The thread, unless another one has its number by now.
    pub(super) fn thread(self) -> Option<ThreadId> {
        let numbers = lock(&NUMBERS);
        let &(owner, thread) = numbers.owners.get(self.number())?;
        (u64::from(owner) == self.0 >> 32).then_some(thread)
    }
}

/// This thread's identity, or one that is in no table.
#[inline]
pub(super) fn current() -> Identity {
    IDENTITY.with(Cell::get)
}

/// The slot that this thread remembers for a collector.
#[inline]
#[cfg(not(loom))]
pub(super) fn remembered(collector: u64) -> Option<*const Slot> {
    LAST_USED.with(|slots| match slots[collector as usize % REMEMBERED].get() {
        (of, slot) if of == collector => Some(slot),
        _ => None,
    })
}

/// Remembers a slot of this thread, until its number is given back.
#[cfg(not(loom))]
pub(super) fn remember(collector: u64, slot: &Slot) {
    LAST_USED.with(|slots| slots[collector as usize % REMEMBERED].set((collector, slot)));
}

/// Under the model checker slots are looked for each time.
#[cfg(loom)]
pub(super) fn remembered(_collector: u64) -> Option<*const Slot> {
    None
}

#[cfg(loom)]
pub(super) fn remember(_collector: u64, _slot: &Slot) {}

/// This thread's identity, drawn if need be; and whether it must be given back after use.
#[cfg(not(loom))]
pub(super) fn current_or_drawn() -> (Identity, bool) {
    match current() {
        UNSET => {
            let drawn = draw();
            // Fails where the thread's locals are being destroyed; then nobody gives it back later.
            let is_transient = AT_END.try_with(|_| IDENTITY.set(drawn)).is_err();
            (drawn, is_transient)
        }
        ENDED => (draw(), true),
        own => (own, false),
    }
}

/// This thread's identity, as the test set it.
#[cfg(loom)]
pub(super) fn current_or_drawn() -> (Identity, bool) {
    (current(), false)
}

/// Sets this thread's number.
#[cfg(loom)]
pub(super) fn set(number: u32) {
    IDENTITY.with(|identity| identity.set(Identity(u64::from(number))));
}

/// Leaves this thread's number for good: something of an earlier owner still uses it.
pub(super) fn abandon() {
    IDENTITY.with(|identity| {
        if identity.get() != ENDED {
            identity.set(UNSET);
        }
    });
}

#[cfg(not(loom))]
fn draw() -> Identity {
    let thread = std::thread::current().id();
    let mut numbers = lock(&NUMBERS);
    let number = match numbers.free.pop() {
        Some(number) => number,
        None => {
            numbers.owners.push((0, thread));
            // A number past 2^32 would need as many threads at once.
            (numbers.owners.len() - 1) as u32
        }
    };
    let owner = &mut numbers.owners[number as usize];
    *owner = (owner.0.wrapping_add(1), thread);
    Identity(u64::from(owner.0) << 32 | u64::from(number))
}

/// Lets another thread have the number.
pub(super) fn give_back(identity: Identity) {
    lock(&NUMBERS).free.push(identity.number() as u32);
}
