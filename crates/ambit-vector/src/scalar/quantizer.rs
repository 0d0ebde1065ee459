//! Codes of levels: encoded, decoded, scored.

use super::ScalarRange;
use crate::Metric;
use crate::kernel::{CodeWidth, Grid, kernels};
use crate::quantizer::{
    CodeError, CodeQuery, Coded, Constants, Interval, Line, Quantizer, Reader, RowTerms, Weighing,
    Writer, check_coded, check_rows, error_above,
};

const MAGIC: [u8; 4] = *b"AVS1";

/// Bits of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScalarWidth {
    /// Four: 16 levels, two numbers a byte.
    Int4,
    /// Eight: 256 levels.
    Int8,
}

impl ScalarWidth {
    /// How levels are packed.
    pub fn packing(self) -> CodeWidth {
        match self {
            Self::Int4 => CodeWidth::Four,
            Self::Int8 => CodeWidth::Eight,
        }
    }

    /// The level that lies at the offset: 8 or 128.
    pub(super) fn middle(self) -> i32 {
        i32::from(self.packing().max_level() / 2) + 1
    }
}

/// The levels of each dimension.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dimensions {
    /// Where the middle level is.
    pub(super) offsets: Vec<f32>,
    /// From one level to the next; 0 where all are one.
    pub(super) steps: Vec<f32>,
    /// 1 / step, or 0.
    pub(super) inverses: Vec<f32>,
}

impl Dimensions {
    pub(super) fn new(offsets: Vec<f32>, steps: Vec<f32>) -> Self {
        let inverses = steps.iter().map(|&step| inverse(step)).collect();
        Self { offsets, steps, inverses }
    }

    fn norm(&self) -> f64 {
        self.offsets.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
    }
}

/// 1 / step; 0 where that would overflow.
pub(super) fn inverse(step: f32) -> f32 {
    if step.is_normal() && (1.0 / step).is_normal() { 1.0 / step } else { 0.0 }
}

/// Levels between `low` and `high`, cut to the part `clip` in the middle: offset and step.
pub(super) fn levels(low: f32, high: f32, clip: f32, width: ScalarWidth) -> (f32, f32) {
    // Halves first, so that nothing overflows.
    let (centre, half) = (0.5 * low + 0.5 * high, (0.5 * high - 0.5 * low) * clip);
    let step = half * (2.0 / f32::from(width.packing().max_level()));
    let step = if inverse(step) == 0.0 { 0.0 } else { step };
    // The middle level is half a step above the centre.
    (centre + 0.5 * step, step)
}

/// Int8 or int4 codes.
///
/// `code_len` is dim or ceil(dim / 2) bytes; a trained quantizer by row holds nothing beside
/// itself, one by dimension 12 bytes a dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalarQuantizer {
    pub(super) dim: usize,
    pub(super) width: ScalarWidth,
    /// The part of a row's range that levels cover.
    pub(super) clip: f32,
    pub(super) dimensions: Option<Dimensions>,
}

impl ScalarQuantizer {
    /// Bits of a number.
    pub fn width(&self) -> ScalarWidth {
        self.width
    }

    /// What the levels of a number lie between.
    pub fn range(&self) -> ScalarRange {
        if self.dimensions.is_some() { ScalarRange::Dimension } else { ScalarRange::Row }
    }

    /// Codes one row; returns its terms.
    pub(super) fn encode_row(&self, row: &[f32], code: &mut [u8]) -> RowTerms {
        let (kernels, packing) = (kernels(), self.width.packing());
        let norm = kernels.norm(row);
        let (grid, offset, step) = match &self.dimensions {
            None => {
                let (low, high) = kernels.range(row);
                let (offset, step) = levels(low, high, self.clip, self.width);
                (Grid::Row { offset, step, inverse: inverse(step) }, offset, step)
            }
            Some(Dimensions { offsets, steps, inverses }) => {
                (Grid::Dimensions { offsets, steps, inverses }, 0.0, 1.0)
            }
        };
        let known = norm == 0.0 || norm.is_normal();
        if !known || !offset.is_finite() {
            code.fill(0);
            return RowTerms { offset: 0.0, step: 0.0, norm, error: f32::INFINITY };
        }
        let squares = kernels.encode(row, grid, packing, code);
        RowTerms { offset, step, norm, error: error_above(squares, norm) }
    }

    /// Reads a written model.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn read(bytes: &[u8]) -> Result<Self, CodeError> {
        let mut reader = Reader::new(MAGIC, bytes)?;
        let dim = reader.dim();
        let width = match reader.byte()? {
            4 => ScalarWidth::Int4,
            8 => ScalarWidth::Int8,
            _ => return Err(CodeError::Corrupt { part: "width" }),
        };
        let by_dimension = match reader.byte()? {
            0 => false,
            1 => true,
            _ => return Err(CodeError::Corrupt { part: "range" }),
        };
        let clip = reader.floats(1)?[0];
        if !(clip > 0.0 && clip <= 1.0) {
            return Err(CodeError::Corrupt { part: "clip" });
        }
        let dimensions = if by_dimension {
            let (offsets, steps) = (reader.floats(dim)?, reader.floats(dim)?);
            if !steps.iter().all(|&step| step == 0.0 || step > 0.0 && inverse(step) > 0.0) {
                return Err(CodeError::Corrupt { part: "step" });
            }
            Some(Dimensions::new(offsets, steps))
        } else {
            None
        };
        reader.finish()?;
        Ok(Self { dim, width, clip, dimensions })
    }
}

