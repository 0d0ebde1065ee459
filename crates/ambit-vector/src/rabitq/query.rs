//! How is a query made ready? Rotated, and rounded to what the kernels multiply.
//!
//! One bit a dimension: four signs pick one of the sixteen sums of four numbers of the query, so
//! those are tables of bytes. More bits: the query becomes signed bytes; from six bits on two
//! bytes a number, since one would be coarser than the codes. What rounding may do to a product
//! with any code is kept, for intervals.

use super::grid::{largest, offset};
use super::model::Rabitq;
use crate::Metric;
use crate::quantizer::CodeError;
use crate::rotation;

/// Bits from which a query has two bytes a number.
const TWO_BYTES: u32 = 6;
/// The largest number of one byte, and of two: 127 x 128.
const ONE: f64 = 127.0;
const TWO: f64 = 16_256.0;

/// A query, made ready for scans of one quantizer's codes.
#[derive(Debug, Clone)]
pub struct RabitqQuery {
    /// R q, or R (q - centroid) for euclidean distance.
    pub(super) turned: Vec<f32>,
    /// For one bit.
    pub(super) tables: Vec<[u8; 16]>,
    /// For more bits.
    pub(super) high: Vec<[i8; 4]>,
    /// The lower bytes, where there are two.
    pub(super) low: Vec<[i8; 4]>,
    /// y.q is about `high_step` x the sum of the upper bytes + `low_step` x that of the lower ones
    /// + `base`.
    pub(super) high_step: f64,
    pub(super) low_step: f64,
    pub(super) base: f64,
    /// By how much that is wrong at most, for any code.
    pub(super) slack: f64,
    /// q.centroid, or |q - centroid|^2 for euclidean distance.
    pub(super) centre: f64,
    /// |q|, or |q - centroid| for euclidean distance.
    pub(super) reach: f64,
    /// |q|.
    pub(super) norm: f64,
}

impl Rabitq {
    /// Makes a query of dim numbers ready. One that is not finite scores NaN everywhere.
    ///
    /// # Errors
    /// Another length.
    ///
    /// # Cost
    /// About 2 us for 384 numbers. Holds [`Rabitq::query_bytes`].
    pub fn query(&self, vector: &[f32]) -> Result<RabitqQuery, CodeError> {
        let (dim, found) = (self.dim, vector.len());
        if found != dim {
            return Err(CodeError::Shape { what: "query", expected: dim, found });
        }
        let mut turned = vector.to_vec();
        if self.metric == Metric::Euclidean {
            for (x, centroid) in turned.iter_mut().zip(&self.centroid) {
                *x -= centroid;
            }
        }
        let dot = |a: &[f32], b: &[f32]| crate::kernels().dot_f64(a, b);
        let norm = dot(vector, vector).sqrt();
        let (centre, reach) = match self.metric {
            Metric::Euclidean => (dot(&turned, &turned), dot(&turned, &turned).sqrt()),
            _ => (dot(vector, &self.centroid), norm),
        };
        self.rotation.apply(&mut turned);
        let mut query = RabitqQuery {
            turned,
            tables: Vec::new(),
            high: Vec::new(),
            low: Vec::new(),
            high_step: 0.0,
            low_step: 0.0,
            base: 0.0,
            slack: 0.0,
            centre,
            reach,
            norm,
        };
        match self.bits {
            1 => query.make_tables(),
            bits => query.make_bytes(bits),
        }
        // What the rotation may have done to the query, and the subtraction before it.
        let turning = (self.rotation_error() + 2.0 * crate::bounds::UNIT_ROUNDOFF) * reach
            + rotation::underflow(dim);
        query.slack = (query.slack + self.longest() * turning) * (1.0 + 1e-9);
        if !query.turned.iter().all(|x| x.is_finite()) {
            (query.base, query.slack) = (f64::NAN, f64::INFINITY);
        }
        Ok(query)
    }

    /// Bytes that a query holds, itself included.
    pub const fn query_bytes(dim: usize) -> usize {
        size_of::<RabitqQuery>() + 4 * dim + 16 * dim.div_ceil(4)
    }
}

impl RabitqQuery {
    fn make_tables(&mut self) {
        // A bit that is set is the level 1/2, one that is not -1/2.
        let sum = |four: &[f32], bits: usize| -> f64 {
            let level = |i: usize| if bits >> i & 1 == 1 { 0.5 } else { -0.5 };
            four.iter().enumerate().map(|(i, x)| level(i) * f64::from(*x)).sum()
        };
        let least = |four: &[f32]| -four.iter().map(|x| f64::from(x.abs())).sum::<f64>() / 2.0;
        let widest = self.turned.chunks(4).map(|four| -2.0 * least(four)).fold(0.0, f64::max);
        let step = if widest > 0.0 { widest / 255.0 } else { 1.0 };
        self.tables = Vec::with_capacity(self.turned.len().div_ceil(4));
        for four in self.turned.chunks(4) {
            let least = least(four);
            let (mut table, mut worst) = ([0; 16], 0.0f64);
            for (bits, entry) in table.iter_mut().enumerate() {
                let exact = (sum(four, bits) - least) / step;
                *entry = exact.round() as u8;
                worst = worst.max((exact - f64::from(*entry)).abs());
            }
            self.tables.push(table);
            self.base += least;
            self.slack += worst * step;
        }
        self.high_step = step;
    }

    fn make_bytes(&mut self, bits: u32) {
        let largest_number = self.turned.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let most = if bits >= TWO_BYTES { TWO } else { ONE };
        let step = if largest_number > 0.0 { f64::from(largest_number) / most } else { 1.0 };
        let groups = self.turned.len().div_ceil(4);
        self.high = vec![[0; 4]; groups];
        self.low = if bits >= TWO_BYTES { vec![[0; 4]; groups] } else { Vec::new() };
        let (mut total, mut off) = (0.0, 0.0);
        for (i, x) in self.turned.iter().enumerate() {
            let whole = (f64::from(*x) / step).round().clamp(-most, most) as i32;
            total += f64::from(whole);
            off += (f64::from(*x) - f64::from(whole) * step).abs();
            if bits >= TWO_BYTES {
                let high = (whole + 64) >> 7;
                self.high.as_flattened_mut()[i] = high as i8;
                self.low.as_flattened_mut()[i] = (whole - 128 * high) as i8;
            } else {
                self.high.as_flattened_mut()[i] = whole as i8;
            }
        }
        let limit = f64::from(largest(bits));
        (self.high_step, self.low_step) =
            if bits >= TWO_BYTES { (128.0 * step, step) } else { (step, 0.0) };
        self.base = -f64::from(offset(bits)) * total * step;
        self.slack = limit * off;
    }
}
