//! `assemble`: one text of the texts that were found, as a language model is to read it.
//!
//! Texts come in order, those that were searched for first, each under its key, as long as they fit
//! whole; one that does not fit is left out, and shorter ones after it may still fit.

use ambit_flow::{Node, NodeError, Ports, Purity, Registry, Scope, Type, Value, ValueRef};
use ambit_mem::Bytes;
use serde_json::{Value as Json, json};

struct Assemble {
    config: Config,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    max_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_bytes: 8192 }
    }
}

pub(super) fn add(registry: &mut Registry) {
    registry.add_kind("assemble", |def, building| {
        Ok(Box::new(Assemble { config: building.config(def)? }))
    });
}

impl Node for Assemble {
    fn ports(&self) -> Ports {
        Ports::new()
            .read("hits", Type::List)
            .read_optional("related", Type::List)
            .write("context", Type::Text)
            .write("sources", Type::List)
    }

    fn purity(&self) -> Purity {
        Purity::Pure
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        let related = match scope.get("related") {
            Some(ValueRef::Json(Json::Array(list))) => list.as_slice(),
            _ => &[],
        };
        let (mut context, mut sources) = (String::new(), Vec::new());
        let mut charge = scope.account().reserve(Bytes::ZERO)?;
        for found in scope.list("hits")?.iter().chain(related) {
            let field = |name: &str| found.get(name).and_then(Json::as_str);
            let (Some(key), Some(text)) = (field("key"), field("text")) else { continue };
            let len = "[]\n\n\n".len() + key.len() + text.len();
            if context.len() + len > self.config.max_bytes {
                continue;
            }
            charge.grow(Bytes::of(2 * (len + key.len())))?;
            context.push_str(&format!("[{key}]\n{text}\n\n"));
            sources.push(key.to_owned());
        }
        context.truncate(context.trim_end().len());
        scope.put("context", Value::Text(context))?;
        scope.put("sources", Value::Json(json!(sources)))
    }

    fn footprint(&self) -> Bytes {
        Bytes::of(size_of::<Self>())
    }
}
