//! Which rows share terms with a query, and which k of them score best, exactly?
//!
//! A row of a sparse space is some terms with a value each; a score is the sum over the terms that
//! row and query share. [`search`] gives the k best, the same as scoring every row that shares a
//! term and sorting, equal scores by key. Terms are bytes: the words of a text under BM25
//! ([`Scoring::Bm25`]), or the big-endian ids of a learned sparse embedding under the inner product
//! ([`Scoring::Inner`]), so that their order is that of the ids.
//!
//! An inverted index is a row of [`RunBuilder`] runs: a run covers a range of rows and has a
//! dictionary and postings of its own, so that building takes bounded memory and one pass. Postings
//! lie in blocks of 128 with the best that a block can give, and a search leaves out the blocks
//! that cannot reach the k-th best so far. Counts of documents and lengths are kept in the runs, and
//! idf is computed at query time, so that new rows never change old runs. Where the bytes of a run
//! lie is the [`SparseSource`]'s matter.

mod bits;
mod block;
mod build;
mod cursor;
mod dictionary;
mod query;
mod run;
mod score;
mod search;
mod source;

pub use block::{BLOCK, Values};
pub use build::{RunBuilder, RunSink};
pub use query::{QueryTerm, SparseQuery};
pub use run::{Area, RunInfo};
pub use score::{B, K1, Scoring};
pub use search::{SparseAnswer, SparseWork, search};
pub use source::{DamagedRun, IndexedRun, Matched, Note, SparseSource};

/// Bytes of a term, at most. At least 1.
pub const MAX_TERM: usize = 255;
