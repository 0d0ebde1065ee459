//! The store: collections, batches, versions, upkeep.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ambit_cache::{CacheStats, TiersStats};
use ambit_mem::{Budget, Bytes, Priority};
use ambit_store::engine::{
    Access, Batch, Engine, EngineOptions, MergeProgress, Reclaimed, RowRef, Snapshot, TableInfo,
    TableView, VerifyReport, VersionInfo,
};
use ambit_store::host::{Host, OsHost};
use ambit_store::log::{CellLayout, Column, TableId};
use ambit_store::sync::lock;
use ambit_store::vfs::{OsFs, Vfs};
use ambit_vector::{Metric, kernels};

use crate::answers::Answers;
use crate::batch::{Change, WriteBatch};
use crate::codes::Models;
use crate::collection::Collection;
use crate::config::{Config, MIN_BUDGET, geometry};
use crate::entity::{Body, Entity, EntityId, MAX_BODY, Relation, check_key};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::KnownFilters;
use crate::lazy::VectorTiers;
use crate::schema::{
    ID, Schema, Space, SpaceKind, check_name, is_relation_table, norm_column, relation_table,
    vector_column,
};
use crate::sparse::SparseVector;

/// Rows that a write copies towards a merge, at most, where one is due.
const TIDY_ROWS: u32 = 4096;

/// An open store. Clones share it; it closes when [`Store::close`] is called or the last
/// clone is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    budget: Budget,
    /// The next entity id of each table that was written to.
    next_ids: Mutex<HashMap<TableId, Arc<AtomicU64>>>,
    models: Models,
    answers: Answers,
    filters: KnownFilters,
    vectors: VectorTiers,
}

/// A collection in numbers.
#[derive(Debug, Clone)]
pub struct CollectionInfo {
    /// Its name.
    pub name: String,
    /// Entities.
    pub entities: u64,
    /// Its spaces.
    pub spaces: Vec<SpaceInfo>,
    /// Sealed segments.
    pub segments: usize,
    /// Bytes of the sealed segments.
    pub disk: Bytes,
}

/// A space in numbers.
#[derive(Debug, Clone)]
pub struct SpaceInfo {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: SpaceKind,
    /// Elements of a vector; of a sparse space the terms there are; 0 of a text space.
    pub dim: usize,
    /// What nearest means; the inner product in sparse and text spaces.
    pub metric: Metric,
}

impl Store {
    /// Opens the store of `config`.
    ///
    /// # Errors
    /// Locked (by whom), not found, corrupt, newer format, over budget (with the least that
    /// works), I/O.
    pub fn open(config: &Config) -> Result<Self> {
        let limit = config.budget.unwrap_or_else(|| ambit_mem::default_limit().0);
        if limit < MIN_BUDGET {
            return Err(Error::new(
                ErrorKind::OverBudget,
                format!("a budget of {limit} is too small; a store needs at least {MIN_BUDGET}"),
            ));
        }
        let may_create = config.create && config.access == Access::Write;
        let opened = if may_create { OsFs::create(&config.dir) } else { OsFs::open(&config.dir) };
        let vfs = opened.map_err(|error| open_error(config, &error))?;
        let options = EngineOptions {
            geometry: geometry(limit),
            access: config.access,
            create: config.create,
            durability: config.durability,
            io: config.io,
            ..EngineOptions::default()
        };
        let (vfs, host) = (Arc::new(vfs), Arc::new(OsHost::new()));
        Self::with_answers(vfs, host, Budget::new(limit), options, config.answers)
    }

