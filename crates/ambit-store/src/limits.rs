//! Every limit of the store, in one place. Each is tested at limit - 1, limit, limit + 1.

/// Bytes of a row key. At least 1. Room for a relation between two entities whose keys are
/// as long as they may be.
pub const MAX_KEY: usize = 8704;
/// Bytes of a table name. At least 1.
pub const MAX_TABLE_NAME: usize = 255;
/// Tables in a store.
pub const MAX_TABLES: usize = 65_536;
/// Columns of a table.
pub const MAX_COLUMNS: usize = 256;
/// Bytes of a fixed cell.
pub const MAX_STRIDE: usize = 256 << 10;
/// Bytes of a variable cell.
pub const MAX_CELL: usize = 4 << 20;
/// Bytes of a table's opaque schema.
pub const MAX_SCHEMA: usize = 64 << 10;
/// Rows of one segment.
pub const MAX_SEGMENT_ROWS: u32 = 1 << 30;
/// Bytes of a version name. At least 1.
pub const MAX_VERSION_NAME: usize = 255;
/// Versions kept at a time.
pub const MAX_VERSIONS: usize = 4096;
/// Sections of a segment.
pub const MAX_SECTIONS: usize = 4096;
/// Bytes of a section name. At least 1.
pub const MAX_SECTION_NAME: usize = 512;
