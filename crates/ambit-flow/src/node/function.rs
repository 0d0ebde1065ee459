//! A node that calls a function of the program.

use std::sync::Arc;

use ambit_mem::Bytes;
use serde::Deserialize;

use super::registry::ports_heap;
use super::{Building, Node, NodeError, NodeFault, Ports, Purity, Scope};
use crate::def::NodeDef;

/// A function of the program.
pub(crate) type Call = dyn Fn(&mut Scope<'_>) -> Result<(), NodeError> + Send + Sync;

/// A function, what it takes and gives, and what its answer depends on.
#[derive(Clone)]
pub(crate) struct Function {
    pub ports: Ports,
    pub purity: Purity,
    pub call: Arc<Call>,
}

/// Calls a function of the program.
pub(crate) struct FunctionNode {
    function: Function,
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
        let function = building.registry.function(&config.name)?;
        Ok(Box::new(Self { function }))
    }
}

impl Node for FunctionNode {
    fn ports(&self) -> Ports {
        self.function.ports.clone()
    }

    fn purity(&self) -> Purity {
        self.function.purity
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        (self.function.call)(scope)
    }

    fn footprint(&self) -> Bytes {
        Bytes::of(size_of::<Self>()).saturating_add(ports_heap(&self.function.ports))
    }
}
