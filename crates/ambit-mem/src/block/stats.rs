//! What a block pool holds, and how much of it is of use.
//!
//! Every byte of a slab is one of: in a live block, in a free block (on the shelf or in a
//! thread's cache), or the rest of the last page. Numbers are taken one after the other: beside
//! threads that are using the pool they are close, and where it is at rest they are exact.

use crate::Bytes;

/// What a [`BlockPool`](super::BlockPool) holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockStats {
    /// Blocks that have an owner.
    pub live_blocks: usize,
    /// Bytes that the owners of live blocks asked for.
    pub requested: Bytes,
    /// Bytes of live blocks.
    pub block_bytes: Bytes,
    /// Bytes of free blocks that threads keep at hand.
    pub cached_bytes: Bytes,
    /// Bytes of slabs without live or cached blocks, kept for later.
    pub empty_bytes: Bytes,
    /// Bytes of all slabs, charged and mapped.
    pub slab_bytes: Bytes,
    /// Bytes of everything else that the pool keeps: headers, tables, caches; charged, too.
    pub metadata: Bytes,
    /// Slabs.
    pub slabs: usize,
    /// Slabs ever taken from the system.
    pub slabs_taken: u64,
    /// Slabs ever given back to the system.
    pub slabs_returned: u64,
}

impl BlockStats {
    /// The share of live blocks that nobody asked for, 0 to 1.
    pub fn internal_fragmentation(&self) -> f64 {
        1.0 - share(self.requested, self.block_bytes, 1.0)
    }

    /// The share of slabs that are not empty, and so cannot go back, that no live block uses,
    /// 0 to 1.
    pub fn external_fragmentation(&self) -> f64 {
        1.0 - share(self.block_bytes, self.slab_bytes.saturating_sub(self.empty_bytes), 1.0)
    }

    /// The share of all bytes charged that are not slabs, 0 to 1.
    pub fn metadata_share(&self) -> f64 {
        share(self.metadata, self.footprint(), 0.0)
    }

    /// All bytes charged.
    pub fn footprint(&self) -> Bytes {
        self.slab_bytes.saturating_add(self.metadata)
    }
}

/// `part / whole`, within 0 to 1; `of_nothing` where there is no whole.
pub(super) fn share(part: Bytes, whole: Bytes, of_nothing: f64) -> f64 {
    if whole.is_zero() {
        return of_nothing;
    }
    (part.get() as f64 / whole.get() as f64).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_what_they_say() {
        let stats = BlockStats {
            requested: Bytes::new(90),
            block_bytes: Bytes::new(100),
            empty_bytes: Bytes::new(600),
            slab_bytes: Bytes::new(800),
            metadata: Bytes::new(200),
            ..BlockStats::default()
        };
        assert!((stats.internal_fragmentation() - 0.1).abs() < 1e-12);
        assert!((stats.external_fragmentation() - 0.5).abs() < 1e-12);
        assert!((stats.metadata_share() - 0.2).abs() < 1e-12);
        assert_eq!(stats.footprint(), Bytes::new(1000));
    }

    #[test]
    fn an_empty_pool_wastes_nothing() {
        let stats = BlockStats::default();
        assert_eq!(stats.internal_fragmentation(), 0.0);
        assert_eq!(stats.external_fragmentation(), 0.0);
        assert_eq!(stats.metadata_share(), 0.0);
    }
}
