//! The six numbers that a dashboard wants.

use std::fmt;

use super::MemorySnapshot;
use crate::Bytes;

/// Memory in six numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryMetrics {
    /// Bytes allocated so far, freed ones included.
    pub total_allocated: Bytes,
    /// Bytes freed so far.
    pub total_freed: Bytes,
    /// Bytes allocated and not freed.
    pub current: Bytes,
    /// The most that `current` ever was.
    pub peak: Bytes,
    /// Share of the heap's resident bytes that are not handed out, 0 to 1: free chunks, headers,
    /// rounding. 0 where the kernel does not tell what is resident.
    pub fragmentation_ratio: f64,
    /// Bytes allocated per second since the program began to count.
    pub allocation_rate: f64,
}

impl MemoryMetrics {
    /// The metrics of a snapshot; `None` where no allocator counts.
    pub fn of(snapshot: &MemorySnapshot) -> Option<Self> {
        let stats = snapshot.allocator?;
        let fragmentation_ratio = snapshot.anonymous.as_ref().map_or(0.0, |parts| {
            let heap = (parts.mappings.arenas.get() + parts.mappings.single.get()) as f64;
            let touched = (stats.current.get() + parts.outside.get()) as f64;
            if heap > 0.0 { (1.0 - touched / heap).clamp(0.0, 1.0) } else { 0.0 }
        });
        Some(Self {
            total_allocated: stats.allocated,
            total_freed: stats.freed,
            current: stats.current,
            peak: stats.peak,
            fragmentation_ratio,
            allocation_rate: stats.rate().bytes,
        })
    }

    /// All six in a line.
    pub fn summary(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for MemoryMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = Bytes::new(self.allocation_rate.max(0.0) as u64);
        write!(
            f,
            "{} in use, peak {}; {} allocated and {} freed in all, {rate} a second; {:.1} % of the \
             heap is fragmented",
            self.current,
            self.peak,
            self.total_allocated,
            self.total_freed,
            100.0 * self.fragmentation_ratio
        )
    }
}
