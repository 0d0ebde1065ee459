//! How is a query made ready? A table for each part of what it scores against each centroid.
//!
//! Entries are f32 first, then bytes: the least entry of each part goes into the base, and one
//! step, the same for all parts, is what the widest table needs for 255 of them. What rounding
//! may do to the sum of any code is kept, for intervals: half a step a part, a few roundings of
//! f32 for each number, and the error of a learned rotation.

use super::model::Product;
use super::options::Bits;
use crate::Metric;
use crate::bounds::UNIT_ROUNDOFF;
use crate::quantizer::CodeError;
use crate::wide::{Job, LANES, Set, Wide};

/// A query, made ready for scans of one quantizer's codes.
#[derive(Debug, Clone)]
pub struct ProductQuery {
    /// q, or R q with a learned rotation.
    pub(super) turned: Vec<f32>,
    /// Of 4 bits.
    pub(super) small: Vec<[u8; 16]>,
    /// Of 8 bits.
    pub(super) large: Vec<[u8; 256]>,
    /// The inner product with a code, or the squared distance to it, is about `step` x the sum of
    /// its entries + `base`.
    pub(super) step: f64,
    pub(super) base: f64,
    /// By how much that is wrong at most, for any code.
    pub(super) slack: f64,
    /// |q|.
    pub(super) norm: f64,
}

/// What part of a query scores against the centroids of a panel.
struct Entries<'a> {
    part: &'a [f32],
    book: &'a [[f32; LANES]],
    distances: bool,
    entries: &'a mut [[f32; LANES]],
}

impl Job for Entries<'_> {
    type Output = ();

    #[inline(always)]
    fn run<W: Wide>(self, wide: W) {
        for (panel, entries) in self.book.chunks_exact(self.part.len()).zip(self.entries) {
            let mut sum = wide.splat(0.0);
            for (x, register) in self.part.iter().zip(panel) {
                let (x, centroid) = (wide.splat(*x), wide.load(register));
                sum = match self.distances {
                    true => wide.mul_add(wide.sub(x, centroid), wide.sub(x, centroid), sum),
                    false => wide.mul_add(x, centroid, sum),
                };
            }
            wide.store(sum, entries);
        }
    }
}

impl Product {
    /// Makes a query of dim numbers ready. One that is not finite scores NaN everywhere.
    ///
    /// # Errors
    /// Another length.
    ///
    /// # Cost
    /// centroids x dim multiply-adds, and dim^2 with a learned rotation. Holds
    /// [`Product::query_bytes`].
    pub fn query(&self, vector: &[f32]) -> Result<ProductQuery, CodeError> {
        let (dim, found) = (self.options.dim, vector.len());
        if found != dim {
            return Err(CodeError::Shape { what: "query", expected: dim, found });
        }
        let mut turned = vector.to_vec();
        if let Some(learned) = &self.learned {
            learned.forward.multiply(vector, &mut turned);
        }
        let norm = crate::kernels().dot_f64(vector, vector).sqrt();
        let centroids = self.options.bits.centroids();
        let mut entries = vec![0.0; centroids * self.options.parts];
        self.fill(&turned, &mut entries);
        let (least, widest) = entries.chunks(centroids).fold((0.0, 0.0f32), |(sum, widest), of| {
            let (low, high) = extremes(of);
            (sum + f64::from(low), widest.max(high - low))
        });
        let step = if widest > 0.0 { widest / 255.0 } else { 1.0 };
        let mut query = ProductQuery {
            turned,
            small: Vec::new(),
            large: Vec::new(),
            step: f64::from(step),
            base: least,
            slack: self.slack(norm) + self.options.parts as f64 * 0.51 * f64::from(step),
            norm,
        };
        let tables = entries.chunks(centroids);
        match self.options.bits {
            Bits::Four => query.small = tables.map(|of| bytes(of, step)).collect(),
            Bits::Eight => query.large = tables.map(|of| bytes(of, step)).collect(),
        }
        if !(entries.iter().all(|x| x.is_finite()) && step.is_finite()) {
            (query.base, query.slack) = (f64::NAN, f64::INFINITY);
        }
        Ok(query)
    }

    /// Bytes that making a query holds, the query included.
    pub const fn query_bytes(&self) -> usize {
        let entries = self.options.bits.centroids() * self.options.parts;
        size_of::<ProductQuery>() + 4 * self.options.dim + 5 * entries
    }

    /// The entries of all parts.
    fn fill(&self, turned: &[f32], entries: &mut [f32]) {
        let distances = self.options.metric == Metric::Euclidean;
        let centroids = self.options.bits.centroids();
        for (part, entries) in entries.chunks_mut(centroids).enumerate() {
            let (start, len) = (self.start(part), self.part_len(part));
            Set::best().run(Entries {
                part: &turned[start..start + len],
                book: self.book(part),
                distances,
                entries: entries.as_chunks_mut::<LANES>().0,
            });
        }
    }

    /// What f32 and a learned rotation may do to the sum of exact entries.
    fn slack(&self, norm: f64) -> f64 {
        let roundings = (self.part_len(0) + 4) as f64 * UNIT_ROUNDOFF * 1.1;
        let off = self.learned.as_ref().map_or(0.0, |learned| learned.off);
        let turning = self.learned.as_ref().map_or(0.0, |_| self.turning_error(off));
        let (norm, longest) = (norm * (1.0 + off) + turning * norm, self.longest);
        let underflow = self.options.dim as f64 * 2.0 * f64::from(f32::from_bits(1));
        let slack = match self.options.metric {
            // |R q - y|^2 and |q - R^T y|^2 differ by the rotation's distance from a true one.
            Metric::Euclidean => {
                let reach = norm + longest;
                (roundings + off) * reach * reach + 2.0 * turning * norm * reach
            }
            _ => (roundings + turning) * norm * longest,
        };
        slack * (1.0 + 1e-9) + underflow
    }
}

/// The least and the largest entry.
fn extremes(entries: &[f32]) -> (f32, f32) {
    let low = entries.iter().copied().fold(f32::INFINITY, f32::min);
    (low, entries.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

/// Entries above the least one, in steps.
fn bytes<const N: usize>(entries: &[f32], step: f32) -> [u8; N] {
    let (low, _) = extremes(entries);
    let mut bytes = [0; N];
    for (byte, entry) in bytes.iter_mut().zip(entries) {
        *byte = ((entry - low) / step + 0.5) as i32 as u8;
    }
    bytes
}