impl Quantizer for ScalarQuantizer {
    type Query = CodeQuery;

    fn dim(&self) -> usize {
        self.dim
    }

    fn code_len(&self) -> usize {
        self.width.packing().row_len(self.dim)
    }

    fn encode(
        &self,
        rows: &[f32],
        codes: &mut [u8],
        terms: &mut [RowTerms],
    ) -> Result<(), CodeError> {
        check_rows("rows", self.dim, terms.len(), rows.len())?;
        check_coded(self, Coded { codes, terms }, terms.len())?;
        let codes = codes.chunks_exact_mut(self.code_len());
        for ((row, code), terms) in rows.chunks_exact(self.dim).zip(codes).zip(terms) {
            *terms = self.encode_row(row, code);
        }
        Ok(())
    }

    fn decode(&self, coded: Coded<'_>, rows: &mut [f32]) -> Result<(), CodeError> {
        check_rows("rows", self.dim, coded.terms.len(), rows.len())?;
        check_coded(self, coded, coded.terms.len())?;
        let (middle, half) = (self.width.middle(), self.dim.div_ceil(2));
        let codes = coded.codes.chunks_exact(self.code_len());
        for ((row, code), terms) in rows.chunks_exact_mut(self.dim).zip(codes).zip(coded.terms) {
            let said = |level: u8| terms.offset + terms.step * (i32::from(level) - middle) as f32;
            match self.width {
                ScalarWidth::Int8 => {
                    row.iter_mut().zip(code).for_each(|(x, &level)| *x = said(level));
                }
                ScalarWidth::Int4 => {
                    let (low, high) = row.split_at_mut(half);
                    low.iter_mut().zip(code).for_each(|(x, &byte)| *x = said(byte & 15));
                    high.iter_mut().zip(code).for_each(|(x, &byte)| *x = said(byte >> 4));
                }
            }
            if let Some(Dimensions { offsets, steps, .. }) = &self.dimensions {
                for ((x, offset), step) in row.iter_mut().zip(offsets).zip(steps) {
                    *x = offset + step * *x;
                }
            }
        }
        Ok(())
    }

    fn query(&self, metric: Metric, vector: &[f32]) -> Result<CodeQuery, CodeError> {
        check_rows("query", self.dim, 1, vector.len())?;
        let norm = kernels().norm_sq_f64(vector).sqrt();
        let (packing, middle) = (self.width.packing(), self.width.middle());
        let along = |i: usize| f64::from(vector[i]);
        let (weighing, constant, inexact, rest, offsets);
        if let Some(dimensions) = &self.dimensions {
            weighing =
                Weighing::new(packing, self.dim, |i| along(i) * f64::from(dimensions.steps[i]));
            constant = kernels().dot_f64(vector, &dimensions.offsets);
            // The sum of f64 products is within 2^-36 of the sum of their sizes.
            let levels = f64::from(middle);
            rest = levels * weighing.inexact_sum
                + 1e-6 * levels * weighing.size
                + 1e-10 * norm * dimensions.norm();
            (inexact, offsets) = (0.0, 0.0);
        } else {
            weighing = Weighing::new(packing, self.dim, along);
            (constant, rest) = (0.0, 0.0);
            (inexact, offsets) = (weighing.inexact, (self.dim as f64).sqrt());
        }
        let line = Line::new(Constants {
            metric,
            norm,
            inexact,
            offsets,
            constant,
            rest,
            scale: weighing.scale,
            sum: weighing.sum,
            factor: 1,
            // At most 128 times what fits times 255.
            shift: middle.wrapping_mul(weighing.sum as i32),
            known: weighing.known && norm.is_finite(),
        });
        Ok(CodeQuery { weights: weighing.weights, line })
    }

    fn query_bytes(&self) -> usize {
        CodeQuery::bytes(self.width.packing(), self.dim)
    }

    fn scan(
        &self,
        query: &CodeQuery,
        coded: Coded<'_>,
        scores: &mut [f32],
    ) -> Result<(), CodeError> {
        check_coded(self, coded, scores.len())?;
        query.check(self.width.packing(), self.dim)?;
        kernels().code_scores(&query.line, &query.weights, coded, scores);
        Ok(())
    }

    fn intervals(
        &self,
        query: &CodeQuery,
        coded: Coded<'_>,
        intervals: &mut [Interval],
    ) -> Result<(), CodeError> {
        check_coded(self, coded, intervals.len())?;
        query.check(self.width.packing(), self.dim)?;
        kernels().code_intervals(&query.line, &query.weights, coded, intervals);
        Ok(())
    }

    fn model_len(&self) -> usize {
        let dimensions = if self.dimensions.is_some() { 8 * self.dim } else { 0 };
        Writer::len(1 + 1 + 4 + dimensions)
    }

    fn write(&self) -> Vec<u8> {
        let width = self.width.packing().bits() as u8;
        let writer = Writer::new(MAGIC, self.dim)
            .byte(width)
            .byte(u8::from(self.dimensions.is_some()))
            .floats(&[self.clip]);
        match &self.dimensions {
            None => writer.finish(),
            Some(Dimensions { offsets, steps, .. }) => {
                writer.floats(offsets).floats(steps).finish()
            }
        }
    }
}
