//! Runs the independent nodes of a graph at once.
//!
//! The nodes of a layer do not depend on each other: they run on the threads of a pool, all over
//! the same context, which none of them writes. Each has outputs and scratch memory of its own.
//! When all have returned, what they gave goes into the context in the order of the definition, and
//! so do failures: the first one in that order ends the run, whichever happened first. So the
//! answer is the one that [`Executor`](super::Executor) gives, whatever the timing. Nodes that go over
//! lists use the same threads for the elements.
//!
//! The threads are those of a `rayon` pool, which is made once and may be shared.

use std::sync::Arc;
use std::time::Instant;

use ambit_mem::{Account, Arena, Bytes, OverBudget, Reservation};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::RunOptions;
use super::core::{Core, accessors, check};
use super::metrics::{NodeState, Timing};
use super::outcome::{Outcome, RunError};
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

    /// Runs `work` on one of the threads, from where it may use all of them.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.shared.pool.install(work)
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
    graph: Graph,
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
            graph: graph.clone(),
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
        let Self { graph, core, workers, places, pending, .. } = self;
        let graph = &*graph.inner;
        let control = Control { workers: Some(workers), ..control };
        core.begin();
        for layer in 0..graph.depth() {
            let nodes = graph.layer(layer);
            let Some(first) = places.first_mut() else { break };
            core.decide(graph, nodes.clone(), context, &mut first.arena)?;
            pending.clear();
            let states = &core.progress.states;
            let runs = nodes.filter(|&number| states[number] != NodeState::Skipped);
            pending.extend(runs.map(|number| number as u32));
            for numbers in pending.chunks(places.len()) {
                check(graph, numbers[0] as usize, &control)?;
                let places = &mut places[..numbers.len()];
                run_at_once(graph, numbers, places, core.timing, context, control);
                settle(core, graph, numbers, places, context)?;
            }
        }
        Ok(core.outcome)
    }
}

/// Runs nodes on the workers, each in a place of its own.
fn run_at_once(
    graph: &Inner,
    numbers: &[u32],
    places: &mut [Place],
    timing: Timing,
    context: &Context,
    control: Control<'_>,
) {
    let work = |place: &mut Place, number: u32| {
        let start = (timing == Timing::On).then(Instant::now);
        let (outputs, arena) = (&mut place.outputs, &mut place.arena);
        let mut bench = Bench { context, outputs, arena, control };
        place.report = Some(step::run(&graph.steps[number as usize], &mut bench));
        place.time = start.map(|start| start.elapsed()).unwrap_or_default();
    };
    match control.workers.filter(|_| numbers.len() > 1) {
        Some(workers) => workers.run(|| {
            let pairs = places.par_iter_mut().zip(numbers).with_max_len(1);
            pairs.for_each(|(place, number)| work(place, *number));
        }),
        None => places.iter_mut().zip(numbers).for_each(|(place, number)| work(place, *number)),
    }
}

/// Takes in what the nodes did, in the order of the definition.
fn settle(
    core: &mut Core,
    graph: &Inner,
    numbers: &[u32],
    places: &mut [Place],
    context: &mut Context,
) -> Result<(), RunError> {
    for (place, number) in places.iter_mut().zip(numbers) {
        let Some(report) = place.report.take() else { continue };
        let number = *number as usize;
        if core.timing == Timing::On {
            core.took(number, place.time);
        }
        core.settle(graph, number, report, &mut place.outputs, context)?;
    }
    Ok(())
}

accessors!(ParallelExecutor);

impl std::fmt::Debug for ParallelExecutor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParallelExecutor")
            .field("graph", &self.graph)
            .field("workers", &self.workers.len())
            .finish_non_exhaustive()
    }
}
