//! Which k rows are nearest to each of many queries? Every block is read once for all of them.
//!
//! Bound by arithmetic: a stretch of rows that fits the second-level cache meets the queries in
//! groups, so that one tile of the kernel uses each loaded row several times. Each query keeps
//! its own k best, its own threshold and its own cut, so each answer is the one that
//! [`crate::search`] gives.

use ambit_mem::{Bytes, Reservation};

use crate::answer::Answer;
use crate::error::SearchError;
use crate::exact::search_checked;
use crate::query::{Batch, BatchOptions, Options, Sharing, check};
use crate::refine::{Best, stretches};
use crate::scorer::Scorer;
use crate::source::{DenseBlock, DenseSource};
use crate::threads::{Worker, run};
use crate::top::{Threshold, Top};

/// Bytes of rows that all queries meet before the next rows.
const STRETCH_BYTES: usize = 256 << 10;

/// Rows of a stretch at most, which bounds the buffer of scores to 128 KiB.
const STRETCH_ROWS: usize = 2 << 10;

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
/// Shared: reads every row once, and needs 16 bytes for each of k and about 150 more for each
/// query, all of it per thread, and 128 KiB per thread. One at a time: as m single searches.
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
        Sharing::Shared => search_shared(source, batch, &scorers, &options.options),
        Sharing::OneAtATime => scorers
            .iter()
            .map(|scorer| search_checked(source, *scorer, batch.k, &options.options))
            .collect(),
    }
}

fn search_shared<S: DenseSource + ?Sized>(
    source: &S,
    batch: &Batch<'_>,
    scorers: &[Scorer<'_>],
    options: &Options<'_>,
) -> Result<Vec<Answer>, SearchError> {
    let (m, dim, k) = (scorers.len(), source.dim(), batch.k);
    let _thresholds = options.account.reserve(Bytes::of(m * size_of::<Threshold>()))?;
    let thresholds: Vec<Threshold> = scorers.iter().map(|_| Threshold::none()).collect();
    let len = (STRETCH_BYTES / (4 * dim)).clamp(4, STRETCH_ROWS);
    let bytes_of_query = size_of::<Best<'_>>() + Top::initial_bytes(k);
    let bytes = m.saturating_mul(bytes_of_query).saturating_add(GROUP * len * size_of::<f32>());
    let mut workers = run(source, options, || {
        let scratch = options.account.reserve(Bytes::of(bytes))?;
        let best = scorers.iter().zip(&thresholds);
        Ok(SharedScan {
            source,
            queries: batch.vectors,
            len,
            scratch,
            scores: vec![0.0; GROUP * len],
            best: best.map(|(scorer, threshold)| Best::new(*scorer, k, threshold)).collect(),
            scanned: 0,
        })
    })?
    .into_iter();
    let Some(mut first) = workers.next() else {
        return Ok(Vec::new());
    };
    for other in workers {
        first.scanned += other.scanned;
        for (best, found) in first.best.iter_mut().zip(other.best) {
            best.absorb(found, source, &mut first.scratch)?;
        }
    }
    first.best.into_iter().map(|best| best.into_answer(source, first.scanned)).collect()
}

struct SharedScan<'a, S: ?Sized> {
    source: &'a S,
    /// m x dim.
    queries: &'a [f32],
    /// Rows of a stretch.
    len: usize,
    scratch: Reservation,
    scores: Vec<f32>,
    best: Vec<Best<'a>>,
    scanned: u64,
}

impl<S: DenseSource + ?Sized> Worker for SharedScan<'_, S> {
    fn take(&mut self, block: usize, rows: &DenseBlock<'_>) -> Result<(), SearchError> {
        let dim = self.source.dim();
        for stretch in stretches(rows, block, dim, self.len) {
            let n = stretch.norms.len();
            self.scanned += n as u64;
            let groups = self.queries.chunks(GROUP * dim).zip(self.best.chunks_mut(GROUP));
            for (queries, best) in groups {
                let scores = &mut self.scores[..best.len() * n];
                if let Some(first) = best.first() {
                    first.scorer().scan_block(queries, stretch.vectors, scores);
                }
                for (best, scores) in best.iter_mut().zip(scores.chunks_exact(n)) {
                    best.refine(self.source, &stretch, scores, &mut self.scratch)?;
                }
            }
        }
        Ok(())
    }
}