    /// Opens a store on any directory and host: how tests stage crashes and failures.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(
        vfs: Arc<dyn Vfs>,
        host: Arc<dyn Host>,
        budget: Budget,
        options: EngineOptions,
    ) -> Result<Self> {
        Self::with_answers(vfs, host, budget, options, None)
    }

    fn with_answers(
        vfs: Arc<dyn Vfs>,
        host: Arc<dyn Host>,
        budget: Budget,
        options: EngineOptions,
        answers: Option<Bytes>,
    ) -> Result<Self> {
        let engine = Engine::open(vfs, host, &budget, options)?;
        let next_ids = Mutex::default();
        let models = Models::new(budget.account("store/models", Priority::Query));
        let account = budget.account("cache/answers", Priority::Cache);
        let answers = Answers::new(account, answers, budget.limit());
        let account = budget.account("cache/filters", Priority::Cache);
        let filters = KnownFilters::new(account, budget.limit());
        let account = budget.account("cache/vectors", Priority::Cache);
        let vectors = VectorTiers::new(account, budget.limit());
        let inner = Inner { engine, budget, next_ids, models, answers, filters, vectors };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes everything durable and ends the store in good order; later writes are refused.
    pub fn close(&self) -> Result<()> {
        Ok(self.inner.engine.close()?)
    }

    /// The ledger that everything in the store is charged to.
    pub fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    /// What the cache of answers has done; none before the first search, and where there is none.
    pub fn answer_stats(&self) -> Option<CacheStats> {
        self.inner.answers.stats()
    }

    /// What the tiers of vectors have done; none before the first [`LazyEmbedding`](crate::LazyEmbedding) was read.
    pub fn vector_stats(&self) -> Option<TiersStats> {
        self.inner.vectors.stats()
    }

    pub(crate) fn vector_tiers(&self) -> &VectorTiers {
        &self.inner.vectors
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.inner.answers
    }

    pub(crate) fn filters(&self) -> &KnownFilters {
        &self.inner.filters
    }

    pub(crate) fn models(&self) -> &Models {
        &self.inner.models
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The collections, by name.
    ///
    /// # Cost
    /// Opens every collection.
    pub fn collections(&self) -> Result<Vec<CollectionInfo>> {
        let snapshot = self.engine().snapshot();
        let mut infos = Vec::new();
        for table in snapshot.tables() {
            if is_relation_table(&table.name) {
                continue;
            }
            let entities = view_of(&snapshot, table.id)?.len();
            let schema = Schema::decode(&table.name, &table.schema)?;
            let spaces = schema.spaces.into_iter();
            infos.push(CollectionInfo {
                entities,
                spaces: spaces
                    .map(|Space { name, kind, dim, metric }| SpaceInfo { name, kind, dim, metric })
                    .collect(),
                segments: table.segments,
                disk: table.disk,
                name: table.name,
            });
        }
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(infos)
    }

    /// Makes a collection without spaces.
    ///
    /// # Errors
    /// Invalid where the name is taken or cannot be one.
    pub fn create_collection(&self, name: &str) -> Result<Collection> {
        check_name("collection", name)?;
        let schema = Schema::default();
        self.engine().create_table(name, &schema.encode(), schema.columns())?;
        self.collection(name)
    }

    /// The collection `name`, as it is now.
    ///
    /// # Errors
    /// Not found, with the nearest name.
    pub fn collection(&self, name: &str) -> Result<Collection> {
        Collection::new(self.clone(), self.engine().snapshot(), name)
    }

    /// The collection `name` as it was when `version` was made.
    pub fn collection_at(&self, name: &str, version: &str) -> Result<Collection> {
        Collection::new(self.clone(), self.engine().snapshot_of(version)?, name)
    }

    /// Gives a collection one more space.
    pub fn create_space(&self, collection: &str, name: &str, kind: SpaceKind) -> Result<()> {
        let table = find_table(&self.engine().snapshot(), collection)?;
        let schema = Schema::decode(collection, &table.schema)?;
        if schema.position(name).is_some() {
            return Err(Error::invalid(format!(
                "collection {collection} has a space {name} already"
            )));
        }
        let next = schema.with(name, kind)?;
        Ok(self.engine().set_table(table.id, &next.encode(), next.columns())?)
    }

    /// Drops a collection with its relations. Versions made before keep it.
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        let snapshot = self.engine().snapshot();
        let table = find_table(&snapshot, name)?;
        if let Some(relations) = snapshot.table_named(&relation_table(name)) {
            self.engine().drop_table(relations.id)?;
        }
        Ok(self.engine().drop_table(table.id)?)
    }

    /// Applies a batch: all of it or nothing; on disk when this returns, unless the store was
    /// opened with another durability.
    ///
    /// # Errors
    /// Invalid and not found name the entity and what is wrong with it; nothing is written.
    pub fn write(&self, batch: &WriteBatch) -> Result<()> {
        let mut plan = Plan::new(self);
        for change in &batch.changes {
            plan.add(change)?;
        }
        self.engine().write(plan.batch)?;
        self.tidy();
        Ok(())
    }

    /// Takes merging one bounded step further, where seals have left something to merge. What
    /// was written stands whatever becomes of it: a merge that fails leaves the segments as they
    /// were, and the next step begins anew.
    fn tidy(&self) {
        if self.engine().merge_due()
            && let Ok(progress) = self.engine().merge_step(TIDY_ROWS)
            && progress.replaced > 0
        {
            // Files that stay now go with a later reclamation, or at the next opening.
            let _ = self.engine().reclaim();
        }
    }

    /// Makes every acknowledged write durable.
    pub fn flush(&self) -> Result<()> {
        Ok(self.engine().flush()?)
    }

    /// Seals unsealed rows into segments.
    pub fn seal(&self) -> Result<()> {
        Ok(self.engine().seal()?)
    }

    /// Does a bounded part of a compaction: at most `max_rows` rows are copied.
    pub fn merge_step(&self, max_rows: u32) -> Result<MergeProgress> {
        Ok(self.engine().merge_step(max_rows)?)
    }

    /// Deletes files that nothing names any more.
    pub fn reclaim(&self) -> Result<Reclaimed> {
        Ok(self.engine().reclaim()?)
    }

    /// Keeps the store as it is now under `name`.
    pub fn create_version(&self, name: &str) -> Result<u64> {
        Ok(self.engine().create_version(name)?)
    }

    /// The versions, oldest first.
    pub fn versions(&self) -> Vec<VersionInfo> {
        self.engine().versions()
    }

    /// Forgets a version.
    pub fn drop_version(&self, name: &str) -> Result<()> {
        Ok(self.engine().drop_version(name)?)
    }

    /// Makes the store what it was when the version was made.
    pub fn rollback(&self, name: &str) -> Result<()> {
        Ok(self.engine().rollback(name)?)
    }

    /// Reads everything and checks every checksum and invariant; `progress` hears bytes done
    /// and in all, and stops the run by returning false.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<VerifyReport> {
        Ok(self.engine().verify(progress)?)
    }

    /// The counter from which new entities of a table get their ids.
    pub(crate) fn next_id(&self, view: &TableView) -> Result<Arc<AtomicU64>> {
        let mut next_ids = lock(&self.inner.next_ids);
        if let Some(next) = next_ids.get(&view.id()) {
            return Ok(Arc::clone(next));
        }
        let mut next = 0;
        for block in view.blocks(ID, 64 << 10) {
            view.visit(&block, &[ID], &mut |block| {
                let ids = block.cells.first().copied().unwrap_or_default().chunks_exact(8);
                next = ids.map(|id| read_id(id).0 + 1).fold(next, u64::max);
            })?;
        }
        let next = Arc::new(AtomicU64::new(next));
        next_ids.insert(view.id(), Arc::clone(&next));
        Ok(next)
    }

    /// Table of a collection's relations, made at the first relation.
    fn relations_of(&self, collection: &str) -> Result<TableId> {
        let name = relation_table(collection);
        if let Some(table) = self.engine().snapshot().table_named(&name) {
            return Ok(table.id);
        }
        let columns = vec![Column { name: "body".into(), layout: CellLayout::Var }];
        Ok(self.engine().create_table(&name, &[], columns)?)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Acknowledged writes are durable without it; who wants to hear of failures calls
        // `close`.
        let _ = self.engine.close();
    }
}

