//! What one reader sees: never changes, whatever the writer does.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::memtable::{Memtable, SealedRow};
use super::rows::FixedBlock;
use super::sealed::SealedPart;
use super::table::{Loaded, Published, Shelf, TableInfo, TableState};
use crate::error::StoreError;
use crate::log::{Column, TableId};
use crate::sync::Arc;

/// An immutable picture of the store.
#[derive(Clone)]
pub struct Snapshot {
    pub(super) shelf: Arc<Shelf>,
    pub(super) published: Arc<Published>,
    pub(super) tick: u64,
}

impl Snapshot {
    /// The tables, by id.
    pub fn tables(&self) -> Vec<TableInfo> {
        self.published.tables.values().map(|table| table.info()).collect()
    }

    /// The table of this name.
    pub fn table_named(&self, name: &str) -> Option<TableInfo> {
        let mut tables = self.published.tables.values();
        tables.find(|table| table.name == name).map(|table| table.info())
    }

    /// Opens a table; `None` where there is none of this id.
    ///
    /// # Cost
    /// Opens the table's segments at the first touch; after that, one bitmap clone per
    /// segment that has unsealed deletes.
    pub fn table(&self, id: TableId) -> Result<Option<TableView>, StoreError> {
        let Some(table) = self.published.tables.get(&id) else {
            return Ok(None);
        };
        let loaded = table.load(&self.shelf)?;
        let memtable = Arc::clone(&self.published.memtable);
        let dead = loaded
            .parts
            .iter()
            .map(|part| match memtable.kills(id, part.part.id(), self.tick) {
                Some(kills) => Arc::new(&*part.dead | kills),
                None => Arc::clone(&part.dead),
            })
            .collect();
        let shelf = Arc::clone(&self.shelf);
        let table = Arc::clone(table);
        let sealed_seq = self.published.sealed_seq;
        Ok(Some(TableView { shelf, table, loaded, dead, memtable, sealed_seq, tick: self.tick }))
    }
}

/// Names a row within one [`TableView`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowRef {
    /// A segment, or the memtable, which is the last part.
    pub part: u32,
    /// Row number in that part.
    pub row: u32,
}

/// One table of a [`Snapshot`].
pub struct TableView {
    shelf: Arc<Shelf>,
    table: Arc<TableState>,
    loaded: Arc<Loaded>,
    dead: Vec<Arc<RoaringBitmap>>,
    memtable: Arc<Memtable>,
    sealed_seq: u64,
    tick: u64,
}

impl TableView {
    /// Its id.
    pub fn id(&self) -> TableId {
        self.table.id
    }

    /// Its columns.
    pub fn columns(&self) -> &[Column] {
        &self.table.columns
    }

    /// What the creator wanted kept beside it.
    pub fn schema(&self) -> &[u8] {
        &self.table.schema
    }

    /// Number of rows.
    pub fn len(&self) -> u64 {
        let sealed: u64 = self
            .loaded
            .parts
            .iter()
            .zip(&self.dead)
            .map(|(part, dead)| u64::from(part.part.rows()) - dead.len())
            .sum();
        sealed + self.memtable.visible_rows(self.table.id, self.tick)
    }

    /// Are there no rows?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A digest of what the table holds: two views of one store have the same only if they hold the same
    /// rows. Seals and merges change it, too.
    ///
    /// Ids of segments and numbers of frames are never given out twice. The segments say which of their rows are
    /// dead, and the memtable is what so many operations since the last seal made it.
    pub fn digest(&self) -> u128 {
        let segments = self.loaded.parts.iter().map(|part| part.part.id());
        let mut numbers: Vec<u64> =
            std::iter::once(u64::from(self.table.id.0)).chain(segments).collect();
        let applied = self.memtable.applied(self.table.id, self.tick);
        if applied > 0 {
            numbers.extend([u64::MAX, self.sealed_seq, applied]);
        }
        xxhash_rust::xxh3::xxh3_128(bytemuck::cast_slice(&numbers))
    }

    /// Where the row of `key` is.
    pub fn find(&self, key: &[u8]) -> Result<Option<RowRef>, StoreError> {
        if let Some(row) = self.memtable.find(self.table.id, key, self.tick) {
            return Ok(Some(RowRef { part: self.memtable_part(), row }));
        }
        let Some((part, row)) = self.loaded.find(key)? else {
            return Ok(None);
        };
        if self.dead[part].contains(row) {
            return Ok(None);
        }
        Ok(Some(RowRef { part: part as u32, row }))
    }

    /// Key of a row.
    pub fn key(&self, row: RowRef) -> Result<Vec<u8>, StoreError> {
        match self.loaded.parts.get(row.part as usize) {
            Some(part) => Ok(part.part.key(row.row)?.to_vec()),
            None => self
                .memtable
                .key(self.table.id, row.row)
                .map(|key| key.to_vec())
                .ok_or_else(|| StoreError::invalid("a row that this view does not have")),
        }
    }

    /// Cell of a row in a column; `None` where it is absent.
    pub fn cell(&self, row: RowRef, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        match self.loaded.parts.get(row.part as usize) {
            Some(part) => part.part.cell(row.row, column),
            None => Ok(self.memtable.cell(self.table.id, row.row, column)),
        }
    }

    /// Number of parts: the segments, then the memtable.
    pub fn parts(&self) -> u32 {
        self.memtable_part() + 1
    }

    fn memtable_part(&self) -> u32 {
        self.loaded.parts.len() as u32
    }

