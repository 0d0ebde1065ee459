//! What is asked of a sparse space.

use super::MAX_TERM;
use super::score::Scoring;
use crate::error::SearchError;

/// A term of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryTerm {
    /// The term, 0 to [`MAX_TERM`] bytes.
    pub term: Vec<u8>,
    /// Its weight, finite; under BM25, how often it occurs in the query, above 0.
    pub weight: f32,
}

/// The `k` rows that score best.
#[derive(Debug, Clone, Copy)]
pub struct SparseQuery<'a> {
    /// Ascending by bytes, no two alike; none finds nothing.
    pub terms: &'a [QueryTerm],
    /// Results wanted, at least 1; more than there are rows that share a term gives all of those.
    pub k: usize,
    /// What a score is.
    pub scoring: Scoring,
}

impl SparseQuery<'_> {
    pub(super) fn check(&self) -> Result<(), SearchError> {
        if self.k == 0 {
            return Err(SearchError::ZeroK);
        }
        let is_positive = self.scoring == Scoring::Bm25;
        let bad = self
            .terms
            .iter()
            .position(|term| !term.weight.is_finite() || (is_positive && term.weight <= 0.0));
        if let Some(position) = bad {
            let value = self.terms[position].weight;
            return Err(SearchError::NotFinite { query: 0, position, value });
        }
        let long = self.terms.iter().position(|term| term.term.len() > MAX_TERM);
        let unsorted = self.terms.windows(2).position(|pair| pair[0].term >= pair[1].term);
        match long.or(unsorted) {
            Some(position) => Err(SearchError::BadTerm { position }),
            None => Ok(()),
        }
    }
}
