//! Which k rows are nearest to each of many queries? Every portion is read once for all of them.
//!
//! Bound by arithmetic: a stretch of rows that fits the second-level cache meets the queries in
//! groups, so that one tile of the kernel uses each loaded row several times. Each query keeps
//! its own k best, its own threshold and its own cut, so each answer is the one that
//! [`crate::search`] gives.

use std::ops::Range;

use ambit_mem::{Bytes, Reservation};

use crate::answer::Answer;
use crate::certified::{Context, Found, Portion, Prepared, Seen};
use crate::error::SearchError;
use crate::exact::search_checked;
use crate::limits::Place;
use crate::plan::{Plan, Portions};
use crate::query::{Batch, BatchOptions, Options, Sharing, check};
use crate::refine::{Best, stretches};
use crate::scorer::Scorer;
use crate::source::{DenseBlock, DenseSource};
use crate::strips::Strips;
use crate::threads::{Worker, run};
use crate::top::{Threshold, Top};

/// Bytes of rows that all queries meet before the next rows.
const STRETCH_BYTES: usize = 256 << 10;

/// Rows of a stretch at most, which bounds the buffer of scores to 128 KiB.
const STRETCH_ROWS: usize = 2 << 10;

/// Rows whose codes meet a group of queries before the next ones.
const PORTION_ROWS: usize = 32 << 10;

/// Queries that meet a chunk of codes together; bounds the strips to 2 MiB.
const STRIPS: usize = 8;

/// Queries that are scored together.
const GROUP: usize = 16;

/// For each query of `batch`, the answer that [`crate::search`] gives.
///
/// # Errors
///
/// As [`crate::search`]; `NotFinite` and `ZeroQuery` name the query.
///
/// # Cost
///
/// Shared: reads every row or its codes once, and needs 16 bytes for each of k and about 200 more
/// for each query, all of it per thread, 128 KiB per thread, and where there are codes 2 MiB per
/// thread and 3 bytes a dimension for each query. One at a time: as m single searches.
pub fn search_batch<S: DenseSource + ?Sized>(
    source: &S,
    batch: &Batch<'_>,
    options: &BatchOptions<'_>,
) -> Result<Vec<Answer>, SearchError> {
    let dim = source.dim();
    check(batch.vectors, batch.vectors.len().checked_div(dim).unwrap_or(0), batch.k, dim)?;
    let m = batch.vectors.len() / dim;
    let _scorers = options.options.account.reserve(Bytes::of(m * size_of::<Scorer<'_>>()))?;
    let mut scorers = Vec::with_capacity(m);
    for (query, vector) in batch.vectors.chunks_exact(dim).enumerate() {
        let scorer = Scorer::new(vector, batch.metric);
        if scorer.is_undefined() {
            return Err(SearchError::ZeroQuery { query });
        }
        scorers.push(scorer);
    }
    match options.sharing {
        _ if m == 0 => Ok(Vec::new()),
        Sharing::Shared if source.few().is_none() => {
            search_shared(source, batch, &scorers, &options.options)
        }
        _ => scorers
            .iter()
            .map(|scorer| search_checked(source, *scorer, batch.k, Place::ANY, &options.options))
            .collect(),
    }
}

/// Searches with shared portions, by codes if they can be read.
fn search_shared<S: DenseSource + ?Sized>(
    source: &S,
    batch: &Batch<'_>,
    scorers: &[Scorer<'_>],
    options: &Options<'_>,
) -> Result<Vec<Answer>, SearchError> {
    let portions = Portions { rows: PORTION_ROWS, threads: options.threads };
    let plan = Plan::with_codes(source, batch.metric, portions);
    let asked = Asked { source, batch, scorers, options };
    match asked.search(&plan, source.has_damaged_codes()) {
        Err(_) if plan.has_unreadable_codes() => asked.search(&Plan::without_codes(source), true),
        outcome => outcome,
    }
}

struct Asked<'a, S: ?Sized> {
    source: &'a S,
    batch: &'a Batch<'a>,
    scorers: &'a [Scorer<'a>],
    options: &'a Options<'a>,
}

impl<S: DenseSource + ?Sized> Asked<'_, S> {
    fn search(&self, plan: &Plan<'_>, fell_back: bool) -> Result<Vec<Answer>, SearchError> {
        let Self { source, batch, scorers, options } = *self;
        let (m, dim, k) = (scorers.len(), source.dim(), batch.k);
        let each = size_of::<Threshold>() + size_of::<Prepared>();
        let mut scratch = options.account.reserve(Bytes::of(m * each))?;
        let thresholds: Vec<Threshold> = scorers.iter().map(|_| Threshold::none()).collect();
        let prepared = scorers
            .iter()
            .map(|scorer| Prepared::new(scorer.vector(), plan, &mut scratch))
            .collect::<Result<Vec<_>, _>>()?;
        let len = (STRETCH_BYTES / (4 * dim)).clamp(4, STRETCH_ROWS);
        let of_query = size_of::<Found<'_>>() + Top::initial_bytes(k);
        let of_thread = GROUP * len * size_of::<f32>() + Strips::footprint(plan, STRIPS, k);
        let bytes = m.saturating_mul(of_query).saturating_add(of_thread);
        let mut workers = run(source, plan, options, || {
            let scratch = options.account.reserve(Bytes::of(bytes))?;
            let best = scorers.iter().zip(&thresholds);
            Ok(SharedScan {
                source,
                plan,
                prepared: &prepared,
                queries: batch.vectors,
                len,
                scratch,
                scores: vec![0.0; GROUP * len],
                strips: Strips::new(plan, STRIPS, k),
                found: best
                    .map(|(scorer, threshold)| Found::new(Best::new(*scorer, k, threshold)))
                    .collect(),
                seen: Seen::none(fell_back),
            })
        })?
        .into_iter();
        let Some(mut first) = workers.next() else {
            return Ok(Vec::new());
        };
        for other in workers {
            first.seen.add(other.seen);
            for (found, theirs) in first.found.iter_mut().zip(other.found) {
                found.absorb(theirs, source, &mut first.scratch)?;
            }
        }
        let SharedScan { found, mut scratch, seen, .. } = first;
        let mut context = Context { plan, source, scratch: &mut scratch };
        let answers = found.into_iter().zip(&prepared);
        answers.map(|(found, prepared)| found.into_answer(prepared, seen, &mut context)).collect()
    }
}

