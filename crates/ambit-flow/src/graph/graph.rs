//! A graph that was checked and can be run.
//!
//! Nodes stand in the order in which they run, with their keys hashed, their rules parsed and
//! the edges that lead to each beside it. A graph does not change; runs of it share it.

use std::sync::Arc;

use ambit_mem::{Account, Bytes, Reservation};

use super::build::Builder;
use super::fault::BuildError;
use crate::def::{GraphDef, Join, On, OnError, Retry};
use crate::node::{Bound, Building, Condition, Node, Port, Purity, Registry, Rules};
use crate::policy::Breaker;
use crate::results::Kept;
use crate::rule::with_stack;
use crate::{Key, Rule};

/// A graph that was checked and can be run. Clones are the same graph.
///
/// ```
/// use ambit_flow::{Context, Executor, Graph, GraphDef, Registry};
/// use ambit_mem::{Budget, Bytes, Priority};
///
/// let def = GraphDef::from_yaml("
/// nodes:
///   - { id: score, kind: rule, with: { rule: 'income / 1000 + years * 5' } }
///   - { id: good, kind: condition, with: { rule: 'score >= 60' } }
///   - { id: approve, kind: rule, with: { set: { decision: '\"approve\"' } } }
///   - { id: decline, kind: rule, with: { set: { decision: '\"decline\"' } } }
/// edges:
///   - { from: score, to: good }
///   - { from: good, to: approve, branch: then }
///   - { from: good, to: decline, branch: else }
/// ")?;
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("flow/loans", Priority::Query);
/// let graph = Graph::build(&def, &Registry::new(), &account)?;
/// let mut executor = Executor::new(&graph, &account)?;
/// let mut context = Context::new(&account);
/// context.set("income", 48_000)?;
/// context.set("years", 3)?;
/// let outcome = executor.run(&mut context)?;
/// assert_eq!(context.text("decision")?, "approve");
/// assert_eq!((outcome.ran, outcome.skipped), (3, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Graph {
    pub(crate) inner: Arc<Inner>,
}

/// What all clones of a graph share.
pub(crate) struct Inner {
    pub name: Box<str>,
    /// In the order in which they run.
    pub steps: Box<[Step]>,
    /// Edges, by the step that they lead to.
    pub edges: Box<[Edge]>,
    /// Where each layer begins in `steps`, and the end of the last.
    pub layers: Box<[u32]>,
    pub reads: Box<[Port]>,
    pub writes: Box<[Port]>,
    /// Most ports that a step writes.
    pub most_writes: usize,
    /// The key that says what failed.
    pub error: Key,
    pub charge: Option<Reservation>,
}

/// A node, as it is run.
pub(crate) struct Step {
    pub id: Box<str>,
    pub kind: Box<str>,
    pub work: Work,
    pub reads: Box<[Bound]>,
    pub writes: Box<[Bound]>,
    /// Its edges in `Inner::edges`.
    pub edges: std::ops::Range<u32>,
    pub is_entry: bool,
    pub join: Join,
    pub on_error: OnError,
    /// Whether an edge takes its failures up.
    pub is_caught: bool,
    pub policy: Option<Box<Policy>>,
}

/// What a node does.
pub(crate) enum Work {
    Rules(Rules),
    Condition(Condition),
    Node(Box<dyn Node>),
}

/// How a node is tried, and whether its results are kept.
#[derive(Debug)]
pub(crate) struct Policy {
    pub retry: Option<Retry>,
    pub timeout_ms: Option<u64>,
    pub breaker: Option<Breaker>,
    pub kept: Option<Kept>,
}

/// An edge, at the step that it leads to.
pub(crate) struct Edge {
    pub from: u32,
    pub on: On,
    /// The number of the branch that it stands for.
    pub branch: Option<u16>,
    /// The branch's name.
    pub label: Option<Box<str>>,
    pub rule: Option<Rule>,
}

impl Graph {
    /// Checks `def` and makes a graph of it.
    ///
    /// # Errors
    /// [`BuildError::Faults`] with everything that is wrong; [`BuildError::OverBudget`].
    ///
    /// # Cost
    /// One pass over nodes and edges, and some ten microseconds for each rule; on a thread of its
    /// own, for the parser's stack.
    pub fn build(
        def: &GraphDef,
        registry: &Registry,
        account: &Account,
    ) -> Result<Self, BuildError> {
        let building = Building { registry, account, depth: 0 };
        match with_stack(|| Self::build_here(def, &building)) {
            Ok(built) => built,
            Err(error) => Err(BuildError::NoThread(error.to_string())),
        }
    }