/// A batch on its way into rows.
struct Plan<'a> {
    store: &'a Store,
    snapshot: Snapshot,
    tables: HashMap<String, Target>,
    batch: Batch,
}

struct Target {
    id: TableId,
    schema: Schema,
    view: TableView,
    next_id: Arc<AtomicU64>,
    /// Ids given within this batch.
    given: HashMap<String, EntityId>,
}

impl<'a> Plan<'a> {
    fn new(store: &'a Store) -> Self {
        let snapshot = store.engine().snapshot();
        Self { store, snapshot, tables: HashMap::new(), batch: Batch::new() }
    }

    fn add(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Put { collection, entity } => self.put(collection, entity),
            Change::Delete { collection, key } => {
                check_key(key)?;
                let id = self.target(collection)?.id;
                self.batch.delete(id, key.as_bytes());
                Ok(())
            }
            Change::Relate { collection, relation } => {
                relation.check()?;
                self.target(collection)?;
                let table = self.store.relations_of(collection)?;
                let key = Relation::row_key(&relation.source, &relation.kind, &relation.target);
                self.batch.put(table, &key, &[Some(&relation.body())]);
                Ok(())
            }
            Change::Unrelate { collection, source, kind, target } => {
                self.target(collection)?;
                let table = self.store.relations_of(collection)?;
                self.batch.delete(table, &Relation::row_key(source, kind, target));
                Ok(())
            }
        }
    }

    fn target(&mut self, collection: &str) -> Result<&mut Target> {
        if !self.tables.contains_key(collection) {
            let table = find_table(&self.snapshot, collection)?;
            let view = view_of(&self.snapshot, table.id)?;
            let target = Target {
                id: table.id,
                schema: Schema::decode(collection, &table.schema)?,
                next_id: self.store.next_id(&view)?,
                view,
                given: HashMap::new(),
            };
            self.tables.insert(collection.to_owned(), target);
        }
        self.tables
            .get_mut(collection)
            .ok_or_else(|| Error::not_found(format!("there is no collection {collection}")))
    }

    fn put(&mut self, collection: &str, entity: &Entity) -> Result<()> {
        entity.check()?;
        let target = self.target(collection)?;
        let body = Body::encode(&entity.kind, entity.text.as_deref(), &entity.properties);
        if body.len() > MAX_BODY {
            return Err(Error::invalid(format!(
                "{}: text and properties take {} bytes; at most {MAX_BODY}: split the text",
                entity.key,
                body.len()
            )));
        }
        let mut norms = Vec::with_capacity(entity.embeddings.len());
        for (name, vector) in &entity.embeddings {
            norms.push(target.check_vector(collection, &entity.key, name, vector)?);
        }
        for (name, vector) in &entity.sparse {
            target.check_sparse(collection, &entity.key, name, vector)?;
        }
        let id = target.id_of(&entity.key)?.0.to_le_bytes();
        let mut cells: Vec<Option<&[u8]>> = vec![None; target.schema.width()];
        cells[crate::schema::BODY] = Some(&body);
        cells[ID] = Some(&id);
        for ((name, vector), (_, norm)) in entity.embeddings.iter().zip(&norms) {
            if let Some(space) = target.schema.position(name) {
                cells[vector_column(space)] = Some(bytemuck::cast_slice(vector));
                cells[norm_column(space)] = Some(norm);
            }
        }
        for (name, vector) in &entity.sparse {
            if let Some(space) = target.schema.position(name) {
                cells[vector_column(space)] = Some(bytemuck::cast_slice(&vector.ids));
                cells[norm_column(space)] = Some(bytemuck::cast_slice(&vector.weights));
            }
        }
        let table = target.id;
        self.batch.put(table, entity.key.as_bytes(), &cells);
        Ok(())
    }
}