struct SharedScan<'a, S: ?Sized> {
    source: &'a S,
    plan: &'a Plan<'a>,
    /// One a query.
    prepared: &'a [Prepared],
    /// m x dim.
    queries: &'a [f32],
    /// Rows of a stretch.
    len: usize,
    scratch: Reservation,
    scores: Vec<f32>,
    strips: Strips,
    /// One a query.
    found: Vec<Found<'a>>,
    seen: Seen,
}

impl<S: DenseSource + ?Sized> Worker for SharedScan<'_, S> {
    fn take(&mut self, block: usize, rows: &DenseBlock<'_>) -> Result<(), SearchError> {
        let dim = self.source.dim();
        for stretch in stretches(rows, block, dim, self.len) {
            let n = stretch.norms.len();
            self.seen.uncoded += n as u64;
            let groups = self.queries.chunks(GROUP * dim).zip(self.found.chunks_mut(GROUP));
            for (queries, found) in groups {
                let scores = &mut self.scores[..found.len() * n];
                if let Some(first) = found.first() {
                    first.best.scorer().scan_block(queries, stretch.vectors, scores);
                }
                for (found, scores) in found.iter_mut().zip(scores.chunks_exact(n)) {
                    found.best.refine(self.source, &stretch, scores, &mut self.scratch)?;
                }
            }
        }
        Ok(())
    }

    fn sift(&mut self, part: usize, rows: Range<usize>) -> Result<(), SearchError> {
        self.seen.coded += rows.len() as u64;
        let (plan, source) = (self.plan, self.source);
        let groups = self.found.chunks_mut(STRIPS).zip(self.prepared.chunks(STRIPS));
        for (found, prepared) in groups {
            self.strips.fill(plan, part, rows.clone(), prepared)?;
            for (query, (Found { best, sieve }, prepared)) in
                found.iter_mut().zip(prepared).enumerate()
            {
                let portion = Portion { part, rows: rows.clone(), query };
                let mut context = Context { plan, source, scratch: &mut self.scratch };
                sieve.sift(&portion, prepared, &mut self.strips, best, &mut context)?;
            }
        }
        Ok(())
    }
}
