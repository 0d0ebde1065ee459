//! One change of the state, and what it does to it.
//!
//! A manifest record is a list of edits that hold together or not at all. [`State::apply`]
//! checks an edit against the state before it changes anything, so that a refused edit leaves
//! the state as it was. The checks are the same in the writer and in recovery: an edit that
//! was accepted once is accepted on every replay.
//!
//! Left out: files. An edit names them; creating them before and unlinking them after is the
//! journal's and the engine's work.

use super::state::{
    Column, LogFile, LogPosition, SegmentMeta, State, StateError, Table, TableId, Version, after,
    check_log_len, check_segment, check_table, check_version_name, contradiction, taken, within,
};
use crate::limits;

/// One change of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Edit {
    /// Adds an empty table.
    CreateTable {
        /// A new id, `next_table` or above.
        id: TableId,
        /// Unique among the live tables.
        name: String,
        /// What the layer above wants to keep with the table.
        schema: Vec<u8>,
        /// Its columns.
        columns: Vec<Column>,
    },
    /// Changes a table's schema and adds columns.
    SetTable {
        /// The table.
        id: TableId,
        /// The new schema.
        schema: Vec<u8>,
        /// All columns; the present ones are a prefix.
        columns: Vec<Column>,
    },
    /// Removes a table and forgets its segments.
    DropTable {
        /// The table.
        id: TableId,
    },
    /// Adds a sealed segment behind the table's others.
    AddSegment {
        /// The table.
        table: TableId,
        /// The segment.
        segment: SegmentMeta,
    },
    /// Puts segments in the place of others: the first removed one's.
    ReplaceSegments {
        /// The table.
        table: TableId,
        /// Ids of the segments that go; at least one.
        remove: Vec<u64>,
        /// The segments that come.
        add: Vec<SegmentMeta>,
    },
    /// Frames up to `seq` are in segments now.
    Sealed {
        /// The last sealed frame.
        seq: u64,
        /// Where the frame after it begins, or will.
        replay_from: LogPosition,
    },
    /// A log file begins a life and takes the frames from now on.
    OpenLog {
        /// The life; its file is new, or one of the free ones.
        log: LogFile,
    },
    /// A live log file may be written again: it is the oldest and its frames are sealed, or
    /// the log after it begins with the same frame.
    FreeLog {
        /// Its id.
        id: u64,
    },
    /// A free log file is given up.
    DropLog {
        /// Its id.
        id: u64,
    },
    /// Keeps the tables as they are now under a name.
    CreateVersion {
        /// A new id, `next_version` or above.
        id: u64,
        /// Unique among the versions.
        name: String,
        /// Microseconds since 1970-01-01 UTC.
        created_micros: u64,
    },
    /// Forgets a version.
    DropVersion {
        /// Its id.
        id: u64,
    },
    /// The tables become what they were in a version; frames up to `sealed_seq` are void.
    Rollback {
        /// Id of the version.
        version: u64,
        /// The last void frame.
        sealed_seq: u64,
        /// Where the frame after it begins, or will.
        replay_from: LogPosition,
    },
}

impl State {
    /// Carries out `edit`. Pure: touches no file.
    ///
    /// # Errors
    /// The edit does not fit; the state is as it was.
    pub fn apply(&mut self, edit: &Edit) -> Result<(), StateError> {
        match edit {
            Edit::CreateTable { id, name, schema, columns } => {
                self.create_table(*id, name, schema, columns)
            }
            Edit::SetTable { id, schema, columns } => self.set_table(*id, schema, columns),
            Edit::DropTable { id } => match self.tables.remove(id) {
                Some(_) => Ok(()),
                None => Err(unknown_table(*id)),
            },
            Edit::AddSegment { table, segment } => self.add_segment(*table, *segment),
            Edit::ReplaceSegments { table, remove, add } => {
                self.replace_segments(*table, remove, add)
            }
            Edit::Sealed { seq, replay_from } => self.seal(*seq, *replay_from),
            Edit::OpenLog { log } => self.open_log(*log),
            Edit::FreeLog { id } => self.free_log(*id),
            Edit::DropLog { id } => {
                let index = self.free_logs.iter().position(|log| log.id == *id);
                let index = index.ok_or(StateError::Unknown { what: "free log file", id: *id })?;
                self.free_logs.remove(index);
                Ok(())
            }
            Edit::CreateVersion { id, name, created_micros } => {
                self.create_version(*id, name, *created_micros)
            }
            Edit::DropVersion { id } => match self.versions.remove(id) {
                Some(_) => Ok(()),
                None => Err(StateError::Unknown { what: "version", id: *id }),
            },
            Edit::Rollback { version, sealed_seq, replay_from } => {
                let Some(kept) = self.versions.get(version) else {
                    return Err(StateError::Unknown { what: "version", id: *version });
                };
                let tables = kept.tables.clone();
                self.seal(*sealed_seq, *replay_from)?;
                self.tables = tables;
                Ok(())
            }
        }
    }

