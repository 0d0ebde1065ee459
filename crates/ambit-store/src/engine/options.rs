//! How a store is opened.

use crate::bugs::Bugs;
use crate::geometry::Geometry;
use crate::segment::Io;

/// What the opener may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Read and write; takes the writer lock.
    #[default]
    Write,
    /// Read only; works beside a writer, and on a file system that cannot be written.
    Read,
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After its fsync.
    #[default]
    Sync,
    /// At once; its fsync follows with the first write after this delay, or when a group is
    /// full, or by [`crate::engine::Engine::flush`].
    Group {
        /// Milliseconds, 1 to 60,000.
        max_delay_ms: u32,
    },
    /// At once; its fsync follows when a group is full, or by
    /// [`crate::engine::Engine::flush`].
    Async,
}

/// How a store is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct EngineOptions {
    /// Sizes of blocks, windows, log files and memtable.
    pub geometry: Geometry,
    /// What the opener may do.
    pub access: Access,
    /// Make a new store where there is none.
    pub create: bool,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// How segments are read.
    pub io: Io,
    /// Faults planted by tests.
    pub bugs: Bugs,
}
