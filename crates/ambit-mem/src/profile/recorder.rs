//! All that is known of one run of the profiler.
//!
//! Allocations and frees come in from any thread; nothing here takes a lock, allocates or
//! panics. Time and address come from the caller, so what is done with samples can be tried
//! without an allocator that takes them.

use super::ProfileConfig;
use super::live::{LiveTable, Sample};
use super::sampling::Rate;
use super::series::{Point, Series};
use super::stacks::{Amount, Limits, StackTable};
use crate::Bytes;
use crate::sync::{AtomicU64, Ordering};

/// An allocation that was sampled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allocation<'a> {
    pub address: usize,
    pub size: usize,
    /// Microseconds since the start.
    pub at_us: u64,
    pub tag: u8,
    pub thread: u16,
    /// Return addresses, innermost first.
    pub frames: &'a [usize],
}

/// What one run of the profiler recorded.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub rate: Rate,
    pub live: LiveTable,
    pub stacks: StackTable,
    pub series: Series,
    /// Bytes, estimated.
    allocated: AtomicU64,
    freed: AtomicU64,
    peak: AtomicU64,
    lost: AtomicU64,
}

impl Recorder {
    /// Empty tables; `None` where the system has no memory left.
    pub(crate) fn new(config: &ProfileConfig) -> Option<Self> {
        Some(Self {
            rate: Rate::new(config.interval.get()),
            live: LiveTable::new(config.live_samples)?,
            stacks: StackTable::new(limits(config))?,
            series: Series::new(config.points)?,
            allocated: AtomicU64::new(0),
            freed: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }

    /// What the tables take.
    pub(crate) fn footprint(config: &ProfileConfig) -> Bytes {
        LiveTable::footprint(config.live_samples)
            .saturating_add(limits(config).footprint())
            .saturating_add(Series::footprint(config.points))
    }

    /// Takes an allocation in; false where its end will not be known.
    pub(crate) fn allocate(&self, allocation: &Allocation<'_>) -> bool {
        let size = allocation.size as u64;
        let stack = self.stacks.number(allocation.tag, allocation.frames);
        let (birth_us, thread) = (allocation.at_us, allocation.thread);
        let kept = self.live.insert(allocation.address, Sample { size, birth_us, stack, thread });
        if !kept {
            // Not booked at all: an allocation that cannot end would look like a leak.
            self.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let amount = Amount::one(size, self.rate.weight(size));
        self.stacks.allocated(stack, amount);
        let bytes = amount.bytes as u64;
        let allocated = self.allocated.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let freed = self.freed.load(Ordering::Relaxed);
        self.peak.fetch_max(allocated.saturating_sub(freed), Ordering::Relaxed);
        self.series.offer(Point {
            at_us: birth_us,
            allocated_bytes: allocated,
            freed_bytes: freed,
        });
        true
    }

    /// Takes the end of an allocation in. One that was not sampled is ignored.
    pub(crate) fn free(&self, address: usize) {
        let Some(sample) = self.live.remove(address) else { return };
        let amount = Amount::one(sample.size, self.rate.weight(sample.size));
        self.stacks.freed(sample.stack, amount);
        self.freed.fetch_add(amount.bytes as u64, Ordering::Relaxed);
    }

    /// What was allocated and freed until now.
    pub(crate) fn point(&self, at_us: u64) -> Point {
        let freed_bytes = self.freed.load(Ordering::Relaxed);
        Point { at_us, allocated_bytes: self.allocated.load(Ordering::Relaxed), freed_bytes }
    }

    /// The most that was alive at a sample.
    pub(crate) fn peak(&self) -> Bytes {
        Bytes::new(self.peak.load(Ordering::Relaxed))
    }

    /// Samples that found no place.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

fn limits(config: &ProfileConfig) -> Limits {
    Limits { stacks: config.stacks, depth: config.depth }
}
