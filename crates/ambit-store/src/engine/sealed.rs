//! Rows of a sealed segment: what its sections mean.
//!
//! | section | stride | content |
//! |---|---|---|
//! | `key.off` | 8 | rows + 1 offsets into `key.bytes` |
//! | `key.bytes` | 1 | the keys, one after the other |
//! | `key.hash` | 8 | XXH3-64 of the keys, ascending |
//! | `key.row` | 4 | row of each entry of `key.hash` |
//! | `key.filter` | 0 | filters of the hashes, see `filter.rs`; left out where there are no rows, and by old writers |
//! | `kill` | 16 | (segment u64, row u32, 0 u32): rows that died by this segment |
//! | `cN.data` | stride | column N, fixed: the cells that are present |
//! | `cN.rows` | 4 | rows of `cN.data`, ascending; left out where all are present |
//! | `cN.off` | 8 | column N, variable: rows + 1 offsets into `cN.bytes` |
//! | `cN.bytes` | 1 | the cells, one after the other |
//! | `cN.null` | 4 | rows without a cell, ascending; left out where there are none |
//!
//! A column without sections is absent in every row. Hashes are uniform, so a look-up reads
//! the neighbourhood where the hash should stand instead of searching the whole array.

use std::cmp::Ordering;
use std::ops::Range;

use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64;

use super::derived::Slots;
use super::filter::{Filters, KeyFilter};
use super::memtable::SealedRow;
use super::rows::{DeadBits, FixedBlock, RowList};
use crate::error::StoreError;
use crate::log::{CellLayout, Column};
use crate::segment::{Section, Segment, View};
use crate::sync::Arc;

/// Bytes of one entry of the `kill` section.
pub(super) const KILL: usize = 16;

/// Hash by which keys are found.
pub(super) fn key_hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// An opened segment with its sections resolved.
pub(super) struct SealedPart {
    segment: Arc<Segment>,
    rows: u32,
    key_off: Section,
    key_bytes: Section,
    key_hash: Section,
    key_row: Section,
    kill: Section,
    columns: Vec<SealedColumn>,
    slots: Slots,
    filter: Option<Arc<KeyFilter>>,
    filters: Arc<Filters>,
}

#[derive(Debug, Clone, Copy)]
enum SealedColumn {
    Absent,
    Fixed { stride: usize, data: Section, rows: Option<Section> },
    Var { off: Section, bytes: Section, null: Option<Section> },
}

impl SealedPart {
    /// Resolves the sections of `segment` and holds their lengths against each other.
    pub(super) fn new(
        segment: Arc<Segment>,
        columns: &[Column],
        filters: &Arc<Filters>,
    ) -> Result<Self, StoreError> {
        let rows = segment.rows();
        let need = |name: &str, len: Option<u64>| {
            let section = segment
                .section(name)
                .ok_or_else(|| corrupt(&segment, format!("section {name} is missing")))?;
            match len {
                Some(len) if section.len != len => Err(corrupt(
                    &segment,
                    format!("section {name} has {} bytes, expected {len}", section.len),
                )),
                _ => Ok(section),
            }
        };
        let n = u64::from(rows);
        let kill = need("kill", None)?;
        if kill.len % KILL as u64 != 0 {
            return Err(corrupt(&segment, format!("section kill has {} bytes", kill.len)));
        }
        let part = Self {
            rows,
            key_off: need("key.off", Some((n + 1) * 8))?,
            key_bytes: need("key.bytes", None)?,
            key_hash: need("key.hash", Some(n * 8))?,
            key_row: need("key.row", Some(n * 4))?,
            kill,
            columns: columns
                .iter()
                .enumerate()
                .map(|(number, column)| SealedColumn::new(&segment, number, column))
                .collect::<Result<_, _>>()?,
            slots: Slots::default(),
            filter: KeyFilter::of(&segment),
            filters: Arc::clone(filters),
            segment,
        };
        Ok(part)
    }

    pub(super) fn id(&self) -> u64 {
        self.segment.id()
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// What is known of the files derived from it.
    pub(super) fn slots(&self) -> &Slots {
        &self.slots
    }

    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    fn u64_at(&self, section: Section, index: u64) -> Result<u64, StoreError> {
        let view = self.segment.read(section, index * 8..index * 8 + 8)?;
        Ok(u64_from(&view, 0))
    }

    fn u32_at(&self, section: Section, index: u64) -> Result<u32, StoreError> {
        let view = self.segment.read(section, index * 4..index * 4 + 4)?;
        Ok(u32_from(&view, 0))
    }

    /// Two neighbouring offsets as a range that lies inside `content`.
    fn span(&self, off: Section, content: Section, row: u32) -> Result<Range<u64>, StoreError> {
        let at = u64::from(row) * 8;
        let view = self.segment.read(off, at..at + 16)?;
        let (start, end) = (u64_from(&view, 0), u64_from(&view, 8));
        if start > end || end > content.len {
            return Err(corrupt(&self.segment, format!("row {row} spans {start}..{end}")));
        }
        Ok(start..end)
    }

    /// Key of `row`.
    pub(super) fn key(&self, row: u32) -> Result<View<'_>, StoreError> {
        let span = self.span(self.key_off, self.key_bytes, row)?;
        self.segment.read(self.key_bytes, span)
    }

