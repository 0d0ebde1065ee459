//! What a store is made of at one instant: tables and their segments, versions, log files.
//!
//! A [`State`] is plain data. It comes from the manifest's snapshot frame and changes only by
//! [`Edit`](super::Edit)s, each a pure function of the state before it. Nothing in here touches
//! a file, so the same edits give the same state in the writer, in recovery and in tests.
//!
//! Invariants, held by `apply` and checked again by `decode`:
//! - every id is below its `next_*` counter, so that a new id is never an old one;
//! - `logs` is never empty, in the order of writing; the last one takes new frames;
//! - the frame at `replay_from`, or the next one written there, has seq `sealed_seq + 1`;
//! - names are unique and every size is inside [`limits`](crate::limits).
//!
//! Left out: rows, memtables and tombstones (the engine), and whether the files exist (recovery).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::frame;
use crate::limits;
use crate::wire::WireError;

/// Bytes of the smallest log file.
pub const MIN_LOG_FILE: u64 = 4 << 10;
/// Bytes of the largest log file.
pub const MAX_LOG_FILE: u64 = 1 << 30;

/// A place in the log: where a frame begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogPosition {
    /// Id of the log file.
    pub file: u64,
    /// Byte offset in it, a multiple of 64.
    pub offset: u64,
}

/// One life of one log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFile {
    /// Id of the file.
    pub id: u64,
    /// Which life of the file this is; in the checksum of each of its frames.
    pub epoch: u64,
    /// Sequence number of its first frame.
    pub first_seq: u64,
    /// Length of the file in bytes, which never changes.
    pub len: u64,
}

/// Names a table for as long as the store lives; never given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u32);

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the cells of a column lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellLayout {
    /// Each cell has this many bytes, 1 to [`limits::MAX_STRIDE`].
    Fixed(u32),
    /// Each cell has its own length, 0 to [`limits::MAX_CELL`].
    Var,
}

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Unique in its table, 1 to [`limits::MAX_TABLE_NAME`] bytes.
    pub name: String,
    /// How its cells lie.
    pub layout: CellLayout,
}

/// What the manifest knows of a segment: enough to refuse a foreign or cut file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentMeta {
    /// Id of the file.
    pub id: u64,
    /// Length of the file in bytes.
    pub len: u64,
    /// Checksum in the file's footer.
    pub footer_crc: u32,
    /// Rows, at most [`limits::MAX_SEGMENT_ROWS`].
    pub rows: u32,
}

/// One table: its shape and its sealed rows, oldest segment first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Unique in its store, 1 to [`limits::MAX_TABLE_NAME`] bytes.
    pub name: String,
    /// What the layer above wants to keep with the table.
    pub schema: Vec<u8>,
    /// Columns; new ones are added at the end.
    pub columns: Vec<Column>,
    /// Sealed segments in the order of sealing.
    pub segments: Vec<SegmentMeta>,
}

/// The tables as they were when the version was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Never given out twice.
    pub id: u64,
    /// Unique in its store, 1 to [`limits::MAX_VERSION_NAME`] bytes.
    pub name: String,
    /// Microseconds since 1970-01-01 UTC.
    pub created_micros: u64,
    /// Its tables.
    pub tables: BTreeMap<TableId, Table>,
}

/// Everything that the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Identity of the store, from its creation on.
    pub store_id: u128,
    /// Every file id in this state is below it.
    pub next_file: u64,
    /// Every table id is below it.
    pub next_table: u32,
    /// Every epoch of a log is below it.
    pub next_epoch: u64,
    /// Every version id is below it.
    pub next_version: u64,
    /// Frames up to this one are in segments, or void.
    pub sealed_seq: u64,
    /// Where frame `sealed_seq + 1` begins, or will.
    pub replay_from: LogPosition,
    /// Log files that may hold frames to be replayed, in the order of writing.
    pub logs: Vec<LogFile>,
    /// Log files whose frames are all sealed, kept to be written again.
    pub free_logs: Vec<LogFile>,
    /// The live tables.
    pub tables: BTreeMap<TableId, Table>,
    /// The versions by id.
    pub versions: BTreeMap<u64, Version>,
}

