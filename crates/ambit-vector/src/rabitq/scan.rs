//! What does a query score against all rows?
//!
//! A batch of blocks is summed by the kernels in integers, then the factors of each row make a
//! score of a sum. Intervals do the same in f64, and add for each row: the reach of the query
//! times the row's error, the scale times what rounding may have done to the query, and a
//! billionth of everything that was added, which covers the f64 arithmetic here and in the score
//! that the interval is to contain.

use super::factors::{Factors, norms, scales};
use super::grid::{FOUR_BITS, offset};
use super::model::{Rabitq, planes};
use super::query::RabitqQuery;
use crate::blocks::{Blocks, ROWS, fields_len, tables_len};
use crate::quantizer::{CodeError, Interval};
use crate::{Metric, TopK};

/// Blocks that are summed at a time.
const BATCH: usize = 16;
/// Covers a few roundings of f64 over any dimension.
const ARITHMETIC: f64 = 1e-9;
/// Covers a few roundings of f32.
const STORED: f64 = 1e-6;

/// What the kernels added up for a block, the upper and the lower bytes of the query.
struct Sums {
    high: [i32; ROWS],
    low: [i32; ROWS],
}

impl Rabitq {
    /// `scores[i]` = the estimated score of row i, n rows.
    ///
    /// # Errors
    /// Codes of fewer rows, or no whole blocks.
    ///
    /// # Cost
    /// One bit a dimension: nine instructions of AVX-512 for 384 numbers. Allocates nothing.
    pub fn scan(
        &self,
        query: &RabitqQuery,
        codes: &[u8],
        scores: &mut [f32],
    ) -> Result<(), CodeError> {
        self.check(query, codes, scores.len())?;
        self.sums(Blocks::best(), query, codes, scores.len(), |block, factors, sums| {
            let found = self.scores(query, factors, sums);
            let scores = &mut scores[block * ROWS..];
            let count = scores.len().min(ROWS);
            scores[..count].copy_from_slice(&found[..count]);
        });
        if self.metric == Metric::Euclidean {
            scores.iter_mut().for_each(|score| *score = score.max(0.0).sqrt());
        }
        Ok(())
    }

    /// Offers the first `rows` rows to `top`, with scores of which the largest is the nearest: for
    /// euclidean distance minus its square.
    ///
    /// # Errors
    /// As [`Rabitq::scan`].
    pub fn scan_top(
        &self,
        query: &RabitqQuery,
        codes: &[u8],
        rows: usize,
        top: &mut TopK,
    ) -> Result<(), CodeError> {
        self.check(query, codes, rows)?;
        let sign = if self.metric == Metric::Euclidean { -1.0 } else { 1.0 };
        self.sums(Blocks::best(), query, codes, rows, |block, factors, sums| {
            let found = self.scores(query, factors, sums).map(|score| score * sign);
            let threshold = top.threshold();
            let any = found.iter().fold(false, |any, score| any | (*score >= threshold));
            if any {
                let count = (rows - block * ROWS).min(ROWS);
                for (row, score) in found[..count].iter().enumerate() {
                    if *score >= threshold {
                        top.offer((block * ROWS + row) as u32, *score);
                    }
                }
            }
        });
        Ok(())
    }

    /// The estimated score of one row, with the query as it is: not rounded for the kernels.
    ///
    /// # Errors
    /// Codes of fewer rows, or no whole blocks.
    ///
    /// # Cost
    /// About 1 us for 384 numbers. Holds two bytes a dimension while it runs.
    pub fn score(&self, query: &RabitqQuery, codes: &[u8], row: usize) -> Result<f32, CodeError> {
        self.check(query, codes, row.saturating_add(1))?;
        let (block, place) = self.place(codes, row);
        let (planes, factors) = block.split_at(self.planes_len());
        let (mut plane, mut levels) = (vec![0; self.dim], vec![0; self.dim]);
        self.levels(planes, place, &mut plane, &mut levels);
        let offset = f64::from(offset(self.bits));
        let product = |(level, x): (&u8, &f32)| (f64::from(*level) - offset) * f64::from(*x);
        let product: f64 = levels.iter().zip(&query.turned).map(product).sum();
        let Factors { scale, norm, .. } = Factors::get(factors, place);
        let inner = query.centre + f64::from(scale) * product;
        Ok(match self.metric {
            Metric::InnerProduct => inner,
            Metric::Cosine => inner / (query.norm * f64::from(norm)),
            Metric::Euclidean => {
                let square = query.centre + f64::from(norm) - 2.0 * f64::from(scale) * product;
                square.max(0.0).sqrt()
            }
        } as f32)
    }

    /// `intervals[i]` surely contains the metric's score of row i, n rows: the real number as well
    /// as what [`Kernels`](crate::Kernels) compute in f64.
    ///
    /// # Errors
    /// As [`Rabitq::scan`].
    pub fn intervals(
        &self,
        query: &RabitqQuery,
        codes: &[u8],
        intervals: &mut [Interval],
    ) -> Result<(), CodeError> {
        self.check(query, codes, intervals.len())?;
        self.sums(Blocks::best(), query, codes, intervals.len(), |block, factors, sums| {
            let intervals = intervals[block * ROWS..].iter_mut();
            for (row, interval) in intervals.take(ROWS).enumerate() {
                let product = query.high_step * f64::from(sums.high[row])
                    + query.low_step * f64::from(sums.low[row])
                    + query.base;
                *interval = self.interval(query, Factors::get(factors, row), product);
            }
        });
        Ok(())
    }

