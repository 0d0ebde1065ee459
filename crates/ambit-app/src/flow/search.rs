//! `search`: the entities of a space that are nearest to a vector, exactly.

use std::sync::Arc;

use ambit_flow::{Node, NodeError, NodeFault, Ports, Registry, Scope, Type, Value};
use ambit_mem::Bytes;
use ambitdb::{EntityInfo, MAX_K, SearchRequest};
use serde_json::{Map, Value as Json, json};

use super::{Place, node_error};
use crate::command::TEXT_SPACE;
use crate::record::PrintedValue;

struct Search {
    place: Arc<Place>,
    config: Config,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    collection: Option<String>,
    space: String,
    k: usize,
    threads: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { collection: None, space: TEXT_SPACE.to_owned(), k: 10, threads: 1 }
    }
}

pub(super) fn add(registry: &mut Registry, place: &Arc<Place>) {
    let place = Arc::clone(place);
    registry.add_kind("search", move |def, building| {
        let config: Config = building.config(def)?;
        if !(1..=MAX_K).contains(&config.k) {
            return Err(NodeFault::Config(format!("k is {}; it may be 1 to {MAX_K}", config.k)));
        }
        Ok(Box::new(Search { place: Arc::clone(&place), config }))
    });
}

impl Node for Search {
    fn ports(&self) -> Ports {
        Ports::new().read("vector", Type::Floats).write("hits", Type::List)
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        let Config { collection, space, k, threads } = &self.config;
        let collection = self.place.collection(collection.as_deref())?;
        let vector = scope.floats("vector")?;
        let threads = *threads;
        let request = SearchRequest { threads, ..SearchRequest::new(space, vector, *k) };
        let answer = collection.search(&request).map_err(node_error)?;
        // Texts come one by one: each is reserved before the next is read.
        let mut charge = scope.account().reserve(Bytes::ZERO)?;
        let mut hits = Vec::with_capacity(answer.hits.len());
        for hit in answer.hits {
            scope.check()?;
            let mut fields = Map::new();
            fields.insert("key".to_owned(), hit.key.as_str().into());
            fields.insert("id".to_owned(), hit.id.0.into());
            fields.insert("score".to_owned(), hit.score.into());
            if let Some(info) = collection.info_of(&hit.key).map_err(node_error)? {
                charge.grow(Bytes::of(256 + info.text.as_ref().map_or(0, String::len)))?;
                describe(&mut fields, info)?;
            }
            hits.push(Json::Object(fields));
        }
        scope.put("hits", Value::Json(json!(hits)))
    }

    fn footprint(&self) -> Bytes {
        let Config { collection, space, .. } = &self.config;
        let names = space.capacity() + collection.as_ref().map_or(0, String::capacity);
        Bytes::of(size_of::<Self>() + names)
    }
}

/// Adds kind, text and properties of an entity.
pub(super) fn describe(fields: &mut Map<String, Json>, info: EntityInfo) -> Result<(), NodeError> {
    fields.insert("kind".to_owned(), info.kind.into());
    fields.insert("text".to_owned(), info.text.map_or(Json::Null, Json::from));
    let mut properties = Map::new();
    for (name, value) in &info.properties {
        let value = serde_json::to_value(PrintedValue(value)).map_err(NodeError::hopeless)?;
        properties.insert(name.clone(), value);
    }
    fields.insert("properties".to_owned(), properties.into());
    Ok(())
}
