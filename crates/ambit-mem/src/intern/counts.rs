//! How often was a string interned?
//!
//! The first threads of a process count for themselves, with plain loads and stores; all others
//! share a counter.

use crate::account::Padded;
use crate::sync::{AtomicU64, Ordering};

/// Threads that count for themselves.
const OWN: usize = 16;

/// References, and the bytes of what they refer to.
#[derive(Default)]
pub(super) struct Counts {
    own: [Padded<Count>; OWN],
    shared: Padded<Count>,
}

#[derive(Default)]
struct Count {
    references: AtomicU64,
    bytes: AtomicU64,
}

impl Counts {
    /// Counts a reference to a string of `bytes` by the thread of this number.
    #[inline]
    pub(super) fn add(&self, number: Option<usize>, bytes: usize) {
        match number.and_then(|number| self.own.get(number)) {
            // The number is this thread's alone, so nobody else writes here.
            Some(Padded(own)) => {
                let add = |counter: &AtomicU64, more: u64| {
                    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
                };
                add(&own.references, 1);
                add(&own.bytes, bytes as u64);
            }
            None => self.add_shared(1, bytes as u64),
        }
    }

    /// Counts references that nobody else counted.
    #[cold]
    pub(super) fn add_shared(&self, references: u64, bytes: u64) {
        self.shared.0.references.fetch_add(references, Ordering::Relaxed);
        self.shared.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// References and bytes.
    pub(super) fn sum(&self) -> (u64, u64) {
        let all = || self.own.iter().chain([&self.shared]);
        (
            all().map(|count| count.0.references.load(Ordering::Relaxed)).sum(),
            all().map(|count| count.0.bytes.load(Ordering::Relaxed)).sum(),
        )
    }
}
