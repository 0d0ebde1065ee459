//! Plain code that every instruction set has a copy of, behind safe methods: encoding of rows,
//! and scores from sums.
//!
//! The functions check their bounds; only the instructions differ, never a bit of the result.

use super::encode::Grid;
use super::{CodeWidth, Kernels, Weights};
use crate::half::Half;
use crate::quantizer::{Coded, Interval, Line, RowTerms};

/// Rows that are summed before their sums become intervals: 4 KiB of the stack.
const CHUNK: usize = 1024;

/// Rows that are summed, where the scores will be, before they become scores: 32 KiB of them.
const LONG_CHUNK: usize = 8192;

type Signs = unsafe fn(&[f32], &[f32], &mut [u8]) -> (f64, f64);

/// The functions of one instruction set; all need that instruction set.
pub(super) struct Plain {
    pub(super) range: unsafe fn(&[f32]) -> (f32, f32),
    pub(super) encode: unsafe fn(&[f32], Grid<'_>, CodeWidth, &mut [u8]) -> f64,
    pub(super) signs: Signs,
    pub(super) narrow: unsafe fn(Half, &[f32], f32, &mut [u8]) -> f64,
    pub(super) integer_scores: unsafe fn(&Line, &[RowTerms], &mut [f32]),
    pub(super) float_scores: unsafe fn(&Line, &[RowTerms], &mut [f32]),
    pub(super) integer_intervals: unsafe fn(&Line, &[i32], &[RowTerms], &mut [Interval]),
    pub(super) float_intervals: unsafe fn(&Line, &[f32], &[RowTerms], &mut [Interval]),
}

/// A [`Plain`] of functions compiled with `$feature`.
macro_rules! plain_of {
    ($($feature:tt)?) => {{
        use crate::half::Half;
        use crate::kernel::encode::{self, Grid};
        use crate::kernel::{CodeWidth, finish};
        use crate::quantizer::{Interval, Line, RowTerms};

        $(#[target_feature(enable = $feature)])?
        unsafe fn range(row: &[f32]) -> (f32, f32) {
            encode::range(row)
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn levels(row: &[f32], grid: Grid<'_>, width: CodeWidth, code: &mut [u8]) -> f64 {
            encode::encode(row, grid, width, code)
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn signs(row: &[f32], centres: &[f32], code: &mut [u8]) -> (f64, f64) {
            encode::signs(row, centres, code)
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn narrow(half: Half, row: &[f32], up: f32, code: &mut [u8]) -> f64 {
            encode::narrow(half, row, up, code)
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn scores<S: finish::Sum>(line: &Line, terms: &[RowTerms], scores: &mut [f32]) {
            finish::scores::<S>(line, terms, scores)
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn intervals<S: finish::Sum>(
            line: &Line, sums: &[S], terms: &[RowTerms], out: &mut [Interval],
        ) {
            finish::intervals(line, sums, terms, out)
        }

        crate::kernel::plain::Plain {
            range,
            encode: levels,
            signs,
            narrow,
            integer_scores: scores::<i32>,
            float_scores: scores::<f32>,
            integer_intervals: intervals::<i32>,
            float_intervals: intervals::<f32>,
        }
    }};
}

pub(super) use plain_of;

// SAFETY, of every block below: the instruction set was detected, as for all tables that
// `Kernels` holds; the functions check their bounds.
impl Kernels {
    /// The smallest and the largest number of a row.
    pub(crate) fn range(&self, row: &[f32]) -> (f32, f32) {
        // SAFETY: as above.
        unsafe { (self.integers().plain.range)(row) }
    }

    /// Writes the code of a row; returns the square of the distance between row and code.
    pub(crate) fn encode(
        &self,
        row: &[f32],
        grid: Grid<'_>,
        width: CodeWidth,
        code: &mut [u8],
    ) -> f64 {
        // SAFETY: as above.
        unsafe { (self.integers().plain.encode)(row, grid, width, code) }
    }

    /// Writes the signs of a row less its centres; returns the sum of sizes and of squares.
    pub(crate) fn signs(&self, row: &[f32], centres: &[f32], code: &mut [u8]) -> (f64, f64) {
        // SAFETY: as above.
        unsafe { (self.integers().plain.signs)(row, centres, code) }
    }

    /// Writes a row times `up` as half floats; returns the square of the distance between them.
    pub(crate) fn narrow(&self, half: Half, row: &[f32], up: f32, code: &mut [u8]) -> f64 {
        // SAFETY: as above.
        unsafe { (self.integers().plain.narrow)(half, row, up, code) }
    }

    /// Estimates for rows of integer codes; lengths were checked.
    pub(crate) fn code_scores(
        &self,
        line: &Line,
        weights: &Weights,
        Coded { codes, terms }: Coded<'_>,
        scores: &mut [f32],
    ) {
        let codes = codes.chunks(LONG_CHUNK * weights.row_len());
        let chunks = codes.zip(terms.chunks(LONG_CHUNK)).zip(scores.chunks_mut(LONG_CHUNK));
        for ((codes, terms), scores) in chunks {
            self.weighted_rows_beside(weights, codes, terms, bytemuck::cast_slice_mut(scores));
            // SAFETY: as above.
            unsafe { (self.integers().plain.integer_scores)(line, terms, scores) }
        }
    }

    /// Intervals for rows of integer codes; lengths were checked.
    pub(crate) fn code_intervals(
        &self,
        line: &Line,
        weights: &Weights,
        Coded { codes, terms }: Coded<'_>,
        intervals: &mut [Interval],
    ) {
        let mut sums = [0; CHUNK];
        let codes = codes.chunks(CHUNK * weights.row_len());
        let chunks = codes.zip(terms.chunks(CHUNK)).zip(intervals.chunks_mut(CHUNK));
        for ((codes, terms), intervals) in chunks {
            let sums = &mut sums[..intervals.len()];
            self.weighted_rows_beside(weights, codes, terms, sums);
            // SAFETY: as above.
            unsafe { (self.integers().plain.integer_intervals)(line, sums, terms, intervals) }
        }
    }

    /// Estimates for rows of half floats; lengths were checked.
    pub(crate) fn half_scores(
        &self,
        line: &Line,
        (half, query): (Half, &[f32]),
        Coded { codes, terms }: Coded<'_>,
        scores: &mut [f32],
    ) {
        let codes = codes.chunks(LONG_CHUNK * 2 * query.len());
        let chunks = codes.zip(terms.chunks(LONG_CHUNK)).zip(scores.chunks_mut(LONG_CHUNK));
        for ((codes, terms), scores) in chunks {
            self.dot_half_bytes(half, query, codes, scores);
            // SAFETY: as above.
            unsafe { (self.integers().plain.float_scores)(line, terms, scores) }
        }
    }

    /// Intervals for rows of half floats; lengths were checked.
    pub(crate) fn half_intervals(
        &self,
        line: &Line,
        (half, query): (Half, &[f32]),
        Coded { codes, terms }: Coded<'_>,
        intervals: &mut [Interval],
    ) {
        let mut sums = [0.0; CHUNK];
        let codes = codes.chunks(CHUNK * 2 * query.len());
        let chunks = codes.zip(terms.chunks(CHUNK)).zip(intervals.chunks_mut(CHUNK));
        for ((codes, terms), intervals) in chunks {
            let sums = &mut sums[..intervals.len()];
            self.dot_half_bytes(half, query, codes, sums);
            // SAFETY: as above.
            unsafe { (self.integers().plain.float_intervals)(line, sums, terms, intervals) }
        }
    }
}
