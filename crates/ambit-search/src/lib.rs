//! What is nearest, and how sure are we? Exact search over dense vectors.
//!
//! A search looks at every row once, by its codes where there are any ([`CodedPart`]), else
//! with an f32 kernel at memory bandwidth, and scores in f64 only the rows that a proved error
//! bound does not exclude. The answer is the one that scoring every row in f64 would give, in
//! that order, ties by key; [`Exactness`] says how many rows were looked at how closely. The proofs
//! are in the headers of `scorer` and of [`ambit_vector::planes::bound`].
//!
//! Rows come from a [`DenseSource`], one snapshot of one space; where they live is not known
//! here. All scratch is charged to the account that the caller names.
#![forbid(unsafe_code)]

mod answer;
mod batch;
mod certified;
mod error;
mod exact;
mod few;
mod follow;
mod limits;
mod plan;
mod probes;
mod query;
mod refine;
mod scorer;
mod source;
pub mod sparse;
mod strips;
pub mod text;
mod threads;
mod top;

pub use answer::{Answer, Exactness, Hit};
pub use batch::search_batch;
pub use error::SearchError;
pub use exact::{search, search_limited, search_probed};
pub use limits::Limits;
pub use probes::Probes;
pub use query::{Batch, BatchOptions, Options, Query, Sharing};
pub use scorer::{compare_scores, score};
pub use source::{CodedPart, DenseBlock, DenseSource, RowRef, Rows, SourceError};

pub use ambit_vector::Metric;
