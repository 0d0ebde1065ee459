//! Sparse and text spaces: terms with weights, and the words of texts.
//!
//! Of each such space of each segment a derived file holds an inverted index ([`ambit_search::sparse`]), which is a
//! cache: a segment without one, and the memtable, are read row by row, texts cut into words on the way.
//! A text is stored once, in the entity's body; the index holds its words and its length.

mod build;
mod index;
mod search;
mod source;
mod vector;

pub use build::IndexReport;
pub use search::{Terms, TermsAnswer, TermsRequest};
pub use vector::{EachSparse, SparseVector};
pub(crate) use vector::{count, vector_at};
