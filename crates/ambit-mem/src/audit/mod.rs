//! Who holds the memory: ledger, allocator and kernel held against each other.
//!
//! [`MemorySnapshot`] takes the figures of all three at one moment and says what each part of the
//! anonymous resident memory is, down to a rest that nobody can name. [`MemoryMetrics`] are the six
//! numbers that a dashboard wants.

#[allow(unsafe_code)]
mod malloc;
mod mappings;
mod metrics;
mod snapshot;

pub use malloc::Malloc;
pub use mappings::Mappings;
pub use metrics::MemoryMetrics;
pub use snapshot::{Anonymous, MemorySnapshot};
