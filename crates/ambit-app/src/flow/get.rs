//! `get`: an entity by its key.

use std::sync::Arc;

use ambit_flow::{Node, NodeError, Ports, Registry, Scope, Type, Value};
use ambit_mem::Bytes;
use serde_json::Map;

use super::search::describe;
use super::{Place, node_error};

struct Get {
    place: Arc<Place>,
    config: Config,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    collection: Option<String>,
}

pub(super) fn add(registry: &mut Registry, place: &Arc<Place>) {
    let place = Arc::clone(place);
    registry.add_kind("get", move |def, building| {
        let config = building.config(def)?;
        Ok(Box::new(Get { place: Arc::clone(&place), config }))
    });
}

impl Node for Get {
    fn ports(&self) -> Ports {
        Ports::new().read("key", Type::Text).write("entity", Type::Map)
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        let collection = self.place.collection(self.config.collection.as_deref())?;
        let key = scope.text("key")?;
        let Some(info) = collection.info_of(key).map_err(node_error)? else {
            let message = format!("no entity '{}'", key.escape_debug());
            return Err(NodeError::hopeless(message));
        };
        let mut fields = Map::new();
        fields.insert("key".to_owned(), key.into());
        describe(&mut fields, info)?;
        scope.put("entity", Value::Json(fields.into()))
    }

    fn footprint(&self) -> Bytes {
        let names = self.config.collection.as_ref().map_or(0, String::capacity);
        Bytes::of(size_of::<Self>() + names)
    }
}
