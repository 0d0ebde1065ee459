//! Rows straight into sealed segments, past log and memtable.
//!
//! One fixed column, the wide one, streams to the file as rows come; everything else of a
//! row waits in a charged buffer until the segment is full. So the memory of an import
//! depends on the segment's size, not on the data's. A segment that is committed is durable;
//! rows after it are gone if the writer is dropped.
//!
//! The rows that the new ones replace are found by merging the sorted key hashes of the new
//! segment with those of each older one: one pass, no look-up per key.

use ambit_mem::{Bytes, Reservation};

use super::batch::{check_cells, check_key};
use super::builder::{KeyIndex, RowSource, write_rows};
use super::commit::{Engine, Writer, read_only};
use super::memtable::SealedRow;
use super::open::table_of;
use super::sealed::SealedPart;
use super::table::Loaded;
use crate::error::StoreError;
use crate::limits::MAX_SEGMENT_ROWS;
use crate::log::{CellLayout, Column, Edit, TableId};
use crate::segment::SegmentWriter;
use crate::sync::lock;

/// Windows per bulk segment: 64 MiB with the standard geometry.
const SEGMENT_WINDOWS: u64 = 32;
/// Rows by which the buffers' reservation grows.
const GROWTH: usize = 64 << 10;

/// Writes rows in bulk to one table.
pub struct BulkWriter<'a> {
    engine: &'a Engine,
    table: TableId,
    name: String,
    columns: Vec<Column>,
    streamed: usize,
    open: Option<OpenSegment>,
    committed: u64,
    segments: u64,
}

struct OpenSegment {
    writer: SegmentWriter,
    rows: RowBuffer,
}

impl Engine {
    /// Begins to write rows in bulk. `streamed` is the fixed column that goes to the file at
    /// once; every row must have it.
    pub fn bulk(&self, table: TableId, streamed: usize) -> Result<BulkWriter<'_>, StoreError> {
        let published = self.published();
        let target = table_of(&published, table)?;
        let (name, columns) = (target.name.clone(), target.columns.clone());
        match columns.get(streamed).map(|column| column.layout) {
            Some(CellLayout::Fixed(_)) => Ok(BulkWriter {
                engine: self,
                table,
                name,
                columns,
                streamed,
                open: None,
                committed: 0,
                segments: 0,
            }),
            _ => Err(StoreError::invalid(format!("column {streamed} is not of a fixed stride"))),
        }
    }
}

impl BulkWriter<'_> {
    /// Adds a row. A key that the table has already is replaced when the segment commits.
    ///
    /// # Errors
    /// Invalid (key, cells), over budget, I/O.
    pub fn push(&mut self, key: &[u8], cells: &[Option<&[u8]>]) -> Result<(), StoreError> {
        self.check(key, cells)?;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        if let Some(Some(cell)) = cells.get(self.streamed) {
            open.writer.write(cell)?;
        }
        open.rows.push(key, cells, self.streamed)?;
        let geometry = &self.engine.options.geometry;
        let full = open.writer.position() + open.rows.bytes()
            >= geometry.window as u64 * SEGMENT_WINDOWS
            || open.rows.len() as u32 >= MAX_SEGMENT_ROWS;
        self.open = Some(open);
        if full { self.commit() } else { Ok(()) }
    }

    fn check(&self, key: &[u8], cells: &[Option<&[u8]>]) -> Result<(), StoreError> {
        check_key(&self.name, key)?;
        if cells.len() != self.columns.len() || !matches!(cells.get(self.streamed), Some(Some(_))) {
            return Err(StoreError::invalid(format!(
                "a bulk row has {} cells, the streamed one present; found {}",
                self.columns.len(),
                cells.len()
            )));
        }
        check_cells(&self.name, cells, &self.columns)
    }

    fn begin(&self) -> Result<OpenSegment, StoreError> {
        let mut guard = self.engine.writing()?;
        let Some(writer) = guard.as_mut() else {
            return Err(read_only());
        };
        let mut segment = self.engine.new_segment(&mut writer.journal)?;
        let CellLayout::Fixed(stride) = self.columns[self.streamed].layout else {
            return Err(StoreError::invalid("the streamed column is not of a fixed stride"));
        };
        segment.begin(&format!("c{}.data", self.streamed), stride)?;
        let charge = self.engine.account.child("bulk").reserve(Bytes::ZERO)?;
        Ok(OpenSegment { writer: segment, rows: RowBuffer::new(self.columns.len(), charge) })
    }

    /// Rows that are durable.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Segments that were committed.
    pub fn segments(&self) -> u64 {
        self.segments
    }

    /// Seals and commits the rows so far, as one segment.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        let Some(OpenSegment { mut writer, rows }) = self.open.take() else {
            return Ok(());
        };
        let id = writer.id();
        let outcome = writer.end().and_then(|()| {
            let mut guard = self.engine.writing()?;
            match guard.as_mut() {
                Some(held) => self.engine.commit_bulk(held, self, writer, &rows),
                None => Err(read_only()),
            }
        });
        lock(&self.engine.in_flight).remove(&id);
        outcome?;
        self.committed += rows.len() as u64;
        self.segments += 1;
        Ok(())
    }

    /// Commits what is left and ends.
    pub fn finish(mut self) -> Result<u64, StoreError> {
        self.commit()?;
        Ok(self.committed)
    }
}

impl Drop for BulkWriter<'_> {
    fn drop(&mut self) {
        if let Some(open) = &self.open {
            lock(&self.engine.in_flight).remove(&open.writer.id());
        }
    }
}

