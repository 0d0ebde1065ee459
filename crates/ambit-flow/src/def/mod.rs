//! A graph as data: what a graph file says.
//!
//! | file | what is in it |
//! |---|---|
//! | `caching` | keeping results |
//! | `graph_def` | graph, node and edge, field by field |
//! | `retry` | trying again |
//! | `text` | JSON and YAML |

mod caching;
mod graph_def;
mod retry;
mod text;

pub use caching::Caching;
pub use graph_def::{EdgeDef, GraphDef, Join, NodeConfig, NodeDef, On, OnError};
pub use retry::Retry;
pub use text::{FormatError, MAX_FILE};
