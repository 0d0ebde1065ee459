//! Which bits stand for which symbol? Canonical prefix codes of at most 15 bits.
//!
//! Lengths are Huffman's (D. Huffman, A method for the construction of minimum-redundancy codes,
//! 1952); where a code would be longer than 15 bits, counts are halved and it is built anew.
//! Codes are canonical: counted up in the order of (length, symbol), sent highest bit first into
//! a stream that is filled lowest bit first. Every code has the symbol [`ESCAPE`], which stands
//! for a value that follows in full, so any value can be sent with any code.
//!
//! In a model a code is: the length of the escape and those of the symbols from the first one to
//! the last one, as half bytes, low half first. A 0 is followed by a half byte r: r + 1 symbols
//! have no code; r = 15 is followed by three more, lowest first: so many and 16 symbols.

use super::error::{LosslessError, corrupt};

/// The longest code in bits.
pub(super) const MAX_LEN: u32 = 15;
/// The symbol for a value that follows in full. Above all others.
pub(super) const ESCAPE: u16 = u16::MAX;
/// Symbols that one code may have.
pub(super) const MAX_SYMBOLS: usize = 8192;

/// A symbol and the length of its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Length {
    pub(super) len: u8,
    pub(super) symbol: u16,
}

/// Lengths in canonical order; a complete prefix code that has the escape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PrefixCode {
    lengths: Vec<Length>,
}

impl PrefixCode {
    /// The best code for `counts[symbol]`; a symbol that was not counted gets none, the escape
    /// gets one in any case.
    pub(super) fn of_counts(counts: &[u32]) -> Self {
        let counted = counts.iter().zip(0..ESCAPE).filter(|(count, _)| **count > 0);
        let mut weighted: Vec<(u64, u16)> =
            counted.map(|(count, symbol)| (u64::from(*count), symbol)).collect();
        // The most frequent ones, if there are more than a model takes.
        weighted.sort_unstable_by(|a, b| b.cmp(a));
        weighted.truncate(MAX_SYMBOLS - 2);
        if weighted.is_empty() {
            weighted.push((1, 0));
        }
        weighted.push((1, ESCAPE));
        loop {
            weighted.sort_unstable();
            let depths = depths(&weighted);
            if depths.iter().all(|depth| *depth <= MAX_LEN) {
                let mut lengths: Vec<Length> = weighted
                    .iter()
                    .zip(&depths)
                    .map(|(&(_, symbol), &len)| Length { len: len as u8, symbol })
                    .collect();
                lengths.sort_unstable();
                return Self { lengths };
            }
            for (weight, _) in &mut weighted {
                *weight = weight.div_ceil(2);
            }
        }
    }

    /// Lengths in canonical order.
    pub(super) fn lengths(&self) -> &[Length] {
        &self.lengths
    }

