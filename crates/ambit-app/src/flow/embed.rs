//! `embed`: the vector of a text.

use std::sync::Arc;

use ambit_embed::{Embedder, StaticEmbedder};
use ambit_flow::{Node, NodeError, Ports, Purity, Registry, Scope, Type};
use ambit_mem::Bytes;

use super::Place;

struct Embed {
    embedder: Arc<StaticEmbedder>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {}

pub(super) fn add(registry: &mut Registry, place: &Arc<Place>) {
    let place = Arc::clone(place);
    registry.add_kind("embed", move |def, building| {
        let Config {} = building.config(def)?;
        Ok(Box::new(Embed { embedder: place.embedder()? }))
    });
}

impl Node for Embed {
    fn ports(&self) -> Ports {
        Ports::new().read("text", Type::Text).write("vector", Type::Floats)
    }

    fn purity(&self) -> Purity {
        Purity::Pure
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        let text = scope.text("text")?;
        let vector = scope.arena().alloc_slice_with(self.embedder.dim(), |_| 0.0_f32)?;
        let embedded = self.embedder.embed(text, vector).map_err(NodeError::hopeless)?;
        if embedded.is_zero {
            return Err(NodeError::hopeless("the text holds no word that the embedder knows"));
        }
        scope.set("vector", &*vector)
    }

    fn footprint(&self) -> Bytes {
        // The embedder charges itself.
        Bytes::of(size_of::<Self>())
    }
}
