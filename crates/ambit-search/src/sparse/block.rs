//! Postings of one term in blocks, and the best that a block can give.
//!
//! ```text
//! block = u8 bits of a row, u8 bits of a value, rows - bit-packed, values - bit-packed
//! rows  : the gap to the row before, minus 1; of the first row of a block, to the end of the block
//!         before (of the first block, to the first row of the run)
//! values: counts minus 1, or the bits of the float32 weights as they are
//! ```
//!
//! A block of [`BLOCK`] postings has a [`Skip`]: its last row, where it lies, and a bound. Of counts,
//! the bound is up to four pairs (count, length of the row) such that each posting has a pair
//! with no smaller count and no greater length; BM25 grows with the count and falls with the
//! length, so the best pair bounds the block at any mean length (what Grand, Muir, Ferenczi and Lin,
//! 2020, call impacts). Of weights, it is the largest and the smallest.

use super::bits::{pack, packed_len, unpack, width_of};
use super::score::Score;

/// Postings of a block.
pub const BLOCK: usize = 128;

/// What the values of a run are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// How often a term occurs in a row, at least 1; rows have lengths.
    Counts,
    /// The bits of float32 weights.
    Weights,
}

/// A posting that is to be written: row, value, and the row's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Posting {
    pub(super) row: u32,
    pub(super) value: u32,
    pub(super) length: u32,
}

/// What can be known of a block without reading it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Skip {
    pub(super) last: u32,
    /// Offset of the block from the first one of its term.
    pub(super) offset: u32,
    bound: Bound,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Bound {
    /// (count, length), both capped at 65,535; a capped count stands for any.
    Counts([(u16, u16); 4]),
    Weights {
        most: f32,
        least: f32,
    },
}

impl Skip {
    /// Bytes of one.
    pub(super) const LEN: usize = 24;

