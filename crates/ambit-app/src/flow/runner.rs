//! Runs a graph on one thread or on several.

use ambit_flow::{
    Context, Executor, Graph, NodeError, NodeFailure, NodeTrace, Outcome, ParallelExecutor,
    RunError, RunOptions, Timing, Workers,
};
use ambit_mem::Account;

use crate::exit::{Code, Failure};

/// An executor of either sort.
pub enum Runner {
    /// Node by node.
    One(Executor),
    /// Independent nodes, and elements of lists, at once.
    Many(ParallelExecutor),
}

impl Runner {
    /// A runner of `graph` on `workers` threads, charged to `account`.
    pub fn new(graph: &Graph, workers: usize, account: &Account) -> Result<Self, Failure> {
        if workers <= 1 {
            return Ok(Self::One(Executor::new(graph, account)?));
        }
        let workers = Workers::new(workers, account).map_err(no_workers)?;
        Ok(Self::Many(ParallelExecutor::new(graph, &workers, account)?))
    }

    /// Runs the graph over `context`, within `options`.
    pub fn run(
        &mut self,
        context: &mut Context,
        options: &RunOptions<'_>,
    ) -> Result<Outcome, RunError> {
        match self {
            Self::One(executor) => executor.run_with(context, options),
            Self::Many(executor) => executor.run_with(context, options),
        }
    }

    /// Has the time of each node taken.
    pub fn take_times(&mut self) {
        match self {
            Self::One(executor) => executor.set_timing(Timing::On),
            Self::Many(executor) => executor.set_timing(Timing::On),
        }
    }

    /// The nodes that failed in the last run and did not end it.
    pub fn failures(&self) -> &[NodeFailure] {
        match self {
            Self::One(executor) => executor.failures(),
            Self::Many(executor) => executor.failures(),
        }
    }

    /// What each node did in the last run.
    pub fn trace(&self) -> Vec<NodeTrace<'_>> {
        match self {
            Self::One(executor) => executor.trace().collect(),
            Self::Many(executor) => executor.trace().collect(),
        }
    }
}

fn no_workers(error: NodeError) -> Failure {
    let code = if error.is_over_budget() { Code::OverBudget } else { Code::Io };
    Failure::new(code, format!("no threads for --workers: {error}"))
}
