//! Which small number is this thread's alone, so that it may own a slot of a table?
//!
//! A thread claims the lowest free number at its first call and gives it back when it ends; the
//! next thread to claim it inherits whatever the tables hold in that slot, so nothing is lost
//! with a thread. The lock of the register orders everything the former owner did before
//! everything the next one does: a slot may be used with plain loads and stores.
//!
//! A thread can also [`remember`] one pointer by a key and [`recall`] it later, the way to its
//! part of a table that it used last. It is forgotten with the number.
//!
//! There are [`MOST`] numbers. Threads beyond, and threads that are past their last thread-local
//! destructor, have none and must use a shared path. [`shard`](crate::shard) is the cheaper
//! sibling for counters that may be shared.

use std::cell::Cell;

use crate::sync::{Mutex, lock};

/// How many threads can have a number at a time; numbers are below it.
pub(crate) const MOST: usize = 128;

/// The number of a thread without a number.
const NONE: usize = MOST;
/// Nothing is remembered by this key.
pub(crate) const NO_KEY: u64 = 0;

/// One bit for each number that is somebody's.
static CLAIMED: Mutex<u128> = Mutex::new(0);

thread_local! {
    // A constant start value and no destructor: it can be read as long as the thread runs.
    static NUMBER: Cell<usize> = const { Cell::new(NONE) };
    static KEY: Cell<u64> = const { Cell::new(NO_KEY) };
    static POINTER: Cell<*const ()> = const { Cell::new(std::ptr::null()) };
    static CLAIM: Claim = const { Claim };
}

/// Gives the number back when its thread ends.
struct Claim;

impl Drop for Claim {
    fn drop(&mut self) {
        KEY.set(NO_KEY);
        let number = NUMBER.replace(NONE);
        if number < MOST {
            *lock(&CLAIMED) &= !(1 << number);
        }
    }
}

/// This thread's number, claimed if need be; below [`MOST`], and no other running thread's.
pub(crate) fn number() -> Option<usize> {
    let number = NUMBER.get();
    if number < MOST { Some(number) } else { claim() }
}

/// What this thread remembered last, if it was by this key; not for [`NO_KEY`].
#[inline(always)]
pub(crate) fn recall(key: u64) -> Option<*const ()> {
    (KEY.get() == key).then(|| POINTER.get())
}

/// Remembers a pointer, instead of the last one, for as long as this thread has its number.
pub(crate) fn remember(key: u64, pointer: *const ()) {
    if NUMBER.get() < MOST {
        KEY.set(key);
        POINTER.set(pointer);
    }
}

#[cold]
fn claim() -> Option<usize> {
    // A thread whose claim has been dropped would never give a number back.
    CLAIM.try_with(|_| ()).ok()?;
    let mut claimed = lock(&CLAIMED);
    let free = claimed.trailing_ones() as usize;
    if free >= MOST {
        return None;
    }
    *claimed |= 1 << free;
    NUMBER.set(free);
    Some(free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::{Arc, Barrier};

    /// One test at a time: they use all the numbers there are.
    static ALONE: Mutex<()> = Mutex::new(());

    #[test]
    fn no_two_running_threads_share_a_number_and_those_beyond_the_most_have_none() {
        let _alone = lock(&ALONE);
        let threads = if cfg!(miri) { 8 } else { MOST + 20 };
        let together = Barrier::new(threads);
        let numbers: Vec<Option<usize>> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let drawn = number();
                        together.wait();
                        assert!(drawn.is_none() || number() == drawn);
                        drawn
                    })
                })
                .collect();
            asked.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let held: Vec<usize> = numbers.iter().flatten().copied().collect();
        assert_eq!(held.iter().collect::<BTreeSet<_>>().len(), held.len());
        assert!(held.iter().all(|&number| number < MOST));
        // Other tests of this process hold a few.
        assert!(held.len() + 20 >= threads.min(MOST), "{} of {threads}", held.len());
    }

    #[test]
    fn a_number_comes_back_when_its_thread_ends() {
        let _alone = lock(&ALONE);
        for _ in 0..if cfg!(miri) { 5 } else { 3 * MOST } {
            let drawn = std::thread::spawn(number).join().unwrap();
            assert!(drawn.is_some());
        }
    }

    #[test]
    fn a_thread_that_is_ending_has_no_number_and_takes_none() {
        struct Late(Arc<Mutex<Option<Option<usize>>>>);
        impl Drop for Late {
            fn drop(&mut self) {
                *lock(&self.0) = Some(number());
            }
        }
        thread_local! {
            static LATE: Cell<Option<Late>> = const { Cell::new(None) };
        }
        let _alone = lock(&ALONE);
        let seen = Arc::new(Mutex::new(None));
        let sent = Arc::clone(&seen);
        std::thread::spawn(move || {
            // Registered first, so dropped after the claim.
            LATE.set(Some(Late(sent)));
            assert!(number().is_some());
        })
        .join()
        .unwrap();
        // The order of destructors is the system's choice: where the claim went first there is
        // no number, where it goes last the number is still this thread's.
        assert!(lock(&seen).is_some());
    }
}