    /// Each symbol with its code, first bit lowest, and the code's length.
    pub(super) fn codes(&self) -> impl Iterator<Item = (u16, u16, u8)> + '_ {
        let (mut next, mut before) = (0u32, 0u8);
        self.lengths.iter().map(move |length| {
            next <<= length.len - before;
            before = length.len;
            let code = (next as u16).reverse_bits() >> (16 - u32::from(length.len));
            next += 1;
            (length.symbol, code, length.len)
        })
    }

    /// Appends the code to a model.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut by_symbol = self.lengths.clone();
        by_symbol.sort_unstable_by_key(|length| length.symbol);
        let Some((escape, symbols)) = by_symbol.split_last() else { return };
        let first = symbols.first().map_or(0, |length| length.symbol);
        let span = symbols.last().map_or(0, |last| last.symbol - first + 1);
        out.extend_from_slice(&first.to_le_bytes());
        out.extend_from_slice(&span.to_le_bytes());
        let mut halves = vec![escape.len];
        let mut expected = first;
        for length in symbols {
            let mut gap = length.symbol - expected;
            while gap > 0 {
                let run = gap.min(16 + 0xFFF);
                match run.checked_sub(16) {
                    None => halves.extend([0, run as u8 - 1]),
                    Some(more) => {
                        halves.extend([0, 15]);
                        halves.extend([0, 4, 8].map(|shift| (more >> shift & 15) as u8));
                    }
                }
                gap -= run;
            }
            halves.push(length.len);
            expected = length.symbol + 1;
        }
        for pair in halves.chunks(2) {
            out.push(pair[0] | pair.get(1).map_or(0, |high| high << 4));
        }
    }

    /// Reads what [`PrefixCode::write`] wrote from the front of `bytes`.
    ///
    /// # Errors
    /// Bytes that end early, or lengths that are no complete prefix code.
    pub(super) fn read(bytes: &mut &[u8]) -> Result<Self, LosslessError> {
        let (head, rest) = bytes.split_first_chunk::<4>().ok_or(corrupt("code"))?;
        let first = u32::from(u16::from_le_bytes([head[0], head[1]]));
        let end = first + u32::from(u16::from_le_bytes([head[2], head[3]]));
        if end > u32::from(ESCAPE) {
            return Err(corrupt("range of symbols"));
        }
        let mut at = 0usize;
        let mut half = || {
            let byte = *rest.get(at / 2).ok_or(corrupt("code lengths"))?;
            let half = if at.is_multiple_of(2) { byte & 15 } else { byte >> 4 };
            at += 1;
            Ok(half)
        };
        let mut lengths = vec![Length { len: half()?, symbol: ESCAPE }];
        let mut symbol = first;
        while symbol < end {
            match half()? {
                0 => match half()? {
                    15 => {
                        let more = [half()?, half()?, half()?].map(u32::from);
                        symbol += 16 + (more[0] | more[1] << 4 | more[2] << 8);
                    }
                    run => symbol += u32::from(run) + 1,
                },
                len => {
                    lengths.push(Length { len, symbol: symbol as u16 });
                    symbol += 1;
                }
            }
            if lengths.len() > MAX_SYMBOLS {
                return Err(corrupt("number of symbols"));
            }
        }
        let filled: u32 =
            lengths.iter().map(|length| 1u32 << (MAX_LEN - u32::from(length.len))).sum();
        let complete = filled == 1 << MAX_LEN && lengths.iter().all(|length| length.len > 0);
        if symbol != end || !complete {
            return Err(corrupt("prefix code"));
        }
        *bytes = rest.get(at.div_ceil(2)..).unwrap_or_default();
        lengths.sort_unstable();
        Ok(Self { lengths })
    }
}

/// Depths of the leaves of a Huffman tree over weights in ascending order, at least two.
fn depths(weighted: &[(u64, u16)]) -> Vec<u32> {
    let n = weighted.len();
    let mut parents = vec![0usize; 2 * n - 1];
    let mut weights: Vec<u64> = weighted.iter().map(|(weight, _)| *weight).collect();
    weights.resize(2 * n - 1, 0);
    // Two queues: leaves ascend, and inner nodes are made in ascending order.
    let (mut leaf, mut inner) = (0, n);
    for made in n..2 * n - 1 {
        for _ in 0..2 {
            let from_leaves = leaf < n && (inner == made || weights[leaf] <= weights[inner]);
            let least = if from_leaves { &mut leaf } else { &mut inner };
            parents[*least] = made;
            weights[made] += weights[*least];
            *least += 1;
        }
    }
    let mut depths = vec![0u32; 2 * n - 1];
    for node in (0..2 * n - 2).rev() {
        depths[node] = depths[parents[node]] + 1;
    }
    depths.truncate(n);
    depths
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_code_comes_back_from_its_bytes(
            counts in prop::collection::vec(prop_oneof![Just(0u32), 0u32..5, any::<u32>()], 0..400),
        ) {
            let code = PrefixCode::of_counts(&counts);
            let mut bytes = Vec::new();
            code.write(&mut bytes);
            bytes.push(99);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(PrefixCode::read(&mut rest).unwrap(), code);
            prop_assert_eq!(rest, &[99]);
        }

        #[test]
        fn a_code_spends_less_than_a_bit_more_than_the_entropy(
            counts in prop::collection::vec(0u32..100_000, 2..300),
        ) {
            let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
            let entropy: f64 = counts.iter().filter(|count| **count > 0)
                .map(|count| f64::from(*count) * (total / f64::from(*count)).log2()).sum();
            let code = PrefixCode::of_counts(&counts);
            let spent: f64 = code.lengths().iter().filter(|length| length.symbol != ESCAPE)
                .map(|length| f64::from(counts[usize::from(length.symbol)]) * f64::from(length.len))
                .sum();
            prop_assert!(spent <= entropy + total + 1.0, "{spent} {entropy} {total}");
        }

        #[test]
        fn bytes_that_are_no_code_are_an_error_or_a_complete_code(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            if let Ok(code) = PrefixCode::read(&mut bytes.as_slice()) {
                let filled: u32 = code.lengths().iter()
                    .map(|length| 1u32 << (MAX_LEN - u32::from(length.len))).sum();
                prop_assert_eq!(filled, 1 << MAX_LEN);
            }
        }
    }
}
