//! Running a graph inside a node.
//!
//! A graph inside a node runs over a context of its own, which has what the node's ports brought
//! in. Context and executor are kept in a pool from run to run, so that a graph inside costs no
//! more in steady state than one outside. The run's own limit, its deadline and its cancelling hold
//! inside too.

use ambit_mem::{Account, Bytes, Lifecycle, ObjectPool, OverBudget, PoolConfig, Pooled};

use super::{NodeError, NodeFault, Port, Ports, Purity, Scope, View};
use crate::graph::Graph;
use crate::run::Executor;
use crate::{Context, Key};

/// A graph inside a node.
pub(crate) struct Inside {
    graph: Graph,
    pool: ObjectPool<Frame>,
}

/// What one run of it needs.
pub(crate) struct Frame {
    pub context: Context,
    executor: Result<Executor, OverBudget>,
}

impl Inside {
    /// The pool and what its frames grow by are charged to `inside` below `account`.
    pub(crate) fn new(graph: Graph, account: &Account) -> Result<Self, NodeFault> {
        let account = account.child("inside");
        let made_for = (graph.clone(), account.clone());
        let make = move || Frame {
            context: Context::new(&made_for.1),
            executor: Executor::new(&made_for.0, &made_for.1),
        };
        // Both parts charge themselves, whether they are lent or kept.
        let spoilt = |frame: &Frame| {
            let is_lost = frame.context.is_spoilt() || frame.executor.is_err();
            if is_lost { Bytes::MAX } else { Bytes::ZERO }
        };
        let lifecycle = Lifecycle::new(make, spoilt).reset(|frame: &mut Frame| {
            frame.context.clear();
        });
        let pool_account = account.child("pool");
        let pool = ObjectPool::new(PoolConfig::default(), &pool_account, lifecycle)?;
        Ok(Self { graph, pool })
    }

    pub(crate) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The ports that its inputs and outputs make, but for the keys that the node sets itself.
    pub(crate) fn ports(&self, own: &[&str]) -> Ports {
        let is_own = |port: &&Port| !own.contains(&port.name.as_str());
        let reads = self.graph.reads().iter().filter(is_own).cloned().collect();
        Ports { reads, writes: self.graph.writes().to_vec() }
    }

    /// What its nodes are at worst.
    pub(crate) fn purity(&self) -> Purity {
        self.graph.purity()
    }

    /// A frame whose context has what the ports bring in, within its share of what the run has
    /// left where `shares` frames are lent at once.
    pub(crate) fn enter(
        &self,
        view: &View<'_>,
        shares: usize,
    ) -> Result<Pooled<'_, Frame>, NodeError> {
        let mut frame = self.pool.acquire();
        let outside = view.context;
        let left = outside.limit().saturating_sub(outside.len_bytes());
        let share = Bytes::new(left.get() / shares.max(1) as u64);
        frame.context.set_limit(if outside.limit() == Bytes::MAX { Bytes::MAX } else { share });
        for port in self.graph.reads() {
            if let Some(value) = view.get(&port.name) {
                frame.context.set(&port.name, value)?;
            }
        }
        Ok(frame)
    }

    /// Unsets what a run of the graph has set, so that the next one begins as the first did.
    pub(crate) fn begin_again(&self, frame: &mut Frame, view: &View<'_>) -> Result<(), NodeError> {
        for bound in self.graph.inner.steps.iter().flat_map(|step| &step.writes) {
            frame.context.remove(&bound.key);
        }
        frame.context.remove(&self.graph.inner.error);
        // An input may have been overwritten.
        for port in self.graph.reads() {
            if !frame.context.contains(&port.name)
                && let Some(value) = view.get(&port.name)
            {
                frame.context.set(&port.name, value)?;
            }
        }
        Ok(())
    }

    /// Gives the graph's outputs at the ports of their names.
    pub(crate) fn leave(&self, frame: &Frame, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        if !frame.is_lasting() {
            scope.keep_no_result();
        }
        for port in self.graph.writes() {
            if let Some(value) = frame.context.get(&port.name) {
                scope.set(&port.name, value)?;
            }
        }
        Ok(())
    }

    pub(crate) fn footprint(&self) -> Bytes {
        // The graph and the pool charge themselves.
        Bytes::of(size_of::<Self>())
    }
}

impl Frame {
    /// Runs the graph once over the context.
    pub(crate) fn run(&mut self, view: &View<'_>) -> Result<(), NodeError> {
        match &mut self.executor {
            Ok(executor) => match executor.run_under(&mut self.context, view.control) {
                Ok(_) => Ok(()),
                Err(error) if error.is_called_off() => Err(NodeError::CalledOff),
                Err(error) => Err(NodeError::Inside(Box::new(error))),
            },
            Err(refusal) => Err(refusal.clone().into()),
        }
    }

    /// Whether nothing failed in its runs, so that what they gave may be kept.
    pub(crate) fn is_lasting(&self) -> bool {
        self.executor.as_ref().is_ok_and(Executor::is_lasting)
    }
}

/// Sets the key `error` to what a program reads of a failure.
pub(crate) fn set_error(
    context: &mut Context,
    node: &str,
    error: &NodeError,
) -> Result<(), crate::ContextError> {
    let fields = [("node", node), ("kind", error.kind())];
    let mut map: serde_json::Map<String, serde_json::Value> =
        fields.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    map.insert("message".to_owned(), error.to_string().into());
    context.put(Key::new(ERROR), crate::Value::Json(map.into()))
}

/// The key that says what failed.
pub(crate) const ERROR: &str = "error";
