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
        /// Rows that were looked at, by their codes or exactly, deleted ones included, and those that
        /// were left out with the row that they follow.
        scanned: u64,
        /// Of them, those that were left out because the row that they follow was far off.
        skipped: u64,
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
    /// The best of the rows that were probed: the lists that look most promising, and all rows that
    /// are in no list. Of those rows it is what [`Exactness::Certified`] says.
    Approximate {
        /// Lists that were probed, of all parts together.
        probes: u64,
        /// Lists that there are.
        lists: u64,
        /// The share of true neighbours that so many probes found for the rows that were held out when
        /// the codes were built, weighted by the rows of each part; 0 to 1.
        recall: f64,
        /// Rows that were held out.
        queries: u64,
        /// Rows that were looked at, by their codes or exactly.
        scanned: u64,
        /// Of them, those that were scored in f64.
        rescored: u64,
    },
}

impl Exactness {
    /// What is known about two answers together: counts are added, the margin is the lesser one, the recall
    /// too. What is not certified wins.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        match (&mut self, other) {
            (
                Self::Certified { scanned, skipped, uncoded, refined, rescored, margin, fell_back },
                Self::Certified {
                    scanned: and_scanned,
                    skipped: and_skipped,
                    uncoded: and_uncoded,
                    refined: and_refined,
                    rescored: and_rescored,
                    margin: and_margin,
                    fell_back: and_fell_back,
                },
            ) => {
                *scanned += and_scanned;
                *skipped += and_skipped;
                *uncoded += and_uncoded;
                *refined += and_refined;
                *rescored += and_rescored;
                *margin = margin.min(and_margin);
                *fell_back |= and_fell_back;
                self
            }
            (
                Self::Approximate { probes, lists, recall, queries, scanned, rescored },
                Self::Approximate {
                    probes: and_probes,
                    lists: and_lists,
                    recall: and_recall,
                    queries: and_queries,
                    scanned: and_scanned,
                    rescored: and_rescored,
                },
            ) => {
                *probes += and_probes;
                *lists += and_lists;
                *recall = recall.min(and_recall);
                *queries = (*queries).min(and_queries);
                *scanned += and_scanned;
                *rescored += and_rescored;
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
