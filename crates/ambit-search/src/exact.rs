//! Which k rows are nearest to one query? All rows by codes or in f32, the few that matter in
//! f64.
//!
//! Bound by memory bandwidth: each stretch of a block is scored into a small buffer, and the
//! rows that reach the cut are scored again while the stretch is in the second-level cache.

use std::ops::Range;

use ambit_mem::{Bytes, Reservation};

use crate::answer::Answer;
use crate::certified::{Context, Found, Portion, Prepared, Seen};
use crate::error::SearchError;
use crate::few::search_few;
use crate::limits::{Limits, Place};
use crate::plan::{Plan, Portions};
use crate::probes::Probes;
use crate::query::{Options, Query, check};
use crate::refine::{Best, stretches};
use crate::scorer::Scorer;
use crate::source::{DenseBlock, DenseSource};
use crate::strips::Strips;
use crate::threads::{Worker, run};
use crate::top::{Threshold, Top};

/// Bytes of rows that are scored before the cut is applied to them.
const STRETCH_BYTES: usize = 1 << 20;

/// Rows of a stretch at most, which bounds the buffer of scores to 64 KiB.
const STRETCH_ROWS: usize = 16 << 10;

/// Rows whose codes are scanned before the best of them are looked at more closely; bounds the strips to
/// 1 MiB.
const PORTION_ROWS: usize = 128 << 10;

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
/// Reads the codes of every row that has some, and every other row, once. Scratch per thread: at
/// most 64 KiB, 1 MiB more where there are codes, and 160 bytes for each of k.
pub fn search<S: DenseSource + ?Sized>(
    source: &S,
    query: &Query<'_>,
    options: &Options<'_>,
) -> Result<Answer, SearchError> {
    search_limited(source, query, &Limits::default(), options)
}

/// The best `query.k` rows of those that `limits` leaves: all within a score, page by page.
///
/// # Errors
///
/// As [`search`]; `NotAScore`.
///
/// # Cost
///
/// As [`search`]; rows before `limits.after` are scored in f64.
pub fn search_limited<S: DenseSource + ?Sized>(
    source: &S,
    query: &Query<'_>,
    limits: &Limits,
    options: &Options<'_>,
) -> Result<Answer, SearchError> {
    let (scorer, place) = checked(source, query, limits)?;
    search_checked(source, scorer, query.k, place, options)
}

/// What a query that was checked is scored by, and the places that its rows may take.
fn checked<'q, S: DenseSource + ?Sized>(
    source: &S,
    query: &Query<'q>,
    limits: &Limits,
) -> Result<(Scorer<'q>, Place), SearchError> {
    check(query.vector, 1, query.k, source.dim())?;
    let scorer = Scorer::new(query.vector, query.metric);
    if scorer.is_undefined() {
        return Err(SearchError::ZeroQuery { query: 0 });
    }
    Ok((scorer, Place::new(limits, &scorer)?))
}

/// The best `query.k` rows of those that are probed: fewer bytes are read, and some of the best rows may
/// be missed; [`crate::Exactness::Approximate`] says how many that were for held-out rows. Where fewer
/// than k are found, more lists are probed, and at last all; so there are never fewer than k where k exist.
///
/// # Errors
///
/// As [`search_limited`]; `NoProbes`.
///
/// # Cost
///
/// One pass over the centroids of each part's lists, then that of [`search_limited`] on the lists that
/// are probed.
pub fn search_probed<S: DenseSource + ?Sized>(
    source: &S,
    query: &Query<'_>,
    limits: &Limits,
    probes: Probes,
    options: &Options<'_>,
) -> Result<Answer, SearchError> {
    let (scorer, place) = checked(source, query, limits)?;
    probes.check()?;
    let k = query.k;
    let portions = Portions { rows: PORTION_ROWS, threads: options.threads };
    let mut probes = probes;
    loop {
        let plan =
            Plan::with_probes(source, scorer.metric(), scorer.vector(), probes, portions, options)?;
        let asked = Asked { source, scorer, k, place, options };
        let answer = match asked.search(&plan, source.has_damaged_codes()) {
            Err(_) if plan.has_unreadable_codes() => {
                return asked.search(&Plan::without_codes(source), true);
            }
            outcome => outcome?,
        };
        match plan.probed() {
            Some(probed) if answer.hits.len() < k && !probed.is_all() => {
                let most = usize::try_from(probed.probes()).unwrap_or(usize::MAX);
                probes = Probes::Lists(most.saturating_mul(4).max(1));
            }
            _ => return Ok(answer),
        }
    }
}

