//! One node of a run: whether it runs, and how it is tried.
//!
//! Both executors use this; what is here reads the context and does not write it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ambit_mem::Arena;

use super::cached;
use super::metrics::{Lookup, NodeState};
use super::outcome::RunError;
use crate::def::{Join, On};
use crate::graph::{Edge, Inner, Policy, Step, Work};
use crate::node::{Control, Node, NodeError, Outputs, Scope, View};
use crate::{Context, RuleError};

/// What is known of the nodes of a run so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub states: Vec<NodeState>,
    /// By node: the branch that it took, where it is a condition.
    pub branches: Vec<u16>,
}

/// The branch of what is no condition.
pub(super) const NO_BRANCH: u16 = u16::MAX;

/// How a node was tried.
#[derive(Debug)]
pub(super) struct Report {
    /// The branch that it took, or [`NO_BRANCH`].
    pub result: Result<u16, NodeError>,
    pub retries: u32,
    pub lookup: Lookup,
}

impl Report {
    #[inline]
    pub(super) fn new(result: Result<u16, NodeError>) -> Self {
        Self { result, retries: 0, lookup: Lookup::None }
    }
}

/// Whether step `number` runs.
#[inline]
pub(super) fn decide(
    graph: &Inner,
    number: usize,
    progress: &Progress,
    context: &Context,
    arena: &Arena,
) -> Result<bool, RunError> {
    let step = &graph.steps[number];
    if step.is_entry {
        return Ok(true);
    }
    let edges = &graph.edges[step.edges.start as usize..step.edges.end as usize];
    for edge in edges {
        let is_taken = takes(edge, progress, context, arena)
            .map_err(|error| edge_error(graph, edge, step, error))?;
        match (is_taken, step.join) {
            (true, Join::Any) => return Ok(true),
            (false, Join::All) => return Ok(false),
            _ => {}
        }
    }
    Ok(step.join == Join::All && !edges.is_empty())
}

#[cold]
fn edge_error(graph: &Inner, edge: &Edge, step: &Step, error: RuleError) -> RunError {
    let from = &graph.steps[edge.from as usize].id;
    RunError::Edge { edge: format!("{from} -> {}", step.id), error }
}

#[inline]
fn takes(
    edge: &Edge,
    progress: &Progress,
    context: &Context,
    arena: &Arena,
) -> Result<bool, RuleError> {
    let from = edge.from as usize;
    let wanted = match edge.on {
        On::Done => NodeState::Ran,
        On::Error => NodeState::Failed,
    };
    if progress.states[from] != wanted {
        return Ok(false);
    }
    if edge.branch.is_some_and(|branch| progress.branches[from] != branch) {
        return Ok(false);
    }
    edge.rule.as_ref().map_or(Ok(true), |rule| rule.holds(context, arena))
}

/// What a node works with.
pub(super) struct Bench<'a> {
    pub context: &'a Context,
    pub outputs: &'a mut Outputs,
    pub arena: &'a mut Arena,
    pub control: Control<'a>,
}

/// Runs a step, as often as its policy says.
#[inline]
pub(super) fn run(step: &Step, bench: &mut Bench<'_>) -> Report {
    let report = match &step.policy {
        None => Report::new(try_once(step, bench, bench.control)),
        Some(policy) => with_policy(step, policy, bench),
    };
    bench.arena.reset();
    report
}

/// Runs a step once.
#[inline]
fn try_once(step: &Step, bench: &mut Bench<'_>, control: Control<'_>) -> Result<u16, NodeError> {
    bench.outputs.clear();
    match &step.work {
        Work::Rules(rules) => {
            rules.run(bench.context, bench.outputs, bench.arena)?;
            Ok(NO_BRANCH)
        }
        Work::Condition(condition) => condition.run(bench.context, bench.arena),
        Work::Node(node) => {
            let view = View { context: bench.context, reads: &step.reads, control };
            let (writes, arena) = (&step.writes, &*bench.arena);
            let mut scope = Scope { view, writes, outputs: bench.outputs, arena };
            contained(&**node, &mut scope)
        }
    }
}

