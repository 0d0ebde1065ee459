//! Does the lossless codec give back every float32 that there is?
//!
//! All 2^32 patterns are cut into 2,048 blocks. A block is a segment of 512 numbers a row in their
//! natural order, so that rows share exponents as those of embeddings do, encoded at both levels,
//! decoded and compared by bits. A run is one block; blocks are far from each other, so that few
//! runs already see signs, infinities, NaNs and subnormals.

use std::ops::AddAssign;

use ambit_vector::lossless::{Encoder, Level, LosslessError, Scratch, Segment, max_encoded_len};

use crate::fleet::{self, Failure};

/// Blocks of all patterns.
pub const BLOCKS: u64 = 2048;
const BLOCK: usize = 1 << 21;
const DIM: usize = 512;
/// Coprime to the blocks, and near their golden section.
const STRIDE: u64 = 1265;

/// What was done.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Blocks that came back.
    pub blocks: u64,
    /// Bytes that they took at both levels.
    pub bytes: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.bytes += other.bytes;
    }
}

/// Sends `count` blocks through the codec, from the one that `seed` says on.
pub fn torture(seed: u64, count: u64) -> (Tally, Option<Failure>) {
    fleet::run(seed, one, move |tally: &Tally| tally.blocks >= count)
}

fn one(run: u64) -> (Tally, Result<(), String>) {
    let block = run.wrapping_mul(STRIDE) % BLOCKS;
    let mut tally = Tally::default();
    for level in [Level::Fast, Level::Compact] {
        match through(block, level) {
            Ok(bytes) => tally.bytes += bytes as u64,
            Err(what) => return (tally, Err(format!("block {block}, {level:?}: {what}"))),
        }
    }
    tally.blocks = 1;
    (tally, Ok(()))
}

fn through(block: u64, level: Level) -> Result<usize, String> {
    let first = block as u32 * BLOCK as u32;
    let rows: Vec<f32> = (first..=first + (BLOCK as u32 - 1)).map(f32::from_bits).collect();
    let failed = |error: LosslessError| error.to_string();
    let room = max_encoded_len(BLOCK / DIM, DIM).ok_or("too large")?;
    let mut bytes = vec![0; room];
    let mut encoder = Encoder::new(DIM, level).map_err(failed)?;
    let len = encoder.encode_segment(&rows, &mut bytes).map_err(failed)?;
    let segment = Segment::open(bytes.get(..len).unwrap_or_default()).map_err(failed)?;
    let mut back = vec![0.0; BLOCK];
    segment.decode_rows(0, &mut Scratch::new(DIM), &mut back).map_err(failed)?;
    let differs = back.iter().zip(&rows).find(|(a, b)| a.to_bits() != b.to_bits());
    match differs {
        None => Ok(len),
        Some((a, b)) => Err(format!("{:#010x} came back as {:#010x}", b.to_bits(), a.to_bits())),
    }
}
