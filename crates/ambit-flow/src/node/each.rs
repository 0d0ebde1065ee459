//! A node that runs a graph for each element of a list.
//!
//! The graph finds the element under `item` and its place under `index`; each of its outputs
//! becomes a list with one element for each element, null where a run did not set it.

use ambit_mem::Bytes;
use serde::Deserialize;
use serde_json::Value as Json;

use super::inside::Inside;
use super::{Building, Node, NodeError, NodeFault, Port, Ports, Scope};
use crate::def::{GraphDef, NodeDef};
use crate::{Type, Value, ValueRef};

/// The port of the list.
const ITEMS: &str = "items";

/// Runs a graph for each element of a list.
pub(crate) struct Each {
    inside: Inside,
    item: String,
    index: String,
    max: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    graph: GraphDef,
    #[serde(default = "item")]
    item: String,
    #[serde(default = "index")]
    index: String,
    #[serde(default = "max")]
    max: usize,
}

fn item() -> String {
    "item".to_owned()
}

fn index() -> String {
    "index".to_owned()
}

/// Elements of a list, at most, where the node does not say otherwise.
fn max() -> usize {
    100_000
}

impl Each {
    pub(crate) fn from_def(
        def: &NodeDef,
        building: &Building<'_>,
    ) -> Result<Box<dyn Node>, NodeFault> {
        let Config { graph, item, index, max } = building.config(def)?;
        let graph = building.graph(&graph)?;
        if graph.writes().is_empty() {
            let message = "the graph of a map names what it gives in 'outputs'";
            return Err(NodeFault::Config(message.to_owned()));
        }
        let inside = Inside::new(graph, building.account())?;
        Ok(Box::new(Self { inside, item, index, max }))
    }
}

impl Node for Each {
    fn ports(&self) -> Ports {
        let mut ports = self.inside.ports(&[&self.item, &self.index]).read(ITEMS, Type::List);
        for port in &mut ports.writes {
            port.kind = Type::List;
        }
        ports
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        let items = scope.value(ITEMS)?;
        let len = match items {
            ValueRef::Json(Json::Array(list)) => list.len(),
            ValueRef::Floats(floats) => floats.len(),
            other => return Err(other.wrong_type(ITEMS, Type::List).into()),
        };
        if len > self.max {
            let message = format!("{len} elements; the node goes over at most {}", self.max);
            return Err(NodeError::TooMany(message));
        }
        let mut frame = self.inside.enter(scope)?;
        let writes: &[Port] = self.inside.graph().writes();
        // What is collected is reserved as it grows: it is this node's until it has returned.
        let mut charge = scope.account().reserve(Bytes::ZERO)?;
        let mut collected: Vec<Vec<Json>> = vec![Vec::new(); writes.len()];
        for number in 0..len {
            scope.check()?;
            self.inside.begin_again(&mut frame, scope)?;
            match items {
                ValueRef::Json(Json::Array(list)) => {
                    frame.context.set(&self.item, &list[number])?
                }
                ValueRef::Floats(floats) => frame.context.set(&self.item, floats[number])?,
                _ => {}
            }
            frame.context.set(&self.index, number as i64)?;
            frame.run(scope)?;
            for (list, port) in collected.iter_mut().zip(writes) {
                let value = frame.context.get(&port.name).unwrap_or(ValueRef::Null);
                charge.grow(Bytes::of(2 * size_of::<Json>() + value.len_bytes()))?;
                list.push(value.to_json());
            }
        }
        for (list, port) in collected.into_iter().zip(writes) {
            scope.put(&port.name, Value::Json(Json::Array(list)))?;
        }
        Ok(())
    }

    fn footprint(&self) -> Bytes {
        let names = self.item.capacity() + self.index.capacity();
        self.inside.footprint().saturating_add(Bytes::of(size_of::<Self>() + names))
    }
}
