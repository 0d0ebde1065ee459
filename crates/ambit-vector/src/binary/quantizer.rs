//! Codes of bits: encoded, decoded, scored.

use crate::Metric;
use crate::kernel::{CodeWidth, kernels};
use crate::quantizer::{
    CodeError, CodeQuery, Coded, Constants, Interval, Line, Quantizer, Reader, RowTerms, Weighing,
    Writer, check_coded, check_dim, check_rows, error_above,
};

const MAGIC: [u8; 4] = *b"AVB1";

/// Where the two sides of a dimension meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryCentre {
    /// At 0: a bit is a sign.
    Zero,
    /// At the mean of the dimension in the sample. Better where rows lie to one side of 0.
    Mean,
}

/// Codes of ceil(dim / 8) bytes; a bit is 1 where the number is not below its centre.
///
/// Element i is bit i mod 8 of byte i / 8; bits behind the last element are 0. The quantizer holds
/// 4 bytes a dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct BinaryQuantizer {
    centres: Vec<f32>,
    /// The norm of the centres.
    norm: f64,
}

impl BinaryQuantizer {
    /// Trains on `sample`, n x `dim`.
    ///
    /// # Errors
    /// A dimension of 0 or too many, rows of another length; for means also no row, or numbers
    /// that are not finite.
    ///
    /// # Cost
    /// Reads the sample once; allocates [`BinaryQuantizer::training_bytes`].
    pub fn train(centre: BinaryCentre, dim: usize, sample: &[f32]) -> Result<Self, CodeError> {
        check_dim(dim)?;
        let n = sample.len() / dim;
        check_rows("sample", dim, n, sample.len())?;
        if centre == BinaryCentre::Zero {
            return Ok(Self::new(vec![0.0; dim]));
        }
        if n == 0 {
            return Err(CodeError::NoSample);
        }
        let mut sums = vec![0.0f64; dim];
        for row in sample.chunks_exact(dim) {
            sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        if !sums.iter().all(|sum| sum.is_finite()) {
            return Err(CodeError::NotFinite);
        }
        Ok(Self::new(sums.into_iter().map(|sum| (sum / n as f64) as f32).collect()))
    }

    /// Bytes that training allocates at most, the trained quantizer included.
    pub const fn training_bytes(dim: usize) -> usize {
        (size_of::<f64>() + size_of::<f32>()) * dim
    }

    fn new(centres: Vec<f32>) -> Self {
        let norm = kernels().norm_sq_f64(&centres).sqrt();
        Self { centres, norm }
    }

    /// Reads a written model.
    ///
    /// # Errors
    /// Bytes that are none.
    pub fn read(bytes: &[u8]) -> Result<Self, CodeError> {
        let mut reader = Reader::new(MAGIC, bytes)?;
        let dim = reader.dim();
        let centres = match reader.byte()? {
            0 => vec![0.0; dim],
            1 => reader.floats(dim)?,
            _ => return Err(CodeError::Corrupt { part: "centre" }),
        };
        reader.finish()?;
        Ok(Self::new(centres))
    }

    fn centred(&self) -> bool {
        self.centres.iter().any(|centre| centre.to_bits() != 0)
    }

    /// The bits of a query for [`BinaryQuantizer::hamming_scan`], `code_len` bytes.
    ///
    /// # Errors
    /// Slices of other lengths.
    pub fn query_bits(&self, vector: &[f32], code: &mut [u8]) -> Result<(), CodeError> {
        check_rows("query", self.dim(), 1, vector.len())?;
        check_rows("code", self.code_len(), 1, code.len())?;
        kernels().signs(vector, &self.centres, code);
        Ok(())
    }

    /// `distances[i]` = bits in which the query and row i differ, n rows.
    ///
    /// `query`: code_len; `codes`: n x code_len.
    ///
    /// # Errors
    /// Slices of other lengths.
    pub fn hamming_scan(
        &self,
        query: &[u8],
        codes: &[u8],
        distances: &mut [i32],
    ) -> Result<(), CodeError> {
        check_rows("query", self.code_len(), 1, query.len())?;
        check_rows("codes", self.code_len(), distances.len(), codes.len())?;
        kernels().hamming_rows(query, codes, distances);
        Ok(())
    }

    /// Codes one row. With y = x - centres, the step that makes step * signs nearest to y is the
    /// mean of |y|, and what is left is then |y|^2 - d step^2.
    fn encode_row(&self, row: &[f32], code: &mut [u8]) -> RowTerms {
        let norm = kernels().norm(row);
        if !(norm == 0.0 || norm.is_normal()) {
            code.fill(0);
            return RowTerms { offset: 0.0, step: 0.0, norm, error: f32::INFINITY };
        }
        let (sizes, squares) = kernels().signs(row, &self.centres, code);
        let dim = self.dim() as f64;
        let step = (sizes / dim) as f32;
        // |y - step signs|^2 = |y|^2 - 2 step sum |y| + d step^2, whatever the step is rounded to;
        // all three are at most a few |y|^2, which bounds what their sum is rounded by.
        let step_wide = f64::from(step);
        let left = squares - 2.0 * step_wide * sizes + dim * step_wide * step_wide;
        let left = left.max(0.0) + 1e-10 * squares;
        RowTerms { offset: 0.0, step, norm, error: error_above(left, norm + self.norm as f32) }
    }
}

impl Quantizer for BinaryQuantizer {
    type Query = CodeQuery;

