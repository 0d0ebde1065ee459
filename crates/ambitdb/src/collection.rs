//! A collection at one instant: its entities and relations.

use std::sync::OnceLock;

use ambit_store::engine::{RowRef, Snapshot, TableView};

use crate::entity::{Body, Entity, EntityId, Relation, corrupt};
use crate::error::{Error, Result};
use crate::schema::{BODY, Schema, Space, SpaceKind, relation_table, vector_column};
use crate::store::{Store, find_table, id_at, no_space, view_of};

/// One collection as it was when it was asked for. Later writes do not show; ask for it again.
pub struct Collection {
    store: Store,
    snapshot: Snapshot,
    name: String,
    schema: Schema,
    view: TableView,
    /// Digests of what it holds, and of that with its relations, once they were asked for.
    digests: [OnceLock<u128>; 2],
}

/// Which entities a listing gives.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only entities after the one of this key, in the order of writing.
    pub after: Option<String>,
    /// At most this many; 0: all.
    pub limit: usize,
}

/// An entity without its vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityInfo {
    /// Its number.
    pub id: EntityId,
    /// Its key.
    pub key: String,
    /// What sort of thing it is.
    pub kind: String,
    /// The text that it stands for.
    pub text: Option<String>,
    /// Anything else.
    pub properties: crate::value::Properties,
}

/// Takes exported rows: entity ids (n) and vectors (n x dim, row-major f32).
pub type EachRows<'a> = &'a mut dyn FnMut(&[u64], &[f32]) -> Result<()>;

