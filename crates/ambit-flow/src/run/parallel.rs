//! Runs the independent nodes of a graph at once.
//!
//! The nodes of a layer do not depend on each other: they run on the threads of a pool, all over
//! the same context, which none of them writes. Each has outputs and scratch memory of its own.
//! When all have returned, what they gave goes into the context in the order of the definition, and
//! so do failures: the first one in that order ends the run, whichever happened first. So the
//! answer is the one that [`Executor`](super::Executor) gives, whatever the timing.
//!
//! The threads are those of a `rayon` pool, which is made once and may be shared.

use std::sync::Arc;
use std::time::Instant;

use ambit_mem::{Account, Arena, Bytes, OverBudget, Reservation};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::RunOptions;
use super::executor::Core;
use super::metrics::{NodeMetrics, NodeState, NodeTrace, Timing};
use super::outcome::{NodeFailure, Outcome, RunError};
use super::step::{self, Bench, Report};
use crate::Context;
use crate::graph::{Graph, Inner};
use crate::node::{Control, NodeError, Outputs};

/// Bytes that are reserved for each thread: what it touches of its stack, and what the pool keeps
/// of it.
const THREAD: Bytes = Bytes::kib(64);
/// Nodes at once for each thread: enough that uneven ones even out.
const PER_THREAD: usize = 8;

/// Threads that run nodes. Clones are the same threads; they end with the last clone.
#[derive(Debug, Clone)]
pub struct Workers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: ThreadPool,
    _charge: Reservation,
}

impl Workers {
    /// `threads` threads, at least one.
    ///
    /// # Errors
    /// [`NodeError::Context`] where the budget has no 64 KiB for each; [`NodeError::Failed`] where
    /// the system refuses a thread.
    pub fn new(threads: usize, account: &Account) -> Result<Self, NodeError> {
        let threads = threads.max(1);
        let charge = account.reserve(THREAD.saturating_mul(threads as u64))?;
        let builder = ThreadPoolBuilder::new().num_threads(threads);
        let pool = builder.thread_name(|number| format!("ambit-flow-{number}")).build();
        let pool = pool.map_err(NodeError::failed)?;
        Ok(Self { shared: Arc::new(Shared { pool, _charge: charge }) })
    }

    /// How many threads there are.
    pub fn len(&self) -> usize {
        self.shared.pool.current_num_threads()
    }

    /// Whether there is none; there is always one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Runs the independent nodes of a graph at once, with the answer of [`Executor`](super::Executor).
///
/// ```
/// use ambit_flow::{Context, Graph, GraphDef, ParallelExecutor, Registry, Workers};
/// use ambit_mem::{Budget, Bytes, Priority};
///
/// let def = GraphDef::from_yaml("
/// nodes:
///   - { id: left, kind: rule, with: { rule: 'n + 1' } }
///   - { id: right, kind: rule, with: { rule: 'n * 2' } }
///   - { id: sum, kind: rule, with: { rule: 'left + right' } }
/// edges:
///   - { from: left, to: sum }
///   - { from: right, to: sum }
/// ")?;
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("flow", Priority::Query);
/// let graph = Graph::build(&def, &Registry::new(), &account)?;
/// let workers = Workers::new(2, &account)?;
/// let mut executor = ParallelExecutor::new(&graph, &workers, &account)?;
/// let mut context = Context::new(&account);
/// context.set("n", 10)?;
/// executor.run(&mut context)?;
/// assert_eq!(context.int("sum")?, 31);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ParallelExecutor {
    core: Core,
    workers: Workers,
    places: Vec<Place>,
    /// Nodes of a layer that are to run.
    pending: Vec<u32>,
    _charge: Reservation,
}

/// What one node at work needs.
struct Place {
    outputs: Outputs,
    arena: Arena,
    report: Option<Report>,
    time: std::time::Duration,
}

