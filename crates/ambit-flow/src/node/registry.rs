//! The kinds of nodes that a graph may name.
//!
//! A kind is a name and a factory: from a node's definition it makes the node, or says what is
//! wrong with the definition. What this crate knows itself is there from the start; a program adds
//! its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use ambit_mem::{Account, Bytes, OverBudget};
use serde::de::DeserializeOwned;

use super::attempt::Attempt;
use super::each::Each;
use super::function::{Function, FunctionNode};
use super::rounds::Rounds;
use super::sub_graph::SubGraph;
use super::{Node, NodeError, Ports, Purity, Scope};
use crate::def::{GraphDef, NodeDef};
use crate::graph::{BuildError, Fault, Graph};
use crate::results::ResultCache;
use crate::{Rule, RuleError};

/// Graphs inside each other, at most.
pub const MAX_NESTING: usize = 16;

/// What is wrong with the definition of a node.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum NodeFault {
    /// Its parameters are wrong, or missing.
    Config(String),
    /// A rule of it cannot be read.
    Rule(RuleError),
    /// The graph inside it has faults.
    Inside(Vec<Fault>),
    /// Its name is that of no function.
    UnknownFunction {
        /// The name.
        name: String,
        /// The function most like it.
        nearest: Option<String>,
    },
    /// The budget does not allow it.
    OverBudget(Box<OverBudget>),
}

impl From<RuleError> for NodeFault {
    fn from(error: RuleError) -> Self {
        Self::Rule(error)
    }
}

impl From<OverBudget> for NodeFault {
    fn from(refusal: OverBudget) -> Self {
        Self::OverBudget(Box::new(refusal))
    }
}

impl From<BuildError> for NodeFault {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Faults(faults) => Self::Inside(faults),
            BuildError::OverBudget(refusal) => Self::OverBudget(refusal),
            BuildError::NoThread(error) => Self::Config(error),
        }
    }
}

/// What a factory has at hand.
#[derive(Debug)]
pub struct Building<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) account: &'a Account,
    pub(crate) depth: usize,
}

impl Building<'_> {
    /// The node's parameters as `T`.
    ///
    /// # Errors
    /// [`NodeFault::Config`], with the field that is wrong.
    pub fn config<T: DeserializeOwned>(&self, def: &NodeDef) -> Result<T, NodeFault> {
        let value = serde_json::Value::Object(def.with.clone());
        serde_json::from_value(value).map_err(|error| NodeFault::Config(error.to_string()))
    }

    /// A rule.
    ///
    /// # Errors
    /// [`NodeFault::Rule`].
    pub fn rule(&self, text: &str) -> Result<Rule, NodeFault> {
        Ok(Rule::parse_here(text)?)
    }

    /// A graph inside the node.
    ///
    /// # Errors
    /// [`NodeFault::Inside`], also where graphs are inside each other more than [`MAX_NESTING`]
    /// deep.
    pub fn graph(&self, def: &GraphDef) -> Result<Graph, NodeFault> {
        if self.depth == MAX_NESTING {
            let message = format!("graphs are inside each other more than {MAX_NESTING} deep");
            return Err(NodeFault::Config(message));
        }
        let inside = Building { depth: self.depth + 1, ..*self };
        Ok(Graph::build_here(def, &inside)?)
    }

    /// The account of the graph.
    pub fn account(&self) -> &Account {
        self.account
    }
}

