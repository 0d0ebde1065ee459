//! What happened in a cache, and what it holds.

use ambit_mem::Bytes;

use crate::part::Counts;
use crate::sync::{AtomicU64, Ordering};

/// What happened in a cache so far, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Requests that found their key.
    pub hits: u64,
    /// Requests that did not.
    pub misses: u64,
    /// Values let in, those that replaced others among them.
    pub inserted: u64,
    /// Values that were replaced.
    pub replaced: u64,
    /// Values that were taken out by key, by clearing, or since what should replace them did
    /// not fit.
    pub removed: u64,
    /// Values whose time was over.
    pub expired: u64,
    /// Values that went to make room for others.
    pub evicted_for_room: u64,
    /// Values that went since their bytes were wanted elsewhere, or the cap was lowered.
    pub evicted_on_request: u64,
    /// Values that were not let in.
    pub rejected: u64,
    /// Loads that succeeded.
    pub loads: u64,
    /// Loads that failed.
    pub failed_loads: u64,
    /// Time spent in loads, in nanoseconds.
    pub load_ns: u64,
    /// Entries.
    pub entries: u64,
    /// The most bytes that it may have.
    pub cap: Bytes,
    /// Bytes that it has from its account.
    pub granted: Bytes,
    /// Of these, keys and values, and what they hold elsewhere.
    pub content: Bytes,
    /// Of these, what it keeps for itself: links, index, tables of the policy.
    pub metadata: Bytes,
    /// Of these, what is in nobody's hands.
    pub free: Bytes,
    /// Bytes of pinned entries.
    pub pinned: Bytes,
}

impl CacheStats {
    /// Hits of all requests, 0 to 1; 0 before the first.
    pub fn hit_ratio(&self) -> f64 {
        let asked = self.hits + self.misses;
        if asked == 0 { 0.0 } else { self.hits as f64 / asked as f64 }
    }

    pub(crate) fn add(&mut self, counts: &Counts) {
        self.hits += counts.hits;
        self.misses += counts.misses;
        self.inserted += counts.inserted;
        self.replaced += counts.replaced;
        self.removed += counts.removed;
        self.expired += counts.expired;
        self.evicted_for_room += counts.evicted_for_room;
        self.evicted_on_request += counts.evicted_on_request;
    }
}

/// What is counted of a cache as a whole.
#[derive(Debug)]
pub(crate) struct Tally {
    rejected: AtomicU64,
    loads: AtomicU64,
    failed_loads: AtomicU64,
    load_ns: AtomicU64,
}

impl Default for Tally {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self { rejected: zero(), loads: zero(), failed_loads: zero(), load_ns: zero() }
    }
}

impl Tally {
    pub fn reject(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs a load, and counts it.
    pub fn time<V, E>(&self, load: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let start = std::time::Instant::now();
        let loaded = load();
        let took = start.elapsed().as_nanos() as u64;
        self.load_ns.fetch_add(took, Ordering::Relaxed);
        let count = if loaded.is_ok() { &self.loads } else { &self.failed_loads };
        count.fetch_add(1, Ordering::Relaxed);
        loaded
    }

    /// What a load takes in the mean; 0 before the first.
    pub fn mean_load_ns(&self) -> f64 {
        let loads = self.loads.load(Ordering::Relaxed) + self.failed_loads.load(Ordering::Relaxed);
        if loads == 0 {
            return 0.0;
        }
        self.load_ns.load(Ordering::Relaxed) as f64 / loads as f64
    }

    pub fn stats(&self) -> CacheStats {
        CacheStats {
            rejected: self.rejected.load(Ordering::Relaxed),
            loads: self.loads.load(Ordering::Relaxed),
            failed_loads: self.failed_loads.load(Ordering::Relaxed),
            load_ns: self.load_ns.load(Ordering::Relaxed),
            ..CacheStats::default()
        }
    }
}
