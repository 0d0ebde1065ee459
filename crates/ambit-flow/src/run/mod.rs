//! Running a graph.
//!
//! | file | what is in it |
//! |---|---|
//! | `executor` | node by node |
//! | `parallel` | independent nodes at once |
//! | `core` | what both keep of a run, and tell of it |
//! | `step` | one node: whether it runs, and how it is tried |
//! | `cached` | a step whose results are kept |
//! | `options` | what bounds a run |
//! | `outcome` | how a run ended |
//! | `metrics` | what each node did |

mod cached;
mod core;
mod executor;
mod metrics;
mod options;
mod outcome;
mod parallel;
mod step;

pub use executor::Executor;
pub use metrics::{Lookup, NodeMetrics, NodeState, NodeTrace, Timing};
pub use options::RunOptions;
pub use outcome::{CalledOff, CalledOffBy, NodeFailure, Outcome, RunError};
pub use parallel::{ParallelExecutor, Workers};