/// Why an edit does not fit a state, or bytes are not a state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// A size is outside its limit.
    Limit {
        /// What was too small or too large.
        what: &'static str,
        /// Least value allowed.
        least: u64,
        /// Largest value allowed.
        most: u64,
        /// What was asked for.
        found: u64,
    },
    /// What an edit names is not there.
    Unknown {
        /// The kind of thing.
        what: &'static str,
        /// Its id.
        id: u64,
    },
    /// What an edit adds is there already.
    Taken {
        /// The kind of thing.
        what: &'static str,
        /// Its name or id.
        name: String,
    },
    /// Two facts that cannot both hold.
    Contradiction(String),
    /// The bytes end early or hold a value that cannot be.
    Encoding(WireError),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit { what, least, most, found } => {
                write!(f, "{what} is {found}; allowed are {least} to {most}")
            }
            Self::Unknown { what, id } => write!(f, "there is no {what} with id {id}"),
            Self::Taken { what, name } => write!(f, "the {what} {name} exists already"),
            Self::Contradiction(what) => f.write_str(what),
            Self::Encoding(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encoding(error) => Some(error),
            _ => None,
        }
    }
}

impl From<WireError> for StateError {
    fn from(error: WireError) -> Self {
        Self::Encoding(error)
    }
}

impl State {
    /// A store without tables whose first frame goes to the start of `log`.
    ///
    /// # Errors
    /// If `log` breaks an invariant (its length, or an id that leaves no next one).
    pub fn initial(store_id: u128, log: LogFile) -> Result<Self, StateError> {
        let state = Self {
            store_id,
            next_file: after("log file id", log.id)?,
            next_table: 0,
            next_epoch: after("log epoch", log.epoch)?,
            next_version: 0,
            sealed_seq: log.first_seq.saturating_sub(1),
            replay_from: LogPosition { file: log.id, offset: 0 },
            logs: vec![log],
            free_logs: Vec::new(),
            tables: BTreeMap::new(),
            versions: BTreeMap::new(),
        };
        state.check()?;
        Ok(state)
    }

    /// The ids of all segments that a live table or a version names.
    pub fn segment_ids(&self) -> BTreeSet<u64> {
        let of_versions = self.versions.values().flat_map(|version| version.tables.values());
        (self.tables.values().chain(of_versions))
            .flat_map(|table| table.segments.iter().map(|segment| segment.id))
            .collect()
    }

    /// The log file that takes new frames.
    pub fn current_log(&self) -> Option<&LogFile> {
        self.logs.last()
    }

    /// Holds every invariant against the whole state.
    ///
    /// # Errors
    /// Names the first that does not hold.
    pub fn check(&self) -> Result<(), StateError> {
        self.check_logs()?;
        self.check_position(self.sealed_seq, self.replay_from)?;
        self.check_tables(&self.tables)?;
        within("number of versions", 0, limits::MAX_VERSIONS, self.versions.len())?;
        let mut names = BTreeSet::new();
        for (id, version) in &self.versions {
            check_version_name(&version.name)?;
            below("version id", *id, self.next_version)?;
            if *id != version.id {
                return Err(contradiction(format!("version {} is filed as {id}", version.id)));
            }
            if !names.insert(version.name.as_str()) {
                return Err(taken("version", &version.name));
            }
            self.check_tables(&version.tables)?;
        }
        Ok(())
    }

    fn check_logs(&self) -> Result<(), StateError> {
        if self.logs.is_empty() {
            return Err(contradiction("the state names no log file".into()));
        }
        let mut ids = BTreeSet::new();
        for log in self.logs.iter().chain(&self.free_logs) {
            check_log_len(log.len)?;
            below("log file id", log.id, self.next_file)?;
            below("log epoch", log.epoch, self.next_epoch)?;
            if log.first_seq == 0 {
                return Err(contradiction(format!("log {} begins with frame 0", log.id)));
            }
            if !ids.insert(log.id) {
                return Err(taken("log file", log.id));
            }
        }
        for pair in self.logs.windows(2) {
            if pair[0].first_seq > pair[1].first_seq || pair[0].epoch >= pair[1].epoch {
                return Err(contradiction(format!(
                    "log {} (epoch {}, from frame {}) stands before log {} (epoch {}, from frame {})",
                    pair[0].id,
                    pair[0].epoch,
                    pair[0].first_seq,
                    pair[1].id,
                    pair[1].epoch,
                    pair[1].first_seq,
                )));
            }
        }
        Ok(())
    }