/// Runs a node; its panic becomes an error. What it may have left half done is its outputs, which
/// are cleared before the next node, and the context, which the run marks as spoilt.
fn contained(node: &dyn Node, scope: &mut Scope<'_>) -> Result<u16, NodeError> {
    match catch_unwind(AssertUnwindSafe(|| node.run(scope))) {
        Ok(result) => result.map(|()| NO_BRANCH),
        Err(panic) => {
            let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
                (Some(message), _) => (*message).to_owned(),
                (None, Some(message)) => message.clone(),
                (None, None) => "no message".to_owned(),
            };
            Err(NodeError::Panicked(message))
        }
    }
}

/// The time that a step may take.
#[derive(Clone, Copy)]
struct Timeout {
    ms: u64,
    end: Instant,
}

#[cold]
fn with_policy(step: &Step, policy: &Policy, bench: &mut Bench<'_>) -> Report {
    let start = bench.control.clock.now();
    let timeout = policy
        .timeout_ms
        .and_then(|ms| start.checked_add(Duration::from_millis(ms)).map(|end| Timeout { ms, end }));
    let Some(kept) = &policy.kept else { return guarded(step, policy, timeout, bench) };
    let outer = bench.control;
    let deadline = earlier(outer.deadline, timeout.map(|timeout| timeout.end));
    let within = Control { deadline, ..outer };
    let mut report =
        cached::run(kept, step, bench, &within, |bench| guarded(step, policy, timeout, bench));
    report.result = in_time(report.result, timeout, &outer);
    report
}

/// Runs a step as its breaker allows, and within its time.
fn guarded(
    step: &Step,
    policy: &Policy,
    timeout: Option<Timeout>,
    bench: &mut Bench<'_>,
) -> Report {
    let clock = bench.control.clock;
    if policy.breaker.as_ref().is_some_and(|breaker| breaker.admit(clock.now()).is_err()) {
        return Report::new(Err(NodeError::Resting));
    }
    let mut control = bench.control;
    control.deadline = earlier(control.deadline, timeout.map(|timeout| timeout.end));
    let (result, retries) = tries(step, policy, bench, control);
    let result = in_time(result, timeout, &bench.control);
    if let Some(breaker) = &policy.breaker {
        match &result {
            Ok(_) => breaker.succeeded(),
            Err(NodeError::CalledOff) => breaker.called_off(clock.now()),
            Err(_) => breaker.failed(clock.now()),
        }
    }
    Report { retries, ..Report::new(result) }
}

/// The run's own end is not the node's fault; that of its own time is.
fn in_time(
    result: Result<u16, NodeError>,
    timeout: Option<Timeout>,
    run: &Control<'_>,
) -> Result<u16, NodeError> {
    let Some(Timeout { ms, .. }) = timeout.filter(|timeout| run.clock.now() > timeout.end) else {
        return result;
    };
    match result {
        Err(NodeError::CalledOff) if !run.is_over() => Err(NodeError::TimedOut(ms)),
        Ok(_) => Err(NodeError::TimedOut(ms)),
        other => other,
    }
}

/// Tries a step until it succeeds, or is hopeless, or was tried often enough, or its time is up.
fn tries(
    step: &Step,
    policy: &Policy,
    bench: &mut Bench<'_>,
    control: Control<'_>,
) -> (Result<u16, NodeError>, u32) {
    let retry = policy.retry;
    let attempts = retry.map_or(1, |retry| retry.attempts);
    let mut retries = 0;
    loop {
        let result = try_once(step, bench, control);
        let is_last = retries + 1 >= attempts;
        match result {
            Err(error) if error.is_retryable() && !is_last => {
                if let Some(retry) = retry {
                    let wait = Duration::from_millis(retry.wait_ms(retries + 2));
                    let left = control
                        .deadline
                        .map_or(wait, |end| end.saturating_duration_since(control.clock.now()));
                    if left < wait {
                        // The next try would begin too late: the failure at hand says more.
                        return (Err(error), retries);
                    }
                    control.clock.wait(wait, control.cancel);
                }
                if control.is_over() {
                    return (Err(NodeError::CalledOff), retries);
                }
                bench.arena.reset();
                retries += 1;
            }
            other => return (other, retries),
        }
    }
}

/// The earlier of two ends.
fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
