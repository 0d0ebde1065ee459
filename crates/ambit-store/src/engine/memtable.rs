//! Rows that are in the log but not yet in a segment.
//!
//! Append-only while it lives: a newer row or a delete stamps the older one with the sequence
//! number at which it died, so a reader at sequence number `s` sees a row when
//! `born <= s < dead`. Rows of sealed segments that died since the last seal are kept as
//! kills, stamped in the same way. All bytes are reserved before the log sees the batch, so
//! that applying cannot fail.
//!
//! Readers take the lock for one block at a time: fixed cells live in shared chunks that are
//! copied only when a writer appends to one that a reader holds.

use std::collections::{BTreeMap, HashMap};

use ambit_mem::{Account, Bytes, OverBudget, Reservation};
use roaring::RoaringBitmap;

use super::batch::Op;
use super::bytes::AlignedBytes;
use super::rows::{DeadBits, FixedBlock, RowList};
use crate::error::StoreError;
use crate::log::{CellLayout, Column, TableId};
use crate::sync::{Arc, Mutex, RwLock, lock};

/// Sequence number of a row that has not died.
const ALIVE: u64 = u64::MAX;

/// Bytes charged for a row beyond its key and cells: map entry, row record, growth slack.
pub(super) const ROW_OVERHEAD: usize = 224;
/// Bytes charged for a cell beyond its content.
const CELL_OVERHEAD: usize = 40;
/// Bytes charged for a kill.
pub(super) const KILL_OVERHEAD: usize = 48;

/// A row of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SealedRow {
    pub segment: u64,
    pub row: u32,
}

/// Unsealed rows of all tables.
#[derive(Debug)]
pub(super) struct Memtable {
    tables: RwLock<BTreeMap<TableId, MemRows>>,
    reservation: Mutex<Reservation>,
}

impl Memtable {
    pub(super) fn new(account: &Account) -> Result<Self, OverBudget> {
        Ok(Self {
            tables: RwLock::default(),
            reservation: Mutex::new(account.reserve(Bytes::ZERO)?),
        })
    }

    /// Takes bytes for rows that are about to be applied.
    pub(super) fn reserve(&self, bytes: usize) -> Result<(), OverBudget> {
        lock(&self.reservation).grow(Bytes::of(bytes))
    }

    /// Gives back what was taken for rows that will not come.
    pub(super) fn unreserve(&self, bytes: usize) {
        lock(&self.reservation).shrink(Bytes::of(bytes));
    }

    /// Bytes charged.
    pub(super) fn charged(&self) -> u64 {
        lock(&self.reservation).bytes().get()
    }