impl Target {
    /// Holds a vector against its space; gives the space's position and the norm's bytes.
    fn check_vector(
        &self,
        collection: &str,
        key: &str,
        name: &str,
        vector: &[f32],
    ) -> Result<(usize, [u8; 4])> {
        let Some(position) = self.schema.position(name) else {
            return Err(no_space(collection, name, &self.schema));
        };
        let space = &self.schema.spaces[position];
        if !space.is_dense() {
            return Err(Error::invalid(format!(
                "{key}: a dense vector for space {name}, which holds terms; give it as sparse"
            )));
        }
        if vector.len() != space.dim {
            return Err(Error::invalid(format!(
                "{key}: {} values for space {name}, which has dimension {}",
                vector.len(),
                space.dim
            )));
        }
        let norm = kernels().norm(vector);
        if norm == 0.0 && space.metric == Metric::Cosine {
            return Err(Error::invalid(format!(
                "{key}: a zero vector in space {name}, where cosine is undefined; leave the \
                 embedding out, or use a space with inner-product or euclidean"
            )));
        }
        Ok((position, norm.to_le_bytes()))
    }

    /// Holds terms and weights against their space.
    fn check_sparse(
        &self,
        collection: &str,
        key: &str,
        name: &str,
        vector: &SparseVector,
    ) -> Result<()> {
        let Some(position) = self.schema.position(name) else {
            return Err(no_space(collection, name, &self.schema));
        };
        let SpaceKind::Sparse { dim } = self.schema.spaces[position].kind else {
            return Err(Error::invalid(format!(
                "{key}: terms with weights for space {name}, which is not sparse"
            )));
        };
        vector.check(dim).map_err(|what| Error::invalid(format!("{key}: space {name}: {what}")))
    }

