//! A query as integers, laid out for the kernels.
//!
//! One weight for each element, from -[`MAX_WEIGHT`] to [`MAX_WEIGHT`], kept as words and as two
//! planes of bytes (128 high + low), because processors multiply the one or the other fast. For
//! levels in half bytes the weights of the low halves come first, then those of the high halves.
//! Behind each there are zeros, so that loops load whole registers, and what a row has beyond
//! its elements weighs nothing.

use super::bytes::WeightsAt;
use super::integers::CodeWidth;

/// The largest weight: 127 * 128, so that the high byte fits an int8.
pub const MAX_WEIGHT: i16 = 16_256;

/// Weights that a register may be loaded from past the last element.
const REGISTER: usize = 64;

/// Integer weights for the elements of packed rows.
#[derive(Debug, Clone)]
pub struct Weights {
    width: CodeWidth,
    dim: usize,
    /// Where the second half begins, if there is one.
    half: usize,
    words: Vec<i16>,
    high: Vec<i8>,
    low: Vec<i8>,
}

impl Weights {
    /// All weights 0, for rows of `dim` elements.
    ///
    /// # Cost
    /// Allocates [`Weights::bytes`].
    pub fn new(width: CodeWidth, dim: usize) -> Self {
        let places = Self::places_of(width, dim);
        let half = if width == CodeWidth::Four { places / 2 } else { 0 };
        Self {
            width,
            dim,
            half,
            words: vec![0; places],
            high: vec![0; places],
            low: vec![0; places],
        }
    }

    /// Bytes that [`Weights::new`] allocates.
    pub const fn bytes(width: CodeWidth, dim: usize) -> usize {
        4 * Self::places_of(width, dim)
    }

    const fn places_of(width: CodeWidth, dim: usize) -> usize {
        match width {
            CodeWidth::Four => 2 * dim.div_ceil(2).next_multiple_of(REGISTER),
            _ => dim.next_multiple_of(REGISTER),
        }
    }

    /// How rows are packed.
    pub fn width(&self) -> CodeWidth {
        self.width
    }

    /// Elements of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Bytes of a row.
    pub fn row_len(&self) -> usize {
        self.width.row_len(self.dim)
    }

    /// Sets the weight of every element; dim of them.
    ///
    /// # Panics
    ///
    /// If `weights` has another length, or one is beyond [`MAX_WEIGHT`].
    pub fn set(&mut self, weights: &[i16]) {
        assert_eq!(weights.len(), self.dim, "one weight for each element");
        self.fill(|element| weights[element]);
    }

    /// [`Weights::set`], each weight from a function of its element.
    pub(crate) fn fill(&mut self, mut weight: impl FnMut(usize) -> i16) {
        let first = if self.width == CodeWidth::Four { self.dim.div_ceil(2) } else { self.dim };
        for element in 0..self.dim {
            let weight = weight(element);
            assert!(weight.unsigned_abs() <= MAX_WEIGHT as u16, "weight {weight} is too large");
            let place = if element < first { element } else { self.half + element - first };
            // In [-127, 127], and the rest in [-64, 63]: exact in both planes.
            let high = (weight + 64) >> 7;
            self.words[place] = weight;
            self.high[place] = high as i8;
            self.low[place] = (weight - (high << 7)) as i8;
        }
    }

    /// Where the two halves begin.
    pub(super) fn places(&self) -> [WeightsAt; 2] {
        let (_, words) = self.words.split_at(self.half);
        let (_, high) = self.high.split_at(self.half);
        let (_, low) = self.low.split_at(self.half);
        let at = |words: &[i16], high: &[i8], low: &[i8]| WeightsAt {
            words: words.as_ptr(),
            high: high.as_ptr(),
            low: low.as_ptr(),
        };
        [at(&self.words, &self.high, &self.low), at(words, high, low)]
    }
}
