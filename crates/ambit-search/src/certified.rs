//! Which rows do the codes leave? The coarse plane of every row, the fine plane of what it
//! leaves, f64 for what that leaves.
//!
//! A thread takes a portion of a part. One pass over the coarse plane gives an upper end and
//! an estimate of every row. The rows of the best estimates are looked at first, in the fine
//! plane and then in f64, so that the threshold is good before the upper ends are held against
//! it. Of the rows that reach the cut, the fine plane gives better estimates and upper ends.
//! A row that is estimated above the cut is scored at once, since it will raise it; the others
//! wait. At the end, when the threshold is final, they are scored from the best upper end down,
//! until one is below the cut. A row that is left out at any time was below a threshold that k
//! scored rows had reached, so it is not in the answer.
//!
//! Rows that follow a leader ([`ambit_vector::planes::groups`]) are looked at after the leaders of
//! their portion, and only where the leader's upper end and the radius of its group reach the cut.
//!
//! Deleted rows are told by their number before they would be scored, and never raise a threshold.

use std::ops::Range;

use ambit_mem::{Bytes, Reservation};
use ambit_vector::planes::{Fine, Query as PlaneQuery, Unit};

use crate::answer::{Answer, Exactness};
use crate::error::SearchError;
use crate::follow::{Led, leads};
use crate::plan::Plan;
use crate::refine::Best;
use crate::source::{CodedPart, DenseSource, RowRef, SourceError};
use crate::strips::{Strips, favour, most_favoured};

/// Rows whose fine codes are asked for before their turn.
const AHEAD: usize = 6;

/// Rows that may wait beside four times k.
const MOST_PENDING: usize = 1024;

/// A query made ready for the models of all coded parts.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// For each coded part, which of `queries` is of its model.
    of_part: Vec<usize>,
    queries: Vec<PlaneQuery>,
}

impl Prepared {
    /// Turns `vector` into the basis of each model of `plan`, once each.
    ///
    /// # Errors
    /// `OverBudget`; `Source` for a part of another dimension.
    pub(crate) fn new(
        vector: &[f32],
        plan: &Plan<'_>,
        scratch: &mut Reservation,
    ) -> Result<Self, SearchError> {
        let mut prepared = Self { of_part: Vec::new(), queries: Vec::new() };
        let parts = plan.parts();
        for (number, part) in parts.iter().enumerate() {
            let same =
                parts[..number].iter().position(|other| std::ptr::eq(other.model(), part.model()));
            if let Some(same) = same {
                prepared.of_part.push(prepared.of_part[same]);
                continue;
            }
            let query = PlaneQuery::new(part.model(), vector).map_err(|error| {
                plan.codes_failed();
                SearchError::Source { block: None, source: error.into() }
            })?;
            scratch.grow(Bytes::of(query.footprint() + size_of::<usize>()))?;
            prepared.of_part.push(prepared.queries.len());
            prepared.queries.push(query);
        }
        Ok(prepared)
    }

    /// The query in the basis of a coded part's model.
    pub(crate) fn query(&self, part: usize) -> Option<&PlaneQuery> {
        self.queries.get(*self.of_part.get(part)?)
    }

    /// The cut that the threshold proves, for the codes of a part.
    fn cut(&self, part: u32, best: &mut Best<'_>) -> f32 {
        self.query(part as usize).map_or(f32::NEG_INFINITY, |query| cut_of(query, best))
    }
}

/// A row that the fine plane left, and that was not scored yet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    upper: f32,
    part: u32,
    position: u32,
}

/// What the codes left for one query, as one thread knows it.
#[derive(Debug)]
pub(crate) struct Sieve {
    pending: Vec<Pending>,
    most_pending: usize,
    /// The best upper end that was left out, as a cut.
    pub(crate) left_out: f32,
    pub(crate) refined: u64,
    /// Followers that were looked at, and those that were left out with their leader.
    pub(crate) followed: u64,
    pub(crate) skipped: u64,
}

/// What was found for one query, as one thread knows it.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) best: Best<'a>,
    pub(crate) sieve: Sieve,
}

/// What an answer says beside its hits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Rows that were looked at by their codes.
    pub(crate) coded: u64,
    /// Rows that were read.
    pub(crate) uncoded: u64,
    pub(crate) fell_back: bool,
}

impl Seen {
    /// Nothing yet.
    pub(crate) fn none(fell_back: bool) -> Self {
        Self { coded: 0, uncoded: 0, fell_back }
    }

    /// Adds what another thread saw.
    pub(crate) fn add(&mut self, other: Self) {
        self.coded += other.coded;
        self.uncoded += other.uncoded;
    }
}

impl<'a> Found<'a> {
    pub(crate) fn new(best: Best<'a>) -> Self {
        Self { sieve: Sieve::new(best.k()), best }
    }

