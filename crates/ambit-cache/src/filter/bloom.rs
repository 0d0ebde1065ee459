//! A filter that grows: ten bits a key, about one absent key in a hundred let through.
//!
//! Split-block Bloom filters (Putze, Sanders, Singler, 2007, as Apache Parquet lays them out): a key
//! sets one bit in each of the eight words of one block, so a question is one cache line. When
//! a stage has as many keys as it is made for, a next one of twice the keys and two bits a key more
//! is begun, and questions go to all of them: together they let through one in forty at most.

use ambit_mem::{Account, Bytes, Reservation};

use super::FilterError;
use super::frame::{self, corrupt};

const KIND: [u8; 4] = *b"ABB1";
/// Odd numbers that spread a hash over the words of a block, from the Parquet format.
const SALTS: [u32; 8] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];
const BITS_A_KEY: u64 = 10;
/// Bits a key more for each stage, so that what all of them let through stays below twice what the
/// first one does, or a little more.
const MORE_BITS: u64 = 2;
const MOST_MORE_BITS: u64 = 20;
const BLOCK_BITS: u64 = 256;
/// Keys of a stage: doubling from the first, this many stages are beyond any memory.
const MOST_STAGES: usize = 48;

type Block = [u32; 8];

#[derive(Debug)]
struct Stage {
    blocks: Vec<Block>,
    keys: u64,
    room: u64,
}

/// A filter to which keys are added.
///
/// ```
/// use ambit_cache::filter::BloomFilter;
/// use ambit_mem::{Budget, Bytes, Priority};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("filters", Priority::Query);
/// let mut filter = BloomFilter::with_room_for(100, &account)?;
/// for key in 0..1_000_u64 {
///     filter.insert(key.wrapping_mul(0x9e37_79b9_7f4a_7c15))?;
/// }
/// assert!(filter.contains(7_u64.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
/// # Ok::<(), ambit_cache::filter::FilterError>(())
/// ```
#[derive(Debug)]
pub struct BloomFilter {
    stages: Vec<Stage>,
    held: Reservation,
}

/// Blocks of the stage of this number.
fn blocks_for(keys: u64, stage: usize) -> u64 {
    let bits = BITS_A_KEY + (MORE_BITS * stage as u64).min(MOST_MORE_BITS);
    (keys * bits).div_ceil(BLOCK_BITS).max(1)
}

/// The block of a key of so many, and a bit for each of its words.
#[inline]
fn places(hash: u64, blocks: usize) -> (usize, Block) {
    let block = ((hash >> 32) * blocks as u64) >> 32;
    let key = hash as u32;
    (block as usize, SALTS.map(|salt| 1 << (key.wrapping_mul(salt) >> 27)))
}

impl Stage {
    fn new(room: u64, stage: usize) -> Self {
        Self { blocks: vec![[0; 8]; blocks_for(room, stage) as usize], keys: 0, room }
    }

    fn contains(&self, hash: u64) -> bool {
        let (block, bits) = places(hash, self.blocks.len());
        self.blocks[block].iter().zip(bits).all(|(word, bit)| word & bit != 0)
    }

    fn insert(&mut self, hash: u64) {
        let (block, bits) = places(hash, self.blocks.len());
        self.blocks[block].iter_mut().zip(bits).for_each(|(word, bit)| *word |= bit);
        self.keys += 1;
    }
}

impl BloomFilter {
    /// A filter whose first stage has room for so many keys, at least one.
    ///
    /// # Errors
    /// [`FilterError::OverBudget`].
    pub fn with_room_for(keys: u64, account: &Account) -> Result<Self, FilterError> {
        let room = keys.clamp(1, u64::from(u32::MAX));
        let list = Bytes::of(MOST_STAGES * size_of::<Stage>());
        let mut held = account.reserve(list)?;
        held.grow(Bytes::new(blocks_for(room, 0) * size_of::<Block>() as u64))?;
        let mut stages = Vec::with_capacity(MOST_STAGES);
        stages.push(Stage::new(room, 0));
        Ok(Self { stages, held })
    }

    /// Adds the key of this hash.
    ///
    /// # Errors
    /// [`FilterError::OverBudget`], where a stage is full and the next one does not fit; the filter
    /// is as it was.
    pub fn insert(&mut self, hash: u64) -> Result<(), FilterError> {
        if self.contains(hash) {
            return Ok(());
        }
        let last = self.stages.last().map_or((0, 1), |stage| (stage.keys, stage.room));
        if last.0 >= last.1 && self.stages.len() < MOST_STAGES {
            let room = last.1 * 2;
            let stage = self.stages.len();
            self.held.grow(Bytes::new(blocks_for(room, stage) * size_of::<Block>() as u64))?;
            self.stages.push(Stage::new(room, stage));
        }
        if let Some(stage) = self.stages.last_mut() {
            stage.insert(hash);
        }
        Ok(())
    }

    /// May the key of this hash be there? Never false for one that is.
    #[inline]
    pub fn contains(&self, hash: u64) -> bool {
        self.stages.iter().rev().any(|stage| stage.contains(hash))
    }

    /// Keys that were added, but for those that seemed to be there.
    pub fn len(&self) -> u64 {
        self.stages.iter().map(|stage| stage.keys).sum()
    }

    /// Was nothing added?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that it holds.
    pub fn footprint(&self) -> Bytes {
        self.held.bytes()
    }

