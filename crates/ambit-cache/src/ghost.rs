//! Was this one here not long ago, and when was it asked for last?
//!
//! Three bytes for each entry that left, sixteen bits of hash and eight of stamp, in buckets of
//! one cache line by hash; in a full bucket the new one takes the place of the oldest. So what
//! is remembered is the last that left, as a queue would, up to the luck of the buckets, and
//! about one in three thousand that never was here. Stamps are counted modulo 256: who uses
//! them ticks so slowly that a ghost is overwritten long before its stamp comes round again.
//! Changing the length forgets everything.

use crate::link::HASH_BITS;

/// Ghosts in a bucket.
const BUCKET: usize = 21;
/// Stamps are counted modulo this.
pub(crate) const STAMPS: u32 = 1 << 8;

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Bucket {
    /// Zero where nothing is remembered.
    tags: [u16; BUCKET],
    stamps: [u8; BUCKET],
    /// Where the next one goes.
    next: u8,
}

const EMPTY: Bucket = Bucket { tags: [0; BUCKET], stamps: [0; BUCKET], next: 0 };

#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    buckets: Box<[Bucket]>,
}

impl Ghosts {
    /// Bytes for at least `len` ghosts.
    pub const fn bytes_of(len: usize) -> u64 {
        (len.div_ceil(BUCKET) * size_of::<Bucket>()) as u64
    }

    /// Room for at least `len` ghosts, none of which is there.
    pub fn with_len(len: usize) -> Self {
        Self { buckets: vec![EMPTY; len.div_ceil(BUCKET)].into() }
    }

    /// How many are remembered at most.
    pub fn capacity(&self) -> usize {
        self.buckets.len() * BUCKET
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> u64 {
        Self::bytes_of(self.capacity())
    }

    #[inline]
    fn bucket(&mut self, hash: u32) -> Option<&mut Bucket> {
        let bucket = (u64::from(hash) * self.buckets.len() as u64) >> HASH_BITS;
        self.buckets.get_mut(bucket as usize)
    }

    #[inline]
    const fn tag(hash: u32) -> u16 {
        hash as u16 | 1
    }

    /// An entry of this hash left, which was asked for last at `stamp`.
    #[inline]
    pub fn insert(&mut self, hash: u32, stamp: u32) {
        if let Some(bucket) = self.bucket(hash) {
            let at = usize::from(bucket.next) % BUCKET;
            bucket.tags[at] = Self::tag(hash);
            bucket.stamps[at] = stamp as u8;
            bucket.next = (at as u8 + 1) % BUCKET as u8;
        }
    }

    /// Forgets an entry of this hash; its stamp if it was remembered.
    #[inline]
    pub fn take(&mut self, hash: u32) -> Option<u32> {
        let bucket = self.bucket(hash)?;
        let tag = Self::tag(hash);
        let at = bucket.tags.iter().position(|&other| other == tag)?;
        bucket.tags[at] = 0;
        Some(u32::from(bucket.stamps[at]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn one_bucket_is_a_queue_of_its_size(
            steps in prop::collection::vec((any::<bool>(), 0_u32..40), 1..300),
        ) {
            // Places in the order of their age, a hole where a ghost was taken.
            let mut model: VecDeque<Option<(u32, u32)>> = VecDeque::from([None; BUCKET]);
            let mut ghosts = Ghosts::with_len(1);
            for (stamp, (is_insert, key)) in steps.into_iter().enumerate() {
                let hash = key << 1;
                let known = model.iter().flatten().any(|&(other, _)| other == hash);
                if is_insert && !known {
                    model.rotate_left(1);
                    model[BUCKET - 1] = Some((hash, stamp as u32 % STAMPS));
                    ghosts.insert(hash, stamp as u32);
                } else {
                    let at = model.iter().position(|ghost| ghost.is_some_and(|it| it.0 == hash));
                    let taken = at.and_then(|at| model[at].take()).map(|(_, stamp)| stamp);
                    prop_assert_eq!(ghosts.take(hash), taken);
                }
            }
        }
    }

    #[test]
    fn no_room_remembers_nobody() {
        let mut ghosts = Ghosts::default();
        ghosts.insert(7, 1);
        assert_eq!((ghosts.take(7), ghosts.bytes()), (None, 0));
    }

    #[test]
    fn few_are_remembered_that_never_were_here() {
        let mut ghosts = Ghosts::with_len(10_000);
        let hash = |key: u32| key.wrapping_mul(2_654_435_761);
        (0..20_000).for_each(|key| ghosts.insert(hash(key), 0));
        let wrong = (100_000..200_000).filter(|&key| ghosts.take(hash(key)).is_some()).count();
        assert!(wrong < 200, "{wrong} of 100,000");
    }
}