    /// Bytes that applying `op` will take.
    pub(super) fn cost(op: &Op<'_>) -> usize {
        let cells = match op {
            Op::Put { cells, .. } => {
                cells.iter().flatten().map(|cell| 2 * cell.len() + CELL_OVERHEAD).sum()
            }
            Op::Delete { .. } => 0,
        };
        op.key().len() + ROW_OVERHEAD + KILL_OVERHEAD + cells
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<TableId, MemRows>> {
        self.tables.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Applies one operation at `seq`; `kill` is the row it replaces in a segment.
    pub(super) fn apply(&self, seq: u64, columns: &[Column], op: &Op<'_>, kill: Option<SealedRow>) {
        let mut tables = self.tables.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        tables
            .entry(op.table())
            .or_insert_with(|| MemRows::new(columns))
            .apply(seq, columns, op, kill);
    }

    /// Has `key` been written or deleted here? Then no segment holds it live.
    pub(super) fn has_touched(&self, table: TableId, key: &[u8]) -> bool {
        self.read().get(&table).is_some_and(|rows| rows.latest.contains_key(key))
    }

    /// Row of `key` that a reader at `seq` sees.
    pub(super) fn find(&self, table: TableId, key: &[u8], seq: u64) -> Option<u32> {
        self.read().get(&table)?.find(key, seq)
    }

    /// Does a reader at `seq` see `row`?
    pub(super) fn is_visible(&self, table: TableId, row: u32, seq: u64) -> bool {
        self.read()
            .get(&table)
            .and_then(|rows| rows.rows.get(row as usize))
            .is_some_and(|row| row.visible(seq))
    }

    /// Rows that a reader at `seq` sees.
    pub(super) fn visible_rows(&self, table: TableId, seq: u64) -> u64 {
        let tables = self.read();
        let Some(rows) = tables.get(&table) else {
            return 0;
        };
        rows.rows.iter().filter(|row| row.visible(seq)).count() as u64
    }

    /// Operations that were applied here until `seq`: each has left a row.
    pub(super) fn applied(&self, table: TableId, seq: u64) -> u64 {
        let tables = self.read();
        tables.get(&table).map_or(0, |rows| rows.rows.partition_point(|row| row.born <= seq)) as u64
    }

    /// Rows ever written here, dead ones included.
    pub(super) fn rows(&self, table: TableId) -> u32 {
        self.read().get(&table).map_or(0, |rows| rows.rows.len() as u32)
    }

    /// Key of a row.
    pub(super) fn key(&self, table: TableId, row: u32) -> Option<Arc<[u8]>> {
        self.read().get(&table)?.rows.get(row as usize).map(|row| Arc::clone(&row.key))
    }

    /// Cell of a row, copied.
    pub(super) fn cell(&self, table: TableId, row: u32, column: usize) -> Option<Vec<u8>> {
        self.read().get(&table)?.cell(row, column).map(<[u8]>::to_vec)
    }

    /// Rows of `segment` that are dead to a reader at `seq`, because of this memtable.
    pub(super) fn kills(&self, table: TableId, segment: u64, seq: u64) -> Option<RoaringBitmap> {
        let tables = self.read();
        let kills = tables.get(&table)?.kills.get(&segment)?;
        let bitmap: RoaringBitmap =
            kills.iter().filter(|&(_, &at)| at <= seq).map(|(&row, _)| row).collect();
        (!bitmap.is_empty()).then_some(bitmap)
    }

    /// Does any row of these segments die by this memtable?
    pub(super) fn kills_any(&self, table: TableId, segments: &[u64]) -> bool {
        let tables = self.read();
        let Some(rows) = tables.get(&table) else {
            return false;
        };
        segments.iter().any(|segment| rows.kills.contains_key(segment))
    }

    /// Tables that have rows or kills here.
    pub(super) fn tables(&self) -> Vec<TableId> {
        self.read().keys().copied().collect()
    }

    /// Is there nothing for `table`?
    pub(super) fn is_untouched(&self, table: TableId) -> bool {
        !self.read().contains_key(&table)
    }

    /// Calls `f` with the rows of a table as they stand, for the seal.
    pub(super) fn with_rows<T>(&self, table: TableId, f: impl FnOnce(&MemRows) -> T) -> Option<T> {
        self.read().get(&table).map(f)
    }

    /// Scan blocks of a fixed column.
    pub(super) fn fixed_blocks(&self, table: TableId, column: usize) -> usize {
        self.read().get(&table).and_then(|rows| rows.columns.get(column)).map_or(0, |column| {
            match column {
                MemColumn::Fixed(fixed) => fixed.chunks.len(),
                MemColumn::Var(_) => 0,
            }
        })
    }

    /// Calls `f` with block `block` of some fixed columns, as a reader at `seq` sees it.
    ///
    /// # Errors
    /// Invalid where the columns are not present in the same rows.
    pub(super) fn visit_fixed(
        &self,
        table: TableId,
        columns: &[usize],
        block: usize,
        seq: u64,
        f: &mut dyn FnMut(FixedBlock<'_>),
    ) -> Result<(), StoreError> {
        let mut held: Vec<(Vec<u32>, Arc<AlignedBytes>)> = Vec::with_capacity(columns.len());
        let mut dead = DeadBits::default();
        {
            let tables = self.read();
            let Some(rows) = tables.get(&table) else {
                return Ok(());
            };
            for &column in columns {
                let Some(MemColumn::Fixed(fixed)) = rows.columns.get(column) else {
                    return Ok(());
                };
                let Some((list, chunk)) = fixed.block(block, rows.rows_per_chunk) else {
                    return Ok(());
                };
                held.push((list.to_vec(), Arc::clone(chunk)));
            }
            let Some((list, _)) = held.first() else {
                return Ok(());
            };
            for (index, &row) in list.iter().enumerate() {
                if !rows.rows[row as usize].visible(seq) {
                    dead.set(index, list.len());
                }
            }
        }
        let Some((list, _)) = held.first() else {
            return Ok(());
        };
        if held.iter().any(|(other, _)| other != list) {
            return Err(StoreError::invalid(
                "columns that are scanned together must be present in the same rows",
            ));
        }
        let cells: Vec<&[u8]> = held.iter().map(|(_, chunk)| chunk.as_slice()).collect();
        f(FixedBlock { rows: RowList::List(list), cells: &cells, dead: dead.as_option() });
        Ok(())
    }
}

/// Unsealed rows of one table.
#[derive(Debug)]
pub(super) struct MemRows {
    latest: HashMap<Arc<[u8]>, u32>,
    rows: Vec<MemRow>,
    columns: Vec<MemColumn>,
    rows_per_chunk: usize,
    kills: BTreeMap<u64, BTreeMap<u32, u64>>,
}

#[derive(Debug)]
struct MemRow {
    key: Arc<[u8]>,
    born: u64,
    dead: u64,
    older: Option<u32>,
}

impl MemRow {
    fn visible(&self, seq: u64) -> bool {
        self.born <= seq && seq < self.dead
    }
}

impl MemRows {
    fn new(columns: &[Column]) -> Self {
        let widest = columns
            .iter()
            .map(|column| match column.layout {
                CellLayout::Fixed(stride) => stride as usize,
                CellLayout::Var => 0,
            })
            .max()
            .unwrap_or(0);
        Self {
            latest: HashMap::new(),
            rows: Vec::new(),
            columns: columns.iter().map(MemColumn::new).collect(),
            rows_per_chunk: ((64 << 10) / widest.max(1)).clamp(1, 1024),
            kills: BTreeMap::new(),
        }
    }

    fn find(&self, key: &[u8], seq: u64) -> Option<u32> {
        let mut row = *self.latest.get(key)?;
        loop {
            let record = &self.rows[row as usize];
            if record.born <= seq {
                return record.visible(seq).then_some(row);
            }
            row = record.older?;
        }
    }

    fn apply(&mut self, seq: u64, columns: &[Column], op: &Op<'_>, kill: Option<SealedRow>) {
        let older = self.latest.get(op.key()).copied();
        if let Some(row) = older
            && let Some(record) = self.rows.get_mut(row as usize)
            && record.dead == ALIVE
        {
            record.dead = seq;
        }
        if let Some(sealed) = kill {
            self.kills.entry(sealed.segment).or_default().entry(sealed.row).or_insert(seq);
        }
        let key: Arc<[u8]> = op.key().into();
        let row = self.rows.len() as u32;
        let dead = match op {
            Op::Put { .. } => ALIVE,
            // A delete leaves a row that nobody ever sees, so that the key counts as touched.
            Op::Delete { .. } => seq,
        };
        self.rows.push(MemRow { key: Arc::clone(&key), born: seq, dead, older });
        self.latest.insert(key, row);
        if let Op::Put { cells, .. } = op {
            for column in &columns[self.columns.len().min(columns.len())..] {
                self.columns.push(MemColumn::new(column));
            }
            for (column, cell) in self.columns.iter_mut().zip(cells) {
                if let Some(cell) = cell {
                    column.push(row, cell, self.rows_per_chunk);
                }
            }
        }
    }

    /// Row numbers that are alive now.
    pub(super) fn alive(&self) -> Vec<u32> {
        let numbered = (0u32..).zip(&self.rows);
        numbered.filter(|(_, row)| row.dead == ALIVE).map(|(number, _)| number).collect()
    }

    /// Key of `row`.
    pub(super) fn key(&self, row: u32) -> &[u8] {
        &self.rows[row as usize].key
    }

    /// Cell of `row` in `column`, borrowed.
    pub(super) fn cell(&self, row: u32, column: usize) -> Option<&[u8]> {
        self.columns.get(column)?.borrow(row, self.rows_per_chunk)
    }

    /// Rows of sealed segments that died, by segment.
    pub(super) fn kills(&self) -> impl Iterator<Item = SealedRow> + '_ {
        self.kills
            .iter()
            .flat_map(|(&segment, rows)| rows.keys().map(move |&row| SealedRow { segment, row }))
    }
}

#[derive(Debug)]
enum MemColumn {
    Fixed(MemFixed),
    Var(HashMap<u32, Box<[u8]>>),
}

impl MemColumn {
    fn new(column: &Column) -> Self {
        match column.layout {
            CellLayout::Fixed(stride) => Self::Fixed(MemFixed {
                stride: stride as usize,
                rows: Vec::new(),
                chunks: Vec::new(),
            }),
            CellLayout::Var => Self::Var(HashMap::new()),
        }
    }

    fn push(&mut self, row: u32, cell: &[u8], rows_per_chunk: usize) {
        match self {
            Self::Fixed(fixed) => fixed.push(row, cell, rows_per_chunk),
            Self::Var(cells) => {
                cells.insert(row, cell.into());
            }
        }
    }

    fn borrow(&self, row: u32, rows_per_chunk: usize) -> Option<&[u8]> {
        match self {
            Self::Fixed(fixed) => {
                let index = fixed.rows.binary_search(&row).ok()?;
                let start = index % rows_per_chunk * fixed.stride;
                let chunk = fixed.chunks.get(index / rows_per_chunk)?;
                chunk.as_slice().get(start..start + fixed.stride)
            }
            Self::Var(cells) => cells.get(&row).map(|cell| &**cell),
        }
    }
}

/// Fixed cells in chunks of `rows_per_chunk`, beside the rows they belong to.
#[derive(Debug)]
struct MemFixed {
    stride: usize,
    rows: Vec<u32>,
    chunks: Vec<Arc<AlignedBytes>>,
}

impl MemFixed {
    fn push(&mut self, row: u32, cell: &[u8], rows_per_chunk: usize) {
        if self.rows.len().is_multiple_of(rows_per_chunk) {
            self.chunks.push(Arc::default());
        }
        if let Some(chunk) = self.chunks.last_mut() {
            Arc::make_mut(chunk).extend(cell);
        }
        self.rows.push(row);
    }

    fn block(&self, block: usize, rows_per_chunk: usize) -> Option<(&[u32], &Arc<AlignedBytes>)> {
        let start = block * rows_per_chunk;
        let end = (start + rows_per_chunk).min(self.rows.len());
        Some((self.rows.get(start..end)?, self.chunks.get(block)?))
    }
}