/// [`search_limited`] for a query that was checked.
pub(crate) fn search_checked<S: DenseSource + ?Sized>(
    source: &S,
    scorer: Scorer<'_>,
    k: usize,
    place: Place,
    options: &Options<'_>,
) -> Result<Answer, SearchError> {
    if let Some(rows) = source.few() {
        return search_few(source, rows, scorer, (k, place), options);
    }
    let portions = Portions { rows: PORTION_ROWS, threads: options.threads };
    let plan = Plan::with_codes(source, scorer.metric(), portions);
    let asked = Asked { source, scorer, k, place, options };
    match asked.search(&plan, source.has_damaged_codes()) {
        Err(_) if plan.has_unreadable_codes() => asked.search(&Plan::without_codes(source), true),
        outcome => outcome,
    }
}

struct Asked<'a, S: ?Sized> {
    source: &'a S,
    scorer: Scorer<'a>,
    k: usize,
    place: Place,
    options: &'a Options<'a>,
}

impl<S: DenseSource + ?Sized> Asked<'_, S> {
    fn search(&self, plan: &Plan<'_>, fell_back: bool) -> Result<Answer, SearchError> {
        let Self { source, scorer, k, place, options } = *self;
        let threshold = Threshold::of(place.floor());
        let len = (STRETCH_BYTES / (4 * scorer.dim())).clamp(4, STRETCH_ROWS);
        let mut scratch = options.account.reserve(Bytes::ZERO)?;
        let prepared = Prepared::new(scorer.vector(), plan, &mut scratch)?;
        let bytes = len * size_of::<f32>() + Top::initial_bytes(k) + Strips::footprint(plan, 1, k);
        let mut workers = run(source, plan, options, || {
            Ok(Scan {
                source,
                plan,
                prepared: &prepared,
                scratch: options.account.reserve(Bytes::of(bytes))?,
                scores: vec![0.0; len],
                strips: Strips::new(plan, 1, k),
                found: Found::new(Best::new(scorer, k, &threshold).within(place)),
                seen: Seen::none(fell_back),
            })
        })?
        .into_iter();
        let Some(mut first) = workers.next() else {
            return Err(SearchError::Cancelled);
        };
        for other in workers {
            first.seen.add(other.seen);
            first.found.absorb(other.found, source, &mut first.scratch)?;
        }
        let Scan { found, mut scratch, seen, .. } = first;
        let mut context = Context { plan, source, scratch: &mut scratch };
        found.into_answer(&prepared, seen, &mut context)
    }
}

struct Scan<'a, S: ?Sized> {
    source: &'a S,
    plan: &'a Plan<'a>,
    prepared: &'a Prepared,
    scratch: Reservation,
    scores: Vec<f32>,
    strips: Strips,
    found: Found<'a>,
    seen: Seen,
}

impl<S: DenseSource + ?Sized> Worker for Scan<'_, S> {
    fn take(&mut self, block: usize, rows: &DenseBlock<'_>) -> Result<(), SearchError> {
        let best = &mut self.found.best;
        for stretch in stretches(rows, block, best.scorer().dim(), self.scores.len()) {
            let scores = &mut self.scores[..stretch.norms.len()];
            best.scorer().scan(stretch.vectors, scores);
            self.seen.uncoded += scores.len() as u64;
            best.refine(self.source, &stretch, scores, &mut self.scratch)?;
        }
        Ok(())
    }

    fn sift(&mut self, part: usize, rows: Range<usize>) -> Result<(), SearchError> {
        self.seen.coded += rows.len() as u64;
        let prepared = std::slice::from_ref(self.prepared);
        self.strips.fill(self.plan, part, rows.clone(), prepared)?;
        let Found { best, sieve } = &mut self.found;
        let portion = Portion { part, rows, query: 0 };
        let (plan, source) = (self.plan, self.source);
        let mut context = Context { plan, source, scratch: &mut self.scratch };
        sieve.sift(&portion, self.prepared, &mut self.strips, best, &mut context)
    }
}
