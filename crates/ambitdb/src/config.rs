//! How a store is opened, and what its budget makes of the sizes inside.

use std::path::PathBuf;

use ambit_mem::{Bytes, Priority};
pub use ambit_store::engine::{Access, Durability};
use ambit_store::geometry::Geometry;
pub use ambit_store::segment::Io;

/// The least budget that a store works in: a searching thread looks at four windows of 2 MiB
/// at a time, and the rest of the store wants something, too.
pub const MIN_BUDGET: Bytes = Bytes::mib(12);

/// Where a store is, and how it is opened.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its directory.
    pub dir: PathBuf,
    /// Most bytes that it may hold; `None`: a quarter of the smaller of cgroup limit and
    /// physical memory, at most 2 GiB.
    pub budget: Option<Bytes>,
    /// Read and write, or read only.
    pub access: Access,
    /// Make the store where there is none.
    pub create: bool,
    /// When a write is acknowledged.
    pub durability: Durability,
    /// How sealed files are read.
    pub io: Io,
    /// Most bytes of answers that are kept to be given again; `None`: 1/128 of the budget, 64 KiB to 4 MiB; 0 keeps
    /// none. They count against the budget and go first when it is short.
    pub answers: Option<Bytes>,
}

impl Config {
    /// The store in `dir`, opened for writing, made if it is not there, every write on disk
    /// when it returns, files mapped, the default budget.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            budget: None,
            access: Access::Write,
            create: true,
            durability: Durability::Sync,
            io: Io::default(),
            answers: None,
        }
    }
}

/// Windows that seals, merges and look-ups hold at a time, mostly.
const WRITE_WINDOWS: usize = 4;

/// Searching threads that a budget has room for.
pub(crate) fn most_threads(budget: Bytes) -> usize {
    usize::try_from(budget.get() / MIN_BUDGET.get()).unwrap_or(usize::MAX).max(1)
}

/// Sizes for a budget: the memtable an eighth of it, a window the power of two below a sixteenth,
/// buffers a sixty-fourth.
pub(crate) fn geometry(budget: Bytes) -> Geometry {
    let standard = Geometry::STANDARD;
    let share = |part: u64, least: usize, most: usize| {
        usize::try_from(budget.get() / part).unwrap_or(most).clamp(least, most)
    };
    let window = share(16, 256 << 10, standard.window);
    Geometry {
        window: 1 << window.ilog2(),
        memtable: share(8, 256 << 10, standard.memtable),
        group: share(16, 256 << 10, standard.group),
        copy_buffer: share(64, 64 << 10, standard.copy_buffer),
        ..standard
    }
}

/// Bytes of a `budget` that writes take beside the batches that their callers hold: the memtable, a
/// log frame, the seal's buffer, the part that mapped windows leave free, and some windows. Who
/// holds batches under the budget of a store leaves that much alone.
pub fn write_room(budget: Bytes) -> Bytes {
    let Geometry { memtable, group, copy_buffer, window, .. } = geometry(budget);
    let held = Bytes::of(memtable + group + copy_buffer + WRITE_WINDOWS * window);
    held.saturating_add(Priority::Cache.headroom(budget))
}
