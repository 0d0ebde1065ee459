//! State and edits as bytes.
//!
//! Little-endian numbers, u32 counts and lengths, each record behind a tag byte; the exact
//! layout is in `docs/format.md`. Decoding is for bytes from anywhere: lists grow by what was
//! read, never by a count from the input, and a decoded state holds every invariant of
//! [`State::check`] or is refused. Maps are written in the order of their keys and read only
//! so, which makes `encode(decode(bytes)) == bytes`.

use std::collections::BTreeMap;

use super::edit::Edit;
use super::state::{
    CellLayout, Column, LogFile, LogPosition, SegmentMeta, State, StateError, Table, TableId,
    Version, contradiction,
};
use crate::wire::{Put, Reader, WireError};

impl State {
    /// The state as bytes. Cost: one buffer of their length.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u64(self.store_id as u64);
        out.put_u64((self.store_id >> 64) as u64);
        out.put_u64(self.next_file);
        out.put_u32(self.next_table);
        out.put_u64(self.next_epoch);
        out.put_u64(self.next_version);
        out.put_u64(self.sealed_seq);
        put_position(&mut out, self.replay_from);
        put_list(&mut out, &self.logs, put_log);
        put_list(&mut out, &self.free_logs, put_log);
        put_tables(&mut out, &self.tables);
        out.put_u32(self.versions.len() as u32);
        for version in self.versions.values() {
            out.put_u64(version.id);
            out.put_bytes(version.name.as_bytes());
            out.put_u64(version.created_micros);
            put_tables(&mut out, &version.tables);
        }
        out
    }

    /// The state that `bytes` are the encoding of.
    ///
    /// # Errors
    /// The bytes end early, go on, or break an invariant.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut from = Reader::new(bytes);
        let low = u128::from(from.u64("the store id")?);
        let store_id = low | u128::from(from.u64("the store id")?) << 64;
        let state = Self {
            store_id,
            next_file: from.u64("the next file id")?,
            next_table: from.u32("the next table id")?,
            next_epoch: from.u64("the next epoch")?,
            next_version: from.u64("the next version id")?,
            sealed_seq: from.u64("the sealed frame")?,
            replay_from: position(&mut from)?,
            logs: list(&mut from, log)?,
            free_logs: list(&mut from, log)?,
            tables: tables(&mut from)?,
            versions: versions(&mut from)?,
        };
        end(&from)?;
        state.check()?;
        Ok(state)
    }
}

/// The edits of one manifest record as bytes, without a count: they end with the bytes.
pub(super) fn encode_edits(edits: &[Edit], out: &mut Vec<u8>) {
    edits.iter().for_each(|edit| put_edit(out, edit));
}

/// The edits that `bytes` are the encoding of.
pub(super) fn decode_edits(bytes: &[u8]) -> Result<Vec<Edit>, WireError> {
    let mut from = Reader::new(bytes);
    let mut edits = Vec::new();
    while !from.is_empty() {
        edits.push(edit(&mut from)?);
    }
    Ok(edits)
}

fn put_edit(out: &mut Vec<u8>, edit: &Edit) {
    match edit {
        Edit::CreateTable { id, name, schema, columns } => {
            out.put_u8(1);
            out.put_u32(id.0);
            out.put_bytes(name.as_bytes());
            out.put_bytes(schema);
            put_list(out, columns, put_column);
        }
        Edit::SetTable { id, schema, columns } => {
            out.put_u8(2);
            out.put_u32(id.0);
            out.put_bytes(schema);
            put_list(out, columns, put_column);
        }
        Edit::DropTable { id } => {
            out.put_u8(3);
            out.put_u32(id.0);
        }
        Edit::AddSegment { table, segment } => {
            out.put_u8(4);
            out.put_u32(table.0);
            put_segment(out, segment);
        }
        Edit::ReplaceSegments { table, remove, add } => {
            out.put_u8(5);
            out.put_u32(table.0);
            put_list(out, remove, |out, id| out.put_u64(*id));
            put_list(out, add, put_segment);
        }
        Edit::Sealed { seq, replay_from } => {
            out.put_u8(6);
            out.put_u64(*seq);
            put_position(out, *replay_from);
        }
        Edit::OpenLog { log } => {
            out.put_u8(7);
            put_log(out, log);
        }
        Edit::FreeLog { id } => {
            out.put_u8(8);
            out.put_u64(*id);
        }
        Edit::DropLog { id } => {
            out.put_u8(9);
            out.put_u64(*id);
        }
        Edit::CreateVersion { id, name, created_micros } => {
            out.put_u8(10);
            out.put_u64(*id);
            out.put_bytes(name.as_bytes());
            out.put_u64(*created_micros);
        }
        Edit::DropVersion { id } => {
            out.put_u8(11);
            out.put_u64(*id);
        }
        Edit::Rollback { version, sealed_seq, replay_from } => {
            out.put_u8(12);
            out.put_u64(*version);
            out.put_u64(*sealed_seq);
            put_position(out, *replay_from);
        }
    }
}