impl Engine {
    fn commit_bulk(
        &self,
        held: &mut Writer,
        bulk: &BulkWriter<'_>,
        mut segment: SegmentWriter,
        rows: &RowBuffer,
    ) -> Result<(), StoreError> {
        if !self.published().memtable.is_untouched(bulk.table) {
            self.seal_locked(held)?;
        }
        let published = self.published();
        let loaded = table_of(&published, bulk.table)?.load(&self.shelf)?;
        let index = KeyIndex::new(rows, &self.account.child("bulk"))?;
        refuse_repeats(rows, index.entries())?;
        let kills = replaced_rows(&loaded, rows, index.entries())?;
        let skip = Some(bulk.streamed);
        write_rows(&mut segment, rows, &bulk.columns, skip, &kills, &index)?;
        let meta = segment.finish(rows.len() as u32)?;
        let edit = Edit::AddSegment { table: bulk.table, segment: meta };
        self.commit_edits(&mut held.journal, &[edit])?;
        let memtable = published.memtable.clone();
        self.publish_state(held.journal.state(), &published, memtable);
        Ok(())
    }
}

fn refuse_repeats(rows: &RowBuffer, index: &[(u64, u32)]) -> Result<(), StoreError> {
    for (at, &(hash, row)) in index.iter().enumerate() {
        let same = index[at + 1..].iter().take_while(|&&(other, _)| other == hash);
        for &(_, other) in same {
            let key = rows.key(row as usize);
            if key == rows.key(other as usize) {
                return Err(StoreError::invalid(format!(
                    "key {:?} comes twice among the rows; each key once",
                    String::from_utf8_lossy(key)
                )));
            }
        }
    }
    Ok(())
}

/// Live rows of older segments that hold one of the new keys.
fn replaced_rows(
    loaded: &Loaded,
    rows: &RowBuffer,
    index: &[(u64, u32)],
) -> Result<Vec<SealedRow>, StoreError> {
    let mut kills = Vec::new();
    for old in &loaded.parts {
        let mut matches = Vec::new();
        join_hashes(&old.part, index, &mut matches)?;
        for (new_row, old_row) in matches {
            if !old.dead.contains(old_row) && *old.part.key(old_row)? == *rows.key(new_row as usize)
            {
                kills.push(SealedRow { segment: old.part.id(), row: old_row });
            }
        }
    }
    Ok(kills)
}

/// Pairs (new row, old row) of equal hashes.
fn join_hashes(
    old: &SealedPart,
    index: &[(u64, u32)],
    matches: &mut Vec<(u32, u32)>,
) -> Result<(), StoreError> {
    const STEP: u32 = 16 << 10;
    let mut next = 0;
    let mut start = 0;
    while start < old.rows() && next < index.len() {
        old.hashes(start, STEP, &mut |hash, row| {
            while next < index.len() && index[next].0 < hash {
                next += 1;
            }
            let same = index[next..].iter().take_while(|&&(other, _)| other == hash);
            matches.extend(same.map(|&(_, new_row)| (new_row, row)));
        })?;
        start = start.saturating_add(STEP);
    }
    Ok(())
}

/// Keys and cells of rows, but for the streamed column.
struct RowBuffer {
    keys: Cells,
    columns: Vec<Cells>,
    charge: Reservation,
}

#[derive(Default)]
struct Cells {
    bytes: Vec<u8>,
    /// End of each cell in `bytes`; the top bit marks an absent one.
    ends: Vec<u64>,
}

const ABSENT: u64 = 1 << 63;

impl Cells {
    fn push(&mut self, cell: Option<&[u8]>) {
        self.bytes.extend_from_slice(cell.unwrap_or_default());
        let absent = if cell.is_none() { ABSENT } else { 0 };
        self.ends.push(self.bytes.len() as u64 | absent);
    }

    fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        if end & ABSENT != 0 {
            return None;
        }
        let start = match index.checked_sub(1) {
            Some(before) => self.ends[before] & !ABSENT,
            None => 0,
        };
        Some(&self.bytes[start as usize..end as usize])
    }

    fn capacity(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * 8
    }
}

impl RowBuffer {
    fn new(columns: usize, charge: Reservation) -> Self {
        let columns = (0..columns).map(|_| Cells::default()).collect();
        Self { keys: Cells::default(), columns, charge }
    }

    fn push(
        &mut self,
        key: &[u8],
        cells: &[Option<&[u8]>],
        streamed: usize,
    ) -> Result<(), StoreError> {
        // Buffers double when they grow: the old and the new one are held at once.
        let row: usize = cells.iter().flatten().map(|cell| cell.len()).sum();
        let need = self.capacity() * 3 + row + key.len();
        if Bytes::of(need) > self.charge.bytes() {
            self.charge.resize(Bytes::of(need + GROWTH))?;
        }
        self.keys.push(Some(key));
        for (number, (column, cell)) in self.columns.iter_mut().zip(cells).enumerate() {
            if number != streamed {
                column.push(*cell);
            }
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.keys.capacity() + self.columns.iter().map(Cells::capacity).sum::<usize>()
    }

    /// Bytes that will go to the file.
    fn bytes(&self) -> u64 {
        let cells: usize = self.columns.iter().map(|column| column.bytes.len()).sum();
        (cells + self.keys.bytes.len() + self.keys.ends.len() * 20) as u64
    }
}

impl RowSource for RowBuffer {
    fn len(&self) -> usize {
        self.keys.ends.len()
    }

    fn key(&self, index: usize) -> &[u8] {
        self.keys.get(index).unwrap_or_default()
    }

    fn cell(&self, index: usize, column: usize) -> Option<&[u8]> {
        self.columns[column].get(index)
    }
}
