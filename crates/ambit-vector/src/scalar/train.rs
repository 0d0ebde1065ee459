//! By how much are the ends of a range worth cutting off?
//!
//! A narrower range has finer levels, and what lies outside is off by more. Training tries a few
//! parts of the whole range and keeps the one whose codes are nearest to the rows of the sample,
//! in the sum of squared distances: 16 levels like a cut, 256 hardly.

use super::quantizer::{Dimensions, ScalarQuantizer, ScalarWidth, levels};
use crate::quantizer::{CodeError, check_dim, check_rows};

/// Rows of the sample that are looked at, spread evenly over it.
const SAMPLE: usize = 1024;

/// Parts of the range that are tried.
const CLIPS: [f32; 9] = [1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7, 0.65];

/// What the levels of a number lie between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScalarRange {
    /// The smallest and the largest number of its row.
    Row,
    /// The smallest and the largest number of its dimension in the sample. Better where some
    /// dimensions are much louder than others.
    Dimension,
}

/// What kind of codes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScalarOptions {
    /// Bits of a number.
    pub width: ScalarWidth,
    /// What its levels lie between.
    pub range: ScalarRange,
}

impl ScalarOptions {
    /// Eight bits, by row.
    pub const INT8: Self = Self { width: ScalarWidth::Int8, range: ScalarRange::Row };
    /// Four bits, by row.
    pub const INT4: Self = Self { width: ScalarWidth::Int4, range: ScalarRange::Row };
}

impl ScalarQuantizer {
    /// Trains on `sample`, n x `dim`, of which at most 1,024 rows are looked at.
    ///
    /// # Errors
    /// A dimension of 0 or too many, no row, rows of another length, or, by dimension, numbers
    /// that are not finite.
    ///
    /// # Cost
    /// Reads the looked-at rows ten times; allocates [`ScalarQuantizer::training_bytes`].
    pub fn train(options: ScalarOptions, dim: usize, sample: &[f32]) -> Result<Self, CodeError> {
        check_dim(dim)?;
        let n = sample.len() / dim;
        check_rows("sample", dim, n, sample.len())?;
        if n == 0 {
            return Err(CodeError::NoSample);
        }
        let rows = || sample.chunks_exact(dim).step_by(n.div_ceil(SAMPLE));
        let ScalarOptions { width, range } = options;
        let extremes = match range {
            ScalarRange::Row => None,
            ScalarRange::Dimension => Some(extremes(dim, rows())?),
        };
        let mut code = vec![0; width.packing().row_len(dim)];
        let mut best: Option<(f64, Self)> = None;
        for clip in CLIPS {
            let dimensions = extremes.as_ref().map(|(low, high)| {
                let levels =
                    low.iter().zip(high).map(|(&low, &high)| levels(low, high, clip, width));
                let (offsets, steps) = levels.unzip();
                Dimensions::new(offsets, steps)
            });
            let candidate = Self { dim, width, clip, dimensions };
            let mut squares = 0.0;
            for row in rows() {
                let error = f64::from(candidate.encode_row(row, &mut code).error);
                squares += if error.is_finite() { error * error } else { 0.0 };
            }
            if best.as_ref().is_none_or(|(least, _)| squares < *least) {
                best = Some((squares, candidate));
            }
        }
        best.map(|(_, best)| best).ok_or(CodeError::NoSample)
    }

    /// Bytes that training allocates at most, the trained quantizer included.
    pub const fn training_bytes(options: ScalarOptions, dim: usize) -> usize {
        // A code; two ends, and two quantizers of three numbers a dimension.
        let dimensions = match options.range {
            ScalarRange::Row => 0,
            ScalarRange::Dimension => (2 + 2 * 3) * size_of::<f32>() * dim,
        };
        dim + dimensions
    }
}

/// The smallest and the largest number of each dimension.
fn extremes<'a>(
    dim: usize,
    rows: impl Iterator<Item = &'a [f32]>,
) -> Result<(Vec<f32>, Vec<f32>), CodeError> {
    let (mut low, mut high) = (vec![f32::INFINITY; dim], vec![f32::NEG_INFINITY; dim]);
    for row in rows {
        for ((&x, low), high) in row.iter().zip(&mut low).zip(&mut high) {
            if !x.is_finite() {
                return Err(CodeError::NotFinite);
            }
            (*low, *high) = (low.min(x), high.max(x));
        }
    }
    Ok((low, high))
}
