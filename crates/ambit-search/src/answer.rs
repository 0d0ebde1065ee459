//! What was found, and how sure is it?

use crate::source::RowRef;

/// A row of the answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The row.
    pub row: RowRef,
    /// Its score in f64. Inner product: the inner product; cosine: the cosine; euclidean: the
    /// distance, where smaller is better. NaN where the metric is undefined, after all others.
    pub score: f64,
}

/// What is known about an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Exactness {
    /// The same rows, scores and order as scoring every row in f64: each other row has a
    /// proved bound that is worse than the last one of the answer.
    Certified {
        /// Rows that were looked at, by their codes or exactly, deleted ones included.
        scanned: u64,
        /// Of them, those that have no codes (that could be read), and were read exactly.
        uncoded: u64,
        /// Of the others, those whose fine codes were looked at, because the coarse ones left them.
        refined: u64,
        /// Of all, those that were scored in f64.
        rescored: u64,
        /// By how much the last row of the answer is better than the best bound of a row that
        /// its codes excluded: as a difference of scores, at least 0; infinite where codes excluded
        /// none.
        margin: f64,
        /// Codes there were, but they could not be read, and exact rows were read instead.
        fell_back: bool,
    },
    /// The hits of a similar query that was answered before, scored again in f64 for this one, in its
    /// order: others may be nearer.
    Reused {
        /// The cosine of the two queries.
        cosine: f64,
        /// Rows that were scored in f64.
        rescored: u64,
    },
}

impl Exactness {
    /// What is known about two answers together: counts are added, the margin is the lesser one. What is not
    /// certified wins.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        match (&mut self, other) {
            (
                Self::Certified { scanned, uncoded, refined, rescored, margin, fell_back },
                Self::Certified {
                    scanned: and_scanned,
                    uncoded: and_uncoded,
                    refined: and_refined,
                    rescored: and_rescored,
                    margin: and_margin,
                    fell_back: and_fell_back,
                },
            ) => {
                *scanned += and_scanned;
                *uncoded += and_uncoded;
                *refined += and_refined;
                *rescored += and_rescored;
                *margin = margin.min(and_margin);
                *fell_back |= and_fell_back;
                self
            }
            (Self::Certified { .. }, other) => other,
            _ => self,
        }
    }
}

/// The rows nearest to a query, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// At most k rows, best first, equal scores in the order of their keys; fewer than k only
    /// if there are fewer.
    pub hits: Vec<Hit>,
    /// What is known about them.
    pub exactness: Exactness,
}
