//! What is this thread about: its slot, its tag, and may it be sampled?
//!
//! All three are one word, so that the allocator's fast path asks one question: a word below
//! [`SLOTS`] is a thread with a slot of its own, without a tag, that may be sampled.
//!
//! ```text
//! bit 31        bit 30   bits 16..24   bits 0..16
//! not sampled   ended    tag           slot; SLOTS for the shared one
//! ```
//!
//! A slot is the right to be the only writer of one set of counters of each allocator, so that
//! counting needs no atomic read-modify-write. A thread claims one at its first allocation, with
//! a compare-and-swap, and gives it back when it ends, from the destructor of a pthread key. The
//! counters stay and the next owner goes on adding. Where none is free, and after the destructor
//! ran (other destructors may still allocate), a thread uses the shared slot, whose counters are
//! added to atomically.
//!
//! The word has a constant start value and no destructor: it can be read at any time in a
//! thread's life, and doing so allocates nothing.

use std::cell::Cell;

use crate::sync::{AtomicU64, Ordering};

/// Slots that threads can own; the shared slot's number.
pub(super) const SLOTS: usize = 128;

const SLOT: u32 = 0xffff;
const TAG_SHIFT: u32 = 16;
const TAG: u32 = 0xff << TAG_SHIFT;
const ENDED: u32 = 1 << 30;
const UNSAMPLED: u32 = 1 << 31;

/// One bit for each slot that is owned.
static OWNED: [AtomicU64; SLOTS / 64] = [const { AtomicU64::new(0) }; SLOTS / 64];
/// The pthread key, plus one; zero before it was made.
static KEY: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static WORD: Cell<u32> = const { Cell::new(SLOTS as u32) };
}

/// A thread's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Local(u32);

impl Local {
    /// This thread's word.
    #[inline]
    pub(super) fn get() -> Self {
        Self(WORD.get())
    }

    /// This thread's own slot, where nothing else is to be said about the thread.
    #[inline]
    pub(super) fn plain_slot(self) -> Option<usize> {
        let word = self.0 as usize;
        (word < SLOTS).then_some(word)
    }

    /// This thread's own slot.
    #[inline]
    pub(super) fn own_slot(self) -> Option<usize> {
        let slot = (self.0 & SLOT) as usize;
        (slot < SLOTS).then_some(slot)
    }

    /// The number of the tag the thread is in.
    #[inline]
    pub(super) fn tag(self) -> u8 {
        (self.0 >> TAG_SHIFT) as u8
    }

    /// Whether allocations of this thread may be sampled.
    #[inline]
    pub(super) fn is_sampled(self) -> bool {
        self.0 & UNSAMPLED == 0
    }
}

/// Sets this thread's tag; returns the one before.
#[inline]
pub(super) fn set_tag(tag: u8) -> u8 {
    let word = WORD.get();
    WORD.set(word & !TAG | u32::from(tag) << TAG_SHIFT);
    Local(word).tag()
}

/// Runs `work` with sampling off on this thread.
#[inline]
pub(super) fn unsampled<R>(work: impl FnOnce() -> R) -> R {
    struct Restore(u32);
    impl Drop for Restore {
        fn drop(&mut self) {
            WORD.set(WORD.get() & !UNSAMPLED | self.0);
        }
    }
    let word = WORD.get();
    let _restore = Restore(word & UNSAMPLED);
    WORD.set(word | UNSAMPLED);
    work()
}

/// This thread's slot, claimed if it has none; [`SLOTS`] for the shared one.
#[cold]
pub(super) fn claim() -> usize {
    let word = WORD.get();
    if let Some(slot) = Local(word).own_slot() {
        return slot;
    }
    if word & ENDED != 0 {
        return SLOTS;
    }
    let Some(slot) = take_free_slot() else { return SLOTS };
    if !give_back_at_end(slot) {
        release(slot);
        return SLOTS;
    }
    WORD.set(word & !SLOT | slot as u32);
    slot
}

fn take_free_slot() -> Option<usize> {
    for (index, owned) in OWNED.iter().enumerate() {
        let mut bits = owned.load(Ordering::Relaxed);
        while bits != u64::MAX {
            let free = bits.trailing_ones();
            // Acquire: what the last owner counted is seen, and gone on from.
            match owned.compare_exchange_weak(
                bits,
                bits | 1 << free,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(index * 64 + free as usize),
                Err(other) => bits = other,
            }
        }
    }
    None
}

fn release(slot: usize) {
    OWNED[slot / 64].fetch_and(!(1 << (slot % 64)), Ordering::Release);
}

/// Has `end` called with this slot when this thread ends; says whether it will be.
fn give_back_at_end(slot: usize) -> bool {
    let Some(key) = key() else { return false };
    let value = std::ptr::without_provenance::<libc::c_void>(slot + 1);
    // SAFETY: `key` was made by `pthread_key_create` and is never deleted; the value is only
    // handed to `end`, which takes it for a number. The C library may allocate for it, from
    // itself: a Rust allocator is not entered.
    unsafe { libc::pthread_setspecific(key, value) == 0 }
}

/// The key whose destructor gives slots back, made at the first call.
fn key() -> Option<libc::pthread_key_t> {
    let known = KEY.load(Ordering::Acquire);
    if known != 0 {
        return Some((known - 1) as libc::pthread_key_t);
    }
    let mut key: libc::pthread_key_t = 0;
    // SAFETY: `key` is valid for the write, and `end` has the signature asked for.
    if unsafe { libc::pthread_key_create(&raw mut key, Some(end)) } != 0 {
        return None;
    }
    match KEY.compare_exchange(0, u64::from(key) + 1, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Some(key),
        Err(other) => {
            // SAFETY: this thread made `key` just now, and nobody else knows it.
            unsafe { libc::pthread_key_delete(key) };
            Some((other - 1) as libc::pthread_key_t)
        }
    }
}

/// Gives the ending thread's slot back. Destructors that run later use the shared slot.
unsafe extern "C" fn end(value: *mut libc::c_void) {
    WORD.set(WORD.get() & !SLOT | SLOTS as u32 | ENDED);
    release(value.addr() - 1);
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::tracking::hook::ALONE;

    #[test]
    fn threads_alive_together_own_different_slots_and_give_them_back() {
        let _alone = crate::sync::lock(&ALONE);
        const THREADS: usize = 6;
        let start = Barrier::new(THREADS);
        let slots = || -> Vec<usize> {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS)
                    .map(|_| {
                        scope.spawn(|| {
                            let slot = claim();
                            start.wait();
                            assert_eq!(claim(), slot, "a thread keeps its slot");
                            slot
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            })
        };
        for _ in 0..if cfg!(miri) { 2 } else { SLOTS / THREADS * 2 } {
            let mut seen = slots();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), THREADS, "{seen:?}");
            assert!(seen[THREADS - 1] < SLOTS, "slots of ended threads are used again: {seen:?}");
        }
    }

    #[test]
    fn tag_and_sampling_are_kept_beside_the_slot() {
        let _alone = crate::sync::lock(&ALONE);
        let slot = claim();
        assert_eq!(set_tag(200), 0);
        unsampled(|| {
            assert!(!Local::get().is_sampled());
            unsampled(|| assert!(!Local::get().is_sampled()));
            assert!(!Local::get().is_sampled(), "an inner scope does not end the outer one");
            assert_eq!((Local::get().tag(), Local::get().own_slot()), (200, Some(slot)));
        });
        assert_eq!((Local::get().plain_slot(), Local::get().is_sampled()), (None, true));
        assert_eq!(set_tag(0), 200);
        assert_eq!(Local::get().plain_slot(), Some(slot));
    }
}
