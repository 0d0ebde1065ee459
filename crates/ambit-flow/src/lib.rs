//! Logic graphs: small graphs of steps, written down as data, checked once, and run thousands of
//! times a second over contexts that are used again.
//!
//! A [`GraphDef`] is what a graph file says, in JSON or YAML. [`Graph::build`] checks it, against
//! the kinds of nodes of a [`Registry`], and names everything that is wrong. An [`Executor`] runs
//! the graph over a [`Context`] of named values, which comes from a [`ContextPool`]; a
//! [`ParallelExecutor`] runs independent nodes, and the elements of lists, at once, with the same
//! answer. [`Rule`]s decide: in nodes, and on edges. A node that says `cache` is asked once for the
//! same inputs, where the program brings a [`ResultCache`]. Everything that is kept is charged to
//! an [`Account`](ambit_mem::Account). Stores and embeddings are not known here; programs bring
//! nodes for them.
//!
//! ```
//! use ambit_flow::{ContextPool, Executor, Graph, GraphDef, Registry};
//! use ambit_mem::{Budget, Bytes, PoolConfig, Priority};
//!
//! let def = GraphDef::from_yaml(r#"
//! name: loan
//! inputs: { income: float, debt: float }
//! outputs: [decision]
//! nodes:
//!   - { id: ratio, kind: rule, with: { rule: debt / income } }
//!   - { id: risk, kind: condition, with: { cases: [
//!       { branch: low, when: ratio < 0.3 }, { branch: middle, when: ratio < 0.5 } ] } }
//!   - { id: approve, kind: rule, with: { set: { decision: "'approve'" } } }
//!   - { id: review, kind: rule, with: { set: { decision: "'review'" } } }
//!   - { id: decline, kind: rule, with: { set: { decision: "'decline'" } } }
//! edges:
//!   - { from: ratio, to: risk }
//!   - { from: risk, to: approve, branch: low }
//!   - { from: risk, to: review, branch: middle }
//!   - { from: risk, to: decline, branch: else }
//! "#)?;
//! let budget = Budget::new(Bytes::mib(4));
//! let account = budget.account("loans", Priority::Query);
//! let graph = Graph::build(&def, &Registry::new(), &account)?;
//! let contexts = ContextPool::new(PoolConfig::default(), &account.child("contexts"))?;
//! let mut executor = Executor::new(&graph, &account)?;
//!
//! let mut context = contexts.acquire();
//! context.set("income", 52_000.0)?;
//! context.set("debt", 20_000.0)?;
//! executor.run(&mut context)?;
//! assert_eq!(context.text("decision")?, "review");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod context;
mod def;
mod draw;
mod graph;
mod node;
mod policy;
mod results;
mod rule;
mod run;
mod value;

pub use context::{AsKey, Context, ContextError, ContextPool, Key, PooledContext};
pub use def::{
    Caching, EdgeDef, FormatError, GraphDef, Join, MAX_FILE, NodeConfig, NodeDef, On, OnError,
    Retry,
};
pub use draw::Drawing;
pub use graph::{BuildError, Fault, Graph};
#[cfg(feature = "async")]
pub use node::{AsyncNode, Blocking};
pub use node::{
    Building, MAX_NESTING, Need, Node, NodeError, NodeFault, Port, Ports, Purity, Registry, Scope,
};
pub use policy::{BreakerPolicy, CancelToken, Clock, ManualClock, SystemClock};
pub use results::{CachedResult, ResultCache};
pub use rule::{MAX_DEPTH, MAX_STEPS, MAX_TESTS, MAX_TEXT, Place, Rule, RuleError, RuleErrorKind};
pub use run::{
    CalledOff, CalledOffBy, Executor, Lookup, NodeFailure, NodeMetrics, NodeState, NodeTrace,
    Outcome, ParallelExecutor, RunError, RunOptions, Timing, Workers,
};
pub use value::{Type, Value, ValueRef};
