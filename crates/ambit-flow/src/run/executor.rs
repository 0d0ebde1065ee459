//! Runs a graph, node by node.
//!
//! Layer by layer: first the edges say which nodes of the layer run, then those run in the order of
//! the definition, each giving its values to the context before the next one begins. All that a run
//! needs is kept from run to run. Failures are never swallowed: they end the run, or an edge takes
//! them up, or the node's definition says to go on without it and they are listed.

use std::time::Instant;

use ambit_mem::{Account, Arena, Bytes, OverBudget, Reservation};

use super::RunOptions;
use super::metrics::{NodeMetrics, NodeState, NodeTrace, Timing};
use super::outcome::{CalledOff, CalledOffBy, NodeFailure, Outcome, RunError};
use super::step::{self, Bench, NO_BRANCH, Progress, Report};
use crate::Context;
use crate::def::OnError;
use crate::graph::{Graph, Inner};
use crate::node::{Control, Outputs, set_error};

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
    pub(super) core: Core,
    outputs: Outputs,
    arena: Arena,
}

/// What both executors keep of a run.
pub(super) struct Core {
    pub graph: Graph,
    pub progress: Progress,
    pub metrics: Vec<NodeMetrics>,
    /// By node: the time it took, and the bytes it gave, in the last run.
    last: Vec<(std::time::Duration, u64)>,
    pub failures: Vec<NodeFailure>,
    pub timing: Timing,
    pub outcome: Outcome,
    _charge: Reservation,
}

impl Core {
    pub(super) fn new(graph: &Graph, account: &Account) -> Result<Self, OverBudget> {
        let nodes = graph.len();
        let each = size_of::<NodeState>()
            + size_of::<u16>()
            + size_of::<NodeMetrics>()
            + size_of::<(std::time::Duration, u64)>();
        let charge = account.reserve(Bytes::of(nodes * each))?;
        Ok(Self {
            graph: graph.clone(),
            progress: Progress {
                states: vec![NodeState::Pending; nodes],
                branches: vec![NO_BRANCH; nodes],
            },
            metrics: vec![NodeMetrics::default(); nodes],
            last: vec![Default::default(); nodes],
            failures: Vec::new(),
            timing: Timing::Off,
            outcome: Outcome::default(),
            _charge: charge,
        })
    }

    pub(super) fn begin(&mut self) {
        self.progress.states.fill(NodeState::Pending);
        self.failures.clear();
        self.outcome = Outcome::default();
    }

    /// Says of each node of a layer whether it is skipped.
    pub(super) fn decide(
        &mut self,
        nodes: std::ops::Range<usize>,
        context: &Context,
        arena: &mut Arena,
    ) -> Result<(), RunError> {
        for number in nodes {
            if !step::decide(&self.graph.inner, number, &self.progress, context, arena)? {
                self.progress.states[number] = NodeState::Skipped;
                self.metrics[number].skipped += 1;
                self.outcome.skipped += 1;
            }
        }
        arena.reset();
        Ok(())
    }

    /// Takes in what a node did: its values, its branch, or its failure.
    #[inline]
    pub(super) fn settle(
        &mut self,
        number: usize,
        report: Report,
        outputs: &mut Outputs,
        context: &mut Context,
    ) -> Result<(), RunError> {
        let step = &self.graph.inner.steps[number];
        let metrics = &mut self.metrics[number];
        metrics.retries += u64::from(report.retries);
        let given = match report.result {
            Ok(branch) => outputs
                .commit(context, &step.writes)
                .map(|bytes| (branch, bytes as u64))
                .map_err(Into::into),
            Err(error) => Err(error),
        };
        match given {
            Ok((branch, bytes)) => {
                metrics.runs += 1;
                metrics.bytes += bytes;
                self.last[number].1 = bytes;
                self.progress.states[number] = NodeState::Ran;
                self.progress.branches[number] = branch;
                self.outcome.ran += 1;
                Ok(())
            }
            Err(error) => self.fail(number, error, context),
        }
    }

