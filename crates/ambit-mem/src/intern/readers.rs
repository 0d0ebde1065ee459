//! When may a table that was replaced be freed?
//!
//! Readers of tables say when they begin and when they end, each in a word of its own; a word is
//! odd while its thread reads. Who replaced a table passes a fence and waits for every word that
//! is odd to change: whoever read before has ended, and whoever begins later finds the new
//! table. A reading is a few instructions of this crate without foreign code, so the wait is
//! short. The words are those of the process, not of an interner: a thread reads in one at a
//! time.

use crate::account::Padded;
use crate::sync::{AtomicU64, Ordering, fence as full_fence};
use crate::{fence, thread_number};

static READING: [Padded<AtomicU64>; thread_number::MOST] =
    [const { Padded(AtomicU64::new(0)) }; thread_number::MOST];

/// A reading that goes on until it is dropped.
pub(super) struct Reading {
    word: &'static AtomicU64,
    before: u64,
}

impl Reading {
    /// Begins to read on the thread of this number; what is loaded from now on is not freed
    /// before the end.
    #[inline]
    pub(super) fn begin(number: usize) -> Option<Self> {
        let word = &READING.get(number)?.0;
        let before = word.load(Ordering::Relaxed);
        word.store(before.wrapping_add(1), Ordering::Relaxed);
        if fence::is_offered() {
            fence::light();
        } else {
            full_fence(Ordering::SeqCst);
        }
        Some(Self { word, before })
    }
}

impl Drop for Reading {
    #[inline]
    fn drop(&mut self) {
        self.word.store(self.before.wrapping_add(2), Ordering::Release);
    }
}

/// Waits until nobody reads what was replaced before the call.
pub(super) fn wait() {
    if fence::is_offered() {
        fence::heavy();
    } else {
        full_fence(Ordering::SeqCst);
    }
    for Padded(word) in &READING {
        let seen = word.load(Ordering::Acquire);
        while seen % 2 == 1 && word.load(Ordering::Acquire) == seen {
            std::thread::yield_now();
        }
    }
}
