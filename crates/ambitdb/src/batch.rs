//! Some changes that become visible and durable together.

use crate::entity::{Entity, Relation};

/// Changes over any collections, applied in order, all or none.
#[derive(Debug, Clone, Default)]
pub struct WriteBatch {
    pub(crate) changes: Vec<Change>,
}

#[derive(Debug, Clone)]
pub(crate) enum Change {
    Put { collection: String, entity: Entity },
    Delete { collection: String, key: String },
    Relate { collection: String, relation: Relation },
    Unrelate { collection: String, source: String, kind: String, target: String },
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an entity: it replaces what its key had, embeddings included.
    pub fn put(&mut self, collection: &str, entity: Entity) {
        self.changes.push(Change::Put { collection: collection.into(), entity });
    }

    /// Deletes the entity of `key`, if there is one. Its relations stay.
    pub fn delete(&mut self, collection: &str, key: &str) {
        self.changes.push(Change::Delete { collection: collection.into(), key: key.into() });
    }

    /// Puts a relation: it replaces the one of the same source, kind and target.
    pub fn relate(&mut self, collection: &str, relation: Relation) {
        self.changes.push(Change::Relate { collection: collection.into(), relation });
    }

    /// Removes a relation, if there is one.
    pub fn unrelate(&mut self, collection: &str, source: &str, kind: &str, target: &str) {
        self.changes.push(Change::Unrelate {
            collection: collection.into(),
            source: source.into(),
            kind: kind.into(),
            target: target.into(),
        });
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Is there nothing to do?
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}
