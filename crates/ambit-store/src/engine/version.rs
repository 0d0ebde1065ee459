//! Tables come and go, versions are made, read and rolled back to: one manifest record each.

use super::batch::check_columns;
use super::commit::{Engine, read_only};
use super::memtable::Memtable;
use super::snapshot::Snapshot;
use super::table::{Published, TableInfo};
use crate::bugs::SeededBug;
use crate::error::{ErrorKind, StoreError};
use crate::limits::{MAX_SCHEMA, MAX_TABLE_NAME, MAX_VERSION_NAME};
use crate::log::{Column, Edit, State, TableId};
use crate::sync::{Arc, lock};

/// A named version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// Its id, never given out twice.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Microseconds since 1970-01-01 UTC.
    pub created_micros: u64,
}

impl Engine {
    /// Makes a table.
    ///
    /// # Errors
    /// Invalid where the name is taken or a limit is passed.
    pub fn create_table(
        &self,
        name: &str,
        schema: &[u8],
        columns: Vec<Column>,
    ) -> Result<TableId, StoreError> {
        check_name("table", name, MAX_TABLE_NAME)?;
        check_schema(name, schema, &columns)?;
        self.change(|state| {
            if state.tables.values().any(|table| table.name == name) {
                return Err(StoreError::invalid(format!("there is a table {name} already")));
            }
            let id = TableId(state.next_table);
            let name = name.to_owned();
            Ok((Edit::CreateTable { id, name, schema: schema.to_vec(), columns }, id))
        })
    }

    /// Gives a table another schema, and more columns at the end; old rows have no cells there.
    pub fn set_table(
        &self,
        id: TableId,
        schema: &[u8],
        columns: Vec<Column>,
    ) -> Result<(), StoreError> {
        self.change(|state| {
            let table = state.tables.get(&id).ok_or_else(|| no_table(id))?;
            check_schema(&table.name, schema, &columns)?;
            if !columns.starts_with(&table.columns) {
                return Err(StoreError::invalid(format!(
                    "table {}: its columns stay; new ones are added at the end",
                    table.name
                )));
            }
            Ok((Edit::SetTable { id, schema: schema.to_vec(), columns }, ()))
        })
    }

    /// Drops a table and its rows. Versions made before keep theirs.
    pub fn drop_table(&self, id: TableId) -> Result<(), StoreError> {
        self.change(|state| match state.tables.contains_key(&id) {
            true => Ok((Edit::DropTable { id }, ())),
            false => Err(no_table(id)),
        })
    }

    /// The tables, by id.
    pub fn tables(&self) -> Vec<TableInfo> {
        self.published().tables.values().map(|table| table.info()).collect()
    }

    /// Keeps the store as it is now under `name`. Seals first, so a version is a list of
    /// segments and costs no copy.
    pub fn create_version(&self, name: &str) -> Result<u64, StoreError> {
        check_name("version", name, MAX_VERSION_NAME)?;
        let mut guard = self.writing()?;
        let Some(writer) = guard.as_mut() else {
            return Err(read_only());
        };
        let state = writer.journal.state();
        if state.versions.values().any(|version| version.name == name) {
            return Err(StoreError::invalid(format!("there is a version {name} already")));
        }
        let id = state.next_version;
        self.seal_locked(writer)?;
        let created_micros = self.host.unix_micros();
        writer.journal.commit(&[Edit::CreateVersion {
            id,
            name: name.to_owned(),
            created_micros,
        }])?;
        Ok(id)
    }

    /// The versions, oldest first. Empty where the store was opened for reading.
    pub fn versions(&self) -> Vec<VersionInfo> {
        let guard = lock(&self.writer);
        let Some(writer) = guard.as_ref() else {
            return Vec::new();
        };
        let versions = writer.journal.state().versions.values();
        versions
            .map(|version| VersionInfo {
                id: version.id,
                name: version.name.clone(),
                created_micros: version.created_micros,
            })
            .collect()
    }

    /// Forgets a version. Its segments go with the next [`Engine::reclaim`] unless something
    /// else names them.
    pub fn drop_version(&self, name: &str) -> Result<(), StoreError> {
        let mut guard = self.writing()?;
        let Some(writer) = guard.as_mut() else {
            return Err(read_only());
        };
        let id = version_id(writer.journal.state(), name)?;
        writer.journal.commit(&[Edit::DropVersion { id }])
    }

    /// The store as it was when the version was made.
    pub fn snapshot_of(&self, name: &str) -> Result<Snapshot, StoreError> {
        let guard = self.writing()?;
        let Some(writer) = guard.as_ref() else {
            return Err(read_only());
        };
        let state = writer.journal.state();
        let id = version_id(state, name)?;
        let tables = &state.versions[&id].tables;
        let memtable = Arc::new(Memtable::new(&self.account.child("memtable"))?);
        let published = self.picture(Published::new(tables, memtable, 0));
        Ok(Snapshot { shelf: Arc::clone(&self.shelf), published, tick: self.tick() })
    }

    /// Makes the store what it was when the version was made. What was written since is gone,
    /// as one step; readers keep what they see.
    pub fn rollback(&self, name: &str) -> Result<(), StoreError> {
        let mut guard = self.writing()?;
        let Some(writer) = guard.as_mut() else {
            return Err(read_only());
        };
        let version = version_id(writer.journal.state(), name)?;
        let fresh = Arc::new(Memtable::new(&self.account.child("memtable"))?);
        self.flush_pending(writer)?;
        let keeps_log = self.options.bugs.has(SeededBug::RollbackKeepsLog);
        let (sealed_seq, replay_from) = match keeps_log {
            true => (writer.journal.state().sealed_seq, writer.journal.state().replay_from),
            false => (writer.journal.durable_seq(), writer.journal.position()),
        };
        writer.journal.commit(&[Edit::Rollback { version, sealed_seq, replay_from }])?;
        let old = self.published();
        self.publish_state(writer.journal.state(), &old, fresh);
        Ok(())
    }

    /// Commits one edit that `plan` makes of the state, and publishes.
    fn change<T>(
        &self,
        plan: impl FnOnce(&State) -> Result<(Edit, T), StoreError>,
    ) -> Result<T, StoreError> {
        let mut guard = self.writing()?;
        let Some(writer) = guard.as_mut() else {
            return Err(read_only());
        };
        let (edit, value) = plan(writer.journal.state())?;
        writer.journal.commit(&[edit])?;
        let old = self.published();
        self.publish_state(writer.journal.state(), &old, Arc::clone(&old.memtable));
        Ok(value)
    }
}

fn version_id(state: &State, name: &str) -> Result<u64, StoreError> {
    let found = state.versions.values().find(|version| version.name == name);
    found
        .map(|version| version.id)
        .ok_or_else(|| StoreError::new(ErrorKind::NotFound, format!("there is no version {name}")))
}

fn no_table(id: TableId) -> StoreError {
    StoreError::new(ErrorKind::NotFound, format!("there is no table {id}"))
}

fn check_name(what: &str, name: &str, most: usize) -> Result<(), StoreError> {
    if name.is_empty() || name.len() > most {
        return Err(StoreError::invalid(format!(
            "a {what} name of {} bytes; 1 to {most}",
            name.len()
        )));
    }
    Ok(())
}

fn check_schema(name: &str, schema: &[u8], columns: &[Column]) -> Result<(), StoreError> {
    if schema.len() > MAX_SCHEMA {
        return Err(StoreError::invalid(format!(
            "table {name}: a schema of {} bytes; at most {MAX_SCHEMA}",
            schema.len()
        )));
    }
    check_columns(name, columns)
}
