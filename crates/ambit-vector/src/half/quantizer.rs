//! Codes of half floats: encoded, decoded, scored.

use super::Half;
use crate::kernel::kernels;
use crate::quantizer::{
    CodeError, Coded, Constants, Interval, Line, Quantizer, Reader, RowTerms, Writer, check_coded,
    check_dim, check_rows, error_above,
};
use crate::{Metric, bounds};

const MAGIC: [u8; 4] = *b"AVH1";

/// Codes of binary16 or bfloat16, two bytes a number, in little-endian order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HalfQuantizer {
    half: Half,
    dim: usize,
}

/// A query for rows of half floats.
#[derive(Debug, Clone)]
pub struct HalfQuery {
    vector: Vec<f32>,
    line: Line,
}

impl HalfQuantizer {
    /// A quantizer of rows of `dim` numbers; it needs no sample.
    ///
    /// # Errors
    /// A dimension of 0 or too many.
    pub fn new(half: Half, dim: usize) -> Result<Self, CodeError> {
        check_dim(dim)?;
        Ok(Self { half, dim })
    }

    /// The format.
    pub fn half(&self) -> Half {
        self.half
    }

    /// Reads a written model.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn read(bytes: &[u8]) -> Result<Self, CodeError> {
        let mut reader = Reader::new(MAGIC, bytes)?;
        let dim = reader.dim();
        let half = match reader.byte()? {
            0 => Half::F16,
            1 => Half::Bf16,
            _ => return Err(CodeError::Corrupt { part: "format" }),
        };
        reader.finish()?;
        Ok(Self { half, dim })
    }

    fn encode_row(&self, row: &[f32], code: &mut [u8]) -> RowTerms {
        let norm = kernels().norm(row);
        let (low, high) = kernels().range(row);
        let up = self.up(low.abs().max(high.abs()));
        if !(norm == 0.0 || norm.is_normal()) {
            code.fill(0);
            return RowTerms { offset: 0.0, step: 0.0, norm, error: f32::INFINITY };
        }
        let squares = kernels().narrow(self.half, row, up, code);
        RowTerms { offset: 0.0, step: 1.0 / up, norm, error: error_above(squares, norm) }
    }

    /// 1 where the largest number of a row has its full precision and small ones lose little,
    /// else the power of two that brings it to [1, 2).
    fn up(&self, largest: f32) -> f32 {
        let fits = match self.half {
            Half::F16 => (1.0 / 16.0..=65_504.0).contains(&largest),
            Half::Bf16 => (1e-30..=1e30).contains(&largest),
        };
        if fits || !largest.is_normal() {
            return 1.0;
        }
        // 2^-e, for 2^e <= largest; e is in [-126, 127], and 2^-127 would be subnormal.
        let exponent = (largest.to_bits() >> 23).min(253);
        f32::from_bits((254 - exponent) << 23)
    }
}

impl Quantizer for HalfQuantizer {
    type Query = HalfQuery;

    fn dim(&self) -> usize {
        self.dim
    }

    fn code_len(&self) -> usize {
        2 * self.dim
    }

    fn encode(
        &self,
        rows: &[f32],
        codes: &mut [u8],
        terms: &mut [RowTerms],
    ) -> Result<(), CodeError> {
        check_rows("rows", self.dim, terms.len(), rows.len())?;
        check_coded(self, Coded { codes, terms }, terms.len())?;
        let codes = codes.chunks_exact_mut(2 * self.dim);
        for ((row, code), terms) in rows.chunks_exact(self.dim).zip(codes).zip(terms) {
            *terms = self.encode_row(row, code);
        }
        Ok(())
    }

    fn decode(&self, coded: Coded<'_>, rows: &mut [f32]) -> Result<(), CodeError> {
        check_rows("rows", self.dim, coded.terms.len(), rows.len())?;
        check_coded(self, coded, coded.terms.len())?;
        let codes = coded.codes.chunks_exact(2 * self.dim);
        for ((row, code), terms) in rows.chunks_exact_mut(self.dim).zip(codes).zip(coded.terms) {
            for (x, bits) in row.iter_mut().zip(code.as_chunks::<2>().0) {
                *x = self.half.value(u16::from_le_bytes(*bits)) * terms.step;
            }
        }
        Ok(())
    }

    fn query(&self, metric: Metric, vector: &[f32]) -> Result<HalfQuery, CodeError> {
        check_rows("query", self.dim, 1, vector.len())?;
        let norm = kernels().norm_sq_f64(vector).sqrt();
        let line = Line::new(Constants {
            metric,
            norm,
            // The kernel's sum J is off by at most g |q| |x'| / step: as if the query were.
            inexact: bounds::dot_error(self.dim) * norm,
            offsets: 0.0,
            constant: 0.0,
            // Products that underflow, times the largest step: 2^126.
            rest: 0.0,
            scale: 1.0,
            sum: 0.0,
            factor: 1,
            shift: 0,
            known: norm == 0.0 || norm > 1e-30 && norm < 1e30,
        });
        Ok(HalfQuery { vector: vector.to_vec(), line })
    }

    fn query_bytes(&self) -> usize {
        size_of::<HalfQuery>() + self.dim * size_of::<f32>()
    }

    fn scan(
        &self,
        query: &HalfQuery,
        coded: Coded<'_>,
        scores: &mut [f32],
    ) -> Result<(), CodeError> {
        check_coded(self, coded, scores.len())?;
        check_rows("query", self.dim, 1, query.vector.len())?;
        kernels().half_scores(&query.line, (self.half, &query.vector), coded, scores);
        Ok(())
    }

    fn intervals(
        &self,
        query: &HalfQuery,
        coded: Coded<'_>,
        intervals: &mut [Interval],
    ) -> Result<(), CodeError> {
        check_coded(self, coded, intervals.len())?;
        check_rows("query", self.dim, 1, query.vector.len())?;
        kernels().half_intervals(&query.line, (self.half, &query.vector), coded, intervals);
        Ok(())
    }

    fn model_len(&self) -> usize {
        Writer::len(1)
    }

    fn write(&self) -> Vec<u8> {
        let format = match self.half {
            Half::F16 => 0,
            Half::Bf16 => 1,
        };
        Writer::new(MAGIC, self.dim).byte(format).finish()
    }
}
