//! What does a query score against all rows?
//!
//! A batch of blocks is summed by the kernels in integers; a sum becomes a score by one step and
//! one base. An interval adds what the tables may be wrong by and what the row's bound allows:
//! |<q, x> - <q, x'>| <= |q| |x - x'|, and ||q - x| - |q - x'|| <= |x - x'|.

use super::model::Product;
use super::options::Bits;
use super::query::ProductQuery;
use crate::blocks::{Blocks, ROWS};
use crate::quantizer::{CodeError, Interval};
use crate::{Metric, TopK};

/// Blocks that are summed at a time.
const BATCH: usize = 16;
/// Covers a few roundings of f64 over any dimension.
const ARITHMETIC: f64 = 1e-9;
/// Covers a few roundings of f32.
const STORED: f64 = 1e-6;

impl Product {
    /// `scores[i]` = the estimated score of row i, n rows.
    ///
    /// # Errors
    /// Codes of fewer rows, or no whole blocks.
    ///
    /// # Cost
    /// 96 parts of 4 bits: nine instructions of AVX-512 a row. Allocates nothing.
    pub fn scan(
        &self,
        query: &ProductQuery,
        codes: &[u8],
        scores: &mut [f32],
    ) -> Result<(), CodeError> {
        self.check(query, codes, scores.len())?;
        self.sums(query, codes, scores.len(), |number, block, sums| {
            let found = self.scores(query, block, sums);
            let scores = &mut scores[number * ROWS..];
            let count = scores.len().min(ROWS);
            scores[..count].copy_from_slice(&found[..count]);
        });
        if self.options.metric == Metric::Euclidean {
            scores.iter_mut().for_each(|score| *score = score.max(0.0).sqrt());
        }
        Ok(())
    }

    /// Offers the first `rows` rows to `top`, with scores of which the largest is the nearest: for
    /// euclidean distance minus its square.
    ///
    /// # Errors
    /// As [`Product::scan`].
    pub fn scan_top(
        &self,
        query: &ProductQuery,
        codes: &[u8],
        rows: usize,
        top: &mut TopK,
    ) -> Result<(), CodeError> {
        self.check(query, codes, rows)?;
        let sign = if self.options.metric == Metric::Euclidean { -1.0 } else { 1.0 };
        self.sums(query, codes, rows, |number, block, sums| {
            let found = self.scores(query, block, sums).map(|score| score * sign);
            let threshold = top.threshold();
            let any = found.iter().fold(false, |any, score| any | (*score >= threshold));
            if any {
                let count = (rows - number * ROWS).min(ROWS);
                for (row, score) in found[..count].iter().enumerate() {
                    if *score >= threshold {
                        top.offer((number * ROWS + row) as u32, *score);
                    }
                }
            }
        });
        Ok(())
    }

    /// The estimated score of one row, from centroids instead of tables.
    ///
    /// # Errors
    /// Codes of fewer rows, or no whole blocks.
    ///
    /// # Cost
    /// dim multiply-adds. Holds dim floats while it runs.
    pub fn score(&self, query: &ProductQuery, codes: &[u8], row: usize) -> Result<f32, CodeError> {
        self.check(query, codes, row.saturating_add(1))?;
        let (block, place) = self.place(codes, row);
        let mut decoded = vec![0.0; self.options.dim];
        self.rebuild(|part| self.code(block, place, part), &mut decoded);
        let kernels = crate::kernels();
        Ok(match self.options.metric {
            Metric::InnerProduct => kernels.dot_f64(&query.turned, &decoded),
            Metric::Euclidean => kernels.l2sq_f64(&query.turned, &decoded).sqrt(),
            Metric::Cosine => {
                let norm = f32::from_le_bytes(self.stored_norms(block)[place]);
                kernels.dot_f64(&query.turned, &decoded) / (query.norm * f64::from(norm))
            }
        } as f32)
    }

