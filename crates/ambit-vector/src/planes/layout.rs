//! How many bits which component gets, and where its bytes lie.
//!
//! Coarse plane: blocks of 16 rows. First the head, 64 bytes for each 8 components: byte
//! 4r + b of row r holds component b in its low and component 4 + b in its high half. Then the
//! middle, 64 bytes for each 16 components: byte 4r + b holds components b, 4 + b, 8 + b and
//! 12 + b, from its low bits up. Then, as 16 bfloat16 each: scale of the head, scale of the
//! middle, error of the head, of the middle, of the tail. Then, but for cosine, 16 float32
//! norms.
//!
//! Fine plane: rows. In stretches of 128 components (the last one shorter, of r), byte b holds
//! component b in its low and component ceil(r / 2) + b in its high half. Then scale and error,
//! bfloat16.

use crate::Metric;

/// Rows of a coarse block.
pub const BLOCK_ROWS: usize = 16;

/// The largest dimension that can be coded: its basis has 64 MiB.
pub const MAX_DIM: usize = 4096;

/// Components of the head and of the middle come in so many.
pub(super) const GRAIN: usize = 16;

/// Components of a stretch of the fine plane.
pub(super) const STRETCH: usize = 128;

/// Bytes of the numbers beside a block's codes.
const FACTORS: usize = 5 * 2 * BLOCK_ROWS;

/// Sizes of the planes of one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Elements of a row.
    pub dim: usize,
    /// Components of 4 bits in the coarse plane, a multiple of 16; may pass `dim`.
    pub head: usize,
    /// Components of 2 bits in the coarse plane, a multiple of 16; with the head may pass `dim`.
    pub middle: usize,
    /// Are norms kept beside the codes?
    pub has_norms: bool,
}

impl Layout {
    /// Divides 2 bits a dimension between head and middle so that the expected bound is
    /// smallest. `spectrum`: the mean square of each component, descending.
    pub(super) fn choose(spectrum: &[f64], metric: Metric) -> Self {
        let dim = spectrum.len();
        let has_norms = metric != Metric::Cosine;
        let whole = dim.next_multiple_of(GRAIN);
        let layout = |head, middle| Self { dim, head, middle, has_norms };
        if dim <= 4 * GRAIN {
            return layout(whole, 0);
        }
        // 4 bits for the head and 2 for the middle: a component more in the head is two fewer
        // in the middle.
        let heads = (0..=whole / 2).step_by(GRAIN);
        let divided = heads.map(|head| layout(head, whole - 2 * head));
        let expected = |layout: &Self| layout.expected_radius(spectrum);
        divided.min_by(|a, b| expected(a).total_cmp(&expected(b))).unwrap_or(layout(0, whole))
    }

    /// The bound on the coarse plane's error that an average row and query would meet.
    fn expected_radius(&self, spectrum: &[f64]) -> f64 {
        /// Mean relative error of uniform codes of 4 and of 2 bits on normal values.
        const LEFT: [f64; 3] = [0.106, 0.344, 1.0];
        let dim = self.dim;
        let (middle, tail) = (self.head.min(dim), (self.head + self.middle).min(dim));
        let groups = [&spectrum[..middle], &spectrum[middle..tail], &spectrum[tail..]];
        groups.iter().zip(LEFT).map(|(group, left)| left * group.iter().sum::<f64>()).sum()
    }

    /// Components that are computed: the dimension, or more where the groups pass it.
    pub(super) fn components(&self) -> usize {
        self.dim.max(self.head + self.middle)
    }

    /// Bytes of a block of the coarse plane, which holds [`BLOCK_ROWS`] rows.
    pub fn coarse_block_len(&self) -> usize {
        self.norms_at() + if self.has_norms { 4 * BLOCK_ROWS } else { 0 }
    }

    /// Bytes of a row of the fine plane.
    pub fn fine_len(&self) -> usize {
        self.fine_codes_len() + 4
    }

    /// Bytes of both planes of `rows` rows.
    pub fn footprint(&self, rows: usize) -> usize {
        rows.div_ceil(BLOCK_ROWS) * self.coarse_block_len() + rows * self.fine_len()
    }

    /// Where in a block the middle begins.
    pub(super) fn middle_at(&self) -> usize {
        self.head / 2 * BLOCK_ROWS
    }

    /// Where in a block the scales and errors begin.
    pub(super) fn factors_at(&self) -> usize {
        self.middle_at() + self.middle / 4 * BLOCK_ROWS
    }

    /// Where in a block the norms would begin.
    pub(super) fn norms_at(&self) -> usize {
        self.factors_at() + FACTORS
    }

    /// Bytes of a fine row's codes.
    pub(super) fn fine_codes_len(&self) -> usize {
        self.dim / STRETCH * (STRETCH / 2) + (self.dim % STRETCH).div_ceil(2)
    }
}
