//! A table as published: its columns, its segments, and which of their rows are dead.
//!
//! Tables load when they are first touched, so that a store of ten thousand small ones opens
//! at once. What is loaded is charged: a bitmap of dead rows per segment, and what the
//! segment itself keeps.

use std::collections::{BTreeMap, HashMap};

use ambit_mem::{Account, Bytes, Reservation};
use roaring::RoaringBitmap;

use super::filter::Filters;
use super::memtable::Memtable;
use super::sealed::{SealedPart, key_hash};
use crate::bugs::Bugs;
use crate::error::StoreError;
use crate::log::{Column, SegmentMeta, Table, TableId};
use crate::segment::{Io, Segment, Windows};
use crate::sync::{Arc, Mutex, Weak, lock};
use crate::vfs::Vfs;

/// What everybody reads: replaced as a whole, never changed.
pub(super) struct Published {
    pub tables: BTreeMap<TableId, Arc<TableState>>,
    pub memtable: Arc<Memtable>,
    /// The last frame of the log that is not the memtable's.
    pub sealed_seq: u64,
}

impl Published {
    /// All tables of a committed state, over `memtable`.
    pub(super) fn new(
        tables: &BTreeMap<TableId, Table>,
        memtable: Arc<Memtable>,
        sealed_seq: u64,
    ) -> Self {
        let tables =
            tables.iter().map(|(&id, table)| (id, Arc::new(TableState::new(id, table)))).collect();
        Self { tables, memtable, sealed_seq }
    }
}

/// A table as the store's owner sees it.
#[derive(Debug, Clone)]
pub struct TableInfo {
    /// Its id, never given out twice.
    pub id: TableId,
    /// Its name.
    pub name: String,
    /// What the creator wanted kept beside it.
    pub schema: Vec<u8>,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Number of sealed segments.
    pub segments: usize,
    /// Bytes of the sealed segments.
    pub disk: Bytes,
}

/// One table of one published state.
pub(super) struct TableState {
    pub id: TableId,
    pub name: String,
    pub schema: Vec<u8>,
    pub columns: Vec<Column>,
    pub segments: Vec<SegmentMeta>,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

/// A table's opened segments.
pub(super) struct Loaded {
    pub parts: Vec<LoadedPart>,
    _charge: Reservation,
}

/// One opened segment and its dead rows.
#[derive(Clone)]
pub(super) struct LoadedPart {
    pub part: Arc<SealedPart>,
    pub dead: Arc<RoaringBitmap>,
}

impl TableState {
    pub(super) fn new(id: TableId, table: &Table) -> Self {
        Self {
            id,
            name: table.name.clone(),
            schema: table.schema.clone(),
            columns: table.columns.clone(),
            segments: table.segments.clone(),
            loaded: Mutex::default(),
        }
    }

    /// Ids of its segments.
    pub(super) fn segment_ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.segments.iter().map(|segment| segment.id)
    }

    pub(super) fn info(&self) -> TableInfo {
        TableInfo {
            id: self.id,
            name: self.name.clone(),
            schema: self.schema.clone(),
            columns: self.columns.clone(),
            segments: self.segments.len(),
            disk: Bytes::new(self.segments.iter().map(|segment| segment.len).sum()),
        }
    }

    /// Opens the segments, once.
    pub(super) fn load(&self, shelf: &Shelf) -> Result<Arc<Loaded>, StoreError> {
        let mut slot = lock(&self.loaded);
        if let Some(loaded) = &*slot {
            return Ok(Arc::clone(loaded));
        }
        let mut parts = Vec::with_capacity(self.segments.len());
        for meta in &self.segments {
            parts.push(shelf.open(meta, &self.columns)?);
        }
        let loaded = Arc::new(Loaded::new(parts, &shelf.account)?);
        *slot = Some(Arc::clone(&loaded));
        Ok(loaded)
    }

    /// The same table after `table` was committed with one more segment. What is loaded stays
    /// loaded where the budget allows; otherwise it loads again at the next touch.
    pub(super) fn with_segment(&self, table: &Table, shelf: &Shelf) -> Self {
        let next = Self::new(self.id, table);
        let loaded = lock(&self.loaded).clone();
        if let (Some(loaded), Some(meta)) = (loaded, table.segments.last())
            && let Ok(part) = shelf.open(meta, &self.columns)
            && let Ok(extended) = loaded.extended(part, &shelf.account)
        {
            *lock(&next.loaded) = Some(Arc::new(extended));
        }
        next
    }
}

