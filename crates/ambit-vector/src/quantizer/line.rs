//! From sums of integers to scores, and by how much they can be wrong: the proof.
//!
//! x is a row, x' what its code says, e = `error` >= |x - x'|, q the query, q^ the query as
//! integers times a scale D, d the dimension, u = 2^-24, Q = |q| + |q - q^|. x' = m + offset + step
//! k, with m of the model and integers k, so <q^, x'> = K + offset D W + step D J, where W is the
//! sum of the integers of q^ and J that of their products with k, both exact.
//!
//! First, <q, x> = <q, x'> + <q, x - x'>, and the last is at most |q| e. Second, <q, x'> = <q^, x'> +
//! <q - q^, x'>, and the last is at most |q - q^| (|x| + e). Third, computing s = K + offset (D W) +
//! (step D) J in f32 meets at most 7 roundings a term, so it is off by at most 8 u (|K| + |offset D
//! W| + |step D J|). As step k = x' - m - offset, the last is at most Q (|x'| + |m| + sqrt(d)
//! |offset|), the one before Q sqrt(d) |offset|. Underflow adds less than 1e-34 ([`Weighing`] lets
//! no scale be below 1e-35). Together: |<q, x> - s| <= (Q + 8 u Q) e + (|q - q^| + 8 u Q) |x| +
//! 16 u Q sqrt(d) |offset| + rest, with rest = (|q - q^| + 8 u Q) |m| + 8 u |K| + 1e-34. Where the
//! steps are the model's, integers stand for q_i step_i, and the second and third hold with sums of
//! absolute values times the largest |k|, all in `rest`.
//!
//! All terms are positive, so computing the bound in f32 is relatively off by a few u: constants
//! are rounded up by 2^-20. That also covers the f64 scores of the kernels, within 2^-38 |q| |x|,
//! and `norm`, within 2^-23 of |x|. From the inner product, cosine and distance follow with a few
//! more roundings ([`Line::interval`]).

use super::terms::RowTerms;
use super::{CodeError, Interval, check_rows};
use crate::Metric;
use crate::kernel::{CodeWidth, MAX_WEIGHT, Weights};

/// The unit roundoff of f32.
const U: f32 = 1.0 / (1u32 << 24) as f32;
/// Roundings of the score, with one to spare.
const ROUNDINGS: f64 = 8.0 * U as f64;
/// By how much constants are rounded up.
const SPARE: f64 = 1.0 + 1.0 / (1u32 << 20) as f64;
/// More than what underflow can lose.
const TINY: f32 = 1e-34;

/// What [`Line`] is made of, in f64.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Constants {
    pub(crate) metric: Metric,
    /// |q|.
    pub(crate) norm: f64,
    /// |q - q^|.
    pub(crate) inexact: f64,
    /// sqrt(d) where terms have offsets, else 0.
    pub(crate) offsets: f64,
    /// K.
    pub(crate) constant: f64,
    /// What is in `rest` beside roundings of K.
    pub(crate) rest: f64,
    /// D, and W.
    pub(crate) scale: f32,
    pub(crate) sum: f64,
    /// J = `factor` times the sum of the kernel, less `shift`.
    pub(crate) factor: i32,
    pub(crate) shift: i32,
    /// Whether all of it is known: false for a query with numbers beyond any bound.
    pub(crate) known: bool,
}

/// How sums become scores and intervals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    metric: Metric,
    factor: i32,
    shift: i32,
    constant: f32,
    offset_scale: f32,
    scale: f32,
    per_error: f32,
    per_norm: f32,
    per_offset: f32,
    rest: f32,
    norm_sq: f32,
    inverse_norm: f32,
}

/// Rounded up, with the spare.
fn above(x: f64) -> f32 {
    let x = ((x * SPARE) as f32).next_up();
    if x.is_nan() { f32::INFINITY } else { x }
}

impl Line {
    pub(crate) fn new(of: Constants) -> Self {
        let whole = of.norm + of.inexact;
        let rounding = ROUNDINGS * whole;
        let rest = of.rest + ROUNDINGS * of.constant.abs();
        Self {
            metric: of.metric,
            factor: of.factor,
            shift: of.shift,
            constant: of.constant as f32,
            offset_scale: (f64::from(of.scale) * of.sum) as f32,
            scale: of.scale,
            per_error: if of.known { above(whole + rounding) } else { f32::INFINITY },
            per_norm: above(of.inexact + rounding),
            per_offset: above(2.0 * rounding * of.offsets),
            rest: above(rest) + TINY,
            norm_sq: (of.norm * of.norm) as f32,
            inverse_norm: (1.0 / of.norm) as f32,
        }
    }

    /// J of a kernel's sum: exact, because it fits.
    #[inline(always)]
    pub(crate) fn integer(&self, sum: i32) -> f32 {
        sum.wrapping_mul(self.factor).wrapping_sub(self.shift) as f32
    }

    /// s, from J.
    #[inline(always)]
    fn product(&self, sum: f32, terms: RowTerms) -> f32 {
        terms.step * self.scale * sum + terms.offset * self.offset_scale + self.constant
    }

