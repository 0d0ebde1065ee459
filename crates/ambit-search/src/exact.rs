//! Which k rows are nearest to one query? All rows in f32, the few that matter in f64.
//!
//! Bound by memory bandwidth: each stretch of a block is scored into a small buffer, and the
//! rows that reach the cut are scored again while the stretch is in the second-level cache.

use ambit_mem::{Bytes, Reservation};

use crate::answer::Answer;
use crate::error::SearchError;
use crate::query::{Options, Query, check};
use crate::refine::{Best, stretches};
use crate::scorer::Scorer;
use crate::source::{DenseBlock, DenseSource};
use crate::threads::{Worker, run};
use crate::top::{Threshold, Top};

/// Bytes of rows that are scored before the cut is applied to them.
const STRETCH_BYTES: usize = 1 << 20;

/// Rows of a stretch at most, which bounds the buffer of scores to 64 KiB.
const STRETCH_ROWS: usize = 16 << 10;

/// The `query.k` rows of `source` nearest to `query`, best first, equal scores by key.
///
/// The answer is that of scoring every row in f64: inner product = dot, cosine =
/// dot / sqrt(qq xx), euclidean = sqrt(l2sq), each summed in the order of
/// [`ambit_vector::Kernels::dot_f64`]. Rows whose score is NaN come after all others. More
/// results than rows gives all rows.
///
/// # Errors
///
/// `ZeroDimension`, `Dimension`, `ZeroK`, `NotFinite`, `ZeroQuery` (under cosine) for a query
/// that has no answer; `OverBudget` for scratch that does not fit; `Source` and
/// `MalformedBlock` for a source that cannot be read; `Cancelled`.
///
/// # Cost
///
/// Reads every row once. Scratch per thread: at most 64 KiB and 16 bytes for each of k.
pub fn search<S: DenseSource + ?Sized>(
    source: &S,
    query: &Query<'_>,
    options: &Options<'_>,
) -> Result<Answer, SearchError> {
    check(query.vector, 1, query.k, source.dim())?;
    let scorer = Scorer::new(query.vector, query.metric);
    if scorer.is_undefined() {
        return Err(SearchError::ZeroQuery { query: 0 });
    }
    search_checked(source, scorer, query.k, options)
}

/// [`search`] for a query that was checked.
pub(crate) fn search_checked<S: DenseSource + ?Sized>(
    source: &S,
    scorer: Scorer<'_>,
    k: usize,
    options: &Options<'_>,
) -> Result<Answer, SearchError> {
    let threshold = Threshold::none();
    let len = (STRETCH_BYTES / (4 * scorer.dim())).clamp(4, STRETCH_ROWS);
    let bytes = len * size_of::<f32>() + Top::initial_bytes(k);
    let mut workers = run(source, options, || {
        Ok(Scan {
            source,
            scratch: options.account.reserve(Bytes::of(bytes))?,
            scores: vec![0.0; len],
            best: Best::new(scorer, k, &threshold),
            scanned: 0,
        })
    })?
    .into_iter();
    let Some(mut first) = workers.next() else {
        return Best::new(scorer, k, &threshold).into_answer(source, 0);
    };
    for other in workers {
        first.scanned += other.scanned;
        first.best.absorb(other.best, source, &mut first.scratch)?;
    }
    first.best.into_answer(source, first.scanned)
}

struct Scan<'a, S: ?Sized> {
    source: &'a S,
    scratch: Reservation,
    scores: Vec<f32>,
    best: Best<'a>,
    scanned: u64,
}

impl<S: DenseSource + ?Sized> Worker for Scan<'_, S> {
    fn take(&mut self, block: usize, rows: &DenseBlock<'_>) -> Result<(), SearchError> {
        let dim = self.best.scorer().dim();
        for stretch in stretches(rows, block, dim, self.scores.len()) {
            let scores = &mut self.scores[..stretch.norms.len()];
            self.best.scorer().scan(stretch.vectors, scores);
            self.scanned += scores.len() as u64;
            self.best.refine(self.source, &stretch, scores, &mut self.scratch)?;
        }
        Ok(())
    }
}