    /// Can frame `sealed + 1` begin at `position`?
    pub(super) fn check_position(
        &self,
        sealed: u64,
        position: LogPosition,
    ) -> Result<(), StateError> {
        let LogPosition { file, offset } = position;
        let Some(index) = self.logs.iter().position(|log| log.id == file) else {
            return Err(StateError::Unknown { what: "live log file", id: file });
        };
        let log = self.logs[index];
        let next = after("sealed frame", sealed)?;
        let until = self.logs.get(index + 1).map_or(u64::MAX, |later| later.first_seq);
        let fits = offset <= log.len
            && offset.is_multiple_of(frame::ALIGN)
            && (log.first_seq..=until).contains(&next)
            && (offset == 0) == (next == log.first_seq);
        if fits {
            return Ok(());
        }
        Err(contradiction(format!(
            "frame {next} cannot begin at byte {offset} of log {file} ({} bytes, frames from {} on)",
            log.len, log.first_seq,
        )))
    }

    fn check_tables(&self, tables: &BTreeMap<TableId, Table>) -> Result<(), StateError> {
        within("number of tables", 0, limits::MAX_TABLES, tables.len())?;
        let mut names = BTreeSet::new();
        let mut segments = BTreeSet::new();
        for (id, table) in tables {
            below("table id", id.0.into(), self.next_table.into())?;
            check_table(&table.name, &table.schema, &table.columns)?;
            if !names.insert(table.name.as_str()) {
                return Err(taken("table", &table.name));
            }
            for segment in &table.segments {
                check_segment(segment)?;
                below("segment id", segment.id, self.next_file)?;
                if !segments.insert(segment.id) {
                    return Err(taken("segment", segment.id));
                }
            }
        }
        Ok(())
    }
}

/// Holds a table's name, schema and columns against the limits.
pub(super) fn check_table(name: &str, schema: &[u8], columns: &[Column]) -> Result<(), StateError> {
    within("table name length in bytes", 1, limits::MAX_TABLE_NAME, name.len())?;
    within("table schema length in bytes", 0, limits::MAX_SCHEMA, schema.len())?;
    within("number of columns", 0, limits::MAX_COLUMNS, columns.len())?;
    let mut names = BTreeSet::new();
    for column in columns {
        within("column name length in bytes", 1, limits::MAX_TABLE_NAME, column.name.len())?;
        if let CellLayout::Fixed(stride) = column.layout {
            within("column stride in bytes", 1, limits::MAX_STRIDE, stride as usize)?;
        }
        if !names.insert(column.name.as_str()) {
            return Err(taken("column", &column.name));
        }
    }
    Ok(())
}

/// Holds a segment against the limits.
pub(super) fn check_segment(segment: &SegmentMeta) -> Result<(), StateError> {
    within("rows of a segment", 0, limits::MAX_SEGMENT_ROWS as usize, segment.rows as usize)
}

/// Holds a version's name against the limits.
pub(super) fn check_version_name(name: &str) -> Result<(), StateError> {
    within("version name length in bytes", 1, limits::MAX_VERSION_NAME, name.len())
}

/// Holds a log file's length against what its frames can say.
pub(super) fn check_log_len(len: u64) -> Result<(), StateError> {
    if (MIN_LOG_FILE..=MAX_LOG_FILE).contains(&len) && len.is_multiple_of(MIN_LOG_FILE) {
        return Ok(());
    }
    let what = "log file length in bytes (a multiple of 4096)";
    Err(StateError::Limit { what, least: MIN_LOG_FILE, most: MAX_LOG_FILE, found: len })
}

/// Is `found` inside `least..=most`?
pub(super) fn within(
    what: &'static str,
    least: usize,
    most: usize,
    found: usize,
) -> Result<(), StateError> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    let [least, most, found] = [least, most, found].map(|n| n as u64);
    Err(StateError::Limit { what, least, most, found })
}

/// The id after `id`.
pub(super) fn after(what: &'static str, id: u64) -> Result<u64, StateError> {
    let most = u64::MAX - 1;
    id.checked_add(1).ok_or(StateError::Limit { what, least: 0, most, found: id })
}

fn below(what: &'static str, id: u64, next: u64) -> Result<(), StateError> {
    if id < next {
        return Ok(());
    }
    Err(contradiction(format!("{what} {id} was never given out: the next one is {next}")))
}

pub(super) fn contradiction(what: String) -> StateError {
    StateError::Contradiction(what)
}

pub(super) fn taken(what: &'static str, name: impl fmt::Display) -> StateError {
    StateError::Taken { what, name: name.to_string() }
}
