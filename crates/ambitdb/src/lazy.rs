//! Vectors that are read at the first touch, by way of two tiers of memory.
//!
//! Vectors of sealed rows never change, so they are cached by segment and row, and no write makes one out of
//! date. The lower tier keeps their bytes as the segment does, the upper one those that are asked for again as
//! numbers. Below both lie the mapped segments. Many that are loaded together are read in the order in which
//! they lie.

use std::sync::{Arc, Mutex, OnceLock};

use ambit_cache::{Source, Tiers, TiersConfig, TiersStats};
use ambit_mem::{Account, Bytes, Priority, Reservation};
use ambit_store::StoreError;
use ambit_store::engine::{RowRef, TableView};
use ambit_store::sync::lock;

use crate::collection::Collection;
use crate::error::{Error, Result};

/// The part of the budget that vectors may take in both tiers, at most.
const SHARE: u64 = 8;

/// Segment, and column and row in it.
type Place = (u64, u64);
/// What reading a segment gives.
type Read<T> = std::result::Result<T, StoreError>;
type Vectors = Tiers<Place, Arc<[u8]>, Arc<[f32]>>;

/// The vectors that a store keeps at hand.
pub(crate) struct VectorTiers {
    account: Account,
    cap: Bytes,
    tiers: OnceLock<Option<Vectors>>,
}

/// A vector of an entity, read when it is first asked for; see [`Collection::embedding`].
pub struct LazyEmbedding<'c> {
    collection: &'c Collection,
    key: String,
    row: RowRef,
    column: usize,
    loaded: Mutex<Option<Loaded>>,
}

/// A vector and what pays for it.
struct Loaded {
    vector: Arc<[f32]>,
    _charge: Reservation,
}

impl VectorTiers {
    /// An eighth of `limit`, as far as nobody else needs it.
    pub(crate) fn new(account: Account, limit: Bytes) -> Self {
        Self { account, cap: Bytes::new(limit.get() / SHARE), tiers: OnceLock::new() }
    }

    /// Made at the first touch; none where the budget has no room for it.
    fn tiers(&self) -> Option<&Vectors> {
        let make = || Tiers::new(TiersConfig::new(self.cap), &self.account).ok();
        self.tiers.get_or_init(make).as_ref()
    }

    pub(crate) fn stats(&self) -> Option<TiersStats> {
        Some(self.tiers.get()?.as_ref()?.stats())
    }
}

/// A column of one view, below the tiers.
struct Column<'a> {
    view: &'a TableView,
    column: usize,
}

impl Column<'_> {
    fn place(&self, row: RowRef) -> Option<Place> {
        let segment = self.view.segment_id(row.part)?;
        Some((segment, (self.column as u64) << 32 | u64::from(row.row)))
    }

    /// The row at a place that this view gave.
    fn row(&self, place: &Place) -> Read<RowRef> {
        let part = (0..self.view.parts()).find(|&part| self.view.segment_id(part) == Some(place.0));
        let part = part.ok_or_else(|| StoreError::invalid("a vector of another version"))?;
        Ok(RowRef { part, row: place.1 as u32 })
    }
}

/// The numbers of a cell.
fn numbers(cell: &[u8]) -> Arc<[f32]> {
    cell.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

impl Source<Place, Arc<[u8]>, Arc<[f32]>> for Column<'_> {
    type Error = StoreError;

    fn load(&self, keys: &[&Place], take: &mut dyn FnMut(usize, Arc<[u8]>)) -> Read<()> {
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_unstable_by_key(|&at| *keys[at]);
        for at in order {
            if let Some(cell) = self.view.cell(self.row(keys[at])?, self.column)? {
                take(at, cell.into());
            }
        }
        Ok(())
    }

    fn unpack(&self, _: &Place, packed: &Arc<[u8]>) -> Read<Arc<[f32]>> {
        Ok(numbers(packed))
    }
}

