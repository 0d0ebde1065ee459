//! A node that runs a graph again and again, while a rule holds.
//!
//! Every round finds what the one before left: the graph's context is kept from round to round. The
//! rule is asked before each round, over that context.

use ambit_mem::Bytes;
use serde::Deserialize;

use super::inside::Inside;
use super::{Building, Need, Node, NodeError, NodeFault, Port, Ports, Purity, Scope};
use crate::def::{GraphDef, NodeDef};
use crate::{Rule, Type};

/// Runs a graph while a rule holds.
pub(crate) struct Rounds {
    inside: Inside,
    /// Asked before each round.
    rule: Rule,
    max: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    graph: GraphDef,
    #[serde(rename = "while")]
    rule: String,
    #[serde(default = "max")]
    max: u64,
}

/// Rounds, at most, where the node does not say otherwise.
fn max() -> u64 {
    1_000
}

impl Rounds {
    pub(crate) fn from_def(
        def: &NodeDef,
        building: &Building<'_>,
    ) -> Result<Box<dyn Node>, NodeFault> {
        let config: Config = building.config(def)?;
        let inside = Inside::new(building.graph(&config.graph)?, building.account())?;
        let rule = building.rule(&config.rule)?;
        Ok(Box::new(Self { inside, rule, max: config.max }))
    }
}

impl Node for Rounds {
    fn ports(&self) -> Ports {
        let mut ports = self.inside.ports(&[]);
        for key in self.rule.keys() {
            if ports.reads.iter().all(|port| port.name != key.name()) {
                let need = Need::Required;
                ports.reads.push(Port { name: key.name().to_owned(), kind: Type::Any, need });
            }
        }
        ports
    }

    fn purity(&self) -> Purity {
        self.inside.purity()
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        let mut frame = self.inside.enter(&scope.view, 1)?;
        for key in self.rule.keys() {
            if let Some(value) = scope.get(key.name()) {
                frame.context.set(&key, value)?;
            }
        }
        let mut rounds = 0;
        while self.rule.holds(&frame.context, scope.arena)? {
            if rounds == self.max {
                let message = format!("more than {} rounds, and the rule still holds", self.max);
                return Err(NodeError::TooMany(message));
            }
            rounds += 1;
            scope.check()?;
            frame.run(&scope.view)?;
            if !frame.is_lasting() {
                scope.keep_no_result();
            }
        }
        self.inside.leave(&frame, scope)
    }

    fn footprint(&self) -> Bytes {
        let parts = self.inside.footprint().saturating_add(self.rule.footprint());
        parts.saturating_add(Bytes::of(size_of::<Self>()))
    }
}
