//! `put`: stores an entity, or a list of them, with an embedding and relations, in one atomic
//! batch.
//!
//! An entity comes as what `ambit add` reads (`key`, `kind`, `text`, `properties`, `embeddings`),
//! or in parts: a key, and what else there is. Where a vector comes in, it becomes the embedding of
//! the one entity in the space that the node names; collection and space are made if they are new.

use std::sync::Arc;

use ambit_flow::{Node, NodeError, NodeFault, Ports, Purity, Registry, Scope, Type, ValueRef};
use ambit_mem::Bytes;
use ambitdb::{Entity, Metric, Properties, Relation, SpaceKind, WriteBatch};
use serde::Deserialize as _;
use serde_json::Value as Json;

use super::{Place, node_error};
use crate::command::TEXT_SPACE;
use crate::record;

struct Put {
    place: Arc<Place>,
    config: Config,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    collection: Option<String>,
    space: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { collection: None, space: TEXT_SPACE.to_owned() }
    }
}

/// A relation, as a graph writes it.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RelationRecord {
    source: String,
    kind: String,
    target: String,
    #[serde(default = "one")]
    weight: f64,
}

fn one() -> f64 {
    1.0
}

pub(super) fn add(registry: &mut Registry, place: &Arc<Place>) {
    let place = Arc::clone(place);
    registry.add_kind("put", move |def, building| {
        let config: Config = building.config(def)?;
        if config.space.is_empty() {
            return Err(NodeFault::Config("space has no name".to_owned()));
        }
        Ok(Box::new(Put { place: Arc::clone(&place), config }))
    });
}

impl Put {
    fn entities(&self, scope: &Scope<'_>) -> Result<Vec<Entity>, NodeError> {
        match scope.get("entity") {
            Some(ValueRef::Json(Json::Array(list))) => list.iter().map(entity).collect(),
            Some(ValueRef::Json(map)) => Ok(vec![entity(map)?]),
            Some(other) => {
                let message = format!("'entity' is {}, not map or list", other.describe());
                Err(NodeError::hopeless(message))
            }
            None => {
                let mut fields = serde_json::Map::new();
                for port in ["key", "kind", "text", "properties"] {
                    if let Some(value) = scope.get(port) {
                        fields.insert(port.to_owned(), value.to_json());
                    }
                }
                Ok(vec![entity(&fields.into())?])
            }
        }
    }

    /// Makes the spaces that the entities' embeddings are for and that are not there.
    fn make_spaces(&self, name: &str, entities: &[Entity]) -> Result<(), NodeError> {
        // Nodes at work at once make each of them once.
        let _making = self.place.making();
        let mut collection = self.place.collection_or_new(Some(name))?;
        for (space, row) in entities.iter().flat_map(|entity| &entity.embeddings) {
            if collection.space(space).is_ok() {
                continue;
            }
            let kind = SpaceKind::Dense { dim: row.len(), metric: Metric::Cosine };
            let store = self.place.store()?;
            store.create_space(name, space, kind).map_err(node_error)?;
            collection = self.place.collection(Some(name))?;
        }
        Ok(())
    }
}

/// An entity as `ambit add` reads it.
fn entity(json: &Json) -> Result<Entity, NodeError> {
    let line = serde_json::to_vec(json).map_err(NodeError::hopeless)?;
    record::parse(&line).map_err(NodeError::hopeless)
}

impl Node for Put {
    fn ports(&self) -> Ports {
        Ports::new()
            .read_optional("entity", Type::Any)
            .read_optional("key", Type::Text)
            .read_optional("kind", Type::Text)
            .read_optional("text", Type::Text)
            .read_optional("properties", Type::Map)
            .read_optional("vector", Type::Floats)
            .read_optional("relations", Type::List)
            .write("stored", Type::Int)
    }

    fn purity(&self) -> Purity {
        Purity::Acting
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        let mut entities = self.entities(scope)?;
        if let (Some(ValueRef::Floats(vector)), [entity]) =
            (scope.get("vector"), entities.as_mut_slice())
        {
            entity.embeddings.insert(self.config.space.clone(), vector.to_vec());
        }
        let name = self.place.name(self.config.collection.as_deref());
        self.make_spaces(name, &entities)?;
        let stored = entities.len();
        let mut batch = WriteBatch::new();
        for entity in entities {
            batch.put(name, entity);
        }
        if let Some(ValueRef::Json(Json::Array(relations))) = scope.get("relations") {
            for relation in relations {
                let read = RelationRecord::deserialize(relation).map_err(NodeError::hopeless)?;
                let RelationRecord { source, kind, target, weight } = read;
                let properties = Properties::new();
                batch.relate(name, Relation { source, kind, target, weight, properties });
            }
        }
        self.place.store()?.write(&batch).map_err(node_error)?;
        scope.set("stored", stored as i64)
    }

    fn footprint(&self) -> Bytes {
        let Config { collection, space } = &self.config;
        let names = space.capacity() + collection.as_ref().map_or(0, String::capacity);
        Bytes::of(size_of::<Self>() + names)
    }
}