    /// `intervals[i]` surely contains the metric's score of row i, n rows: the real number as well
    /// as what [`Kernels`](crate::Kernels) compute in f64.
    ///
    /// # Errors
    /// As [`Product::scan`].
    pub fn intervals(
        &self,
        query: &ProductQuery,
        codes: &[u8],
        intervals: &mut [Interval],
    ) -> Result<(), CodeError> {
        self.check(query, codes, intervals.len())?;
        self.sums(query, codes, intervals.len(), |number, block, sums| {
            let intervals = intervals[number * ROWS..].iter_mut();
            for (row, interval) in intervals.take(ROWS).enumerate() {
                let score = query.step * f64::from(sums[row]) + query.base;
                *interval = self.interval(query, block, row, score);
            }
        });
        Ok(())
    }

    fn interval(&self, query: &ProductQuery, block: &[u8], row: usize, score: f64) -> Interval {
        let bound = f64::from(self.stored_bound(block, row));
        let least = f64::from(f32::MIN_POSITIVE);
        let reach = query.norm + self.longest + bound;
        let (low, high) = match self.options.metric {
            Metric::InnerProduct | Metric::Cosine => {
                let slack = query.slack + query.norm * bound * (1.0 + STORED);
                let slack = slack + ARITHMETIC * query.norm * reach + least;
                (score - slack, score + slack)
            }
            Metric::Euclidean => {
                let slack = query.slack + ARITHMETIC * reach * reach + least;
                let (low, high) = ((score - slack).max(0.0), (score + slack).max(0.0));
                let bound = bound + ARITHMETIC * reach;
                ((low.sqrt() - bound).max(0.0), high.sqrt() + bound)
            }
        };
        let (low, high) = match self.options.metric {
            Metric::Cosine => {
                let norm = f64::from(f32::from_le_bytes(self.stored_norms(block)[row]));
                let wider = STORED * (low.abs() + high.abs());
                ((low - wider) / (query.norm * norm), (high + wider) / (query.norm * norm))
            }
            _ => (low, high),
        };
        if !(low.is_finite() && high.is_finite()) {
            return Interval::ANYWHERE;
        }
        Interval { low: (low as f32).next_down(), high: (high as f32).next_up() }
    }

    /// Scores of a block; for euclidean distance its square.
    fn scores(&self, query: &ProductQuery, block: &[u8], sums: &[u32; ROWS]) -> [f32; ROWS] {
        let (step, base) = (query.step as f32, query.base as f32);
        let mut scores = sums.map(|sum| step * sum as i32 as f32 + base);
        if self.options.metric == Metric::Cosine {
            let norm = query.norm as f32;
            for (score, of) in scores.iter_mut().zip(self.stored_norms(block)) {
                *score /= norm * f32::from_le_bytes(*of);
            }
        }
        scores
    }

    /// Calls `each` with the number, the bytes and the sums of each block of `rows` rows.
    fn sums(
        &self,
        query: &ProductQuery,
        codes: &[u8],
        rows: usize,
        mut each: impl FnMut(usize, &[u8], &[u32; ROWS]),
    ) {
        let (stride, kernels) = (self.block_len(), Blocks::best());
        let codes = &codes[..self.codes_len(rows)];
        let mut batch = [[0u32; ROWS]; BATCH];
        for (number, blocks) in codes.chunks(stride * BATCH).enumerate() {
            let batch = &mut batch[..blocks.len() / stride];
            match self.options.bits {
                Bits::Four => kernels.tables(&query.small, blocks, stride, batch),
                Bits::Eight => kernels.bytes(&query.large, blocks, stride, batch),
            }
            for (i, (block, sums)) in blocks.chunks(stride).zip(batch).enumerate() {
                each(number * BATCH + i, block, sums);
            }
        }
    }

    /// Whether query and codes are of this quantizer, as far as lengths tell.
    fn check(&self, query: &ProductQuery, codes: &[u8], rows: usize) -> Result<(), CodeError> {
        let (expected, found) = (self.options.parts, query.small.len() + query.large.len());
        let four = query.large.is_empty();
        if found != expected
            || four != (self.options.bits == Bits::Four)
            || query.turned.len() != self.options.dim
        {
            return Err(CodeError::Shape { what: "query of another quantizer", expected, found });
        }
        self.check_codes(codes.len(), rows)
    }
}
