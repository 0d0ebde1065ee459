//! A node that is a graph: its inputs and outputs are the node's ports.

use ambit_mem::Bytes;
use serde::Deserialize;

use super::inside::Inside;
use super::{Building, Node, NodeError, NodeFault, Ports, Purity, Scope};
use crate::def::{GraphDef, NodeDef};

/// Runs a graph over values of its own.
pub(crate) struct SubGraph {
    inside: Inside,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    graph: GraphDef,
}

impl SubGraph {
    pub(crate) fn from_def(
        def: &NodeDef,
        building: &Building<'_>,
    ) -> Result<Box<dyn Node>, NodeFault> {
        let config: Config = building.config(def)?;
        let inside = Inside::new(building.graph(&config.graph)?, building.account())?;
        Ok(Box::new(Self { inside }))
    }
}

impl Node for SubGraph {
    fn ports(&self) -> Ports {
        self.inside.ports(&[])
    }

    fn purity(&self) -> Purity {
        self.inside.purity()
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        let mut frame = self.inside.enter(&scope.view, 1)?;
        frame.run(&scope.view)?;
        self.inside.leave(&frame, scope)
    }

    fn footprint(&self) -> Bytes {
        self.inside.footprint()
    }
}