    /// Takes over what another thread has found for the same query.
    ///
    /// # Errors
    /// `OverBudget`; `Source` if keys cannot be compared.
    pub(crate) fn absorb<S: DenseSource + ?Sized>(
        &mut self,
        other: Found<'_>,
        source: &S,
        scratch: &mut Reservation,
    ) -> Result<(), SearchError> {
        self.best.absorb(other.best, source, scratch)?;
        self.sieve.absorb(other.sieve, scratch)
    }

    /// Scores what still waits, and gives the answer.
    ///
    /// # Errors
    /// As [`Sieve::sift`].
    pub(crate) fn into_answer<S: DenseSource + ?Sized>(
        mut self,
        prepared: &Prepared,
        seen: Seen,
        context: &mut Context<'_, S>,
    ) -> Result<Answer, SearchError> {
        self.sieve.settle(prepared, &mut self.best, context)?;
        let (hits, rescored) = self.best.into_hits(context.source)?;
        let last = hits.last().map_or(f64::NAN, |hit| hit.score);
        let looked_at = seen.coded + seen.uncoded + self.sieve.followed;
        if let Some(probed) = context.plan.probed() {
            return Ok(Answer { hits, exactness: probed.exactness(looked_at, rescored) });
        }
        let exactness = Exactness::Certified {
            scanned: looked_at + self.sieve.skipped,
            skipped: self.sieve.skipped,
            uncoded: seen.uncoded,
            refined: self.sieve.refined,
            rescored,
            margin: self.sieve.margin(prepared, last),
            fell_back: seen.fell_back,
        };
        Ok(Answer { hits, exactness })
    }
}

/// The rows of a portion, and which of the strips' queries is meant.
#[derive(Debug, Clone)]
pub(crate) struct Portion {
    pub(crate) part: usize,
    pub(crate) rows: Range<usize>,
    pub(crate) query: usize,
}

/// Rows of a chunk that reach the cut.
pub(crate) struct Reaching<'a> {
    /// By their place in the chunk, ascending.
    pub(crate) rows: &'a [u32],
    /// Upper ends of the chunk's rows, and estimates from its first row on.
    pub(crate) values: &'a [f32],
    pub(crate) estimates: &'a [f32],
    /// Rows of the portion that were scored already, ascending.
    pub(crate) scored: &'a [(f32, u32)],
    /// Place of the chunk in the portion, and in the part.
    pub(crate) offset: usize,
    pub(crate) start: u32,
    pub(crate) part: u32,
    pub(crate) fine: Fine<'a>,
}

/// What all steps of a search share.
pub(crate) struct Context<'a, S: ?Sized> {
    pub(crate) plan: &'a Plan<'a>,
    pub(crate) source: &'a S,
    pub(crate) scratch: &'a mut Reservation,
}

impl Sieve {
    pub(crate) fn new(k: usize) -> Self {
        let most_pending = k.saturating_mul(4).saturating_add(MOST_PENDING);
        Self {
            pending: Vec::new(),
            most_pending,
            left_out: f32::NEG_INFINITY,
            refined: 0,
            followed: 0,
            skipped: 0,
        }
    }

    /// Looks at the rows of `portion`, whose strips are filled.
    ///
    /// # Errors
    /// `OverBudget`; `Source` where fine codes, exact rows, row numbers or keys cannot be read.
    pub(crate) fn sift<S: DenseSource + ?Sized>(
        &mut self,
        portion: &Portion,
        prepared: &Prepared,
        strips: &mut Strips,
        best: &mut Best<'_>,
        context: &mut Context<'_, S>,
    ) -> Result<(), SearchError> {
        let Some(query) = prepared.query(portion.part) else {
            return Ok(());
        };
        let Strips { rows, uppers, estimates, order, favoured, near } = strips;
        let strip = portion.query * *rows..portion.query * *rows + portion.rows.len();
        let (uppers, estimates) = (&uppers[strip.clone()], &estimates[strip]);
        let ceiling = best.ceiling().map_or(f32::INFINITY, |score| query.cut(score));
        let places = cut_of(query, best)..=ceiling;
        favour(estimates, places, most_favoured(best.k()), order);
        self.score_favoured(portion, query, estimates, order, favoured, best, context)?;
        let scored: &[(f32, u32)] = favoured;
        if leads(context.plan.parts()[portion.part]) {
            self.follow_favoured(portion, prepared, scored, near, best, context)?;
        }
        let first = portion.rows.start;
        for chunk in context.plan.chunks(portion.part, portion.rows.clone()) {
            let values = &uppers[chunk.start - first..chunk.end - first];
            self.reach(values, cut_of(query, best), order);
            if order.is_empty() {
                continue;
            }
            let coded = context.plan.parts()[portion.part];
            let mut outcome = Ok(());
            let expected = chunk.len() * coded.model().layout().fine_len();
            let read = coded.fine(chunk.clone(), &mut |bytes| {
                if bytes.len() != expected {
                    let source = wrong_length("fine", bytes.len(), expected);
                    outcome = Err(unreadable(context.plan, coded, source));
                    return;
                }
                let reaching = Reaching {
                    rows: order,
                    values,
                    estimates: &estimates[chunk.start - first..],
                    scored,
                    offset: chunk.start - first,
                    fine: Fine::new(*coded.model().layout(), bytes),
                    start: chunk.start as u32,
                    part: portion.part as u32,
                };
                outcome = self.refine(&reaching, prepared, best, context);
            });
            read.map_err(|source| unreadable(context.plan, coded, source))?;
            outcome?;
        }
        if leads(context.plan.parts()[portion.part]) {
            for chunk in context.plan.chunks(portion.part, portion.rows.clone()) {
                let led = Led {
                    part: portion.part,
                    leaders: chunk.clone(),
                    uppers: &uppers[chunk.start - first..],
                    estimates: &estimates[chunk.start - first..],
                    offset: chunk.start - first,
                    scored,
                };
                self.follow(&led, prepared, near, best, context)?;
            }
        }
        Ok(())
    }

