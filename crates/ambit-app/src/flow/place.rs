//! Where nodes work: the store, its collections, the embedder.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ambit_embed::{EmbedError, StaticEmbedder};
use ambit_flow::{GraphDef, NodeError, NodeFault};
use ambit_mem::{Budget, Priority};
use ambitdb::{Collection, ErrorKind, Store};
use serde_json::Value as Json;

use super::node_error;

/// Kinds that need the store.
const KINDS: [&str; 4] = ["search", "expand", "get", "put"];

/// Where nodes work.
pub struct Place {
    store: Option<Store>,
    budget: Budget,
    /// The collection of nodes that name none.
    collection: String,
    embedder: OnceLock<Arc<StaticEmbedder>>,
    making: Mutex<()>,
}

impl Place {
    /// A place with a store, or without one for a graph that needs none.
    pub fn new(store: Option<Store>, budget: &Budget, collection: &str) -> Arc<Self> {
        Arc::new(Self {
            store,
            budget: budget.clone(),
            collection: collection.to_owned(),
            embedder: OnceLock::new(),
            making: Mutex::new(()),
        })
    }

    /// The embedder, loaded for the first node that needs it.
    pub(super) fn embedder(&self) -> Result<Arc<StaticEmbedder>, NodeFault> {
        if let Some(embedder) = self.embedder.get() {
            return Ok(Arc::clone(embedder));
        }
        let account = self.budget.account("embedder", Priority::Query);
        let embedder = StaticEmbedder::built_in(&account).map_err(|error| match error {
            EmbedError::OverBudget(refusal) => NodeFault::from(refusal),
            other => NodeFault::Config(other.to_string()),
        })?;
        Ok(Arc::clone(self.embedder.get_or_init(|| Arc::new(embedder))))
    }

    /// The right to make collections and spaces.
    pub(super) fn making(&self) -> MutexGuard<'_, ()> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn store(&self) -> Result<&Store, NodeError> {
        self.store.as_ref().ok_or_else(|| NodeError::hopeless("no store is open"))
    }

    /// The collection of this name, or the settings' one, as it is now.
    pub(super) fn collection(&self, name: Option<&str>) -> Result<Collection, NodeError> {
        self.store()?.collection(self.name(name)).map_err(node_error)
    }

    /// The same, made if it is new.
    pub(super) fn collection_or_new(&self, name: Option<&str>) -> Result<Collection, NodeError> {
        match self.store()?.collection(self.name(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.store()?.create_collection(self.name(name)).map_err(node_error)
            }
            found => found.map_err(node_error),
        }
    }

    pub(super) fn name<'a>(&'a self, name: Option<&'a str>) -> &'a str {
        name.unwrap_or(&self.collection)
    }
}

/// Whether a graph, or one inside it, has a node that needs the store.
pub fn uses_store(def: &GraphDef) -> bool {
    has_kind(def, &|kind| KINDS.contains(&kind))
}

/// Whether a graph, or one inside it, has a node that writes to the store.
pub fn writes(def: &GraphDef) -> bool {
    has_kind(def, &|kind| kind == "put")
}

fn has_kind(def: &GraphDef, is_wanted: &dyn Fn(&str) -> bool) -> bool {
    def.nodes.iter().any(|node| {
        is_wanted(&node.kind) || node.with.values().any(|value| holds_kind(value, is_wanted))
    })
}

/// Graphs inside a node are parameters of it, so they are looked for as JSON.
fn holds_kind(json: &Json, is_wanted: &dyn Fn(&str) -> bool) -> bool {
    match json {
        Json::Array(list) => list.iter().any(|value| holds_kind(value, is_wanted)),
        Json::Object(map) => {
            map.get("kind").and_then(Json::as_str).is_some_and(is_wanted)
                || map.values().any(|value| holds_kind(value, is_wanted))
        }
        _ => false,
    }
}
