//! From files to entities: workers read, split and embed; one thread writes.
//!
//! - [`Ingest`]: one run over some paths
//! - `room`: the budget's part in how many files are under way
//! - `books`: what the run did, and which files it came by

mod books;
mod pipeline;
mod room;

pub use books::{Skip, Tally};
pub use pipeline::Ingest;
