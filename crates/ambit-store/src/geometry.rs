//! Sizes that a store is built with: one set for users, a small one for simulations, so that
//! a short run meets every path.

/// Block, window, log and memtable sizes. A property of the opening, not of the files, but
/// for `block`, which each segment records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes under one checksum in a segment. A power of two, 4 KiB to 1 MiB.
    pub block: usize,
    /// Bytes that are mapped, charged and given back together. A multiple of `block`.
    pub window: usize,
    /// Bytes of one log file; the whole file is preallocated. A multiple of 4 KiB.
    pub log_file: u64,
    /// Payload bytes after which a group commit frame is closed.
    pub group: usize,
    /// Memtable bytes after which the engine asks for a seal.
    pub memtable: usize,
    /// Manifest bytes after which it is written anew.
    pub manifest: u64,
    /// Copy buffer of bulk writes, compaction and scrub, in bytes.
    pub copy_buffer: usize,
}

impl Geometry {
    /// What users get.
    pub const STANDARD: Self = Self {
        block: 64 << 10,
        window: 2 << 20,
        log_file: 16 << 20,
        group: 2 << 20,
        memtable: 8 << 20,
        manifest: 256 << 10,
        copy_buffer: 1 << 20,
    };

    /// What simulations use.
    pub const SMALL: Self = Self {
        block: 4 << 10,
        window: 8 << 10,
        log_file: 8 << 10,
        group: 2 << 10,
        memtable: 8 << 10,
        manifest: 4 << 10,
        copy_buffer: 4 << 10,
    };
}

impl Default for Geometry {
    fn default() -> Self {
        Self::STANDARD
    }
}