impl Loaded {
    fn new(parts: Vec<Arc<SealedPart>>, account: &Account) -> Result<Self, StoreError> {
        let mut dead: HashMap<u64, RoaringBitmap> =
            parts.iter().map(|part| (part.id(), RoaringBitmap::new())).collect();
        for part in &parts {
            for kill in part.kills()? {
                if let Some(bitmap) = dead.get_mut(&kill.segment) {
                    bitmap.insert(kill.row);
                }
            }
        }
        let parts: Vec<LoadedPart> = parts
            .into_iter()
            .map(|part| {
                let bitmap = dead.remove(&part.id()).unwrap_or_default();
                LoadedPart { part, dead: Arc::new(bitmap) }
            })
            .collect();
        let charge = account.reserve(footprint(&parts))?;
        let loaded = Self { parts, _charge: charge };
        loaded.check()?;
        Ok(loaded)
    }

    /// These parts and one more, whose kills are applied to them.
    fn extended(&self, part: Arc<SealedPart>, account: &Account) -> Result<Self, StoreError> {
        let mut parts = self.parts.clone();
        let kills = part.kills()?;
        parts.push(LoadedPart { part, dead: Arc::default() });
        let by_id: HashMap<u64, usize> =
            parts.iter().enumerate().map(|(index, part)| (part.part.id(), index)).collect();
        for kill in kills {
            if let Some(&index) = by_id.get(&kill.segment) {
                Arc::make_mut(&mut parts[index].dead).insert(kill.row);
            }
        }
        let charge = account.reserve(footprint(&parts))?;
        let loaded = Self { parts, _charge: charge };
        loaded.check()?;
        Ok(loaded)
    }

    /// No dead row may lie outside its segment.
    fn check(&self) -> Result<(), StoreError> {
        for LoadedPart { part, dead } in &self.parts {
            if let Some(row) = dead.max()
                && row >= part.rows()
            {
                let file = format!("segment-{:08x}", part.id());
                let what = format!("row {row} of {} rows is named as dead", part.rows());
                return Err(StoreError::corrupt(&file, 0, what));
            }
        }
        Ok(())
    }

    /// Where `key` lives, if any of the segments holds it alive: (part, row).
    pub(super) fn find(&self, key: &[u8]) -> Result<Option<(usize, u32)>, StoreError> {
        let hash = key_hash(key);
        // Newest first: that is where a key that is asked for again tends to be.
        for (index, LoadedPart { part, dead }) in self.parts.iter().enumerate().rev() {
            if let Some(row) = part.find(key, hash)?
                && !dead.contains(row)
            {
                return Ok(Some((index, row)));
            }
        }
        Ok(None)
    }
}

fn footprint(parts: &[LoadedPart]) -> Bytes {
    let bitmaps: usize = parts.iter().map(|part| part.dead.serialized_size()).sum();
    Bytes::of(bitmaps + parts.len() * 256)
}

/// Opens segments, each once as long as somebody holds it.
pub(super) struct Shelf {
    pub vfs: Arc<dyn Vfs>,
    pub io: Io,
    pub windows: Arc<Windows>,
    pub filters: Arc<Filters>,
    pub account: Account,
    pub bugs: Bugs,
    pub open: Mutex<HashMap<u64, Weak<SealedPart>>>,
}

impl Shelf {
    /// The segment of `meta`, opened or found open.
    pub(super) fn open(
        &self,
        meta: &SegmentMeta,
        columns: &[Column],
    ) -> Result<Arc<SealedPart>, StoreError> {
        let mut open = lock(&self.open);
        if let Some(part) = open.get(&meta.id).and_then(Weak::upgrade) {
            return Ok(part);
        }
        let segment =
            Segment::open(&self.vfs, meta, self.io, &self.windows, &self.account, self.bugs)?;
        let part = Arc::new(SealedPart::new(segment, columns, &self.filters)?);
        open.retain(|_, part| part.strong_count() > 0);
        open.insert(meta.id, Arc::downgrade(&part));
        Ok(part)
    }
}
