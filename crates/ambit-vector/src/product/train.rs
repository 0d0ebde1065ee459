//! How are the codebooks found? k-means on each part of the sample.

use std::ops::ControlFlow;

use super::model::{Product, check_options, part_start};
use super::options::{ProductOptions, Turn};
use super::{learn, matrix::Matrix};
use crate::kmeans::{self, Balance, KmeansError, Options};
use crate::quantizer::CodeError;
use crate::wide::LANES;

impl Product {
    /// Finds codebooks for a sample.
    ///
    /// `rows`: n x dim, row-major f32, at least one, finite. 64 to 256 rows a centroid are
    /// customary: a few thousand for 4 bits, 20,000 and more for 8. Fewer rows than centroids are
    /// repeated. The result is the same for a seed, bit for bit, on every processor.
    ///
    /// # Errors
    /// Options that make no sense; a sample of another shape, or that is not finite.
    ///
    /// # Cost
    /// n x centroids x dim multiply-adds a step. Holds [`Product::training_bytes`].
    pub fn train(options: ProductOptions, rows: &[f32]) -> Result<Self, CodeError> {
        check_options(&options)?;
        let count = rows.len() / options.dim;
        if count * options.dim != rows.len() {
            let expected = (count + 1) * options.dim;
            return Err(CodeError::Shape { what: "sample", expected, found: rows.len() });
        }
        if count == 0 {
            return Err(CodeError::NoSample);
        }
        match options.turn {
            Turn::None => Ok(Self::of(options, books(&options, rows, options.steps)?, None)),
            Turn::Learned => learn::train(options, rows),
        }
    }

    /// The most that training on `rows` rows holds beside them, the quantizer included, in bytes.
    pub const fn training_bytes(options: &ProductOptions, rows: usize) -> usize {
        let centroids = options.bits.centroids();
        let part = options.dim.div_ceil(options.parts);
        let sample = if rows < centroids { centroids } else { rows };
        let one_part = 4 * sample * part + kmeans::training_bytes(sample, part, centroids);
        let learning = match options.turn {
            Turn::Learned => learn::bytes(options, rows),
            _ => 0,
        };
        2 * Self::held_bytes(options) + one_part + learning + Matrix::bytes(1, 1)
    }
}

/// The codebooks of all parts, packed.
pub(super) fn books(
    options: &ProductOptions,
    rows: &[f32],
    steps: usize,
) -> Result<Vec<[f32; LANES]>, CodeError> {
    let (dim, centroids) = (options.dim, options.bits.centroids());
    let mut books = Vec::with_capacity(centroids / LANES * dim);
    for part in 0..options.parts {
        let start = part_start(dim, options.parts, part);
        let len = part_start(dim, options.parts, part + 1) - start;
        let wanted = (rows.len() / dim).max(centroids);
        let mut sample = Vec::with_capacity(wanted * len);
        for row in rows.chunks_exact(dim).cycle().take(wanted) {
            sample.extend_from_slice(&row[start..start + len]);
        }
        let options = Options {
            steps,
            seed: options.seed.wrapping_add(part as u64),
            balance: Balance::Nearest,
            ..Options::new(len, centroids)
        };
        let trained = kmeans::train(&sample, &options, &mut |_| ControlFlow::Continue(()))
            .map_err(|error| match error {
                KmeansError::NotFinite { .. } => CodeError::NotFinite,
                _ => CodeError::NoSample,
            })?;
        for panel in trained.centroids.chunks_exact(LANES * len) {
            for k in 0..len {
                books.push(std::array::from_fn(|lane| panel[lane * len + k]));
            }
        }
    }
    Ok(books)
}
