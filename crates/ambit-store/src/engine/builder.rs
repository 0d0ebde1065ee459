//! Rows in memory become the sections of a segment.

use ambit_mem::{Account, Bytes, Reservation};

use super::filter::FilterBuilder;
use super::memtable::{MemRows, SealedRow};
use super::sealed::key_hash;
use crate::error::StoreError;
use crate::log::{CellLayout, Column};
use crate::segment::SegmentWriter;
use crate::wire::Put;

/// Rows that are addressed by position, cells borrowed.
pub(super) trait RowSource {
    /// Number of rows.
    fn len(&self) -> usize;
    /// Key at `index`.
    fn key(&self, index: usize) -> &[u8];
    /// Cell at `index` in `column`.
    fn cell(&self, index: usize, column: usize) -> Option<&[u8]>;
}

/// The rows of a memtable that are alive, in the order of their writing.
pub(super) struct AliveRows<'a> {
    rows: &'a MemRows,
    alive: Vec<u32>,
}

impl<'a> AliveRows<'a> {
    pub(super) fn new(rows: &'a MemRows) -> Self {
        Self { alive: rows.alive(), rows }
    }

    /// Leaves the newest row out: a planted fault.
    pub(super) fn forget_last(&mut self) {
        self.alive.pop();
    }
}

impl RowSource for AliveRows<'_> {
    fn len(&self) -> usize {
        self.alive.len()
    }

    fn key(&self, index: usize) -> &[u8] {
        self.rows.key(self.alive[index])
    }

    fn cell(&self, index: usize, column: usize) -> Option<&[u8]> {
        self.rows.cell(self.alive[index], column)
    }
}

/// The hashes of some rows' keys, ascending, with the rows they stand for.
pub(super) struct KeyIndex {
    entries: Vec<(u64, u32)>,
    account: Account,
    _charge: Reservation,
}

impl KeyIndex {
    /// Hashes and sorts the keys of `source`: 16 bytes a row.
    pub(super) fn new(source: &dyn RowSource, account: &Account) -> Result<Self, StoreError> {
        let rows = source.len();
        let charge = account.reserve(Bytes::of(rows * 16))?;
        let mut entries: Vec<(u64, u32)> =
            (0..rows).map(|row| (key_hash(source.key(row)), row as u32)).collect();
        entries.sort_unstable();
        Ok(Self { entries, account: account.clone(), _charge: charge })
    }

    /// (hash, row), ascending.
    pub(super) fn entries(&self) -> &[(u64, u32)] {
        &self.entries
    }

    /// Writes `key.hash`, `key.row` and `key.filter`.
    fn write(&self, writer: &mut SegmentWriter) -> Result<(), StoreError> {
        writer.begin("key.hash", 8)?;
        for (hash, _) in &self.entries {
            writer.write(&hash.to_le_bytes())?;
        }
        writer.end()?;
        write_row_list(writer, "key.row", self.entries.iter().map(|&(_, row)| row))?;
        let rows = self.entries.len() as u32;
        let Some(mut filter) = FilterBuilder::begin(rows, writer, &self.account)? else {
            return Ok(());
        };
        for &(hash, _) in &self.entries {
            filter.push(hash, writer)?;
        }
        filter.finish(writer)
    }
}

/// Writes keys, their index, the kills, and every column but `skip`.
pub(super) fn write_rows(
    writer: &mut SegmentWriter,
    source: &dyn RowSource,
    columns: &[Column],
    skip: Option<usize>,
    kills: &[SealedRow],
    index: &KeyIndex,
) -> Result<(), StoreError> {
    let rows = source.len();
    write_offsets(writer, "key.off", (0..rows).map(|row| source.key(row).len() as u64))?;
    writer.begin("key.bytes", 1)?;
    for row in 0..rows {
        writer.write(source.key(row))?;
    }
    writer.end()?;
    index.write(writer)?;
    write_kills(writer, kills)?;
    for (number, column) in columns.iter().enumerate() {
        if Some(number) != skip {
            write_column(writer, source, number, column)?;
        }
    }
    Ok(())
}

fn write_column(
    writer: &mut SegmentWriter,
    source: &dyn RowSource,
    number: usize,
    column: &Column,
) -> Result<(), StoreError> {
    let rows = source.len();
    let cells = || (0..rows).map(|row| source.cell(row, number));
    let present = cells().flatten().count();
    if present == 0 {
        return Ok(());
    }
    match column.layout {
        CellLayout::Fixed(stride) => {
            writer.begin(&format!("c{number}.data"), stride)?;
            for cell in cells().flatten() {
                writer.write(cell)?;
            }
            writer.end()?;
            if present < rows {
                let of_present = cells().enumerate().filter(|(_, cell)| cell.is_some());
                write_row_list(
                    writer,
                    &format!("c{number}.rows"),
                    of_present.map(|(row, _)| row as u32),
                )?;
            }
        }
        CellLayout::Var => {
            let lens = cells().map(|cell| cell.map_or(0, |cell| cell.len() as u64));
            write_offsets(writer, &format!("c{number}.off"), lens)?;
            writer.begin(&format!("c{number}.bytes"), 1)?;
            for cell in cells().flatten() {
                writer.write(cell)?;
            }
            writer.end()?;
            if present < rows {
                let of_absent = cells().enumerate().filter(|(_, cell)| cell.is_none());
                write_row_list(
                    writer,
                    &format!("c{number}.null"),
                    of_absent.map(|(row, _)| row as u32),
                )?;
            }
        }
    }
    Ok(())
}

/// Writes `lens` as running offsets, beginning with 0.
pub(super) fn write_offsets(
    writer: &mut SegmentWriter,
    name: &str,
    lens: impl Iterator<Item = u64>,
) -> Result<(), StoreError> {
    writer.begin(name, 8)?;
    let mut offset = 0u64;
    writer.write(&offset.to_le_bytes())?;
    for len in lens {
        offset += len;
        writer.write(&offset.to_le_bytes())?;
    }
    writer.end()
}

/// Writes ascending row numbers.
pub(super) fn write_row_list(
    writer: &mut SegmentWriter,
    name: &str,
    rows: impl Iterator<Item = u32>,
) -> Result<(), StoreError> {
    writer.begin(name, 4)?;
    for row in rows {
        writer.write(&row.to_le_bytes())?;
    }
    writer.end()
}

/// Writes the `kill` section.
pub(super) fn write_kills(
    writer: &mut SegmentWriter,
    kills: &[SealedRow],
) -> Result<(), StoreError> {
    writer.begin("kill", super::sealed::KILL as u32)?;
    let mut entry = Vec::with_capacity(super::sealed::KILL);
    for kill in kills {
        entry.clear();
        entry.put_u64(kill.segment);
        entry.put_u32(kill.row);
        entry.put_u32(0);
        writer.write(&entry)?;
    }
    writer.end()
}