fn edit(from: &mut Reader<'_>) -> Result<Edit, WireError> {
    let start = from.offset();
    Ok(match from.u8("the tag of an edit")? {
        1 => Edit::CreateTable {
            id: table_id(from)?,
            name: from.str("a table name")?.to_owned(),
            schema: from.bytes("a table schema")?.to_vec(),
            columns: list(from, column)?,
        },
        2 => Edit::SetTable {
            id: table_id(from)?,
            schema: from.bytes("a table schema")?.to_vec(),
            columns: list(from, column)?,
        },
        3 => Edit::DropTable { id: table_id(from)? },
        4 => Edit::AddSegment { table: table_id(from)?, segment: segment(from)? },
        5 => Edit::ReplaceSegments {
            table: table_id(from)?,
            remove: list(from, |from| from.u64("a segment id"))?,
            add: list(from, segment)?,
        },
        6 => Edit::Sealed { seq: from.u64("a frame number")?, replay_from: position(from)? },
        7 => Edit::OpenLog { log: log(from)? },
        8 => Edit::FreeLog { id: from.u64("a log file id")? },
        9 => Edit::DropLog { id: from.u64("a log file id")? },
        10 => Edit::CreateVersion {
            id: from.u64("a version id")?,
            name: from.str("a version name")?.to_owned(),
            created_micros: from.u64("a time")?,
        },
        11 => Edit::DropVersion { id: from.u64("a version id")? },
        12 => Edit::Rollback {
            version: from.u64("a version id")?,
            sealed_seq: from.u64("a frame number")?,
            replay_from: position(from)?,
        },
        _ => {
            return Err(WireError { offset: start, expected: "the tag of an edit, 1 to 12" });
        }
    })
}

fn put_list<T>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    out.put_u32(items.len() as u32);
    items.iter().for_each(|item| put(out, item));
}

fn list<T>(
    from: &mut Reader<'_>,
    item: impl Fn(&mut Reader<'_>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let count = from.u32("a count")?;
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(item(from)?);
    }
    Ok(items)
}

fn put_position(out: &mut Vec<u8>, position: LogPosition) {
    out.put_u64(position.file);
    out.put_u64(position.offset);
}

fn position(from: &mut Reader<'_>) -> Result<LogPosition, WireError> {
    Ok(LogPosition { file: from.u64("a log file id")?, offset: from.u64("a log offset")? })
}

fn put_log(out: &mut Vec<u8>, log: &LogFile) {
    [log.id, log.epoch, log.first_seq, log.len].into_iter().for_each(|n| out.put_u64(n));
}

fn log(from: &mut Reader<'_>) -> Result<LogFile, WireError> {
    Ok(LogFile {
        id: from.u64("a log file id")?,
        epoch: from.u64("a log epoch")?,
        first_seq: from.u64("a frame number")?,
        len: from.u64("a log file length")?,
    })
}

fn put_segment(out: &mut Vec<u8>, segment: &SegmentMeta) {
    out.put_u64(segment.id);
    out.put_u64(segment.len);
    out.put_u32(segment.footer_crc);
    out.put_u32(segment.rows);
}

fn segment(from: &mut Reader<'_>) -> Result<SegmentMeta, WireError> {
    Ok(SegmentMeta {
        id: from.u64("a segment id")?,
        len: from.u64("a segment length")?,
        footer_crc: from.u32("a footer checksum")?,
        rows: from.u32("a row count")?,
    })
}

fn put_column(out: &mut Vec<u8>, column: &Column) {
    out.put_bytes(column.name.as_bytes());
    // Fixed cells have at least one byte, so a stride of 0 is free to mean variable ones.
    out.put_u32(match column.layout {
        CellLayout::Fixed(stride) => stride,
        CellLayout::Var => 0,
    });
}

fn column(from: &mut Reader<'_>) -> Result<Column, WireError> {
    let name = from.str("a column name")?.to_owned();
    let layout = match from.u32("a column stride")? {
        0 => CellLayout::Var,
        stride => CellLayout::Fixed(stride),
    };
    Ok(Column { name, layout })
}

fn table_id(from: &mut Reader<'_>) -> Result<TableId, WireError> {
    from.u32("a table id").map(TableId)
}

fn put_tables(out: &mut Vec<u8>, tables: &BTreeMap<TableId, Table>) {
    out.put_u32(tables.len() as u32);
    for (id, table) in tables {
        out.put_u32(id.0);
        out.put_bytes(table.name.as_bytes());
        out.put_bytes(&table.schema);
        put_list(out, &table.columns, put_column);
        put_list(out, &table.segments, put_segment);
    }
}

fn tables(from: &mut Reader<'_>) -> Result<BTreeMap<TableId, Table>, StateError> {
    let count = from.u32("the number of tables")?;
    let mut tables = BTreeMap::new();
    for _ in 0..count {
        let id = table_id(from)?;
        let table = Table {
            name: from.str("a table name")?.to_owned(),
            schema: from.bytes("a table schema")?.to_vec(),
            columns: list(from, column)?,
            segments: list(from, segment)?,
        };
        ascending(tables.last_key_value().map(|(last, _)| last), &id, "table")?;
        tables.insert(id, table);
    }
    Ok(tables)
}

fn versions(from: &mut Reader<'_>) -> Result<BTreeMap<u64, Version>, StateError> {
    let count = from.u32("the number of versions")?;
    let mut versions = BTreeMap::new();
    for _ in 0..count {
        let version = Version {
            id: from.u64("a version id")?,
            name: from.str("a version name")?.to_owned(),
            created_micros: from.u64("a time")?,
            tables: tables(from)?,
        };
        ascending(versions.last_key_value().map(|(last, _)| last), &version.id, "version")?;
        versions.insert(version.id, version);
    }
    Ok(versions)
}

fn ascending<K: Ord + std::fmt::Display>(
    last: Option<&K>,
    id: &K,
    what: &str,
) -> Result<(), StateError> {
    match last {
        Some(last) if last >= id => Err(contradiction(format!("{what} {id} follows {last}"))),
        _ => Ok(()),
    }
}

fn end(from: &Reader<'_>) -> Result<(), WireError> {
    match from.is_empty() {
        true => Ok(()),
        false => Err(WireError { offset: from.offset(), expected: "the end" }),
    }
}