type Factory = dyn Fn(&NodeDef, &Building<'_>) -> Result<Box<dyn Node>, NodeFault> + Send + Sync;

/// What makes the nodes of a kind.
pub(crate) enum Kind {
    Rule,
    Condition,
    Made(Box<Factory>),
}

/// The kinds of nodes that a graph may name, and the functions that its nodes may call.
///
/// | kind | parameters (`with`) | what it does |
/// |---|---|---|
/// | `rule` | `rule`, or `set`: key to rule | writes the answer to the key that is the node's id, or each to its key |
/// | `condition` | `rule`, or `cases`: list of `branch`, `when` | edges with that `branch` are taken; `then` or `else` for `rule` |
/// | `function` | `name` | calls a function of the registry |
/// | `graph` | `graph` | runs a graph over values of its own |
/// | `map` | `graph`, `item`, `index`, `max` | runs a graph for each element of the list at port `items` |
/// | `loop` | `graph`, `while`, `max` | runs a graph again and again |
/// | `try` | `graph`, `catch` | runs a graph, and the other one if it fails |
///
/// ```
/// use ambit_flow::{Context, Executor, Graph, GraphDef, NodeError, Ports, Registry, Type};
/// use ambit_mem::{Budget, Bytes, Priority};
///
/// let mut registry = Registry::new();
/// let ports = Ports::new().read("text", Type::Text).write("loud", Type::Text);
/// registry.add_function("shout", ports, |scope| {
///     let loud = scope.text("text")?.to_uppercase();
///     scope.set("loud", &loud)
/// });
/// let def = GraphDef::from_yaml("
/// nodes:
///   - { id: shout, kind: function, with: { name: shout } }
/// ")?;
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("flow", Priority::Query);
/// let graph = Graph::build(&def, &registry, &account)?;
/// let mut context = Context::new(&account);
/// context.set("text", "hello")?;
/// Executor::new(&graph, &account)?.run(&mut context)?;
/// assert_eq!(context.text("loud")?, "HELLO");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Registry {
    kinds: BTreeMap<String, Kind>,
    functions: BTreeMap<String, Function>,
    results: Option<Arc<dyn ResultCache>>,
}

impl Registry {
    /// The kinds of this crate, and no function.
    pub fn new() -> Self {
        let mut registry =
            Self { kinds: BTreeMap::new(), functions: BTreeMap::new(), results: None };
        registry.kinds.insert("rule".to_owned(), Kind::Rule);
        registry.kinds.insert("condition".to_owned(), Kind::Condition);
        registry.add_kind("function", FunctionNode::from_def);
        registry.add_kind("graph", SubGraph::from_def);
        registry.add_kind("map", Each::from_def);
        registry.add_kind("loop", Rounds::from_def);
        registry.add_kind("try", Attempt::from_def);
        registry
    }

    /// Adds a kind of nodes, or replaces it.
    pub fn add_kind(
        &mut self,
        name: &str,
        factory: impl Fn(&NodeDef, &Building<'_>) -> Result<Box<dyn Node>, NodeFault>
        + Send
        + Sync
        + 'static,
    ) {
        self.kinds.insert(name.to_owned(), Kind::Made(Box::new(factory)));
    }

    /// Adds a function that nodes of kind `function` may call, or replaces it. What the closure
    /// holds on the heap is its owner's to account for.
    pub fn add_function(
        &mut self,
        name: &str,
        ports: Ports,
        call: impl Fn(&mut Scope<'_>) -> Result<(), NodeError> + Send + Sync + 'static,
    ) {
        let function = Function { ports, purity: Purity::Impure, call: Arc::new(call) };
        self.functions.insert(name.to_owned(), function);
    }

    /// Adds a function as [`Registry::add_function`] does, that gives the same for the same inputs
    /// at any time: a graph may keep its results.
    pub fn add_pure_function(
        &mut self,
        name: &str,
        ports: Ports,
        call: impl Fn(&mut Scope<'_>) -> Result<(), NodeError> + Send + Sync + 'static,
    ) {
        let function = Function { ports, purity: Purity::Pure, call: Arc::new(call) };
        self.functions.insert(name.to_owned(), function);
    }

    /// Says where results of nodes are kept whose definition says `cache`, in graphs that are built
    /// from now on.
    pub fn set_results(&mut self, results: Arc<dyn ResultCache>) {
        self.results = Some(results);
    }

    pub(crate) fn results(&self) -> Option<&Arc<dyn ResultCache>> {
        self.results.as_ref()
    }

    /// The names of all kinds.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.kinds.keys().map(String::as_str)
    }

    pub(crate) fn kind(&self, name: &str) -> Option<&Kind> {
        self.kinds.get(name)
    }

    pub(crate) fn function(&self, name: &str) -> Result<Function, NodeFault> {
        self.functions.get(name).cloned().ok_or_else(|| NodeFault::UnknownFunction {
            name: name.to_owned(),
            nearest: crate::context::nearest(name, self.functions.keys().map(String::as_str)),
        })
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("kinds", &self.kinds.keys())
            .field("functions", &self.functions.keys())
            .finish()
    }
}

/// Bytes of a list of ports.
pub(crate) fn ports_heap(ports: &Ports) -> Bytes {
    let all = ports.reads.iter().chain(&ports.writes);
    Bytes::of(all.map(|port| size_of_val(port) + port.name.capacity()).sum())
}
