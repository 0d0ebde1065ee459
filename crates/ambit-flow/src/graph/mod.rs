//! Graphs that were checked.
//!
//! | file | what is in it |
//! |---|---|
//! | `graph` | a graph as it is run |
//! | `build` | from a definition to it |
//! | `order` | layers, circles, what can be reached |
//! | `keys` | is what is read set before, with the right type? |
//! | `fault` | what is wrong with a graph |

mod build;
mod fault;
#[expect(clippy::module_inception, reason = "the folder is named for its main file")]
mod graph;
mod keys;
mod order;

pub use fault::{BuildError, Fault};
pub use graph::Graph;
pub(crate) use graph::{Edge, Inner, Policy, Step, Work};