    /// Carries out all of `edits`.
    ///
    /// # Errors
    /// One of them does not fit; those before it are carried out.
    pub fn apply_all(&mut self, edits: &[Edit]) -> Result<(), StateError> {
        edits.iter().try_for_each(|edit| self.apply(edit))
    }

    fn create_table(
        &mut self,
        id: TableId,
        name: &str,
        schema: &[u8],
        columns: &[Column],
    ) -> Result<(), StateError> {
        check_table(name, schema, columns)?;
        within("number of tables", 0, limits::MAX_TABLES, self.tables.len() + 1)?;
        if id.0 < self.next_table {
            return Err(taken("table id", id));
        }
        if self.tables.values().any(|table| table.name == name) {
            return Err(taken("table", name));
        }
        let most = u64::from(u32::MAX) - 1;
        self.next_table = id.0.checked_add(1).ok_or(StateError::Limit {
            what: "table id",
            least: 0,
            most,
            found: id.0.into(),
        })?;
        let (name, schema, columns) = (name.to_owned(), schema.to_vec(), columns.to_vec());
        self.tables.insert(id, Table { name, schema, columns, segments: Vec::new() });
        Ok(())
    }

    fn set_table(
        &mut self,
        id: TableId,
        schema: &[u8],
        columns: &[Column],
    ) -> Result<(), StateError> {
        let table = self.tables.get_mut(&id).ok_or(unknown_table(id))?;
        check_table(&table.name, schema, columns)?;
        if !columns.starts_with(&table.columns) {
            return Err(contradiction(format!(
                "the new columns of table {} do not begin with its {} present ones",
                table.name,
                table.columns.len()
            )));
        }
        table.schema = schema.to_vec();
        table.columns = columns.to_vec();
        Ok(())
    }

    fn add_segment(&mut self, table: TableId, segment: SegmentMeta) -> Result<(), StateError> {
        self.check_new_segment(&segment)?;
        let next_file = after("segment id", segment.id)?;
        let table = self.tables.get_mut(&table).ok_or(unknown_table(table))?;
        table.segments.push(segment);
        self.next_file = self.next_file.max(next_file);
        Ok(())
    }

    fn replace_segments(
        &mut self,
        id: TableId,
        remove: &[u64],
        add: &[SegmentMeta],
    ) -> Result<(), StateError> {
        let mut next_file = self.next_file;
        for (index, segment) in add.iter().enumerate() {
            self.check_new_segment(segment)?;
            if add[..index].iter().any(|earlier| earlier.id == segment.id) {
                return Err(taken("segment", segment.id));
            }
            next_file = next_file.max(after("segment id", segment.id)?);
        }
        let table = self.tables.get_mut(&id).ok_or(unknown_table(id))?;
        let first = table.segments.iter().position(|segment| remove.contains(&segment.id));
        let kept: Vec<SegmentMeta> = table
            .segments
            .iter()
            .filter(|segment| !remove.contains(&segment.id))
            .copied()
            .collect();
        let (Some(first), true) = (first, kept.len() + remove.len() == table.segments.len()) else {
            return Err(contradiction(format!(
                "table {} does not hold all of the segments {remove:?} once",
                table.name
            )));
        };
        table.segments = kept;
        table.segments.splice(first..first, add.iter().copied());
        self.next_file = next_file;
        Ok(())
    }

