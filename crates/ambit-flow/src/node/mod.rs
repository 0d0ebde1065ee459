//! Steps: what they are, which kinds there are, and how they fail.
//!
//! | file | what is in it |
//! |---|---|
//! | `node_trait` | what a step is, and its ports |
//! | `purity` | what a step's answer depends on |
//! | `scope` | what a step sees of a run |
//! | `outputs` | what a step gives, until it has returned |
//! | `registry` | the kinds that a graph may name |
//! | `rules` | rules and conditions, which the executor runs itself |
//! | `function` | a function of the program |
//! | `inside` | running a graph inside a node |
//! | `sub_graph`, `each`, `rounds`, `attempt` | the kinds that do: `graph`, `map`, `loop`, `try` |
//! | `error` | why a step failed |

#[cfg(feature = "async")]
mod asynchronous;
mod attempt;
mod each;
mod error;
mod function;
mod inside;
mod node_trait;
mod outputs;
mod purity;
mod registry;
mod rounds;
mod rules;
mod scope;
mod sub_graph;

#[cfg(feature = "async")]
pub use asynchronous::{AsyncNode, Blocking};
pub use error::NodeError;
pub(crate) use inside::{ERROR, set_error};
pub use node_trait::{Need, Node, Port, Ports};
pub(crate) use outputs::Outputs;
pub use purity::Purity;
pub(crate) use registry::Kind;
pub use registry::{Building, MAX_NESTING, NodeFault, Registry};
pub(crate) use rules::{ANSWER, Condition, Rules, keys};
pub use scope::Scope;
pub(crate) use scope::{Bound, Control, View};
