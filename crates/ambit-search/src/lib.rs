//! What is nearest, and how sure are we? Exact search over dense vectors.
//!
//! A search reads every row once with an f32 kernel at memory bandwidth, and scores again in
//! f64 only the rows that a proved error bound does not exclude. The answer is the one that
//! scoring every row in f64 would give, in that order, ties by key; [`Exactness`] says how many
//! rows were scored again. The proof is in the header of `scorer`.
//!
//! Rows come from a [`DenseSource`], one snapshot of one space; where they live is not known
//! here. All scratch is charged to the account that the caller names.
#![forbid(unsafe_code)]

mod answer;
mod batch;
mod error;
mod exact;
mod query;
mod refine;
mod scorer;
mod source;
mod threads;
mod top;

pub use answer::{Answer, Exactness, Hit};
pub use batch::search_batch;
pub use error::SearchError;
pub use exact::search;
pub use query::{Batch, BatchOptions, Options, Query, Sharing};
pub use source::{DenseBlock, DenseSource, RowRef, Rows, SourceError};

pub use ambit_vector::Metric;