impl ParallelExecutor {
    /// An executor of `graph` on the threads of `workers`, charged to `account`.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn new(graph: &Graph, workers: &Workers, account: &Account) -> Result<Self, OverBudget> {
        let widest = (0..graph.depth()).map(|layer| graph.inner.layer(layer).len()).max();
        let widest = widest.unwrap_or(0);
        let at_once = widest.min(workers.len() * PER_THREAD);
        let bytes = at_once * size_of::<Place>() + widest * size_of::<u32>();
        let charge = account.reserve(Bytes::of(bytes))?;
        let mut places = Vec::with_capacity(at_once);
        for _ in 0..at_once {
            let mut outputs = Outputs::new(account);
            outputs.reserve(graph.inner.most_writes)?;
            let arena = Arena::new(account)?;
            places.push(Place { outputs, arena, report: None, time: Default::default() });
        }
        Ok(Self {
            core: Core::new(graph, account)?,
            workers: workers.clone(),
            places,
            pending: Vec::with_capacity(widest),
            _charge: charge,
        })
    }

    /// Runs the graph over `context`.
    ///
    /// # Errors
    /// As [`Executor::run`](super::Executor::run).
    ///
    /// # Cost
    /// Some microseconds for each layer of more than one node.
    pub fn run(&mut self, context: &mut Context) -> Result<Outcome, RunError> {
        self.run_with(context, &RunOptions::default())
    }

    /// Runs the graph over `context`, within `options`.
    ///
    /// # Errors
    /// As [`Executor::run_with`](super::Executor::run_with).
    pub fn run_with(
        &mut self,
        context: &mut Context,
        options: &RunOptions<'_>,
    ) -> Result<Outcome, RunError> {
        let before = context.limit();
        context.set_limit(before.min(options.budget));
        let result = self.run_layers(context, options.control());
        context.set_limit(before);
        result
    }

    fn run_layers(
        &mut self,
        context: &mut Context,
        control: Control<'_>,
    ) -> Result<Outcome, RunError> {
        self.core.begin();
        let graph = self.core.graph.clone();
        for layer in 0..graph.depth() {
            let nodes = graph.inner.layer(layer);
            let Some(first) = self.places.first_mut() else { break };
            self.core.decide(nodes.clone(), context, &mut first.arena)?;
            self.pending.clear();
            let states = &self.core.progress.states;
            let runs = nodes.filter(|&number| states[number] != NodeState::Skipped);
            self.pending.extend(runs.map(|number| number as u32));
            let mut done = 0;
            while done < self.pending.len() {
                let end = self.pending.len().min(done + self.places.len());
                self.core.check(self.pending[done] as usize, &control)?;
                self.run_at_once(&graph.inner, done..end, context, control);
                self.settle(done..end, context)?;
                done = end;
            }
        }
        Ok(self.core.outcome)
    }

    fn run_at_once(
        &mut self,
        graph: &Inner,
        range: std::ops::Range<usize>,
        context: &Context,
        control: Control<'_>,
    ) {
        let timing = self.core.timing;
        let work = |place: &mut Place, number: u32| {
            let start = (timing == Timing::On).then(Instant::now);
            let (outputs, arena) = (&mut place.outputs, &mut place.arena);
            let mut bench = Bench { context, outputs, arena, control };
            place.report = Some(step::run(&graph.steps[number as usize], &mut bench));
            place.time = start.map(|start| start.elapsed()).unwrap_or_default();
        };
        let pending = &self.pending[range];
        let places = &mut self.places[..pending.len()];
        match pending {
            [number] => work(&mut places[0], *number),
            _ => self.workers.shared.pool.install(|| {
                let pairs = places.par_iter_mut().zip(pending).with_max_len(1);
                pairs.for_each(|(place, number)| work(place, *number));
            }),
        }
    }

    /// Takes in what the nodes did, in the order of the definition.
    fn settle(
        &mut self,
        range: std::ops::Range<usize>,
        context: &mut Context,
    ) -> Result<(), RunError> {
        for (place, number) in self.places.iter_mut().zip(&self.pending[range]) {
            let Some(report) = place.report.take() else { continue };
            let number = *number as usize;
            if self.core.timing == Timing::On {
                self.core.took(number, place.time);
            }
            self.core.settle(number, report, &mut place.outputs, context)?;
        }
        Ok(())
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

impl std::fmt::Debug for ParallelExecutor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParallelExecutor")
            .field("graph", &self.core.graph)
            .field("workers", &self.workers.len())
            .finish_non_exhaustive()
    }
}
