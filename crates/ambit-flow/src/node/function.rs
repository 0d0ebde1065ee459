//! A node that calls a function of the program.

use std::sync::Arc;

use ambit_mem::Bytes;
use serde::Deserialize;

use super::registry::ports_heap;
use super::{Building, Node, NodeError, NodeFault, Ports, Scope};
use crate::def::NodeDef;

/// A function of the program.
pub(crate) type Call = dyn Fn(&mut Scope<'_>) -> Result<(), NodeError> + Send + Sync;

/// Calls a function of the program.
pub(crate) struct FunctionNode {
    ports: Ports,
    call: Arc<Call>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    name: String,
}

impl FunctionNode {
    pub(crate) fn from_def(
        def: &NodeDef,
        building: &Building<'_>,
    ) -> Result<Box<dyn Node>, NodeFault> {
        let config: Config = building.config(def)?;
        let (ports, call) = building.registry.function(&config.name)?;
        Ok(Box::new(Self { ports, call }))
    }
}

impl Node for FunctionNode {
    fn ports(&self) -> Ports {
        self.ports.clone()
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        (self.call)(scope)
    }

    fn footprint(&self) -> Bytes {
        Bytes::of(size_of::<Self>()).saturating_add(ports_heap(&self.ports))
    }
}
