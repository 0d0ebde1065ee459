//! The verbs of every quantizer.

use super::{CodeError, Coded, Interval, RowTerms};
use crate::Metric;
use crate::lossless::MAX_DIM;

/// A trained quantizer.
///
/// ```
/// use ambit_vector::quantizer::{Coded, Interval, Quantizer, RowTerms};
/// use ambit_vector::scalar::{ScalarOptions, ScalarQuantizer};
/// use ambit_vector::{Metric, kernels};
///
/// let rows: Vec<f32> = (0..64 * 100).map(|i| (i as f32).sin()).collect(); // 100 x 64
/// let quantizer = ScalarQuantizer::train(ScalarOptions::INT8, 64, &rows)?;
/// let mut codes = vec![0; 100 * quantizer.code_len()];
/// let mut terms = vec![RowTerms::default(); 100];
/// quantizer.encode(&rows, &mut codes, &mut terms)?;
///
/// let query = quantizer.query(Metric::InnerProduct, &rows[..64])?;
/// let mut intervals = vec![Interval::ANYWHERE; 100];
/// quantizer.intervals(&query, Coded { codes: &codes, terms: &terms }, &mut intervals)?;
/// for (row, interval) in rows.chunks(64).zip(intervals) {
///     assert!(interval.contains(kernels().dot_f64(&rows[..64], row)));
/// }
/// # Ok::<(), ambit_vector::quantizer::CodeError>(())
/// ```
pub trait Quantizer {
    /// A query, made ready for scans.
    type Query;

    /// Numbers of a row.
    fn dim(&self) -> usize;

    /// Bytes of the code of a row, without its terms.
    fn code_len(&self) -> usize;

    /// Bytes that the codes and terms of `rows` rows take, and the model with them.
    fn footprint(&self, rows: usize) -> usize {
        rows.saturating_mul(self.code_len() + size_of::<RowTerms>())
            .saturating_add(self.model_len())
    }

    /// Codes n rows: `rows` n x dim, `codes` n x code_len, `terms` n.
    ///
    /// The same rows give the same bytes on every processor.
    ///
    /// # Errors
    /// Slices of other lengths.
    fn encode(
        &self,
        rows: &[f32],
        codes: &mut [u8],
        terms: &mut [RowTerms],
    ) -> Result<(), CodeError>;

    /// What the codes say of n rows, rounded to f32: `rows` n x dim.
    ///
    /// # Errors
    /// Slices of other lengths.
    fn decode(&self, coded: Coded<'_>, rows: &mut [f32]) -> Result<(), CodeError>;

    /// An upper bound on the euclidean distance between a row and its code, rounding included.
    fn error_bound(&self, terms: &RowTerms) -> f32 {
        terms.error
    }

    /// Makes a query of dim numbers ready.
    ///
    /// # Errors
    /// Another length.
    ///
    /// # Cost
    /// Allocates [`Quantizer::query_bytes`].
    fn query(&self, metric: Metric, vector: &[f32]) -> Result<Self::Query, CodeError>;

    /// Bytes that a query holds.
    fn query_bytes(&self) -> usize;

    /// `scores[i]` = the metric's estimate for row i, n rows.
    ///
    /// # Errors
    /// Slices of other lengths.
    fn scan(
        &self,
        query: &Self::Query,
        coded: Coded<'_>,
        scores: &mut [f32],
    ) -> Result<(), CodeError>;

    /// `intervals[i]` surely contains the metric's score of row i, n rows: the real number as well
    /// as what [`Kernels`](crate::Kernels) compute in f64.
    ///
    /// # Errors
    /// Slices of other lengths.
    fn intervals(
        &self,
        query: &Self::Query,
        coded: Coded<'_>,
        intervals: &mut [Interval],
    ) -> Result<(), CodeError>;

    /// The estimate for one row.
    ///
    /// # Errors
    /// A code of another length.
    fn score(&self, query: &Self::Query, code: &[u8], terms: &RowTerms) -> Result<f32, CodeError> {
        let mut score = [0.0];
        let coded = Coded { codes: code, terms: std::slice::from_ref(terms) };
        self.scan(query, coded, &mut score)?;
        Ok(score[0])
    }

    /// Bytes of the written model.
    fn model_len(&self) -> usize;

    /// The model as bytes, with a checksum.
    fn write(&self) -> Vec<u8>;
}

pub(crate) fn check_dim(dim: usize) -> Result<(), CodeError> {
    if dim == 0 || dim > MAX_DIM { Err(CodeError::Dimension { dim }) } else { Ok(()) }
}

fn check(what: &'static str, expected: Option<usize>, found: usize) -> Result<(), CodeError> {
    if expected == Some(found) {
        return Ok(());
    }
    Err(CodeError::Shape { what, expected: expected.unwrap_or(usize::MAX), found })
}

/// Checks a query or n rows of floats.
pub(crate) fn check_rows(
    what: &'static str,
    dim: usize,
    rows: usize,
    found: usize,
) -> Result<(), CodeError> {
    check(what, rows.checked_mul(dim), found)
}

/// Checks codes and terms of n rows.
pub(crate) fn check_coded(
    quantizer: &(impl Quantizer + ?Sized),
    coded: Coded<'_>,
    rows: usize,
) -> Result<(), CodeError> {
    check("codes", rows.checked_mul(quantizer.code_len()), coded.codes.len())?;
    check("terms of rows", Some(rows), coded.terms.len())
}
