//! What a pool may keep.

use crate::Bytes;

/// What a pool may keep.
///
/// | field | default |
/// |---|---|
/// | `max_pooled` | 1,024 |
/// | `initial_capacity` | 0 |
/// | `max_retained_bytes` | 64 MiB |
/// | `max_object_bytes` | 1 MiB |
/// | `track_stats` | `true` |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// Objects kept, at most.
    pub max_pooled: usize,
    /// Objects made when the pool is made, as far as the other limits allow.
    pub initial_capacity: usize,
    /// Bytes of all objects kept together, at most.
    pub max_retained_bytes: Bytes,
    /// Bytes of one object, at most: a larger one is dropped when it comes back, not kept.
    pub max_object_bytes: Bytes,
    /// Are acquisitions counted? Sizes are known in any case.
    pub track_stats: bool,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            max_pooled: 1024,
            initial_capacity: 0,
            max_retained_bytes: Bytes::mib(64),
            max_object_bytes: Bytes::mib(1),
            track_stats: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let PoolConfig {
            max_pooled,
            initial_capacity,
            max_retained_bytes,
            max_object_bytes,
            track_stats,
        } = PoolConfig::default();
        assert_eq!((max_pooled, initial_capacity, track_stats), (1024, 0, true));
        assert_eq!((max_retained_bytes, max_object_bytes), (Bytes::mib(64), Bytes::mib(1)));
    }
}