impl Collection {
    /// The vector of `key` in a dense space, not read yet; none where there is no such key.
    ///
    /// # Errors
    /// Not found (space); corrupt, I/O.
    ///
    /// # Cost
    /// The look-up of the key.
    pub fn embedding(&self, space: &str, key: &str) -> Result<Option<LazyEmbedding<'_>>> {
        let (column, _) = self.vectors(space)?;
        let Some(row) = self.view().find(key.as_bytes())? else {
            return Ok(None);
        };
        let (key, loaded) = (key.to_owned(), Mutex::new(None));
        Ok(Some(LazyEmbedding { collection: self, key, row, column, loaded }))
    }

    /// Loads those of `embeddings`, all of this collection, that are not: together, in one pass in the order
    /// in which they lie.
    ///
    /// # Errors
    /// As [`LazyEmbedding::get`]; those that were loaded before stay.
    pub fn load(&self, embeddings: &[&LazyEmbedding<'_>]) -> Result<()> {
        let missing: Vec<&LazyEmbedding<'_>> =
            embeddings.iter().copied().filter(|embedding| !embedding.is_loaded()).collect();
        for same in missing.chunk_by(|a, b| a.column == b.column) {
            let Some(first) = same.first() else { continue };
            let column = first.source();
            let placed: Vec<(&LazyEmbedding<'_>, Place)> = same
                .iter()
                .filter_map(|embedding| Some((*embedding, column.place(embedding.row)?)))
                .collect();
            let places: Vec<Place> = placed.iter().map(|(_, place)| *place).collect();
            let Some(tiers) = self.store().vector_tiers().tiers() else { continue };
            for ((embedding, _), vector) in placed.iter().zip(tiers.get_many(&column, &places)?) {
                embedding.hold(vector.ok_or_else(|| embedding.has_none())?)?;
            }
        }
        // What is not sealed lies in memory, and what no tier has room for is read as it lies.
        missing.iter().try_for_each(|embedding| embedding.get().map(drop))
    }

    /// Reads the vectors of some keys ahead, into the lower tier; keys that do not exist, or
    /// have no vector, are passed over.
    ///
    /// # Errors
    /// Not found (space); corrupt, I/O.
    pub fn prefetch(&self, space: &str, keys: &[&str]) -> Result<()> {
        let (column, _) = self.vectors(space)?;
        let column = Column { view: self.view(), column };
        let mut places = Vec::with_capacity(keys.len());
        for key in keys {
            let row = self.view().find(key.as_bytes())?;
            places.extend(row.and_then(|row| column.place(row)));
        }
        match self.store().vector_tiers().tiers() {
            Some(tiers) => Ok(tiers.prefetch(&column, &places)?),
            None => Ok(()),
        }
    }

    /// Reads the vectors of what `key` has relations to, ahead.
    ///
    /// # Errors
    /// As [`Collection::prefetch`].
    ///
    /// # Cost
    /// Reads all relations.
    pub fn prefetch_related(&self, space: &str, key: &str) -> Result<()> {
        let mut related = Vec::new();
        self.relations(&mut |relation| {
            if relation.source == key {
                related.push(relation.target);
            }
            true
        })?;
        let keys: Vec<&str> = related.iter().map(String::as_str).collect();
        self.prefetch(space, &keys)
    }
}

impl LazyEmbedding<'_> {
    /// Key of the entity.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The vector, dim f32, bit for bit what was stored; read, and held from now on, if it was not.
    ///
    /// # Errors
    /// Not found (the entity has no vector in this space); over budget; corrupt, I/O. The next call tries again.
    ///
    /// # Cost
    /// The first time a look-up in a tier, or a read; 4 x dim bytes are held.
    pub fn get(&self) -> Result<Arc<[f32]>> {
        if let Some(loaded) = &*lock(&self.loaded) {
            return Ok(Arc::clone(&loaded.vector));
        }
        let column = self.source();
        let tiers = self.collection.store().vector_tiers().tiers();
        let vector = match (column.place(self.row), tiers) {
            (Some(place), Some(tiers)) => tiers.get(&column, &place)?,
            _ => column.view.cell(self.row, self.column)?.map(|cell| numbers(&cell)),
        };
        self.hold(vector.ok_or_else(|| self.has_none())?)
    }

    /// Is it held?
    pub fn is_loaded(&self) -> bool {
        lock(&self.loaded).is_some()
    }

    /// Lets it go; the next [`LazyEmbedding::get`] reads it again.
    pub fn unload(&self) {
        *lock(&self.loaded) = None;
    }

    fn source(&self) -> Column<'_> {
        Column { view: self.collection.view(), column: self.column }
    }

    fn hold(&self, vector: Arc<[f32]>) -> Result<Arc<[f32]>> {
        let account = self.collection.store().budget().account("embeddings", Priority::Query);
        let _charge = account.reserve(Bytes::of(size_of_val::<[f32]>(&vector)))?;
        *lock(&self.loaded) = Some(Loaded { vector: Arc::clone(&vector), _charge });
        Ok(vector)
    }

    fn has_none(&self) -> Error {
        Error::not_found(format!("{} has no vector in this space; give it one", self.key))
    }
}

impl std::fmt::Debug for LazyEmbedding<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("LazyEmbedding");
        debug.field("key", &self.key).field("is_loaded", &self.is_loaded()).finish_non_exhaustive()
    }
}
