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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exactness {
    /// The same rows, scores and order as scoring every row in f64.
    Exact {
        /// Rows that the scan read, deleted ones included.
        scanned: u64,
        /// Rows that the error bound did not exclude, and that were scored again in f64.
        rescored: u64,
    },
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