    /// The estimate of the metric.
    #[inline(always)]
    pub(crate) fn score(&self, metric: Metric, sum: f32, terms: RowTerms) -> f32 {
        let product = self.product(sum, terms);
        match metric {
            Metric::InnerProduct => product,
            Metric::Cosine => product * (self.inverse_norm / terms.norm),
            Metric::Euclidean => {
                let squared = self.norm_sq + terms.norm * terms.norm - 2.0 * product;
                (if squared < 0.0 { 0.0 } else { squared }).sqrt()
            }
        }
    }

    /// Where the score surely is.
    #[inline(always)]
    pub(crate) fn interval(&self, metric: Metric, sum: f32, terms: RowTerms) -> Interval {
        let product = self.product(sum, terms);
        let bound = self.per_error * terms.error
            + self.per_norm * terms.norm
            + self.per_offset * terms.offset.abs()
            + self.rest;
        // What s +- bound is rounded by.
        let bound = bound + 8.0 * U * product.abs();
        let (low, high) = match metric {
            Metric::InnerProduct => (product - bound, product + bound),
            Metric::Cosine => {
                // The inverse has 5 roundings, those of both norms included.
                let inverse = self.inverse_norm / terms.norm;
                let cosine = product * inverse;
                let bound = bound * inverse * (1.0 + 16.0 * U) + 16.0 * U * cosine.abs() + TINY;
                (cosine - bound, cosine + bound)
            }
            Metric::Euclidean => {
                // |q|^2 and |x|^2 have 4 roundings, their sum and the difference one each.
                let squares = self.norm_sq + terms.norm * terms.norm;
                let squared = squares - 2.0 * product;
                let bound = 2.0 * bound + 16.0 * U * squares + TINY;
                let (low, high) = (squared - bound, squared + bound);
                let low = if low > 0.0 { low } else { 0.0 };
                (low.sqrt() * (1.0 - 4.0 * U), high.sqrt() * (1.0 + 4.0 * U))
            }
        };
        // An overflow anywhere, an undefined score, or an unknown row end up here.
        if (high - low).is_finite() { Interval { low, high } } else { Interval::ANYWHERE }
    }

    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }
}

/// Numbers as integers times a scale.
pub(crate) struct Weighing {
    pub(crate) weights: Weights,
    pub(crate) scale: f32,
    /// Of the integers.
    pub(crate) sum: f64,
    /// Of the absolute integers times the scale.
    pub(crate) size: f64,
    /// The euclidean norm of what rounding took away, and the sum of its absolute values.
    pub(crate) inexact: f64,
    pub(crate) inexact_sum: f64,
    /// False if a number is not finite, or all are so small that the scale would underflow.
    pub(crate) known: bool,
}

impl Weighing {
    /// `values[i]` of dim numbers for codes of `width`; no sum with any code leaves i32.
    pub(crate) fn new(width: CodeWidth, dim: usize, values: impl Fn(usize) -> f64) -> Self {
        let (mut largest, mut total) = (0.0f64, 0.0f64);
        for i in 0..dim {
            let size = values(i).abs();
            largest = if size > largest || size.is_nan() { size } else { largest };
            total += size;
        }
        let mut weights = Weights::new(width, dim);
        let known = largest == 0.0 || largest > 1e-30 && largest < 1e30;
        if !known || largest == 0.0 {
            let (scale, zero) = (1.0, 0.0);
            let (sum, size, inexact, inexact_sum) = (zero, zero, zero, zero);
            return Self { weights, scale, sum, size, inexact, inexact_sum, known };
        }
        // The sum of |integers| is at most `room`, so that it fits times the largest level: each
        // is rounded by half at most.
        let room = f64::from(i32::MAX) / f64::from(width.max_level()) - dim as f64;
        let scale = (largest / f64::from(MAX_WEIGHT)).max(total / room);
        let scale = (scale as f32).next_up();
        let unit = f64::from(scale);
        let (mut sum, mut size, mut inexact, mut inexact_sum) = (0.0, 0.0, 0.0, 0.0);
        weights.fill(|i| {
            let value = values(i);
            let weight = (value / unit).round_ties_even();
            let off = value - weight * unit;
            sum += weight;
            size += (weight * unit).abs();
            inexact += off * off;
            inexact_sum += off.abs();
            weight as i16
        });
        // The sums are of at most 2^16 terms, each rounded a few times in f64.
        let up = 1.0 + 1e-9;
        let (inexact, inexact_sum) = (inexact.sqrt() * up, inexact_sum * up);
        Self { weights, scale, sum, size: size * up, inexact, inexact_sum, known }
    }
}

/// A query for codes: integers, and what their sums mean.
#[derive(Debug, Clone)]
pub struct CodeQuery {
    pub(crate) weights: Weights,
    pub(crate) line: Line,
}

impl CodeQuery {
    /// Refuses codes of another kind than the query was made for.
    pub(crate) fn check(&self, width: CodeWidth, dim: usize) -> Result<(), CodeError> {
        let found = if self.weights.width() == width { self.weights.dim() } else { 0 };
        check_rows("query", dim, 1, found)
    }

    /// Bytes that a query for rows of `dim` elements holds.
    pub(crate) const fn bytes(width: CodeWidth, dim: usize) -> usize {
        size_of::<Self>() + Weights::bytes(width, dim)
    }
}
