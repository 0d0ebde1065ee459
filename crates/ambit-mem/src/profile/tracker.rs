//! What did the process allocate between here and there, exactly?
//!
//! Where [`MemoryProfiler::profile`](super::MemoryProfiler::profile) estimates from samples what
//! one thread did, a tracker takes the difference of the allocator's own counts, over all
//! threads, and needs no profiler to run.

use std::fmt;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::{AllocatorStats, Bytes, TrackingAllocator};

/// An allocator that counts.
pub trait AllocationCounts: Sync {
    /// The counts now.
    fn counts(&self) -> AllocatorStats;
}

impl<A: Sync> AllocationCounts for TrackingAllocator<A> {
    fn counts(&self) -> AllocatorStats {
        self.stats()
    }
}

/// Counts what the process allocates from its creation until it is stopped or dropped.
///
/// ```
/// use std::alloc::System;
///
/// use ambit_mem::profile::AllocationTracker;
/// use ambit_mem::{Bytes, TrackingAllocator};
///
/// #[global_allocator]
/// static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);
///
/// let tracker = AllocationTracker::new("loading", &ALLOCATOR);
/// let kept = vec![0u8; 1 << 20];
/// let report = tracker.stop();
/// assert!(report.allocated >= Bytes::mib(1) && report.net() >= 1 << 20);
/// # drop(kept);
/// ```
pub struct AllocationTracker<'a> {
    name: &'a str,
    allocator: &'a dyn AllocationCounts,
    sink: fn(&TrackerReport<'_>),
    start: Instant,
    before: AllocatorStats,
    is_stopped: bool,
}

/// What the process allocated in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackerReport<'a> {
    /// The name it was given.
    pub name: &'a str,
    /// How long it took.
    pub took: Duration,
    /// Allocations, growths and shrinkages included.
    pub allocations: u64,
    /// Frees, growths and shrinkages included.
    pub frees: u64,
    /// Bytes allocated.
    pub allocated: Bytes,
    /// Bytes freed, of whatever age.
    pub freed: Bytes,
    /// The most bytes in use beyond those at the beginning. `None` where the process had used
    /// more before, so that its high-water mark says nothing about the region; to have it for
    /// sure, call [`TrackingAllocator::reset_peak`] before.
    pub peak: Option<Bytes>,
}

impl TrackerReport<'_> {
    /// Bytes in use more than at the beginning, or less.
    pub fn net(&self) -> i64 {
        let signed = |bytes: Bytes| i64::try_from(bytes.get()).unwrap_or(i64::MAX);
        signed(self.allocated) - signed(self.freed)
    }
}

impl fmt::Display for TrackerReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, took, allocations, frees, allocated, freed, peak } = self;
        let sign = if self.net() < 0 { "-" } else { "+" };
        let net = Bytes::new(self.net().unsigned_abs());
        write!(
            f,
            "{name}: {:.3} s, {allocations} allocations of {allocated}, {frees} frees of {freed}, \
             net {sign}{net}",
            took.as_secs_f64()
        )?;
        peak.map_or(Ok(()), |peak| write!(f, ", peak +{peak}"))
    }
}

impl<'a> AllocationTracker<'a> {
    /// Begins to count.
    pub fn new(name: &'a str, allocator: &'a dyn AllocationCounts) -> Self {
        let (before, start) = (allocator.counts(), Instant::now());
        Self { name, allocator, sink: to_stderr, start, before, is_stopped: false }
    }

    /// Has the report given to `sink` when the tracker is dropped, in place of standard error.
    pub fn report_to(mut self, sink: fn(&TrackerReport<'_>)) -> Self {
        self.sink = sink;
        self
    }

    /// The counts so far.
    pub fn report(&self) -> TrackerReport<'a> {
        let (now, before) = (self.allocator.counts(), &self.before);
        let is_new_peak = now.peak > before.peak || before.peak == before.current;
        TrackerReport {
            name: self.name,
            took: self.start.elapsed(),
            allocations: now.allocations.saturating_sub(before.allocations),
            frees: now.frees.saturating_sub(before.frees),
            allocated: now.allocated.saturating_sub(before.allocated),
            freed: now.freed.saturating_sub(before.freed),
            peak: is_new_peak.then(|| now.peak.saturating_sub(before.current)),
        }
    }

    /// Ends, and hands the report to the caller only.
    pub fn stop(mut self) -> TrackerReport<'a> {
        self.is_stopped = true;
        self.report()
    }
}

impl Drop for AllocationTracker<'_> {
    fn drop(&mut self) {
        if !self.is_stopped {
            (self.sink)(&self.report());
        }
    }
}

impl fmt::Debug for AllocationTracker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllocationTracker").field("report", &self.report()).finish_non_exhaustive()
    }
}

fn to_stderr(report: &TrackerReport<'_>) {
    // There is nobody to tell where not even this can be written.
    let _ = writeln!(std::io::stderr(), "{report}");
}
