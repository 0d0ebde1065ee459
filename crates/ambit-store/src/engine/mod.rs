//! Which rows does a reader see?
//!
//! A row is a key and one cell per column of its table; a cell is bytes of a fixed stride, or
//! of any length, or absent. Rows come in by batches (atomic, one log frame) into the
//! memtable, or in bulk straight into sealed segments. A key is live in at most one place:
//! whoever writes it again kills the older row, in the memtable by its sequence number, in a
//! segment through the `kill` section of the segment that replaces it. So scans never compare
//! keys, merges are plain concatenations of live rows, and a version is a list of segments.
//!
//! Readers hold a [`Snapshot`]: segments, memtable and the sequence number up to which they
//! look. The one writer publishes by storing one pointer.
//!
//! The engine has no threads of its own: sealing, merging and reclaiming are calls.

mod batch;
mod builder;
mod bulk;
mod bytes;
mod commit;
mod derived;
mod filter;
mod memtable;
mod merge;
mod open;
mod options;
mod reclaim;
mod rows;
mod sealed;
mod snapshot;
mod table;
mod verify;
mod version;

pub use batch::Batch;
pub use bulk::BulkWriter;
pub use commit::{Ack, Engine};
pub use derived::{Derived, DerivedWriter};
pub use merge::MergeProgress;
pub use options::{Access, Durability, EngineOptions};
pub use reclaim::Reclaimed;
pub use rows::{FixedBlock, RowList};
pub use snapshot::{BlockRef, RowRef, Snapshot, TableView};
pub use table::TableInfo;
pub use verify::VerifyReport;
pub use version::VersionInfo;