    fn dim(&self) -> usize {
        self.centres.len()
    }

    fn code_len(&self) -> usize {
        CodeWidth::One.row_len(self.dim())
    }

    fn encode(
        &self,
        rows: &[f32],
        codes: &mut [u8],
        terms: &mut [RowTerms],
    ) -> Result<(), CodeError> {
        check_rows("rows", self.dim(), terms.len(), rows.len())?;
        check_coded(self, Coded { codes, terms }, terms.len())?;
        let codes = codes.chunks_exact_mut(self.code_len());
        for ((row, code), terms) in rows.chunks_exact(self.dim()).zip(codes).zip(terms) {
            *terms = self.encode_row(row, code);
        }
        Ok(())
    }

    fn decode(&self, coded: Coded<'_>, rows: &mut [f32]) -> Result<(), CodeError> {
        check_rows("rows", self.dim(), coded.terms.len(), rows.len())?;
        check_coded(self, coded, coded.terms.len())?;
        let codes = coded.codes.chunks_exact(self.code_len());
        for ((row, code), terms) in rows.chunks_exact_mut(self.dim()).zip(codes).zip(coded.terms) {
            for (i, (x, centre)) in row.iter_mut().zip(&self.centres).enumerate() {
                let up = code[i / 8] >> (i % 8) & 1 == 1;
                *x = centre + if up { terms.step } else { -terms.step };
            }
        }
        Ok(())
    }

    fn query(&self, metric: Metric, vector: &[f32]) -> Result<CodeQuery, CodeError> {
        check_rows("query", self.dim(), 1, vector.len())?;
        let norm = kernels().norm_sq_f64(vector).sqrt();
        let weighing = Weighing::new(CodeWidth::One, self.dim(), |i| f64::from(vector[i]));
        // Of `rest`: (|q - q^| + 8 u Q) |m|, and the f64 roundings of K.
        let rest = (weighing.inexact + 1e-6 * (norm + weighing.inexact)) * self.norm;
        let line = Line::new(Constants {
            metric,
            norm,
            inexact: weighing.inexact,
            offsets: 0.0,
            constant: kernels().dot_f64(vector, &self.centres),
            rest,
            scale: weighing.scale,
            sum: weighing.sum,
            // Bits are 0 and 1, signs -1 and 1.
            factor: 2,
            shift: weighing.sum as i32,
            known: weighing.known && norm.is_finite(),
        });
        Ok(CodeQuery { weights: weighing.weights, line })
    }

    fn query_bytes(&self) -> usize {
        CodeQuery::bytes(CodeWidth::One, self.dim())
    }

    fn scan(
        &self,
        query: &CodeQuery,
        coded: Coded<'_>,
        scores: &mut [f32],
    ) -> Result<(), CodeError> {
        check_coded(self, coded, scores.len())?;
        query.check(CodeWidth::One, self.dim())?;
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
        query.check(CodeWidth::One, self.dim())?;
        kernels().code_intervals(&query.line, &query.weights, coded, intervals);
        Ok(())
    }

    fn model_len(&self) -> usize {
        Writer::len(1 + if self.centred() { 4 * self.dim() } else { 0 })
    }

    fn write(&self) -> Vec<u8> {
        let writer = Writer::new(MAGIC, self.dim());
        if self.centred() {
            writer.byte(1).floats(&self.centres).finish()
        } else {
            writer.byte(0).finish()
        }
    }
}
