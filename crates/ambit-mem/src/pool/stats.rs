//! How much a pool is used.

use crate::Bytes;

/// How much a pool is used. The counters stay 0 without
/// [`PoolConfig::track_stats`](crate::PoolConfig::track_stats); the sizes are always known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolStats {
    /// Objects given out: `reused + created`.
    pub total_acquired: u64,
    /// Objects given out that had been kept.
    pub reused: u64,
    /// Objects given out that were made for it.
    pub created: u64,
    /// Objects that came back and were not kept, and kept ones that were shed.
    pub dropped: u64,
    /// Objects kept now.
    pub current_pool_size: usize,
    /// Most objects that the pool had places for at once: each kept object has one, and a
    /// thread keeps the place of an object that it gave out, for its return.
    pub peak_pool_size: usize,
    /// Bytes of the objects kept now.
    pub retained_bytes: Bytes,
}

impl PoolStats {
    /// The part of acquisitions that did not make an object, from 0 to 1; 0 before the first.
    pub fn reuse_rate(&self) -> f64 {
        if self.total_acquired == 0 {
            return 0.0;
        }
        self.reused as f64 / self.total_acquired as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reuse_rate_is_a_part_and_zero_of_nothing() {
        assert_eq!(PoolStats::default().reuse_rate(), 0.0);
        let stats = PoolStats { total_acquired: 4, reused: 3, created: 1, ..Default::default() };
        assert_eq!(stats.reuse_rate(), 0.75);
    }
}
