//! From sums to scores and intervals: plain code, compiled for each instruction set.
//!
//! The arithmetic and its proof are in [`crate::quantizer`]; here it is only walked, with the
//! metric known to the compiler.

use crate::Metric;
use crate::quantizer::{Interval, Line, RowTerms};

/// The sum of a row, as J of the proof.
pub(super) trait Sum: Copy {
    /// The sum that has these bits.
    fn from_bits(bits: u32) -> Self;

    /// J.
    fn integer(self, line: &Line) -> f32;
}

impl Sum for i32 {
    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        bits.cast_signed()
    }

    #[inline(always)]
    fn integer(self, line: &Line) -> f32 {
        line.integer(self)
    }
}

impl Sum for f32 {
    #[inline(always)]
    fn from_bits(bits: u32) -> Self {
        Self::from_bits(bits)
    }

    #[inline(always)]
    fn integer(self, _: &Line) -> f32 {
        self
    }
}

/// `scores[i]` has the bits of the sum of row i, and becomes the estimate for it.
#[inline(always)]
pub(super) fn scores<S: Sum>(line: &Line, terms: &[RowTerms], scores: &mut [f32]) {
    macro_rules! walk {
        ($metric:expr) => {
            for (score, &terms) in scores.iter_mut().zip(terms) {
                let sum = S::from_bits(score.to_bits());
                *score = line.score($metric, sum.integer(line), terms);
            }
        };
    }
    match line.metric() {
        Metric::Cosine => walk!(Metric::Cosine),
        Metric::InnerProduct => walk!(Metric::InnerProduct),
        Metric::Euclidean => walk!(Metric::Euclidean),
    }
}

/// `out[i]` = interval of row i.
#[inline(always)]
pub(super) fn intervals<S: Sum>(line: &Line, sums: &[S], terms: &[RowTerms], out: &mut [Interval]) {
    macro_rules! walk {
        ($metric:expr) => {
            for ((out, &sum), &terms) in out.iter_mut().zip(sums).zip(terms) {
                *out = line.interval($metric, sum.integer(line), terms);
            }
        };
    }
    match line.metric() {
        Metric::Cosine => walk!(Metric::Cosine),
        Metric::InnerProduct => walk!(Metric::InnerProduct),
        Metric::Euclidean => walk!(Metric::Euclidean),
    }
}