    /// Row of `key`, whose hash is given, dead or not.
    pub(super) fn find(&self, key: &[u8], hash: u64) -> Result<Option<u32>, StoreError> {
        if let Some(filter) = &self.filter
            && !self.filters.may_hold(hash, filter, &self.segment)
        {
            return Ok(None);
        }
        let mut at = self.lower_bound(hash)?;
        while at < u64::from(self.rows) && self.u64_at(self.key_hash, at)? == hash {
            let row = self.u32_at(self.key_row, at)?;
            if row >= self.rows {
                return Err(corrupt(&self.segment, format!("key.row names row {row}")));
            }
            if &*self.key(row)? == key {
                return Ok(Some(row));
            }
            at += 1;
        }
        Ok(None)
    }

    /// Index of the first hash that is not below `hash`.
    fn lower_bound(&self, hash: u64) -> Result<u64, StoreError> {
        let n = u64::from(self.rows);
        let guess = ((u128::from(hash) * u128::from(n)) >> 64) as u64;
        let mut reach = n.isqrt() + 8;
        loop {
            let (start, end) = (guess.saturating_sub(reach), (guess + reach).min(n));
            let view = self.segment.read(self.key_hash, start * 8..end * 8)?;
            let count = (end - start) as usize;
            let above_start = start == 0 || (count > 0 && u64_from(&view, 0) < hash);
            let below_end = end == n || (count > 0 && u64_from(&view, (count - 1) * 8) >= hash);
            if above_start && below_end {
                let (mut low, mut high) = (0, count);
                while low < high {
                    let middle = low.midpoint(high);
                    match u64_from(&view, middle * 8).cmp(&hash) {
                        Ordering::Less => low = middle + 1,
                        _ => high = middle,
                    }
                }
                return Ok(start + low as u64);
            }
            reach = reach.saturating_mul(8);
        }
    }

    /// Calls `each` with up to `limit` (hash, row) entries from `start` on, ascending by hash.
    pub(super) fn hashes(
        &self,
        start: u32,
        limit: u32,
        each: &mut dyn FnMut(u64, u32),
    ) -> Result<(), StoreError> {
        let end = start.saturating_add(limit).min(self.rows);
        let (from, to) = (u64::from(start.min(end)), u64::from(end));
        let hashes = self.segment.read(self.key_hash, from * 8..to * 8)?;
        let rows = self.segment.read(self.key_row, from * 4..to * 4)?;
        for index in 0..(to - from) as usize {
            let row = u32_from(&rows, index * 4);
            if row >= self.rows {
                return Err(corrupt(&self.segment, format!("key.row names row {row}")));
            }
            each(u64_from(&hashes, index * 8), row);
        }
        Ok(())
    }

    /// Rows of other segments that died by this one.
    pub(super) fn kills(&self) -> Result<Vec<SealedRow>, StoreError> {
        let view = self.segment.read(self.kill, 0..self.kill.len)?;
        let entries = view.chunks_exact(KILL);
        Ok(entries
            .map(|entry| SealedRow { segment: u64_from(entry, 0), row: u32_from(entry, 8) })
            .collect())
    }

    /// Cell of a row, copied.
    pub(super) fn cell(&self, row: u32, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        match self.columns.get(column) {
            None | Some(SealedColumn::Absent) => Ok(None),
            Some(&SealedColumn::Fixed { stride, data, rows }) => {
                let index = match rows {
                    None => u64::from(row),
                    Some(rows) => match self.search_rows(rows, row)? {
                        Ok(index) => index,
                        Err(_) => return Ok(None),
                    },
                };
                let start = index * stride as u64;
                Ok(Some(self.segment.read(data, start..start + stride as u64)?.to_vec()))
            }
            Some(&SealedColumn::Var { off, bytes, null }) => {
                if let Some(null) = null
                    && self.search_rows(null, row)?.is_ok()
                {
                    return Ok(None);
                }
                let span = self.span(off, bytes, row)?;
                Ok(Some(self.segment.read(bytes, span)?.to_vec()))
            }
        }
    }