    /// Appends it, with a checksum: for each stage keys, room, and its blocks.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        for stage in &self.stages {
            body.extend_from_slice(&stage.keys.to_le_bytes());
            body.extend_from_slice(&stage.room.to_le_bytes());
            let words = stage.blocks.iter().flatten();
            words.for_each(|word| body.extend_from_slice(&word.to_le_bytes()));
        }
        frame::write(KIND, &[&body], out);
    }

    /// The filter that was written down as exactly these bytes.
    ///
    /// # Errors
    /// [`FilterError::Corrupt`] for anything else, [`FilterError::OverBudget`] where it does not fit.
    pub fn read_from(bytes: &[u8], account: &Account) -> Result<Self, FilterError> {
        let mut body = frame::read(KIND, bytes)?;
        let mut filter: Option<Self> = None;
        while let Some((head, rest)) = body.split_first_chunk::<16>() {
            let number = |at: usize| {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&head[at..at + 8]);
                u64::from_le_bytes(bytes)
            };
            let (keys, room) = (number(0), number(8));
            let stage = filter.as_ref().map_or(0, |filter| filter.stages.len());
            let expected = blocks_for(room.min(1 << 50), stage) * size_of::<Block>() as u64;
            if room == 0 || keys > room || expected > rest.len() as u64 {
                return Err(corrupt("blocks of a stage", expected, rest.len() as u64));
            }
            let (blocks, rest) = rest.split_at(expected as usize);
            body = rest;
            let blocks = blocks.chunks_exact(size_of::<Block>()).map(|block| {
                let (words, _) = block.as_chunks::<4>();
                std::array::from_fn(|at| u32::from_le_bytes(words[at]))
            });
            match &mut filter {
                None => {
                    let mut first = Self::with_room_for(1, account)?;
                    first.held.resize(Bytes::of(MOST_STAGES * size_of::<Stage>()))?;
                    first.held.grow(Bytes::new(expected))?;
                    first.stages[0] = Stage { blocks: blocks.collect(), keys, room };
                    filter = Some(first);
                }
                Some(filter) if filter.stages.len() < MOST_STAGES => {
                    filter.held.grow(Bytes::new(expected))?;
                    filter.stages.push(Stage { blocks: blocks.collect(), keys, room });
                }
                Some(_) => return Err(corrupt("stages", MOST_STAGES as u64, u64::MAX)),
            }
        }
        match filter {
            Some(filter) if body.is_empty() => Ok(filter),
            _ => Err(corrupt("bytes behind the last stage", 0, body.len() as u64)),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use ambit_mem::{Budget, Priority};
    use proptest::prelude::*;

    use super::*;

    fn key(n: u64) -> u64 {
        let mixed = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 64 }))]

        #[test]
        fn no_key_is_missed_however_far_it_grows(
            room in 0_u64..200,
            keys in prop::collection::vec(any::<u64>(), 0..2_000),
            flip in any::<prop::sample::Index>(),
        ) {
            let budget = Budget::new(Bytes::mib(64));
            let account = budget.account("filters", Priority::Query);
            let mut filter = BloomFilter::with_room_for(room, &account).unwrap();
            keys.iter().for_each(|&key| filter.insert(key).unwrap());
            prop_assert!(keys.iter().all(|&key| filter.contains(key)));
            let mut bytes = Vec::new();
            filter.write_to(&mut bytes);
            let back = BloomFilter::read_from(&bytes, &account).unwrap();
            prop_assert!(keys.iter().all(|&key| back.contains(key)));
            prop_assert_eq!((back.len(), back.footprint()), (filter.len(), filter.footprint()));
            let at = flip.index(bytes.len());
            bytes[at] ^= 0x10;
            prop_assert!(BloomFilter::read_from(&bytes, &account).is_err());
        }

        #[test]
        fn bytes_with_a_right_checksum_never_panic(body in prop::collection::vec(any::<u8>(), 0..120)) {
            let budget = Budget::new(Bytes::mib(64));
            let account = budget.account("filters", Priority::Query);
            let mut bytes = Vec::new();
            frame::write(KIND, &[&body], &mut bytes);
            if let Ok(filter) = BloomFilter::read_from(&bytes, &account) {
                assert!((0..100).filter(|&n| filter.contains(key(n))).count() <= 100);
            }
        }
    }

    #[test]
    fn few_absent_keys_get_through_also_when_it_has_grown() {
        let budget = Budget::new(Bytes::mib(64));
        let account = budget.account("filters", Priority::Query);
        for (room, at_most) in [(100_000, 1_500), (1_000, 2_500)] {
            let mut filter = BloomFilter::with_room_for(room, &account).unwrap();
            (0..100_000).for_each(|n| filter.insert(key(n)).unwrap());
            let through = (1_000_000..1_100_000).filter(|&n| filter.contains(key(n))).count();
            assert!(through < at_most, "{through} of 100,000, first stage {room}");
        }
    }

    #[test]
    fn a_stage_that_does_not_fit_leaves_the_filter_as_it_was() {
        let budget = Budget::new(Bytes::kib(5));
        let account = budget.account("filters", Priority::Write);
        let mut filter = BloomFilter::with_room_for(500, &account).unwrap();
        let refused = (0..100_000).find(|&n| filter.insert(key(n)).is_err()).unwrap();
        assert!(refused >= 500);
        assert!((0..refused).all(|n| filter.contains(key(n))));
        assert!(budget.used() <= Bytes::kib(5));
    }
}
