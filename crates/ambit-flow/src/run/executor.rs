//! Runs a graph, node by node.
//!
//! Layer by layer: first the edges say which nodes of the layer run, then those run in the order of
//! the definition, each giving its values to the context before the next one begins. All that a run
//! needs is kept from run to run. Failures are never swallowed: they end the run, or an edge takes
//! them up, or the node's definition says to go on without it and they are listed.

use std::time::Instant;

use ambit_mem::{Account, Arena, OverBudget};

use super::RunOptions;
use super::core::{Core, accessors, check};
use super::metrics::{NodeState, Timing};
use super::outcome::{Outcome, RunError};
use super::step::{self, Bench};
use crate::Context;
use crate::graph::Graph;
use crate::node::{Control, Outputs};

/// Runs a graph, node by node, on the thread that calls it.
///
/// One executor serves one thread; executors of the same graph share it.
///
/// ```
/// use ambit_flow::{ContextPool, Executor, Graph, GraphDef, Registry};
/// use ambit_mem::{Budget, Bytes, PoolConfig, Priority};
///
/// let def = GraphDef::from_yaml("
/// nodes:
///   - { id: total, kind: rule, with: { rule: 'price * count' } }
/// ")?;
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("flow", Priority::Query);
/// let graph = Graph::build(&def, &Registry::new(), &account)?;
/// let contexts = ContextPool::new(PoolConfig::default(), &account.child("contexts"))?;
/// let mut executor = Executor::new(&graph, &account)?;
/// for count in 1..=100 {
///     let mut context = contexts.acquire();
///     context.set("price", 3)?;
///     context.set("count", count)?;
///     executor.run(&mut context)?;
///     assert_eq!(context.int("total")?, 3 * count);
/// }
/// assert!(contexts.stats().reuse_rate() >= 0.99);
/// assert_eq!(executor.metrics("total").unwrap().runs, 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Executor {
    graph: Graph,
    core: Core,
    outputs: Outputs,
    arena: Arena,
}

impl Executor {
    /// An executor of `graph`, charged to `account`.
    ///
    /// # Errors
    /// [`OverBudget`].
    ///
    /// # Cost
    /// About a hundred bytes for each node.
    pub fn new(graph: &Graph, account: &Account) -> Result<Self, OverBudget> {
        let core = Core::new(graph, account)?;
        let mut outputs = Outputs::new(account);
        outputs.reserve(graph.inner.most_writes)?;
        let arena = Arena::new(account)?;
        Ok(Self { graph: graph.clone(), core, outputs, arena })
    }

    /// Runs the graph over `context`.
    ///
    /// # Errors
    /// [`RunError`] where a node failed and no edge takes that up; what nodes before it gave is in
    /// the context.
    ///
    /// # Cost
    /// What the nodes cost, and some tens of nanoseconds for each. No allocation of its own once
    /// the context knows the keys.
    pub fn run(&mut self, context: &mut Context) -> Result<Outcome, RunError> {
        self.run_with(context, &RunOptions::default())
    }

    /// Runs the graph over `context`, within `options`.
    ///
    /// # Errors
    /// As [`Executor::run`]; [`RunError::CalledOff`]; what is beyond the run's budget is the error
    /// of the node that gave it.
    ///
    /// # Cost
    /// As [`Executor::run`]; with a deadline, the clock is asked before each node.
    pub fn run_with(
        &mut self,
        context: &mut Context,
        options: &RunOptions<'_>,
    ) -> Result<Outcome, RunError> {
        let before = context.limit();
        context.set_limit(before.min(options.budget));
        let result = self.run_under(context, options.control());
        context.set_limit(before);
        result
    }

    /// Runs it under the control of a run around it.
    pub(crate) fn run_under(
        &mut self,
        context: &mut Context,
        control: Control<'_>,
    ) -> Result<Outcome, RunError> {
        let Self { graph, core, outputs, arena } = self;
        // Borrowed, not cloned: runs on other threads count the same graph's clones.
        let graph = &*graph.inner;
        core.begin();
        for layer in 0..graph.depth() {
            let nodes = graph.layer(layer);
            core.decide(graph, nodes.clone(), context, arena)?;
            for number in nodes {
                if core.progress.states[number] == NodeState::Skipped {
                    continue;
                }
                check(graph, number, &control)?;
                let start = (core.timing == Timing::On).then(Instant::now);
                let mut bench = Bench { context, outputs, arena, control };
                let report = step::run(&graph.steps[number], &mut bench);
                if let Some(start) = start {
                    core.took(number, start.elapsed());
                }
                core.settle(graph, number, report, outputs, context)?;
            }
        }
        Ok(core.outcome)
    }

    /// Whether nothing failed in the last run, so that what it gave may be kept.
    pub(crate) fn is_lasting(&self) -> bool {
        self.core.is_lasting
    }
}

accessors!(Executor);

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("graph", &self.graph).finish_non_exhaustive()
    }
}