    /// Calls `each` with the rows of a part that are to be seen, from row `from` on, in order
    /// of their writing, until it returns false.
    pub fn scan_part(
        &self,
        part: u32,
        from: u32,
        each: &mut dyn FnMut(RowRef) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        match self.loaded.parts.get(part as usize) {
            Some(loaded) => {
                let dead = &self.dead[part as usize];
                for row in from..loaded.part.rows() {
                    if !dead.contains(row) && !each(RowRef { part, row })? {
                        break;
                    }
                }
            }
            None => {
                for row in from..self.memtable.rows(self.table.id) {
                    if self.memtable.is_visible(self.table.id, row, self.tick)
                        && !each(RowRef { part, row })?
                    {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Cuts a fixed column into blocks of at most `rows` cells, memtable included. The scan
    /// of a block asks for at least this column.
    pub fn blocks(&self, column: usize, rows: u64) -> Vec<BlockRef> {
        let mut blocks = Vec::new();
        for (number, part) in (0u32..).zip(&self.loaded.parts) {
            let len = part.part.fixed_len(column);
            let mut start = 0;
            while start < len {
                let end = (start + rows.max(1)).min(len);
                blocks.push(BlockRef { part: number, range: start..end });
                start = end;
            }
        }
        for block in 0..self.memtable.fixed_blocks(self.table.id, column) as u64 {
            blocks.push(BlockRef { part: self.memtable_part(), range: block..block + 1 });
        }
        blocks
    }

    pub(super) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// The segment that is `part`; none for the memtable.
    pub(super) fn sealed(&self, part: u32) -> Option<&Arc<SealedPart>> {
        self.loaded.parts.get(part as usize).map(|loaded| &loaded.part)
    }

    /// The id of the segment that is `part`; none for the memtable. Ids are never given out twice.
    pub fn segment_id(&self, part: u32) -> Option<u64> {
        self.sealed(part).map(|part| part.id())
    }

    /// Number of rows in `part`, dead ones included; of the memtable also those that came later.
    pub fn rows_in(&self, part: u32) -> u64 {
        let sealed = self.sealed(part).map(|part| part.rows());
        u64::from(sealed.unwrap_or_else(|| self.memtable.rows(self.table.id)))
    }

    /// Number of cells of a fixed column in segment `part`, dead ones included; 0 for the memtable.
    pub fn cells_in(&self, part: u32, column: usize) -> u64 {
        self.sealed(part).map_or(0, |part| part.fixed_len(column))
    }

    /// Calls `f` with the bytes of cells `range` of a fixed column in segment `part`, by position among
    /// those that are present, dead ones included.
    pub fn cells(
        &self,
        part: u32,
        column: usize,
        range: Range<u64>,
        f: &mut dyn FnMut(&[u8]),
    ) -> Result<(), StoreError> {
        match self.sealed(part) {
            Some(part) => part.fixed_cells(column, range, f),
            None => Err(StoreError::invalid("the memtable's cells have no positions")),
        }
    }

    /// The row of the cell at `position` of a fixed column in segment `part`.
    pub fn row_at(&self, part: u32, column: usize, position: u64) -> Result<u32, StoreError> {
        match self.sealed(part) {
            Some(part) => part.fixed_row(column, position),
            None => Err(StoreError::invalid("the memtable's cells have no positions")),
        }
    }

    /// Is a row of segment `part` dead?
    pub fn is_dead(&self, part: u32, row: u32) -> bool {
        self.dead.get(part as usize).is_some_and(|dead| dead.contains(row))
    }

    /// Calls `each` with the dead rows of segment `part` among `rows`, ascending, until it returns false.
    pub fn dead_rows(&self, part: u32, rows: Range<u32>, each: &mut dyn FnMut(u32) -> bool) {
        if let Some(dead) = self.dead.get(part as usize) {
            dead.range(rows).all(each);
        }
    }

    /// How many of `rows` of segment `part` are dead.
    pub fn dead_len(&self, part: u32, rows: Range<u32>) -> u64 {
        self.dead.get(part as usize).map_or(0, |dead| dead.range_cardinality(rows))
    }

    /// Calls `f` with the cells of a block; all `columns` must be present in the same rows.
    pub fn visit(
        &self,
        block: &BlockRef,
        columns: &[usize],
        f: &mut dyn FnMut(FixedBlock<'_>),
    ) -> Result<(), StoreError> {
        match self.loaded.parts.get(block.part as usize) {
            Some(part) => {
                let dead = &self.dead[block.part as usize];
                part.part.visit_fixed(columns, block.range.clone(), dead, f)
            }
            None => {
                let number = block.range.start as usize;
                self.memtable.visit_fixed(self.table.id, columns, number, self.tick, f)
            }
        }
    }
}

/// Names a block of a fixed column within one [`TableView`].
#[derive(Debug, Clone)]
pub struct BlockRef {
    /// The part that it lies in.
    pub part: u32,
    range: Range<u64>,
}

/// Row of a segment that holds `key` alive, looking past the memtable.
pub(super) fn sealed_row_of(
    loaded: &Loaded,
    memtable: &Memtable,
    table: TableId,
    key: &[u8],
) -> Result<Option<SealedRow>, StoreError> {
    if memtable.has_touched(table, key) {
        return Ok(None);
    }
    let found = loaded.find(key)?;
    Ok(found.map(|(part, row)| SealedRow { segment: loaded.parts[part].part.id(), row }))
}