    fn id_of(&mut self, key: &str) -> Result<EntityId> {
        if let Some(&id) = self.given.get(key) {
            return Ok(id);
        }
        let id = match self.view.find(key.as_bytes())? {
            Some(row) => id_at(&self.view, row)?,
            None => EntityId(self.next_id.fetch_add(1, Ordering::Relaxed)),
        };
        self.given.insert(key.to_owned(), id);
        Ok(id)
    }
}

/// The view of a table that the snapshot lists.
pub(crate) fn view_of(snapshot: &Snapshot, id: TableId) -> Result<TableView> {
    let view = snapshot.table(id)?;
    view.ok_or_else(|| Error::not_found(format!("there is no table {id}")))
}

/// Id of a row's entity.
pub(crate) fn id_at(view: &TableView, row: RowRef) -> Result<EntityId> {
    let cell = view.cell(row, ID)?.unwrap_or_default();
    if cell.len() != 8 {
        return Err(crate::entity::corrupt(format!("row {row:?} has no id")));
    }
    Ok(read_id(&cell))
}

/// An id from its eight bytes.
pub(crate) fn read_id(bytes: &[u8]) -> EntityId {
    let mut array = [0; 8];
    array.copy_from_slice(bytes);
    EntityId(u64::from_le_bytes(array))
}

/// The table of a collection, or an error that names the nearest one.
pub(crate) fn find_table(snapshot: &Snapshot, collection: &str) -> Result<TableInfo> {
    if !is_relation_table(collection)
        && let Some(table) = snapshot.table_named(collection)
    {
        return Ok(table);
    }
    let tables = snapshot.tables();
    let names = tables.iter().map(|table| table.name.as_str());
    let names = names.filter(|name| !is_relation_table(name));
    let hint = nearest(collection, names).map_or_else(
        || "; the store has none yet".to_owned(),
        |name| format!("; did you mean {name}?"),
    );
    Err(Error::not_found(format!("there is no collection {collection}{hint}")))
}

/// The error for a space that a collection does not have.
pub(crate) fn no_space(collection: &str, space: &str, schema: &Schema) -> Error {
    let names = schema.spaces.iter().map(|space| space.name.as_str());
    let hint = nearest(space, names)
        .map_or_else(|| "; it has none yet".to_owned(), |name| format!("; did you mean {name}?"));
    Error::not_found(format!("collection {collection} has no space {space}{hint}"))
}

fn nearest<'a>(name: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    among.min_by_key(|other| strsim::damerau_levenshtein(name, other))
}

fn open_error(config: &Config, error: &std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("cannot open the store in {}: {error}", config.dir.display()))
}
