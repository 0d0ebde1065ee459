//! When does an entry end?
//!
//! Kept apart from the entries, eight bytes each, and only by caches that have a time to live: the
//! moment at which it ends whatever happens, and the moment when it was asked for last. Moments
//! are counted in eighths of a second since the cache was made, which is good for seventeen years.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::link::Slot;
use crate::nodes::CHUNK;

/// Never.
pub(crate) const NEVER: u32 = u32::MAX;

/// Where a cache takes the time from.
#[derive(Debug, Clone)]
pub struct Clock {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    System(Instant),
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The system's monotonic clock.
    pub fn system() -> Self {
        Self { kind: Kind::System(Instant::now()) }
    }

    /// A clock that stands until it is moved. Clones are the same clock.
    pub fn manual() -> Self {
        Self { kind: Kind::Manual(Arc::default()) }
    }

    /// Moves a manual clock; the system's moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Kind::Manual(millis) = &self.kind {
            millis.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn now(&self) -> u32 {
        let millis = match &self.kind {
            Kind::System(start) => start.elapsed().as_millis() as u64,
            Kind::Manual(millis) => millis.load(Ordering::Relaxed),
        };
        u32::try_from(millis / 125).unwrap_or(NEVER - 1)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// A span in eighths of a second, rounded up.
pub(crate) fn eighths(span: Duration) -> u32 {
    u32::try_from(span.as_millis().div_ceil(125)).unwrap_or(NEVER - 1)
}

#[derive(Debug, Clone, Copy)]
struct Times {
    ends: u32,
    asked: u32,
}

/// The times of the entries of a table, by slot.
#[derive(Debug)]
pub(crate) struct Endings {
    chunks: Vec<Box<[Times]>>,
    idle: u32,
}

impl Endings {
    /// Bytes for a chunk of entries; the list of chunks as in [`crate::nodes`].
    pub const CHUNK_BYTES: u64 =
        (CHUNK * size_of::<Times>() + 3 * size_of::<Box<[Times]>>()) as u64;

    pub fn new(idle: u32) -> Self {
        Self { chunks: Vec::with_capacity(4), idle }
    }

    fn at(&mut self, slot: Slot) -> Option<&mut Times> {
        self.chunks.get_mut(slot as usize / CHUNK).map(|chunk| &mut chunk[slot as usize % CHUNK])
    }

    /// An entry came into this slot.
    pub fn set(&mut self, slot: Slot, now: u32, ends: u32) {
        if slot as usize / CHUNK == self.chunks.len() {
            self.chunks.push(vec![Times { ends: NEVER, asked: 0 }; CHUNK].into());
        }
        if let Some(times) = self.at(slot) {
            *times = Times { ends, asked: now };
        }
    }

    /// Has it ended? If not, it is asked for now.
    pub fn ask(&mut self, slot: Slot, now: u32) -> bool {
        let idle = self.idle;
        let Some(times) = self.at(slot) else { return false };
        if now >= times.ends || (idle != NEVER && now - times.asked.min(now) >= idle) {
            return true;
        }
        times.asked = now;
        false
    }

    /// Has it ended?
    pub fn has_ended(&mut self, slot: Slot, now: u32) -> bool {
        let idle = self.idle;
        self.at(slot).is_some_and(|times| {
            now >= times.ends || (idle != NEVER && now - times.asked.min(now) >= idle)
        })
    }

    /// The last of `len` entries moves to `slot`, or was there; `len - 1` are left.
    pub fn swap_remove(&mut self, slot: Slot, len: usize) {
        let last = len.saturating_sub(1);
        if let Some(times) = self.at(last as Slot).copied()
            && let Some(hole) = self.at(slot)
        {
            *hole = times;
        }
        self.chunks.truncate(last.div_ceil(CHUNK));
        if self.chunks.len() * 4 <= self.chunks.capacity() {
            self.chunks.shrink_to((self.chunks.len() * 2).max(4));
        }
    }
}

impl Endings {
    /// How long an entry lives that is not asked for.
    pub fn idle(&self) -> u32 {
        self.idle
    }
}
