//! Running a graph.
//!
//! | file | what is in it |
//! |---|---|
//! | `executor` | node by node |
//! | `parallel` | independent nodes at once |
//! | `step` | one node: whether it runs, and how it is tried |
//! | `options` | what bounds a run |
//! | `outcome` | how a run ended |
//! | `metrics` | what each node did |

mod executor;
mod metrics;
mod options;
mod outcome;
mod parallel;
mod step;

pub use executor::Executor;
pub use metrics::{NodeMetrics, NodeState, NodeTrace, Timing};
pub use options::RunOptions;
pub use outcome::{CalledOff, CalledOffBy, NodeFailure, Outcome, RunError};
pub use parallel::{ParallelExecutor, Workers};