    /// Leaves the rows of a chunk whose upper ends reach `cut` in `rows`.
    pub(crate) fn reach(&mut self, uppers: &[f32], cut: f32, rows: &mut Vec<u32>) {
        rows.clear();
        let mut at = 0;
        loop {
            let (next, left_out) = Unit::best().next_reaching(uppers, cut, at);
            self.left_out = self.left_out.max(left_out);
            if next == uppers.len() {
                return;
            }
            rows.push(next as u32);
            at = next + 1;
        }
    }

    /// Looks at rows of a chunk in the fine plane.
    pub(crate) fn refine<S: DenseSource + ?Sized>(
        &mut self,
        reaching: &Reaching<'_>,
        prepared: &Prepared,
        best: &mut Best<'_>,
        context: &mut Context<'_, S>,
    ) -> Result<(), SearchError> {
        let Some(query) = prepared.query(reaching.part as usize) else {
            return Ok(());
        };
        for (index, &at) in reaching.rows.iter().enumerate() {
            if let Some(&soon) = reaching.rows.get(index + AHEAD) {
                reaching.fine.prefetch(soon as usize);
            }
            let upper = reaching.values[at as usize];
            if upper < cut_of(query, best) {
                // The cut has risen since the row was found.
                self.left_out = self.left_out.max(upper);
                continue;
            }
            let row = reaching.offset as u32 + at;
            let position = reaching.start + at;
            if reaching.scored.binary_search_by_key(&row, |(_, row)| *row).is_ok() {
                continue;
            }
            let estimate = reaching.estimates[at as usize];
            let (estimate, upper) =
                reaching.fine.refine(Unit::best(), query, at as usize, estimate);
            let pending = Pending { upper, part: reaching.part, position };
            self.take(pending, estimate, prepared, best, context)?;
        }
        Ok(())
    }