    /// Length of a variable cell; `None` where it is absent.
    pub(super) fn var_len(&self, row: u32, column: usize) -> Result<Option<u64>, StoreError> {
        let Some(&SealedColumn::Var { off, bytes, null }) = self.columns.get(column) else {
            return Ok(None);
        };
        if let Some(null) = null
            && self.search_rows(null, row)?.is_ok()
        {
            return Ok(None);
        }
        let span = self.span(off, bytes, row)?;
        Ok(Some(span.end - span.start))
    }

    /// Length of a key.
    pub(super) fn key_len(&self, row: u32) -> Result<u64, StoreError> {
        let span = self.span(self.key_off, self.key_bytes, row)?;
        Ok(span.end - span.start)
    }

    /// Binary search in an ascending section of row numbers.
    fn search_rows(&self, rows: Section, row: u32) -> Result<Result<u64, u64>, StoreError> {
        let (mut low, mut high) = (0, rows.len / 4);
        while low < high {
            let middle = low.midpoint(high);
            match self.u32_at(rows, middle)?.cmp(&row) {
                Ordering::Equal => return Ok(Ok(middle)),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Ok(Err(low))
    }

    /// Number of cells present in a fixed column.
    pub(super) fn fixed_len(&self, column: usize) -> u64 {
        match self.columns.get(column) {
            Some(SealedColumn::Fixed { stride, data, .. }) => data.len / *stride as u64,
            _ => 0,
        }
    }

    /// Has no row a cell in `column`?
    pub(super) fn is_absent(&self, column: usize) -> bool {
        matches!(self.columns.get(column), None | Some(SealedColumn::Absent))
    }

    /// Has every row a cell in `column`?
    pub(super) fn is_full(&self, column: usize) -> bool {
        matches!(
            self.columns.get(column),
            Some(SealedColumn::Fixed { rows: None, .. } | SealedColumn::Var { null: None, .. })
        ) || self.rows == 0
    }

    /// Calls `f` with cells `range` (by position among the present ones) of some fixed
    /// columns; rows in `dead` are marked.
    ///
    /// # Errors
    /// Invalid where the columns are not present in the same rows.
    pub(super) fn visit_fixed(
        &self,
        columns: &[usize],
        range: Range<u64>,
        dead: &RoaringBitmap,
        f: &mut dyn FnMut(FixedBlock<'_>),
    ) -> Result<(), StoreError> {
        let mut views = Vec::with_capacity(columns.len());
        let mut row_views = Vec::with_capacity(columns.len());
        for &column in columns {
            let Some(&SealedColumn::Fixed { stride, data, rows }) = self.columns.get(column) else {
                return Ok(());
            };
            let stride = stride as u64;
            views.push(self.segment.read(data, range.start * stride..range.end * stride)?);
            row_views.push(match rows {
                Some(rows) => Some(self.segment.read(rows, range.start * 4..range.end * 4)?),
                None => None,
            });
        }
        let Some(first) = row_views.first() else {
            return Ok(());
        };
        if row_views.iter().any(|view| view.as_deref() != first.as_deref()) {
            return Err(StoreError::invalid(
                "columns that are scanned together must be present in the same rows",
            ));
        }
        let len = (range.end - range.start) as usize;
        let list: Vec<u32>;
        let rows = match first {
            None => RowList::Range { first: range.start as u32, len: len as u32 },
            Some(view) => {
                list = view.chunks_exact(4).map(|row| u32_from(row, 0)).collect();
                RowList::List(&list)
            }
        };
        let bits = dead_bits(rows, dead);
        let cells: Vec<&[u8]> = views.iter().map(|view| &**view).collect();
        f(FixedBlock { rows, cells: &cells, dead: bits.as_option() });
        Ok(())
    }

    /// Calls `f` with the bytes of a fixed column's cells `range`, by position among the present
    /// ones.
    pub(super) fn fixed_cells(
        &self,
        column: usize,
        range: Range<u64>,
        f: &mut dyn FnMut(&[u8]),
    ) -> Result<(), StoreError> {
        if let Some(&SealedColumn::Fixed { stride, data, .. }) = self.columns.get(column) {
            let stride = stride as u64;
            f(&self.segment.read(data, range.start * stride..range.end * stride)?);
        }
        Ok(())
    }

    /// The row of a fixed column's cell at `position` among the present ones.
    pub(super) fn fixed_row(&self, column: usize, position: u64) -> Result<u32, StoreError> {
        match self.columns.get(column) {
            Some(&SealedColumn::Fixed { rows: Some(rows), .. }) => self.u32_at(rows, position),
            _ => Ok(position as u32),
        }
    }

    /// Rows of a fixed column's cells `range`.
    pub(super) fn fixed_rows(
        &self,
        column: usize,
        range: Range<u64>,
    ) -> Result<Vec<u32>, StoreError> {
        match self.columns.get(column) {
            Some(&SealedColumn::Fixed { rows: Some(rows), .. }) => {
                let view = self.segment.read(rows, range.start * 4..range.end * 4)?;
                Ok(view.chunks_exact(4).map(|row| u32_from(row, 0)).collect())
            }
            Some(SealedColumn::Fixed { rows: None, .. }) => {
                Ok((range.start as u32..range.end as u32).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Holds the content against what the sections promise: offsets and row lists ascend,
    /// hashes are those of the keys, each row is indexed once, no filter denies a key. Reads everything.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let denies = self.filter.as_ref().map(|filter| filter.check(&self.segment, &self.filters));
        let denies = denies.transpose()?;
        let mut seen = RoaringBitmap::new();
        let mut last = 0;
        let mut wrong = None;
        let mut at = 0;
        while at < self.rows {
            let mut batch = Vec::new();
            self.hashes(at, 4096, &mut |hash, row| batch.push((hash, row)))?;
            for (hash, row) in batch {
                if hash < last
                    || !seen.insert(row)
                    || key_hash(&self.key(row)?) != hash
                    || denies.as_ref().is_some_and(|denies| denies(hash))
                {
                    wrong = Some(row);
                }
                last = hash;
            }
            at = at.saturating_add(4096);
        }
        for row in 0..self.rows {
            for (column, kind) in self.columns.iter().enumerate() {
                if matches!(kind, SealedColumn::Var { .. }) {
                    self.var_len(row, column)?;
                }
            }
        }
        for column in &self.columns {
            if let SealedColumn::Fixed { rows: Some(rows), .. } = *column {
                let view = self.segment.read(rows, 0..rows.len)?;
                let list: Vec<u32> = view.chunks_exact(4).map(|row| u32_from(row, 0)).collect();
                if list.windows(2).any(|pair| pair[0] >= pair[1])
                    || list.last().is_some_and(|&row| row >= self.rows)
                {
                    return Err(corrupt(&self.segment, "row list of a column does not ascend"));
                }
            }
        }
        match wrong {
            Some(row) => {
                Err(corrupt(&self.segment, format!("the key index is wrong at row {row}")))
            }
            None => Ok(()),
        }
    }
}

impl SealedColumn {
    fn new(segment: &Segment, number: usize, column: &Column) -> Result<Self, StoreError> {
        let rows = u64::from(segment.rows());
        let find = |suffix: &str| segment.section(&format!("c{number}.{suffix}"));
        match column.layout {
            CellLayout::Fixed(stride) => {
                let Some(data) = find("data") else {
                    return Ok(Self::Absent);
                };
                let list = find("rows");
                let present = list.map_or(rows, |list| list.len / 4);
                if data.len != present * u64::from(stride) || present > rows {
                    let what = format!(
                        "column {} has {} bytes for {present} cells of {stride}",
                        column.name, data.len
                    );
                    return Err(corrupt(segment, what));
                }
                Ok(Self::Fixed { stride: stride as usize, data, rows: list })
            }
            CellLayout::Var => {
                let (Some(off), Some(bytes)) = (find("off"), find("bytes")) else {
                    return Ok(Self::Absent);
                };
                if off.len != (rows + 1) * 8 {
                    let what = format!("column {} has {} offset bytes", column.name, off.len);
                    return Err(corrupt(segment, what));
                }
                Ok(Self::Var { off, bytes, null: find("null") })
            }
        }
    }
}

fn dead_bits(rows: RowList<'_>, dead: &RoaringBitmap) -> DeadBits {
    let mut bits = DeadBits::default();
    if dead.is_empty() {
        return bits;
    }
    match rows {
        RowList::Range { first, len } => {
            for row in dead.range(first..first + len) {
                bits.set((row - first) as usize, len as usize);
            }
        }
        RowList::List(list) => {
            for (index, &row) in list.iter().enumerate() {
                if dead.contains(row) {
                    bits.set(index, list.len());
                }
            }
        }
    }
    bits
}

fn u64_from(bytes: &[u8], at: usize) -> u64 {
    let mut array = [0; 8];
    array.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(array)
}

fn u32_from(bytes: &[u8], at: usize) -> u32 {
    let mut array = [0; 4];
    array.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(array)
}

pub(super) fn corrupt(segment: &Segment, what: impl std::fmt::Display) -> StoreError {
    StoreError::corrupt(&format!("segment-{:08x}", segment.id()), 0, what)
}
