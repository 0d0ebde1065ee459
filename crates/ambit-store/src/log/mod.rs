//! What commits: the log of acknowledged frames and the manifest of committed states.
//!
//! A group of writes is one frame of the write-ahead log, acknowledged after its fsync. What
//! is sealed, merged, versioned or dropped is one record of the manifest, a second log of the
//! same frames. Two superblocks say which manifest is meant, and how many frames of each log
//! are promised to be there. Opening a store is [`recover`], a pure function of its files;
//! writing to it goes on with [`Journal::resume`].
//!
//! | file | question |
//! |---|---|
//! | `frame` | where does a record begin and end, and is it whole? |
//! | `chain` | which frames of a file are valid, and is what follows them a torn tail? |
//! | `superblock` | which manifest, and what is promised? |
//! | `state`, `edit`, `codec` | what is a store made of, how does it change, as which bytes? |
//! | `manifest`, `wal` | how are frames appended to each of the two logs? |
//! | `creation`, `recovery`, `journal` | how does a store begin, reopen, go on? |
//!
//! The bytes are described in `docs/format.md`.

mod chain;
mod codec;
mod creation;
mod edit;
mod frame;
mod journal;
mod manifest;
mod name;
mod new_file;
mod recovery;
mod resume;
mod state;
mod superblock;
#[cfg(test)]
mod tests;
mod wal;

pub use edit::Edit;
pub use journal::Journal;
pub use name::FileName;
pub use recovery::{EachFrame, Recovered, recover};
pub use state::{
    CellLayout, Column, LogFile, LogPosition, MAX_LOG_FILE, MIN_LOG_FILE, SegmentMeta, State,
    StateError, Table, TableId, Version,
};
pub use superblock::{FEATURES, FORMAT_VERSION};
