//! What is drawn: a graph, and what its nodes did in a run.

use super::{dot, svg};
use crate::def::On;
use crate::graph::{Edge, Graph, Step};
use crate::run::{Lookup, NodeState, NodeTrace};

/// A graph, to be drawn; with a trace, nodes show what became of them and how long that took.
///
/// ```
/// use ambit_flow::{Context, Drawing, Executor, Graph, GraphDef, Registry};
/// use ambit_mem::{Budget, Bytes, Priority};
///
/// let def = GraphDef::from_yaml("
/// nodes:
///   - { id: size, kind: condition, with: { rule: n > 9 } }
///   - { id: large, kind: rule, with: { rule: \"'large'\" } }
/// edges:
///   - { from: size, to: large, branch: then }
/// ")?;
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("flow", Priority::Query);
/// let graph = Graph::build(&def, &Registry::new(), &account)?;
/// let mut executor = Executor::new(&graph, &account)?;
/// let mut context = Context::new(&account);
/// context.set("n", 3)?;
/// executor.run(&mut context)?;
/// let drawing = Drawing::new(&graph).with_trace(executor.trace());
/// assert!(drawing.dot().contains(r#""size" -> "large" [label="then"]"#));
/// assert!(drawing.svg().contains("skipped"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Drawing<'a> {
    graph: &'a Graph,
    trace: Vec<NodeTrace<'a>>,
}

impl<'a> Drawing<'a> {
    /// A drawing of `graph`.
    pub fn new(graph: &'a Graph) -> Self {
        Self { graph, trace: Vec::new() }
    }

    /// Shows what nodes did in a run, as [`Executor::trace`](crate::Executor::trace) tells it.
    pub fn with_trace(mut self, trace: impl Iterator<Item = NodeTrace<'a>>) -> Self {
        self.trace = trace.collect();
        self
    }

    /// The graph in the language of Graphviz.
    pub fn dot(&self) -> String {
        dot::draw(self)
    }

    /// The graph as SVG, laid out in its layers from left to right.
    ///
    /// # Cost
    /// One pass over nodes and edges.
    pub fn svg(&self) -> String {
        svg::draw(self)
    }

    pub(super) fn name(&self) -> &str {
        self.graph.name()
    }

    /// Nodes by layer, in the order in which they run.
    pub(super) fn layers(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        (0..self.graph.depth()).map(|layer| self.graph.inner.layer(layer))
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Step> {
        self.graph.inner.steps.iter()
    }

    /// Each edge with the nodes that it leads from and to.
    pub(super) fn edges(&self) -> impl Iterator<Item = (usize, usize, &Edge)> {
        let inner = &self.graph.inner;
        inner.steps.iter().enumerate().flat_map(move |(to, step)| {
            let edges = &inner.edges[step.edges.start as usize..step.edges.end as usize];
            edges.iter().map(move |edge| (edge.from as usize, to, edge))
        })
    }

    /// What became of node `number`, where a trace is shown.
    pub(super) fn state(&self, number: usize) -> Option<NodeState> {
        self.trace.get(number).map(|trace| trace.state)
    }

    /// The second line of node `number`: its kind, and what it did.
    pub(super) fn detail(&self, number: usize) -> String {
        let kind = &self.graph.inner.steps[number].kind;
        let Some(trace) = self.trace.get(number) else { return kind.to_string() };
        let state = match trace.lookup {
            Lookup::Hit => "from the cache",
            _ => trace.state.name(),
        };
        if trace.time.is_zero() {
            format!("{kind}, {state}")
        } else {
            format!("{kind}, {state} in {:.1?}", trace.time)
        }
    }
}

/// What an edge says: its branch, its rule, that it is for failures.
pub(super) fn label(edge: &Edge) -> String {
    let mut parts = Vec::with_capacity(3);
    if edge.on == On::Error {
        parts.push("error".to_owned());
    }
    parts.extend(edge.label.iter().map(|label| label.to_string()));
    parts.extend(edge.rule.iter().map(|rule| shorten(rule.text(), 40)));
    parts.join(", ")
}

/// At most `most` characters of `text`.
pub(super) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// The colour of what became of a node.
pub(super) fn colour(state: Option<NodeState>) -> &'static str {
    match state {
        None | Some(NodeState::Pending) => "#ffffff",
        Some(NodeState::Ran) => "#d9f2d9",
        Some(NodeState::Skipped) => "#e4e4e4",
        Some(NodeState::Failed) => "#f6d0d0",
    }
}
