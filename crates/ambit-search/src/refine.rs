//! Which of the scanned rows enter the answer? One query's best rows, as one thread knows them.
//!
//! The f32 scores of some rows are walked from one row that reaches the cut to the next; each
//! of those is scored in f64 at once, while it is in a cache, and offered. Whenever that raises
//! the k-th best, the threshold is published and the cut moves. A thread that finds a higher
//! threshold published by another one uses it from its next rows on.

use ambit_mem::Reservation;
use ambit_vector::Cut;

use crate::answer::Hit;
use crate::error::SearchError;
use crate::limits::Place;
use crate::scorer::{Goodness, Scorer};
use crate::source::{DenseBlock, DenseSource, RowRef};
use crate::top::{Entry, OfferError, Threshold, Top};

/// Some adjacent rows of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch<'b> {
    rows: &'b DenseBlock<'b>,
    block: usize,
    first: usize,
    /// n x dim.
    pub(crate) vectors: &'b [f32],
    /// One a row, n.
    pub(crate) norms: &'b [f32],
}

/// Cuts the rows of `block` into stretches of `len` rows, the last one shorter.
pub(crate) fn stretches<'b>(
    rows: &'b DenseBlock<'b>,
    block: usize,
    dim: usize,
    len: usize,
) -> impl Iterator<Item = Stretch<'b>> {
    let pairs = rows.vectors.chunks(len * dim).zip(rows.norms.chunks(len));
    pairs.enumerate().map(move |(i, (vectors, norms))| Stretch {
        rows,
        block,
        first: i * len,
        vectors,
        norms,
    })
}

/// The best rows of one query that one thread has seen.
#[derive(Debug)]
pub(crate) struct Best<'a> {
    scorer: Scorer<'a>,
    threshold: &'a Threshold,
    /// The threshold that `cut` follows from.
    known: f64,
    cut: Cut,
    top: Top,
    place: Place,
    rescored: u64,
}

impl<'a> Best<'a> {
    /// Nothing seen; the caller has reserved [`Top::initial_bytes`] of `k`.
    pub(crate) fn new(scorer: Scorer<'a>, k: usize, threshold: &'a Threshold) -> Self {
        let known = f64::NEG_INFINITY;
        let (top, place) = (Top::new(k), Place::ANY);
        Self { scorer, threshold, known, cut: Cut::NONE, top, place, rescored: 0 }
    }

    /// Only rows that `place` holds; the threshold is at least its floor.
    pub(crate) fn within(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// The score of the row to be passed.
    pub(crate) fn ceiling(&self) -> Option<f64> {
        self.place.ceiling(&self.scorer)
    }

    pub(crate) fn scorer(&self) -> &Scorer<'a> {
        &self.scorer
    }

    /// Offers the rows of `stretch` whose f32 `scores` reach the cut.
    ///
    /// # Errors
    ///
    /// `OverBudget` if the k rows outgrow the budget, `Source` if keys cannot be compared.
    pub(crate) fn refine<S: DenseSource + ?Sized>(
        &mut self,
        source: &S,
        stretch: &Stretch<'_>,
        scores: &[f32],
        scratch: &mut Reservation,
    ) -> Result<(), SearchError> {
        self.follow_threshold();
        let dim = self.scorer.dim();
        let mut at = 0;
        loop {
            at = self.scorer.next(scores, stretch.norms, self.cut, at);
            if at >= scores.len() {
                return Ok(());
            }
            let number = stretch.rows.rows.number(stretch.first + at);
            let vector = &stretch.vectors[at * dim..(at + 1) * dim];
            at += 1;
            if stretch.rows.dead.is_some_and(|dead| dead(number)) {
                continue;
            }
            let row = RowRef { part: stretch.rows.part, row: number };
            self.offer(row, vector, stretch.block, source, scratch)?;
        }
    }

    /// Scores a row in f64, and takes it if it is among the best k.
    ///
    /// # Errors
    ///
    /// As [`Best::refine`].
    pub(crate) fn offer<S: DenseSource + ?Sized>(
        &mut self,
        row: RowRef,
        vector: &[f32],
        block: usize,
        source: &S,
        scratch: &mut Reservation,
    ) -> Result<(), SearchError> {
        self.rescored += 1;
        let entry = Entry { goodness: self.scorer.goodness(vector), row };
        let is_held = self.place.holds(&entry, source);
        if !is_held.map_err(|error| OfferError::from(error).while_scanning(Some(block)))? {
            return Ok(());
        }
        let taken = self
            .top
            .offer(entry, source, scratch)
            .map_err(|error| error.while_scanning(Some(block)))?;
        if taken && let Some(kth) = self.top.kth() {
            self.threshold.raise(kth);
            self.follow_threshold();
        }
        Ok(())
    }

    /// Results wanted.
    pub(crate) fn k(&self) -> usize {
        self.top.k()
    }

    /// The score that k rows have reached; none yet, or none that is a number.
    pub(crate) fn threshold_score(&mut self) -> Option<f64> {
        self.follow_threshold();
        (self.known > f64::NEG_INFINITY).then(|| self.scorer.score(Goodness::of(self.known)))
    }

    /// Moves the cut to the shared threshold.
    fn follow_threshold(&mut self) {
        let threshold = self.threshold.get();
        if threshold > self.known {
            self.known = threshold;
            self.cut = self.scorer.cut(threshold);
        }
    }

    /// Takes over what another thread found for the same query.
    ///
    /// # Errors
    ///
    /// As [`Best::refine`].
    pub(crate) fn absorb<S: DenseSource + ?Sized>(
        &mut self,
        other: Best<'_>,
        source: &S,
        scratch: &mut Reservation,
    ) -> Result<(), SearchError> {
        self.rescored += other.rescored;
        for entry in other.top.into_entries() {
            self.top.offer(entry, source, scratch).map_err(|error| error.while_scanning(None))?;
        }
        Ok(())
    }

    /// The hits, best first, and how many rows were scored in f64.
    ///
    /// # Errors
    ///
    /// `Source` if keys cannot be compared.
    pub(crate) fn into_hits<S: DenseSource + ?Sized>(
        self,
        source: &S,
    ) -> Result<(Vec<Hit>, u64), SearchError> {
        let scorer = self.scorer;
        let sorted = self
            .top
            .into_sorted(source)
            .map_err(|error| OfferError::from(error).while_scanning(None))?;
        let hits = sorted
            .into_iter()
            .map(|entry| Hit { row: entry.row, score: scorer.score(entry.goodness) })
            .collect();
        Ok((hits, self.rescored))
    }
}
