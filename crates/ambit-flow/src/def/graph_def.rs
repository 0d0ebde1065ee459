//! A graph as data.
//!
//! What a graph file says, field by field, in JSON or YAML. Nothing is checked here beyond the
//! names of fields; [`GraphDef::validate`] does that, and [`Graph::build`](crate::Graph::build)
//! makes something that runs of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Caching, Retry};
use crate::Type;
use crate::policy::BreakerPolicy;

/// A graph of steps.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphDef {
    /// What it is called.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Keys that are set before a run, with their types. Where this is given, a node may read
    /// only these and what other nodes write; where it is not, any key may come from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<BTreeMap<String, Type>>,
    /// Keys that are read after a run; some node has to write each, or it is an input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// Nodes that a run begins with. Where this is given, every other node has to be reachable from
    /// them; where it is not, a run begins with all nodes that no edge leads to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entry: Vec<String>,
    /// The steps.
    pub nodes: Vec<NodeDef>,
    /// What leads from one step to another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<EdgeDef>,
}

/// The parameters of a node's kind.
pub type NodeConfig = serde_json::Map<String, serde_json::Value>;

/// A step.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeDef {
    /// Its name in the graph.
    pub id: String,
    /// What it does: a kind of the [`Registry`](crate::Registry).
    pub kind: String,
    /// The parameters of its kind.
    #[serde(default, skip_serializing_if = "NodeConfig::is_empty")]
    pub with: NodeConfig,
    /// From which key each port reads, where that is not its own name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub read: BTreeMap<String, String>,
    /// To which key each port writes, where that is not its own name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub write: BTreeMap<String, String>,
    /// How many of the edges that lead to it have to be taken.
    #[serde(default, skip_serializing_if = "is_default")]
    pub join: Join,
    /// What a failure does to the run, where no edge `on: error` leads from it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_error: OnError,
    /// Is it tried again?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Milliseconds that it may take with all its tries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// When is it given a rest?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerPolicy>,
    /// Are its results kept, by its exact inputs?
    #[serde(default, skip_serializing_if = "is_default")]
    pub cache: Caching,
}

/// What leads from one step to another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeDef {
    /// The step before.
    pub from: String,
    /// The step after.
    pub to: String,
    /// A rule that has to hold for the edge to be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The branch of a condition that the edge stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Whether it is taken after success or after failure.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on: On,
}

/// How many of the edges that lead to a node have to be taken for it to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// One: branches meet again.
    #[default]
    Any,
    /// All of them.
    All,
}

/// When an edge is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum On {
    /// After the step before it has done its work.
    #[default]
    Done,
    /// After the step before it has failed.
    Error,
}

/// What a failure that no edge takes up does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// It ends the run with that error.
    #[default]
    Stop,
    /// The run goes on without what depends on the node, and lists the failure.
    Skip,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
