//! Vectors in bulk, straight into sealed segments.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ambit_store::engine::{BulkWriter, TableView};
use ambit_vector::{Metric, kernels};

use crate::entity::{Body, EntityId, check_key};
use crate::error::{Error, Result};
use crate::schema::{BODY, ID, Space, norm_column, vector_column};
use crate::store::{Store, id_at};

/// An import under way. Rows become durable a segment at a time; dropping it keeps those.
pub struct Import<'a> {
    bulk: BulkWriter<'a>,
    /// What the collection held before; `None` where it was empty.
    before: Option<TableView>,
    space: Space,
    position: usize,
    columns: usize,
    next_id: Arc<AtomicU64>,
    body: Vec<u8>,
    first_row: u64,
    rows: u64,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportReport {
    /// Rows written, all durable.
    pub rows: u64,
    /// Segments written.
    pub segments: u64,
}

impl Store {
    /// Begins to import vectors into a dense space. Each row becomes an entity; an entity
    /// that has the key already is replaced. `first_row` is the number of the first row, for
    /// imports that go on where an earlier one stopped; rows without a key of their own are
    /// keyed by their number.
    pub fn import(&self, collection: &str, space: &str, first_row: u64) -> Result<Import<'_>> {
        let collection = self.collection(collection)?;
        let (column, space) = collection.vectors(space)?;
        let position = (column - vector_column(0)) / 2;
        let bulk = self.engine().bulk(collection.view().id(), column)?;
        let next_id = self.next_id(collection.view())?;
        let (space, columns) = (space.clone(), vector_column(collection.spaces().len()));
        let before = (!collection.is_empty()).then(|| collection.into_view());
        Ok(Import {
            bulk,
            before,
            space,
            position,
            columns,
            next_id,
            body: Body::encode("", None, &crate::value::Properties::new()),
            first_row,
            rows: 0,
        })
    }
}

impl Import<'_> {
    /// Adds rows (n x dim, row-major f32), with their keys or numbered.
    ///
    /// # Errors
    /// Invalid names the row; rows before it in this call are written.
    pub fn push(&mut self, keys: Option<&[String]>, rows: &[f32]) -> Result<()> {
        let count = rows.len() / self.space.dim;
        if !rows.len().is_multiple_of(self.space.dim)
            || keys.is_some_and(|keys| keys.len() != count)
        {
            return Err(Error::invalid(format!(
                "{} values with {} keys; space {} has dimension {}",
                rows.len(),
                keys.map_or(count, <[String]>::len),
                self.space.name,
                self.space.dim
            )));
        }
        for (index, vector) in rows.chunks_exact(self.space.dim).enumerate() {
            let number = self.first_row + self.rows;
            match keys {
                Some(keys) => self.push_row(&keys[index], number, vector)?,
                None => self.push_row(&number.to_string(), number, vector)?,
            }
            self.rows += 1;
        }
        Ok(())
    }

    fn push_row(&mut self, key: &str, number: u64, vector: &[f32]) -> Result<()> {
        check_key(key)?;
        let norm = kernels().norm(vector);
        if norm == 0.0 && self.space.metric == Metric::Cosine {
            return Err(Error::invalid(format!(
                "row {number} (key {key}) is a zero vector, where cosine is undefined; remove \
                 it, or import into a space with inner-product or euclidean"
            )));
        }
        let id = self.id_of(key)?.0.to_le_bytes();
        let norm = norm.to_le_bytes();
        let mut cells: Vec<Option<&[u8]>> = vec![None; self.columns];
        cells[BODY] = Some(&self.body);
        cells[ID] = Some(&id);
        cells[vector_column(self.position)] = Some(bytemuck::cast_slice(vector));
        cells[norm_column(self.position)] = Some(&norm);
        Ok(self.bulk.push(key.as_bytes(), &cells)?)
    }

    fn id_of(&self, key: &str) -> Result<EntityId> {
        if let Some(before) = &self.before
            && let Some(row) = before.find(key.as_bytes())?
        {
            return id_at(before, row);
        }
        Ok(EntityId(self.next_id.fetch_add(1, Ordering::Relaxed)))
    }

    /// Rows of this import that are durable.
    pub fn durable_rows(&self) -> u64 {
        self.bulk.committed()
    }

    /// Makes the rows so far durable.
    pub fn commit(&mut self) -> Result<()> {
        Ok(self.bulk.commit()?)
    }

    /// Makes the rest durable and ends.
    pub fn finish(mut self) -> Result<ImportReport> {
        self.bulk.commit()?;
        Ok(ImportReport { rows: self.bulk.committed(), segments: self.bulk.segments() })
    }
}
