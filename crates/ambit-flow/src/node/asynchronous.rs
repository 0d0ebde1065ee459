//! Nodes that are written as async functions.
//!
//! Executors call nodes and wait for them; they have no event loop. [`Blocking`] makes a node of an
//! async one: the thread that runs the node polls its future and sleeps while it waits. A future
//! that needs a reactor of a certain runtime enters that runtime itself, with its handle.

use std::future::Future;
use std::pin::Pin;

use ambit_mem::Bytes;

use super::{Node, NodeError, Ports, Purity, Scope};

/// A step that is written as an async function.
pub trait AsyncNode: Send + Sync {
    /// What it takes and gives.
    fn ports(&self) -> Ports;

    /// As [`Node::purity`].
    fn purity(&self) -> Purity {
        Purity::default()
    }

    /// Does its work.
    ///
    /// # Errors
    /// Whatever keeps it from that.
    fn run<'a>(
        &'a self,
        scope: &'a mut Scope<'_>,
    ) -> Pin<Box<dyn Future<Output = Result<(), NodeError>> + 'a>>;

    /// Bytes that it holds, itself included.
    fn footprint(&self) -> Bytes;
}

/// Makes a node of an async one: a run waits for its future.
#[derive(Debug)]
pub struct Blocking<N>(
    /// The async node.
    pub N,
);

impl<N: AsyncNode> Node for Blocking<N> {
    fn ports(&self) -> Ports {
        self.0.ports()
    }

    fn purity(&self) -> Purity {
        self.0.purity()
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        pollster::block_on(self.0.run(scope))
    }

    fn footprint(&self) -> Bytes {
        self.0.footprint()
    }
}