    #[cold]
    fn fail(
        &mut self,
        number: usize,
        mut error: crate::NodeError,
        context: &mut Context,
    ) -> Result<(), RunError> {
        let step = &self.graph.inner.steps[number];
        self.metrics[number].failed += 1;
        self.progress.states[number] = NodeState::Failed;
        self.last[number].1 = 0;
        if error.is_panic() {
            context.spoil();
        }
        let node = step.id.to_string();
        // A run that is called off ends; no edge can take that up.
        let ends = matches!(error, crate::NodeError::CalledOff);
        if ends || (!step.is_caught && step.on_error == OnError::Stop) {
            return Err(RunError::Node { node, error });
        }
        if step.is_caught {
            error.forget_nearest();
            set_error(context, &step.id, &error)
                .map_err(|refused| RunError::Node { node: node.clone(), error: refused.into() })?;
        }
        self.outcome.failed += 1;
        self.failures.push(NodeFailure { node, error });
        Ok(())
    }

    pub(super) fn took(&mut self, number: usize, time: std::time::Duration) {
        self.metrics[number].time += time;
        self.last[number].0 = time;
    }

    pub(super) fn check(&self, number: usize, control: &Control<'_>) -> Result<(), RunError> {
        if control.deadline.is_none() && control.cancel.is_none() {
            return Ok(());
        }
        called_off(&self.graph.inner, number, control)
    }

    fn number(&self, node: &str) -> Option<usize> {
        self.graph.inner.steps.iter().position(|step| &*step.id == node)
    }

    pub(super) fn metrics(&self, node: &str) -> Option<NodeMetrics> {
        self.number(node).map(|number| self.metrics[number])
    }

    pub(super) fn all_metrics(&self) -> impl Iterator<Item = (&str, &NodeMetrics)> {
        self.graph.inner.steps.iter().map(|step| &*step.id).zip(&self.metrics)
    }

    pub(super) fn trace(&self) -> impl Iterator<Item = NodeTrace<'_>> {
        let steps = self.graph.inner.steps.iter().enumerate();
        steps.map(|(number, step)| {
            let state = self.progress.states[number];
            let did = matches!(state, NodeState::Ran | NodeState::Failed);
            let (time, bytes) = if did { self.last[number] } else { Default::default() };
            NodeTrace { node: &step.id, state, time, bytes }
        })
    }
}

fn called_off(graph: &Inner, number: usize, control: &Control<'_>) -> Result<(), RunError> {
    let is_cancelled = control.cancel.is_some_and(crate::CancelToken::is_cancelled);
    if !is_cancelled && !control.is_over() {
        return Ok(());
    }
    let by = if is_cancelled { CalledOffBy::Token } else { CalledOffBy::Deadline };
    Err(RunError::CalledOff(CalledOff { by, before: graph.steps[number].id.to_string() }))
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
        Ok(Self { core, outputs, arena })
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
        self.core.begin();
        let graph = self.core.graph.clone();
        for layer in 0..graph.depth() {
            let nodes = graph.inner.layer(layer);
            self.core.decide(nodes.clone(), context, &mut self.arena)?;
            for number in nodes {
                if self.core.progress.states[number] != NodeState::Skipped {
                    self.core.check(number, &control)?;
                    self.run_node(&graph.inner, number, context, control)?;
                }
            }
        }
        Ok(self.core.outcome)
    }

    #[inline]
    fn run_node(
        &mut self,
        graph: &Inner,
        number: usize,
        context: &mut Context,
        control: Control<'_>,
    ) -> Result<(), RunError> {
        let start = (self.core.timing == Timing::On).then(Instant::now);
        let mut bench =
            Bench { context, outputs: &mut self.outputs, arena: &mut self.arena, control };
        let report = step::run(&graph.steps[number], &mut bench);
        if let Some(start) = start {
            self.core.took(number, start.elapsed());
        }
        self.core.settle(number, report, &mut self.outputs, context)
    }

    /// Says whether to take the time of each node.
    pub fn set_timing(&mut self, timing: Timing) {
        self.core.timing = timing;
    }

    /// The nodes that failed in the last run and did not end it, in order.
    pub fn failures(&self) -> &[NodeFailure] {
        &self.core.failures
    }

    /// What a node did over all runs.
    pub fn metrics(&self, node: &str) -> Option<NodeMetrics> {
        self.core.metrics(node)
    }

    /// What each node did over all runs, in the order in which they run.
    pub fn all_metrics(&self) -> impl Iterator<Item = (&str, &NodeMetrics)> {
        self.core.all_metrics()
    }

    /// What each node did in the last run, in the order in which they run.
    pub fn trace(&self) -> impl Iterator<Item = NodeTrace<'_>> {
        self.core.trace()
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("graph", &self.core.graph).finish_non_exhaustive()
    }
}
