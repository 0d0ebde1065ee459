//! Which places of the order may the rows of an answer take? All, unless a score is to be reached
//! or a row is to be passed.
//!
//! Every row has a place: by its score, and by its key among equal scores. A floor is a threshold
//! that holds from the start, so that what it excludes is left out as cheaply as what the k-th best
//! excludes, by the same proof. A row to be passed excludes those before it, which are scored in
//! f64 to be told; so the n-th page of an answer costs the scoring of n pages.

use std::cmp::Ordering;

use crate::answer::Hit;
use crate::error::SearchError;
use crate::scorer::{Goodness, Scorer};
use crate::source::{DenseSource, SourceError};
use crate::top::Entry;

/// Which rows may be in an answer, by their place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Only rows that are at least as near: a score of at least this, or under euclidean a distance of at
    /// most this. Rows whose score is NaN reach nothing.
    pub reaching: Option<f64>,
    /// Only rows that come after this one, a hit of the same query over the same rows.
    pub after: Option<Hit>,
}

/// Limits of one query, as goodness.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    floor: Option<Goodness>,
    after: Option<Entry>,
}

impl Place {
    /// All rows.
    pub(crate) const ANY: Self = Self { floor: None, after: None };

    /// The limits of a query.
    ///
    /// # Errors
    /// `NotAScore` for a floor that is NaN.
    pub(crate) fn new(limits: &Limits, scorer: &Scorer<'_>) -> Result<Self, SearchError> {
        if limits.reaching.is_some_and(f64::is_nan) {
            return Err(SearchError::NotAScore);
        }
        let entry = |hit: Hit| Entry { goodness: scorer.goodness_of(hit.score), row: hit.row };
        let floor = limits.reaching.map(|score| scorer.goodness_of(score));
        Ok(Self { floor, after: limits.after.map(entry) })
    }

    /// The threshold that holds from the start.
    pub(crate) fn floor(&self) -> f64 {
        self.floor.map_or(f64::NEG_INFINITY, Goodness::threshold)
    }

    /// The score that the row to be passed has.
    pub(crate) fn ceiling(&self, scorer: &Scorer<'_>) -> Option<f64> {
        self.after.map(|entry| scorer.score(entry.goodness))
    }

    /// Whether a row may be in the answer.
    ///
    /// # Errors
    /// What the source says to a comparison of keys.
    pub(crate) fn holds<S: DenseSource + ?Sized>(
        &self,
        entry: &Entry,
        source: &S,
    ) -> Result<bool, SourceError> {
        if self.floor.is_some_and(|floor| entry.goodness.compare(floor).is_lt()) {
            return Ok(false);
        }
        let Some(after) = &self.after else {
            return Ok(true);
        };
        Ok(match entry.goodness.compare(after.goodness) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => source.compare_keys(entry.row, after.row)?.is_gt(),
        })
    }
}