impl Collection {
    pub(crate) fn new(store: Store, snapshot: Snapshot, name: &str) -> Result<Self> {
        let table = find_table(&snapshot, name)?;
        let schema = Schema::decode(name, &table.schema)?;
        let view = view_of(&snapshot, table.id)?;
        let (name, digests) = (name.to_owned(), Default::default());
        Ok(Self { store, snapshot, name, schema, view, digests })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of entities.
    pub fn len(&self) -> u64 {
        self.view.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.view.is_empty()
    }

    /// Its spaces.
    pub fn spaces(&self) -> &[Space] {
        &self.schema.spaces
    }

    /// A space by name.
    ///
    /// # Errors
    /// Not found, with the nearest name.
    pub fn space(&self, name: &str) -> Result<&Space> {
        self.position(name).map(|position| &self.schema.spaces[position])
    }

    pub(crate) fn position(&self, space: &str) -> Result<usize> {
        self.schema.position(space).ok_or_else(|| no_space(&self.name, space, &self.schema))
    }

    /// The position of a space that holds dense vectors.
    pub(crate) fn dense(&self, space: &str) -> Result<usize> {
        let position = self.position(space)?;
        let holds = match self.schema.spaces[position].kind {
            SpaceKind::Dense { .. } => return Ok(position),
            SpaceKind::Sparse { .. } => "terms with weights",
            SpaceKind::Text { .. } => "the words of texts",
        };
        Err(Error::invalid(format!("space {space} holds {holds}, not dense vectors")))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// A digest of what it holds, and of its relations where they matter, too.
    pub(crate) fn digest(&self, with_relations: bool) -> Result<u128> {
        let known = &self.digests[usize::from(with_relations)];
        if let Some(digest) = known.get() {
            return Ok(*digest);
        }
        let own = self.view.digest();
        let relations = self.snapshot.table_named(&relation_table(&self.name));
        let digest = match relations.filter(|_| with_relations) {
            Some(table) => {
                let relations = view_of(&self.snapshot, table.id)?.digest();
                xxhash_rust::xxh3::xxh3_128(bytemuck::cast_slice(&[own, relations]))
            }
            None => own,
        };
        Ok(*known.get_or_init(|| digest))
    }

    pub(crate) fn view(&self) -> &TableView {
        &self.view
    }

    pub(crate) fn vectors(&self, space: &str) -> Result<(usize, &Space)> {
        let position = self.dense(space)?;
        Ok((vector_column(position), &self.schema.spaces[position]))
    }

    /// The entity of `key`, vectors included.
    pub fn get(&self, key: &str) -> Result<Option<Entity>> {
        let Some(row) = self.view.find(key.as_bytes())? else {
            return Ok(None);
        };
        let info = self.info(row)?;
        let mut embeddings = std::collections::BTreeMap::new();
        let mut sparse = std::collections::BTreeMap::new();
        for (position, space) in self.schema.spaces.iter().enumerate() {
            let Some(cell) = self.view.cell(row, vector_column(position))? else {
                continue;
            };
            if space.is_dense() {
                let vector = bytemuck::allocation::pod_collect_to_vec(&cell);
                embeddings.insert(space.name.clone(), vector);
            } else if let Some(vector) = crate::sparse::vector_at(&self.view, row, position)? {
                sparse.insert(space.name.clone(), vector);
            }
        }
        let EntityInfo { key, kind, text, properties, .. } = info;
        Ok(Some(Entity { key, kind, text, properties, embeddings, sparse }))
    }

    /// The entity of `key`, without its vectors.
    pub fn info_of(&self, key: &str) -> Result<Option<EntityInfo>> {
        match self.view.find(key.as_bytes())? {
            Some(row) => Ok(Some(self.info(row)?)),
            None => Ok(None),
        }
    }

    /// Does `key` have an entity?
    pub fn contains(&self, key: &str) -> Result<bool> {
        Ok(self.view.find(key.as_bytes())?.is_some())
    }

    fn info(&self, row: RowRef) -> Result<EntityInfo> {
        let body = Body::decode(&self.view.cell(row, BODY)?.unwrap_or_default())?;
        Ok(EntityInfo {
            id: id_at(&self.view, row)?,
            key: self.key(row)?,
            kind: body.kind,
            text: body.text,
            properties: body.properties,
        })
    }

    pub(crate) fn key(&self, row: RowRef) -> Result<String> {
        String::from_utf8(self.view.key(row)?)
            .map_err(|_| corrupt(format!("the key of row {row:?} is not UTF-8")))
    }

    /// Calls `each` with entities in the order of their writing, until it returns false.
    pub fn scan(
        &self,
        options: &ListOptions,
        each: &mut dyn FnMut(EntityInfo) -> bool,
    ) -> Result<()> {
        let mut start = RowRef { part: 0, row: 0 };
        if let Some(after) = &options.after {
            let found = self.view.find(after.as_bytes())?;
            let row = found.ok_or_else(|| Error::not_found(format!("there is no key {after}")))?;
            start = RowRef { part: row.part, row: row.row + 1 };
        }
        let mut left = if options.limit == 0 { usize::MAX } else { options.limit };
        let mut failure = None;
        for part in start.part..self.view.parts() {
            let from = if part == start.part { start.row } else { 0 };
            self.view.scan_part(part, from, &mut |row| {
                match self.listed(row, options) {
                    Ok(None) => return Ok(true),
                    Ok(Some(info)) => {
                        left -= 1;
                        if !each(info) {
                            left = 0;
                        }
                    }
                    Err(error) => {
                        failure = Some(error);
                        left = 0;
                    }
                }
                Ok(left > 0)
            })?;
            if left == 0 {
                break;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn listed(&self, row: RowRef, options: &ListOptions) -> Result<Option<EntityInfo>> {
        if !self.key(row)?.starts_with(&options.prefix) {
            return Ok(None);
        }
        let info = self.info(row)?;
        let is_kind = options.kind.as_ref().is_none_or(|kind| *kind == info.kind);
        Ok(is_kind.then_some(info))
    }

    /// Calls `each` with every relation, in the order of writing, until it returns false.
    pub fn relations(&self, each: &mut dyn FnMut(Relation) -> bool) -> Result<()> {
        let name = relation_table(&self.name);
        let tables = self.snapshot.tables();
        let Some(table) = tables.iter().find(|table| table.name == name) else {
            return Ok(());
        };
        let view = view_of(&self.snapshot, table.id)?;
        let mut outcome = Ok(true);
        for part in 0..view.parts() {
            view.scan_part(part, 0, &mut |row| {
                let (key, body) = (view.key(row)?, view.cell(row, 0)?.unwrap_or_default());
                outcome = Relation::decode(&key, &body).map(&mut *each);
                Ok(matches!(outcome, Ok(true)))
            })?;
            if !matches!(outcome, Ok(true)) {
                break;
            }
        }
        outcome.map(|_| ())
    }

    /// Calls `each` with the vectors of a space in the order of entity ids: `ids` (n) and
    /// `rows` (n x dim, row-major f32, bit for bit what was stored).
    ///
    /// # Cost
    /// Streams where ids ascend in the order of writing, as after imports; else 16 bytes per
    /// vector are reserved to sort them.
    pub fn export(&self, space: &str, each: EachRows<'_>) -> Result<()> {
        crate::export::export(&self.store, self, space, each)
    }

    /// Number of vectors in a space; of a text space, none.
    pub fn vectors_in(&self, space: &str) -> Result<u64> {
        let position = self.position(space)?;
        let column = vector_column(position);
        if !self.schema.spaces[position].is_dense() {
            return crate::sparse::count(&self.view, position);
        }
        let mut count = 0;
        for block in self.view.blocks(column, 64 << 10) {
            self.view.visit(&block, &[column + 1], &mut |block| {
                count += (0..block.rows.len()).filter(|&row| !block.is_dead(row)).count() as u64;
            })?;
        }
        Ok(count)
    }

    /// Largest entity id in use, plus one.
    pub fn next_id(&self) -> Result<u64> {
        Ok(self.store.next_id(&self.view)?.load(std::sync::atomic::Ordering::Relaxed))
    }

    pub(crate) fn into_view(self) -> TableView {
        self.view
    }
}