    /// Looks at the rows of the best estimates in the fine plane, and scores those in f64 that it
    /// puts among the best k. Leaves them in `favoured`, in the order of their rows.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a portion's scratch, borrowed apart"
    )]
    fn score_favoured<S: DenseSource + ?Sized>(
        &mut self,
        portion: &Portion,
        query: &PlaneQuery,
        estimates: &[f32],
        order: &[u32],
        favoured: &mut Vec<(f32, u32)>,
        best: &mut Best<'_>,
        context: &mut Context<'_, S>,
    ) -> Result<(), SearchError> {
        let coded = context.plan.parts()[portion.part];
        let layout = *coded.model().layout();
        favoured.clear();
        for &row in order {
            let position = portion.rows.start + row as usize;
            let mut fine = None;
            let read = coded.fine(position..position + 1, &mut |bytes| {
                if bytes.len() == layout.fine_len() {
                    let coarse = estimates[row as usize];
                    fine = Some(Fine::new(layout, bytes).refine(Unit::best(), query, 0, coarse));
                }
            });
            read.map_err(|source| unreadable(context.plan, coded, source))?;
            let Some((estimate, _)) = fine else {
                let source = wrong_length("fine", 0, layout.fine_len());
                return Err(unreadable(context.plan, coded, source));
            };
            favoured.push((estimate, row));
        }
        self.refined += favoured.len() as u64;
        favoured.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut scored = 0;
        for &(estimate, row) in favoured.iter() {
            if estimate < cut_of(query, best) {
                break;
            }
            let position = portion.rows.start as u32 + row;
            let pending = Pending { upper: estimate, part: portion.part as u32, position };
            score(pending, best, context)?;
            scored += 1;
        }
        favoured.truncate(scored);
        favoured.sort_unstable_by_key(|(_, row)| *row);
        Ok(())
    }

    /// Scores a row that the fine plane was asked about now or later, or leaves it out.
    fn take<S: DenseSource + ?Sized>(
        &mut self,
        pending: Pending,
        estimate: f32,
        prepared: &Prepared,
        best: &mut Best<'_>,
        context: &mut Context<'_, S>,
    ) -> Result<(), SearchError> {
        self.refined += 1;
        let cut = prepared.cut(pending.part, best);
        if pending.upper < cut {
            self.left_out = self.left_out.max(pending.upper);
            return Ok(());
        }
        if estimate >= cut && cut > f32::NEG_INFINITY {
            return score(pending, best, context);
        }
        self.wait(pending, context.scratch)?;
        if self.pending.len() >= self.most_pending {
            self.settle(prepared, best, context)?;
        }
        Ok(())
    }

    fn wait(&mut self, pending: Pending, scratch: &mut Reservation) -> Result<(), SearchError> {
        if self.pending.len() == self.pending.capacity() {
            let more = self.pending.len().max(64);
            scratch.grow(Bytes::of(more * size_of::<Pending>()))?;
            self.pending.reserve_exact(more);
        }
        self.pending.push(pending);
        Ok(())
    }

    /// Takes over what another thread has found for the same query.
    ///
    /// # Errors
    /// `OverBudget`.
    pub(crate) fn absorb(
        &mut self,
        other: Self,
        scratch: &mut Reservation,
    ) -> Result<(), SearchError> {
        self.left_out = self.left_out.max(other.left_out);
        self.refined += other.refined;
        self.followed += other.followed;
        self.skipped += other.skipped;
        other.pending.into_iter().try_for_each(|pending| self.wait(pending, scratch))
    }

    /// Scores the rows that wait, the best upper ends first, until one is below the cut.
    ///
    /// # Errors
    /// As [`Sieve::sift`].
    fn settle<S: DenseSource + ?Sized>(
        &mut self,
        prepared: &Prepared,
        best: &mut Best<'_>,
        context: &mut Context<'_, S>,
    ) -> Result<(), SearchError> {
        // Of a row whose upper end is NaN nothing is known: it comes first.
        let key =
            |pending: &Pending| if pending.upper.is_nan() { f32::INFINITY } else { pending.upper };
        self.pending.sort_unstable_by(|a, b| key(b).total_cmp(&key(a)));
        for &pending in &self.pending {
            if pending.upper < prepared.cut(pending.part, best) {
                self.left_out = self.left_out.max(pending.upper);
                break;
            }
            score(pending, best, context)?;
        }
        self.pending.clear();
        Ok(())
    }

    /// By how much the last row of the answer, of score `last`, is better than the best bound
    /// that was left out.
    fn margin(&self, prepared: &Prepared, last: f64) -> f64 {
        match prepared.queries.first() {
            Some(query) if self.left_out > f32::NEG_INFINITY && !last.is_nan() => {
                (last - query.score_of(self.left_out)).abs()
            }
            _ => f64::INFINITY,
        }
    }
}

/// The cut that the threshold proves, for codes.
pub(crate) fn cut_of(query: &PlaneQuery, best: &mut Best<'_>) -> f32 {
    best.threshold_score().map_or(f32::NEG_INFINITY, |score| query.cut(score))
}

/// Scores a row in f64 and offers it, unless it is deleted.
fn score<S: DenseSource + ?Sized>(
    pending: Pending,
    best: &mut Best<'_>,
    context: &mut Context<'_, S>,
) -> Result<(), SearchError> {
    let part = context.plan.parts()[pending.part as usize];
    let position = pending.position as usize;
    // Where which row stands is part of the codes.
    let row = part.number(position).map_err(|source| unreadable(context.plan, part, source))?;
    if part.is_dead(row) {
        return Ok(());
    }
    let mut outcome = Ok(());
    let mut take = |vector: &[f32]| {
        let row = RowRef { part: part.part(), row };
        let block = part.blocks().start;
        outcome = best.offer(row, vector, block, context.source, context.scratch);
    };
    let read = part.vector(position, &mut take);
    read.map_err(|source| unreadable(context.plan, part, source))?;
    outcome
}

/// The codes of a part could not be read: the plan remembers it.
pub(crate) fn unreadable(
    plan: &Plan<'_>,
    part: &dyn CodedPart,
    source: SourceError,
) -> SearchError {
    plan.codes_failed();
    SearchError::Source { block: Some(part.blocks().start), source }
}

pub(crate) fn wrong_length(plane: &str, found: usize, expected: usize) -> SourceError {
    format!("{found} bytes of the {plane} plane, expected {expected}").into()
}
