//! A node that runs a graph, and another one if that fails.
//!
//! The second graph has the inputs of the first, and what went wrong under `error`. What the first
//! one did before it failed is gone. A run that was called off is not caught.

use ambit_mem::Bytes;
use serde::Deserialize;

use super::inside::{ERROR, Inside, set_error};
use super::{Building, Need, Node, NodeError, NodeFault, Port, Ports, Purity, Scope};
use crate::Type;
use crate::def::{GraphDef, NodeDef};

/// Runs a graph, and another one if that fails.
pub(crate) struct Attempt {
    tried: Inside,
    caught: Inside,
    id: Box<str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    graph: GraphDef,
    catch: GraphDef,
}

impl Attempt {
    pub(crate) fn from_def(
        def: &NodeDef,
        building: &Building<'_>,
    ) -> Result<Box<dyn Node>, NodeFault> {
        let config: Config = building.config(def)?;
        let account = building.account();
        let tried = Inside::new(building.graph(&config.graph)?, account)?;
        let caught = Inside::new(building.graph(&config.catch)?, &account.child("catch"))?;
        Ok(Box::new(Self { tried, caught, id: def.id.as_str().into() }))
    }
}

/// Adds to `ports` those of `more` that are not there; a port that both have is of both types only
/// where they are the same.
fn unite(ports: &mut Vec<Port>, more: Vec<Port>) {
    for port in more {
        match ports.iter_mut().find(|known| known.name == port.name) {
            Some(known) => {
                if known.kind != port.kind {
                    known.kind = Type::Any;
                }
                if port.need == Need::Required {
                    known.need = Need::Required;
                }
            }
            None => ports.push(port),
        }
    }
}

impl Node for Attempt {
    fn ports(&self) -> Ports {
        let mut ports = self.tried.ports(&[]);
        let more = self.caught.ports(&[ERROR]);
        unite(&mut ports.reads, more.reads);
        unite(&mut ports.writes, more.writes);
        ports
    }

    fn purity(&self) -> Purity {
        self.tried.purity().max(self.caught.purity())
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        let error = {
            let mut frame = self.tried.enter(&scope.view, 1)?;
            match frame.run(&scope.view) {
                Ok(()) => return self.tried.leave(&frame, scope),
                Err(NodeError::CalledOff) => return Err(NodeError::CalledOff),
                Err(error) => error,
            }
        };
        let mut frame = self.caught.enter(&scope.view, 1)?;
        set_error(&mut frame.context, &self.id, &error)?;
        frame.run(&scope.view)?;
        self.caught.leave(&frame, scope)?;
        scope.keep_no_result();
        Ok(())
    }

    fn footprint(&self) -> Bytes {
        let parts = self.tried.footprint().saturating_add(self.caught.footprint());
        parts.saturating_add(Bytes::of(size_of::<Self>() + self.id.len()))
    }
}