    /// Builds on a thread of [`with_stack`].
    pub(crate) fn build_here(def: &GraphDef, building: &Building<'_>) -> Result<Self, BuildError> {
        let mut inner = Builder::new(def, building).build()?;
        inner.charge = Some(building.account.reserve(inner.footprint())?);
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// How many nodes it has.
    pub fn len(&self) -> usize {
        self.inner.steps.len()
    }

    /// Whether it has no nodes; a graph that was checked has some.
    pub fn is_empty(&self) -> bool {
        self.inner.steps.is_empty()
    }

    /// How many layers its nodes stand in.
    pub fn depth(&self) -> usize {
        self.inner.depth()
    }

    /// The names of its nodes, in the order in which they run.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.inner.steps.iter().map(|step| &*step.id)
    }

    /// Keys that come from outside.
    pub fn reads(&self) -> &[Port] {
        &self.inner.reads
    }

    /// Keys that its definition names as outputs.
    pub fn writes(&self) -> &[Port] {
        &self.inner.writes
    }

    /// What its nodes are at worst.
    pub fn purity(&self) -> Purity {
        self.inner.steps.iter().map(|step| step.work.purity()).max().unwrap_or(Purity::Pure)
    }

    /// Bytes that it holds, but for the graphs inside its nodes, which are charged for
    /// themselves.
    pub fn footprint(&self) -> Bytes {
        self.inner.footprint()
    }
}

impl GraphDef {
    /// Checks the graph: that it is not empty, that names resolve, that edges lead in no circle,
    /// that all nodes can be reached, that rules and parameters can be read, and that what is read
    /// is set before, with the same type.
    ///
    /// # Errors
    /// As [`Graph::build`].
    pub fn validate(&self, registry: &Registry, account: &Account) -> Result<(), BuildError> {
        Graph::build(self, registry, account).map(drop)
    }
}

impl Inner {
    pub(crate) fn depth(&self) -> usize {
        self.layers.len() - 1
    }

    pub(crate) fn layer(&self, layer: usize) -> std::ops::Range<usize> {
        self.layers[layer] as usize..self.layers[layer + 1] as usize
    }

    pub(crate) fn footprint(&self) -> Bytes {
        let steps: usize = self.steps.iter().map(Step::heap).sum();
        let edges: usize = self.edges.iter().map(Edge::heap).sum();
        let ports = self.reads.iter().chain(&self.writes);
        let ports: usize = ports.map(|port| size_of_val(port) + port.name.capacity()).sum();
        let own = size_of::<Self>() + self.name.len() + size_of_val(&*self.layers);
        Bytes::of(own + steps + edges + ports + self.error.heap())
    }
}

impl Work {
    pub(crate) fn purity(&self) -> Purity {
        match self {
            Self::Rules(_) | Self::Condition(_) => Purity::Pure,
            Self::Node(node) => node.purity(),
        }
    }
}

impl Step {
    fn heap(&self) -> usize {
        let bound = self.reads.iter().chain(&self.writes);
        let bound: usize = bound.map(|bound| size_of_val(bound) + bound.heap()).sum();
        let footprint = |bytes: Bytes| usize::try_from(bytes.get()).unwrap_or(usize::MAX);
        let rules = |rules: &[Rule]| -> usize {
            rules.iter().map(|rule| footprint(rule.footprint())).sum()
        };
        let work = match &self.work {
            Work::Rules(work) => {
                let ports = work.writes.iter();
                let ports = ports.map(|port| size_of_val(port) + port.0.capacity());
                rules(&work.rules) + ports.sum::<usize>()
            }
            Work::Condition(work) => {
                let branches = work.branches().iter();
                rules(work.rules())
                    + branches.map(|branch| size_of_val(branch) + branch.len()).sum::<usize>()
            }
            Work::Node(node) => footprint(node.footprint()),
        };
        let policy = self.policy.as_ref().map_or(0, |policy| size_of_val(&**policy));
        size_of::<Self>() + self.id.len() + self.kind.len() + bound + work + policy
    }
}

impl Edge {
    fn heap(&self) -> usize {
        let rule = self.rule.as_ref().map_or(0, |rule| {
            // The rule's own place is in the edge's.
            let whole = usize::try_from(rule.footprint().get()).unwrap_or(usize::MAX);
            whole - size_of::<Rule>()
        });
        size_of::<Self>() + rule + self.label.as_ref().map_or(0, |label| label.len())
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph")
            .field("name", &self.name())
            .field("nodes", &self.len())
            .field("layers", &self.depth())
            .finish()
    }
}
