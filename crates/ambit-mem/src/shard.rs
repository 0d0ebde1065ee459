//! Which counter does this thread use, so that two threads rarely touch the same cache line?
//!
//! Each thread draws a number once, in order of its first call; counters are arrays indexed by
//! that number modulo their (power of two) length. Two threads that share an index stay correct,
//! they only contend. Numbers of ended threads are not reused: over time all indices are in use
//! equally.

use std::cell::Cell;

use crate::sync::{AtomicUsize, OnceLock, Ordering};

const UNSET: usize = usize::MAX;

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    // A constant start value and no destructor: reading it allocates nothing and registers
    // nothing, which an allocator relies on.
    static INDEX: Cell<usize> = const { Cell::new(UNSET) };
}

/// This thread's number; the same for the thread's whole life, 0 while the thread is ending.
#[inline]
pub(crate) fn index() -> usize {
    INDEX
        .try_with(|index| match index.get() {
            UNSET => {
                let drawn = NEXT.fetch_add(1, Ordering::Relaxed);
                index.set(drawn);
                drawn
            }
            drawn => drawn,
        })
        .unwrap_or(0)
}

/// Number of shards of an account: a power of two, twice the processors, from 4 to 8.
pub(crate) fn count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        processors.saturating_mul(2).clamp(4, 8).next_power_of_two()
    })
}