    fn check_new_segment(&self, segment: &SegmentMeta) -> Result<(), StateError> {
        check_segment(segment)?;
        let mut live = self.tables.values().flat_map(|table| &table.segments);
        match live.any(|other| other.id == segment.id) {
            true => Err(taken("segment", segment.id)),
            false => Ok(()),
        }
    }

    fn seal(&mut self, seq: u64, replay_from: LogPosition) -> Result<(), StateError> {
        self.check_position(seq, replay_from)?;
        let rank =
            |at: LogPosition| (self.logs.iter().position(|log| log.id == at.file), at.offset);
        if seq < self.sealed_seq || rank(replay_from) < rank(self.replay_from) {
            return Err(contradiction(format!(
                "frames up to {} are sealed already, replay begins at byte {} of log {}",
                self.sealed_seq, self.replay_from.offset, self.replay_from.file
            )));
        }
        self.sealed_seq = seq;
        self.replay_from = replay_from;
        Ok(())
    }

    fn open_log(&mut self, log: LogFile) -> Result<(), StateError> {
        check_log_len(log.len)?;
        let next_file = after("log file id", log.id)?;
        let next_epoch = after("log epoch", log.epoch)?;
        if log.epoch < self.next_epoch {
            return Err(taken("log epoch", log.epoch));
        }
        if self.logs.iter().any(|live| live.id == log.id) {
            return Err(taken("live log file", log.id));
        }
        let free = self.free_logs.iter().position(|free| free.id == log.id);
        if free.is_some_and(|index| self.free_logs[index].len != log.len) {
            return Err(contradiction(format!(
                "free log {} is not {} bytes long",
                log.id, log.len
            )));
        }
        let earliest = self.logs.last().map_or(1, |last| last.first_seq).max(self.sealed_seq + 1);
        if log.first_seq < earliest {
            return Err(contradiction(format!(
                "log {} cannot begin with frame {}: frames before {earliest} are elsewhere",
                log.id, log.first_seq
            )));
        }
        if let Some(index) = free {
            self.free_logs.remove(index);
        }
        self.logs.push(log);
        self.next_file = self.next_file.max(next_file);
        self.next_epoch = next_epoch;
        Ok(())
    }

    fn free_log(&mut self, id: u64) -> Result<(), StateError> {
        let Some(index) = self.logs.iter().position(|log| log.id == id) else {
            return Err(StateError::Unknown { what: "live log file", id });
        };
        let log = self.logs[index];
        let Some(next) = self.logs.get(index + 1) else {
            return Err(contradiction(format!("log {id} takes new frames")));
        };
        let is_sealed = index == 0 && next.first_seq <= self.sealed_seq + 1;
        let is_empty = log.first_seq == next.first_seq;
        let is_read = self.replay_from.file == id && next.first_seq != self.sealed_seq + 1;
        if is_read || !(is_sealed || is_empty) {
            return Err(contradiction(format!(
                "log {id} holds frames {} to {}, and only those up to {} are sealed",
                log.first_seq,
                next.first_seq - 1,
                self.sealed_seq
            )));
        }
        if self.replay_from.file == id {
            // Nothing is left to be replayed from it, so the next log begins with the frame.
            self.replay_from = LogPosition { file: next.id, offset: 0 };
        }
        self.logs.remove(index);
        self.free_logs.push(log);
        Ok(())
    }

    fn create_version(&mut self, id: u64, name: &str, micros: u64) -> Result<(), StateError> {
        check_version_name(name)?;
        within("number of versions", 0, limits::MAX_VERSIONS, self.versions.len() + 1)?;
        if id < self.next_version {
            return Err(taken("version id", id));
        }
        if self.versions.values().any(|version| version.name == name) {
            return Err(taken("version", name));
        }
        self.next_version = after("version id", id)?;
        let (name, tables) = (name.to_owned(), self.tables.clone());
        self.versions.insert(id, Version { id, name, created_micros: micros, tables });
        Ok(())
    }
}

fn unknown_table(id: TableId) -> StateError {
    StateError::Unknown { what: "table", id: id.0.into() }
}
