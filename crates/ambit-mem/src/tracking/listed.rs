//! The marks of large blocks, by address.
//!
//! A table of 4,096 buckets of one cache line, each with room for 8 blocks. A word holds the
//! address and the mark, zero is free; all operations touch one bucket, without a lock. A block
//! is in the table from its allocation to the start of its free, so an address is in it once.
//! Where a bucket is full, the mark is not kept, and that is counted.

use super::mark::Mark;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

const BUCKETS: usize = 1 << BUCKET_BITS;
const BUCKET_BITS: u32 = 12;
const WAYS: usize = 8;
/// Blocks in the table begin at multiples of 16.
const ZEROS: u32 = 4;

pub(super) struct Listed {
    buckets: [Bucket; BUCKETS],
    /// Whether anything was ever listed: before that, frees need not look.
    is_used: AtomicBool,
    lost: AtomicU64,
}

#[repr(align(64))]
struct Bucket([AtomicU64; WAYS]);

impl Listed {
    pub(super) const fn new() -> Self {
        Self {
            buckets: [const { Bucket([const { AtomicU64::new(0) }; WAYS]) }; BUCKETS],
            is_used: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        }
    }

    /// Marks that were not kept.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Keeps `mark` for the block at `address`, which is not in the table; says whether there was
    /// room.
    pub(super) fn insert(&self, address: usize, mark: Mark) -> bool {
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
        let kept = word(address, mark).is_some_and(|word| {
            self.bucket(address).iter().any(|way| {
                way.load(Ordering::Relaxed) == 0
                    && way.compare_exchange(0, word, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            })
        });
        if !kept {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        kept
    }

    /// Takes the mark of the block at `address` out of the table; [`Mark::NONE`] where it is not
    /// in it.
    pub(super) fn take(&self, address: usize) -> Mark {
        // Whoever frees a block knows of its allocation, and so sees what that wrote here.
        if !self.is_used.load(Ordering::Relaxed) {
            return Mark::NONE;
        }
        for way in self.bucket(address) {
            let found = way.load(Ordering::Relaxed);
            if found != 0 && found >> Mark::BITS == key(address) {
                way.store(0, Ordering::Relaxed);
                return Mark::from_bits(found);
            }
        }
        Mark::NONE
    }

    fn bucket(&self, address: usize) -> &[AtomicU64; WAYS] {
        &self.buckets[home(address)].0
    }
}

/// Which bucket an address is in, by Fibonacci hashing (Knuth, The Art of Computer Programming,
/// volume 3, 1973).
fn home(address: usize) -> usize {
    (key(address).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - BUCKET_BITS)) as usize
}

fn key(address: usize) -> u64 {
    address as u64 >> ZEROS
}

/// Address and mark in one word, where both fit.
fn word(address: usize, mark: Mark) -> Option<u64> {
    let key = key(address);
    (key << Mark::BITS >> Mark::BITS == key && address.trailing_zeros() >= ZEROS)
        .then_some(key << Mark::BITS | mark.bits())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    static FULL: Listed = Listed::new();

    #[test]
    fn a_full_bucket_loses_the_mark_and_says_so() {
        let same: Vec<usize> = (1..)
            .map(|index| index * 16)
            .filter(|address| home(*address) == home(16))
            .take(WAYS + 1)
            .collect();
        for (index, address) in same.iter().enumerate() {
            assert_eq!(FULL.insert(*address, Mark::new(5)), index < WAYS, "{index}");
        }
        assert_eq!((FULL.lost(), FULL.take(same[WAYS])), (1, Mark::NONE));
        assert_eq!(FULL.take(same[3]), Mark::new(5));
        assert!(FULL.insert(same[WAYS], Mark::new(6).sampled()));
        assert_eq!(FULL.take(same[WAYS]), Mark::new(6).sampled());
    }

    #[test]
    fn an_address_that_does_not_fit_beside_a_mark_is_lost() {
        static TABLE: Listed = Listed::new();
        let highest = (1_usize << 59) - 16;
        for (address, fits) in [(highest, true), (highest + 16, false), (24, false)] {
            assert_eq!(TABLE.insert(address, Mark::new(1)), fits, "{address:#x}");
            assert_eq!(TABLE.take(address) == Mark::new(1), fits, "{address:#x}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 64 }))]
        #[test]
        fn what_is_listed_is_found_once(
            calls in proptest::collection::vec(
                (1..400_usize, 1..=255_u8),
                1..if cfg!(miri) { 30 } else { 300 },
            ),
        ) {
            static TABLE: Listed = Listed::new();
            let table = &TABLE;
            let mut model = HashMap::new();
            for (block, tag) in calls {
                let address = block << 12;
                match model.remove(&address) {
                    Some(mark) => prop_assert_eq!(table.take(address), mark),
                    None => {
                        prop_assert_eq!(table.take(address), Mark::NONE);
                        if table.insert(address, Mark::new(tag)) {
                            model.insert(address, Mark::new(tag));
                        }
                    }
                }
            }
            for (address, mark) in model {
                prop_assert_eq!(table.take(address), mark);
            }
        }
    }
}
