//! Whose memory is asked about.

use std::path::PathBuf;

use ambit_mem::AllocatorStats;
use ambitdb::Store;

/// Whose memory is asked about.
#[derive(Clone)]
pub struct Subject {
    /// Name of the command.
    pub command: &'static str,
    /// Directory of the store.
    pub directory: PathBuf,
    /// The store that the command works on.
    pub store: Store,
    /// What the process's allocator counts.
    pub allocator: fn() -> AllocatorStats,
}