    /// The interval of a row whose levels have about this product with the query.
    fn interval(&self, query: &RabitqQuery, factors: Factors, product: f64) -> Interval {
        let (scale, error) = (f64::from(factors.scale), f64::from(factors.error));
        let norm = f64::from(factors.norm);
        let reach = query.reach * (1.0 + STORED);
        let inner = scale * product;
        let slack = reach * error + scale * query.slack;
        // All that is added up anywhere on the way.
        let terms = query.centre.abs() + scale * self.longest() * reach + reach * error;
        let (low, high) = match self.metric {
            Metric::InnerProduct | Metric::Cosine => {
                let centre = query.centre;
                let all = query.norm * self.centre_norm() + terms;
                let slack = slack + ARITHMETIC * all + f64::from(f32::MIN_POSITIVE);
                (centre + inner - slack, centre + inner + slack)
            }
            Metric::Euclidean => {
                let square = query.centre + norm - 2.0 * inner;
                let slack = 2.0 * slack
                    + STORED * (norm + query.centre)
                    + ARITHMETIC * terms
                    + f64::from(f32::MIN_POSITIVE);
                ((square - slack).max(0.0).sqrt(), (square + slack).max(0.0).sqrt())
            }
        };
        let (low, high) = match self.metric {
            Metric::Cosine => {
                let norms = query.norm * norm;
                let wider = STORED * (low.abs() + high.abs());
                ((low - wider) / norms, (high + wider) / norms)
            }
            _ => (low, high),
        };
        if !(low.is_finite() && high.is_finite() && error.is_finite() && norm.is_finite()) {
            return Interval::ANYWHERE;
        }
        Interval { low: (low as f32).next_down(), high: (high as f32).next_up() }
    }

    fn centre_norm(&self) -> f64 {
        self.centroid.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
    }

    /// Scores of a block; for euclidean distance its square.
    fn scores(&self, query: &RabitqQuery, factors: &[u8], sums: &Sums) -> [f32; ROWS] {
        let (high_step, low_step) = (query.high_step as f32, query.low_step as f32);
        let (base, centre) = (query.base as f32, query.centre as f32);
        let mut inner = [0.0; ROWS];
        let scales = scales(factors);
        for row in 0..ROWS {
            let product = high_step * sums.high[row] as f32 + low_step * sums.low[row] as f32;
            inner[row] = f32::from_le_bytes(scales[row]) * (product + base);
        }
        match self.metric {
            Metric::InnerProduct => inner.map(|inner| centre + inner),
            Metric::Euclidean => {
                let norms = norms(factors);
                for row in 0..ROWS {
                    inner[row] = centre + f32::from_le_bytes(norms[row]) - 2.0 * inner[row];
                }
                inner
            }
            Metric::Cosine => {
                let (norms, norm) = (norms(factors), query.norm as f32);
                for row in 0..ROWS {
                    inner[row] = (centre + inner[row]) / (norm * f32::from_le_bytes(norms[row]));
                }
                inner
            }
        }
    }

    /// Calls `each` with the number, the factors and the sums of each block of `rows` rows.
    fn sums(
        &self,
        kernels: Blocks,
        query: &RabitqQuery,
        codes: &[u8],
        rows: usize,
        mut each: impl FnMut(usize, &[u8], &Sums),
    ) {
        let (stride, planes_len) = (self.block_len(), self.planes_len());
        let codes = &codes[..self.codes_len(rows)];
        let mut sums = Sums { high: [0; ROWS], low: [0; ROWS] };
        if self.bits == 1 {
            debug_assert_eq!(planes_len, tables_len(query.tables.len()));
            let mut batch = [[0u32; ROWS]; BATCH];
            for (number, blocks) in codes.chunks(stride * BATCH).enumerate() {
                let batch = &mut batch[..blocks.len() / stride];
                kernels.tables(&query.tables, blocks, stride, batch);
                for (i, (block, batch)) in blocks.chunks(stride).zip(batch).enumerate() {
                    sums.high = batch.map(|sum| sum as i32);
                    each(number * BATCH + i, &block[planes_len..], &sums);
                }
            }
            return;
        }
        for (number, block) in codes.chunks(stride).enumerate() {
            (sums.high, sums.low) = ([0; ROWS], [0; ROWS]);
            let mut rest = block;
            if self.bits == 4 {
                let (part, after) = rest.split_at(planes_len);
                kernels.levels(&FOUR_BITS, &query.high, part, &mut sums.high);
                each(number, after, &sums);
                continue;
            }
            for plane in planes(self.bits) {
                let (part, after) = rest.split_at(fields_len(plane.field, self.dim));
                kernels.fields(plane.field, &query.high, part, plane.shift, &mut sums.high);
                if !query.low.is_empty() {
                    kernels.fields(plane.field, &query.low, part, plane.shift, &mut sums.low);
                }
                rest = after;
            }
            each(number, rest, &sums);
        }
    }

    /// Whether query and codes are of this quantizer, as far as lengths tell.
    fn check(&self, query: &RabitqQuery, codes: &[u8], rows: usize) -> Result<(), CodeError> {
        let (expected, found) = (self.dim, query.turned.len());
        let tables = query.tables.is_empty() == (self.bits == 1);
        let low = query.low.is_empty() == (self.bits >= 6);
        if found != expected || tables || low {
            return Err(CodeError::Shape { what: "query of another quantizer", expected, found });
        }
        self.check_codes(codes.len(), rows)
    }
}
