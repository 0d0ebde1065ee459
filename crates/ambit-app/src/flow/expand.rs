//! `expand`: the entities that relations lead to from the ones that were found.
//!
//! Relations are kept in the order of their writing, so each step of depth is one pass over them
//! all, and what a pass finds is followed by the next. An entity is named once, by the first
//! relation that reaches it.

use std::collections::HashSet;
use std::sync::Arc;

use ambit_flow::{Node, NodeError, NodeFault, Ports, Registry, Scope, Type, Value};
use ambit_mem::Bytes;
use ambitdb::Relation;
use serde_json::{Map, Value as Json, json};

use super::search::describe;
use super::{Place, node_error};

/// Steps along relations, at most.
const MAX_DEPTH: u32 = 16;

struct Expand {
    place: Arc<Place>,
    config: Config,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    collection: Option<String>,
    depth: u32,
    direction: Direction,
    max: usize,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    Out,
    In,
    Both,
}

impl Default for Config {
    fn default() -> Self {
        Self { collection: None, depth: 1, direction: Direction::Out, max: 100 }
    }
}

pub(super) fn add(registry: &mut Registry, place: &Arc<Place>) {
    let place = Arc::clone(place);
    registry.add_kind("expand", move |def, building| {
        let config: Config = building.config(def)?;
        if !(1..=MAX_DEPTH).contains(&config.depth) {
            let message = format!("depth is {}; it may be 1 to {MAX_DEPTH}", config.depth);
            return Err(NodeFault::Config(message));
        }
        Ok(Box::new(Expand { place: Arc::clone(&place), config }))
    });
}

/// A key that was reached.
struct Reached {
    key: String,
    from: String,
    relation: String,
    weight: f64,
    depth: u32,
}

impl Expand {
    /// The other end of `relation`, where it leads on from `frontier`.
    fn leads(&self, relation: &Relation, frontier: &HashSet<String>) -> Option<(String, String)> {
        let (source, target) = (&relation.source, &relation.target);
        let out = matches!(self.config.direction, Direction::Out | Direction::Both);
        let back = matches!(self.config.direction, Direction::In | Direction::Both);
        if out && frontier.contains(source) {
            return Some((source.clone(), target.clone()));
        }
        (back && frontier.contains(target)).then(|| (target.clone(), source.clone()))
    }
}

impl Node for Expand {
    fn ports(&self) -> Ports {
        Ports::new().read("hits", Type::List).write("related", Type::List)
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        let collection = self.place.collection(self.config.collection.as_deref())?;
        let key = |hit: &Json| match hit {
            Json::String(key) => Some(key.clone()),
            other => other.get("key").and_then(Json::as_str).map(str::to_owned),
        };
        let mut frontier: HashSet<String> = scope.list("hits")?.iter().filter_map(key).collect();
        let mut seen = frontier.clone();
        let mut charge = scope.account().reserve(Bytes::ZERO)?;
        let mut reached: Vec<Reached> = Vec::new();
        for depth in 1..=self.config.depth {
            scope.check()?;
            let mut next = HashSet::new();
            let mut refusal = None;
            let mut each = |relation: Relation| {
                let Some((from, key)) = self.leads(&relation, &frontier) else { return true };
                if seen.contains(&key) {
                    return true;
                }
                let bytes = size_of::<Reached>() + 4 * key.len() + from.len();
                if let Err(over) = charge.grow(Bytes::of(bytes)) {
                    refusal = Some(over);
                    return false;
                }
                seen.insert(key.clone());
                next.insert(key.clone());
                let (relation, weight) = (relation.kind, relation.weight);
                reached.push(Reached { key, from, relation, weight, depth });
                reached.len() < self.config.max
            };
            collection.relations(&mut each).map_err(node_error)?;
            if let Some(refusal) = refusal {
                return Err(refusal.into());
            }
            if next.is_empty() || reached.len() >= self.config.max {
                break;
            }
            frontier = next;
        }
        let mut related = Vec::with_capacity(reached.len());
        for Reached { key, from, relation, weight, depth } in reached {
            scope.check()?;
            let info = collection.info_of(&key).map_err(node_error)?;
            let mut fields = Map::new();
            fields.insert("key".to_owned(), key.into());
            fields.insert("from".to_owned(), from.into());
            fields.insert("relation".to_owned(), relation.into());
            fields.insert("weight".to_owned(), weight.into());
            fields.insert("depth".to_owned(), depth.into());
            if let Some(info) = info {
                charge.grow(Bytes::of(256 + info.text.as_ref().map_or(0, String::len)))?;
                describe(&mut fields, info)?;
            }
            related.push(Json::Object(fields));
        }
        scope.put("related", Value::Json(json!(related)))
    }

    fn footprint(&self) -> Bytes {
        let names = self.config.collection.as_ref().map_or(0, String::capacity);
        Bytes::of(size_of::<Self>() + names)
    }
}
