//! What both executors keep of a run, and tell of it.
//!
//! Whichever thread did a node's work, what it gave comes here, one node after the other: its values
//! go into the context, its failure to where the definition says, its counts into the metrics.
//! `accessors` writes what an executor tells of that, once for both.

use std::time::Duration;

use ambit_mem::{Account, Arena, Bytes, OverBudget, Reservation};

use super::metrics::{Lookup, NodeMetrics, NodeState, NodeTrace, Timing};
use super::outcome::{CalledOff, CalledOffBy, NodeFailure, Outcome, RunError};
use super::step::{self, NO_BRANCH, Progress, Report};
use crate::Context;
use crate::def::OnError;
use crate::graph::{Graph, Inner, Step};
use crate::node::{Control, Outputs, set_error};

/// What both executors keep of a run.
pub(super) struct Core {
    pub progress: Progress,
    pub metrics: Vec<NodeMetrics>,
    last: Vec<Last>,
    /// Whether what the last run gave may be kept: nothing failed in it, or in a graph inside.
    pub is_lasting: bool,
    pub failures: Vec<NodeFailure>,
    pub timing: Timing,
    pub outcome: Outcome,
    _charge: Reservation,
}

/// What a node did in the last run.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    time: Duration,
    bytes: u64,
    lookup: Lookup,
}

impl Core {
    pub(super) fn new(graph: &Graph, account: &Account) -> Result<Self, OverBudget> {
        let nodes = graph.len();
        let each = size_of::<NodeState>()
            + size_of::<u16>()
            + size_of::<NodeMetrics>()
            + size_of::<Last>();
        let charge = account.reserve(Bytes::of(nodes * each))?;
        Ok(Self {
            progress: Progress {
                states: vec![NodeState::Pending; nodes],
                branches: vec![NO_BRANCH; nodes],
            },
            metrics: vec![NodeMetrics::default(); nodes],
            last: vec![Last::default(); nodes],
            is_lasting: true,
            failures: Vec::new(),
            timing: Timing::Off,
            outcome: Outcome::default(),
            _charge: charge,
        })
    }

    pub(super) fn begin(&mut self) {
        self.progress.states.fill(NodeState::Pending);
        self.failures.clear();
        self.is_lasting = true;
        self.outcome = Outcome::default();
    }

    /// Says of each node of a layer whether it is skipped.
    pub(super) fn decide(
        &mut self,
        graph: &Inner,
        nodes: std::ops::Range<usize>,
        context: &Context,
        arena: &mut Arena,
    ) -> Result<(), RunError> {
        for number in nodes {
            if !step::decide(graph, number, &self.progress, context, arena)? {
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
        graph: &Inner,
        number: usize,
        report: Report,
        outputs: &mut Outputs,
        context: &mut Context,
    ) -> Result<(), RunError> {
        let step = &graph.steps[number];
        let metrics = &mut self.metrics[number];
        metrics.retries += u64::from(report.retries);
        metrics.hits += u64::from(report.lookup == Lookup::Hit);
        metrics.misses += u64::from(report.lookup == Lookup::Miss);
        self.last[number].lookup = report.lookup;
        self.is_lasting &= outputs.is_lasting();
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
                self.last[number].bytes = bytes;
                self.progress.states[number] = NodeState::Ran;
                self.progress.branches[number] = branch;
                self.outcome.ran += 1;
                Ok(())
            }
            Err(error) => self.fail(step, number, error, context),
        }
    }

    #[cold]
    fn fail(
        &mut self,
        step: &Step,
        number: usize,
        mut error: crate::NodeError,
        context: &mut Context,
    ) -> Result<(), RunError> {
        self.is_lasting = false;
        self.metrics[number].failed += 1;
        self.progress.states[number] = NodeState::Failed;
        self.last[number].bytes = 0;
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

    pub(super) fn took(&mut self, number: usize, time: Duration) {
        self.metrics[number].time += time;
        self.last[number].time = time;
    }

    pub(super) fn metrics(&self, graph: &Inner, node: &str) -> Option<NodeMetrics> {
        let number = graph.steps.iter().position(|step| &*step.id == node)?;
        Some(self.metrics[number])
    }

    pub(super) fn all_metrics<'a>(
        &'a self,
        graph: &'a Inner,
    ) -> impl Iterator<Item = (&'a str, &'a NodeMetrics)> {
        graph.steps.iter().map(|step| &*step.id).zip(&self.metrics)
    }

    pub(super) fn trace<'a>(&'a self, graph: &'a Inner) -> impl Iterator<Item = NodeTrace<'a>> {
        graph.steps.iter().enumerate().map(|(number, step)| {
            let state = self.progress.states[number];
            let did = matches!(state, NodeState::Ran | NodeState::Failed);
            let Last { time, bytes, lookup } =
                if did { self.last[number] } else { Last::default() };
            NodeTrace { node: &step.id, state, time, bytes, lookup }
        })
    }
}

/// Whether the run ends before node `number`.
#[inline]
pub(super) fn check(graph: &Inner, number: usize, control: &Control<'_>) -> Result<(), RunError> {
    if control.deadline.is_none() && control.cancel.is_none() {
        return Ok(());
    }
    let is_cancelled = control.cancel.is_some_and(crate::CancelToken::is_cancelled);
    if !is_cancelled && !control.is_over() {
        return Ok(());
    }
    let by = if is_cancelled { CalledOffBy::Token } else { CalledOffBy::Deadline };
    Err(RunError::CalledOff(CalledOff { by, before: graph.steps[number].id.to_string() }))
}

/// What an executor with a `core` and a `graph` tells of its runs.
macro_rules! accessors {
    ($executor:ty) => {
        impl $executor {
            /// Says whether to take the time of each node.
            pub fn set_timing(&mut self, timing: $crate::Timing) {
                self.core.timing = timing;
            }

            /// The nodes that failed in the last run and did not end it, in order.
            pub fn failures(&self) -> &[$crate::NodeFailure] {
                &self.core.failures
            }

            /// What a node did over all runs.
            pub fn metrics(&self, node: &str) -> Option<$crate::NodeMetrics> {
                self.core.metrics(&self.graph.inner, node)
            }

            /// What each node did over all runs, in the order in which they run.
            pub fn all_metrics(&self) -> impl Iterator<Item = (&str, &$crate::NodeMetrics)> {
                self.core.all_metrics(&self.graph.inner)
            }

            /// What each node did in the last run, in the order in which they run.
            pub fn trace(&self) -> impl Iterator<Item = $crate::NodeTrace<'_>> {
                self.core.trace(&self.graph.inner)
            }
        }
    };
}

pub(super) use accessors;
