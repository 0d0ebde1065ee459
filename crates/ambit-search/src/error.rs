//! Why was there no answer? One error for all searches.

use std::fmt;

use ambit_mem::OverBudget;

use crate::source::SourceError;

/// Why a search gave no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum SearchError {
    /// The space has dimension 0.
    ZeroDimension,
    /// The query has another dimension than the space.
    Dimension {
        /// Elements of a row.
        expected: usize,
        /// Elements of the query, or of all queries of a batch together.
        found: usize,
    },
    /// Zero results were asked for.
    ZeroK,
    /// An element of a query is NaN or infinite.
    NotFinite {
        /// The query in its batch, 0 for a single one.
        query: usize,
        /// The element.
        position: usize,
        /// Its value.
        value: f32,
    },
    /// A query of zeros has no direction, so no cosine.
    ZeroQuery {
        /// The query in its batch, 0 for a single one.
        query: usize,
    },
    /// No list is to be probed, or a recall is asked for that is not above 0 and up to 1.
    NoProbes,
    /// The score to be reached is NaN.
    NotAScore,
    /// A term of a sparse query is too long, or not above the one before it.
    BadTerm {
        /// The term in the query.
        position: usize,
    },
    /// The scratch of the search does not fit the budget.
    OverBudget(OverBudget),
    /// The source could not give a block or compare two keys.
    Source {
        /// The block that was being scanned; none while the threads' results were merged.
        block: Option<usize>,
        /// What the source said.
        source: SourceError,
    },
    /// The source gave a block whose parts do not fit each other.
    MalformedBlock {
        /// The block.
        block: usize,
        /// Rows that it names.
        rows: usize,
        /// Elements of a row.
        dim: usize,
        /// Floats of its vectors; rows x dim are right.
        vectors: usize,
        /// Its norms; one a row is right.
        norms: usize,
    },
    /// The caller cancelled the search.
    Cancelled,
}

impl fmt::Display for SearchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroDimension => f.write_str("the space has dimension 0: nothing to compare"),
            Self::Dimension { expected, found } => write!(
                f,
                "query of {found} elements, but rows have {expected}: \
                 give {expected} elements for each query"
            ),
            Self::ZeroK => f.write_str("k is 0: ask for at least 1 result"),
            Self::NotFinite { query, position, value } => write!(
                f,
                "query {query} has {value} at position {position}: every element must be finite"
            ),
            Self::ZeroQuery { query } => write!(
                f,
                "query {query} is all zeros, which has no cosine with anything: \
                 give a non-zero query, or use another metric"
            ),
            Self::NoProbes => f.write_str(
                "nothing is to be probed: ask for at least 1 list, or a recall above 0 and up to 1",
            ),
            Self::NotAScore => f.write_str("the score to be reached is NaN: give a number"),
            Self::BadTerm { position } => write!(
                f,
                "term {position} of the query is longer than 255 bytes, or not below the one \
                 after it: give terms sorted, each once"
            ),
            Self::OverBudget(_) => f.write_str("no room for the scratch of the search"),
            Self::Source { block: Some(block), .. } => write!(f, "cannot scan block {block}"),
            Self::Source { block: None, .. } => f.write_str("cannot compare keys of equal scores"),
            Self::MalformedBlock { block, rows, dim, vectors, norms } => write!(
                f,
                "block {block} names {rows} rows of dimension {dim}, but has {vectors} floats \
                 (expected rows x dim) and {norms} norms (expected one a row)"
            ),
            Self::Cancelled => f.write_str("the search was cancelled"),
        }
    }
}

impl std::error::Error for SearchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::OverBudget(error) => Some(error),
            Self::Source { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

impl From<OverBudget> for SearchError {
    fn from(error: OverBudget) -> Self {
        Self::OverBudget(error)
    }
}