    /// Of a block of `postings`, at least one, at `offset`.
    pub(super) fn of(values: Values, postings: &[Posting], offset: u32) -> Self {
        let last = postings.last().map_or(0, |posting| posting.row);
        let bound = match values {
            Values::Counts => Bound::Counts(front(postings)),
            Values::Weights => {
                let weights = postings.iter().map(|posting| f32::from_bits(posting.value));
                let (most, least) = weights
                    .fold((f32::NEG_INFINITY, f32::INFINITY), |(most, least), weight| {
                        (most.max(weight), least.min(weight))
                    });
                Bound::Weights { most, least }
            }
        };
        Self { last, offset, bound }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.last.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        match self.bound {
            Bound::Counts(pairs) => {
                for number in pairs.iter().flat_map(|&(count, length)| [count, length]) {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
            Bound::Weights { most, least } => {
                out.extend_from_slice(&most.to_le_bytes());
                out.extend_from_slice(&least.to_le_bytes());
                out.extend_from_slice(&[0; 8]);
            }
        }
    }

    pub(super) fn decode(values: Values, bytes: &[u8; Self::LEN]) -> Self {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
        let bound = match values {
            Values::Counts => Bound::Counts([8, 12, 16, 20].map(|at| (u16_at(at), u16_at(at + 2)))),
            Values::Weights => {
                let weight = |at| f32::from_bits(u32_at(at));
                Bound::Weights { most: weight(8), least: weight(12) }
            }
        };
        Self { last: u32_at(0), offset: u32_at(4), bound }
    }

    /// The most that a row of the block can gain by this term, at least 0, and the largest amount
    /// that it can change by.
    pub(super) fn best(&self, score: &Score) -> (f64, f64) {
        match self.bound {
            Bound::Counts(pairs) => {
                let gain = |&(count, length): &(u16, u16)| match count {
                    0 => 0.0,
                    u16::MAX => score.of(u32::MAX, u32::from(length)),
                    count => score.of(u32::from(count), u32::from(length)),
                };
                let best = pairs.iter().map(gain).fold(0.0, f64::max);
                (best, best)
            }
            Bound::Weights { most, least } => {
                let ends = [most, least].map(|weight| score.of(weight.to_bits(), 0));
                let most = ends[0].max(ends[1]).max(0.0);
                (most, ends[0].abs().max(ends[1].abs()))
            }
        }
    }
}

/// At most four pairs that cover all postings, unused ones zero.
fn front(postings: &[Posting]) -> [(u16, u16); 4] {
    let cap = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
    let mut pairs: Vec<(u16, u16)> =
        postings.iter().map(|posting| (cap(posting.value), cap(posting.length))).collect();
    // By falling count; then only a shorter row than all before adds anything.
    pairs.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut front: Vec<(u16, u16)> = Vec::new();
    for pair in pairs {
        if front.last().is_none_or(|last| pair.1 < last.1) {
            front.push(pair);
        }
    }
    let mut covered = [(0, 0); 4];
    if let (true, Some(last)) = (front.len() > 4, front.last()) {
        // The count of the third with the shortest length covers what comes after it.
        covered[3] = (front[3].0, last.1);
        front.truncate(3);
    }
    for (slot, pair) in covered.iter_mut().zip(front) {
        *slot = pair;
    }
    covered
}

/// Appends a block of `postings`; rows begin at `first`.
pub(super) fn encode(values: Values, first: u32, postings: &[Posting], out: &mut Vec<u8>) {
    let mut next = first;
    let mut numbers = Vec::with_capacity(postings.len());
    for posting in postings {
        numbers.push(posting.row - next);
        next = posting.row + 1;
    }
    let row_width = width_of(&numbers);
    let base = u32::from(values == Values::Counts);
    let kept: Vec<u32> = postings.iter().map(|posting| posting.value - base).collect();
    let value_width = width_of(&kept);
    out.extend_from_slice(&[row_width, value_width]);
    pack(&numbers, row_width, out);
    pack(&kept, value_width, out);
}

/// Bytes of a block of `count` postings that begins with these two bytes.
pub(super) fn len_of(head: [u8; 2], count: usize) -> usize {
    2 + packed_len(count, head[0].min(32)) + packed_len(count, head[1].min(32))
}

/// Reads the block that `bytes` begin with into `rows` and `kept`, which have one length: that of the block.
/// None where it is cut, or its rows reach `end`.
pub(super) fn decode(
    values: Values,
    first: u32,
    end: u32,
    bytes: &[u8],
    rows: &mut [u32],
    kept: &mut [u32],
) -> Option<()> {
    let &head = bytes.first_chunk::<2>()?;
    let bytes = bytes.get(2..len_of(head, rows.len()))?;
    let (row_bytes, value_bytes) = bytes.split_at(packed_len(rows.len(), head[0].min(32)));
    unpack(row_bytes, head[0], rows);
    unpack(value_bytes, head[1], kept);
    let mut next = u64::from(first);
    for row in rows {
        let at = next + u64::from(*row);
        *row = u32::try_from(at).ok().filter(|&at| at < end)?;
        next = at + 1;
    }
    if values == Values::Counts {
        kept.iter_mut().for_each(|value| *value = value.saturating_add(1));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sparse::score::Scoring;
    use proptest::prelude::*;

    fn postings(gaps: &[(u32, u32, u32)]) -> Vec<Posting> {
        let mut row = 5;
        gaps.iter()
            .map(|&(gap, value, length)| {
                row += gap + 1;
                Posting { row, value, length }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_block_comes_back_and_no_posting_passes_its_bound(
            gaps in prop::collection::vec((0u32..5000, 1u32..200_000, 1u32..200_000), 1..=BLOCK),
            few in prop::collection::vec((0u32..3, 1u32..6, 3u32..40), 1..=BLOCK),
            mean in 1f64..1e5,
        ) {
            for gaps in [gaps, few] {
                let postings = postings(&gaps);
                for values in [Values::Counts, Values::Weights] {
                    let mut bytes = Vec::new();
                    encode(values, 6, &postings, &mut bytes);
                    prop_assert_eq!(len_of([bytes[0], bytes[1]], postings.len()), bytes.len());
                    let (mut rows, mut kept) = (vec![0; postings.len()], vec![0; postings.len()]);
                    let end = postings[postings.len() - 1].row + 1;
                    let read = decode(values, 6, end, &bytes, &mut rows, &mut kept);
                    prop_assert!(read.is_some());
                    for (posting, (&row, &value)) in postings.iter().zip(rows.iter().zip(&kept)) {
                        prop_assert_eq!((posting.row, posting.value), (row, value));
                    }
                    prop_assert!(decode(values, 6, end - 1, &bytes, &mut rows, &mut kept).is_none());
                    prop_assert!(
                        decode(values, 6, end, &bytes[..bytes.len() - 1], &mut rows, &mut kept)
                            .is_none()
                    );
                    let skip = Skip::of(values, &postings, 7);
                    let mut encoded = Vec::new();
                    skip.encode(&mut encoded);
                    let read = Skip::decode(values, encoded.first_chunk().unwrap());
                    prop_assert_eq!(read, skip);
                    let scoring = match values {
                        Values::Counts => Scoring::Bm25,
                        Values::Weights => Scoring::Inner,
                    };
                    for factor in [0.25, 3.0] {
                        let score = Score::new(scoring, factor, mean);
                        let (best, _) = skip.best(&score);
                        for posting in &postings {
                            let found = score.of(posting.value, posting.length);
                            prop_assert!(found <= best * (1.0 + 1e-12), "{} {}", found, best);
                        }
                    }
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, count in 0usize..=BLOCK, end: u32) {
            let (mut rows, mut kept) = (vec![0; count], vec![0; count]);
            let _ = decode(Values::Counts, 0, end, &bytes, &mut rows, &mut kept);
        }
    }
}
