//! What a step is.

use ambit_mem::Bytes;

use super::{NodeError, Purity, Scope};
use crate::Type;

/// A named place where a node takes or gives a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name; the key that it is bound to, unless the graph says otherwise.
    pub name: String,
    /// What it takes or gives.
    pub kind: Type,
    /// Whether a graph without a value for it is at fault.
    pub need: Need,
}

/// Whether a port has to have a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Some step before, or the caller, has to set it.
    Required,
    /// The node does without.
    Optional,
}

/// The ports of a node. It can read no key but those that its ports are bound to, and write none
/// but those: so the graph knows what depends on what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ports {
    /// Where it takes values.
    pub reads: Vec<Port>,
    /// Where it gives values.
    pub writes: Vec<Port>,
}

impl Ports {
    /// No ports.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a port that takes a value.
    pub fn read(mut self, name: &str, kind: Type) -> Self {
        self.reads.push(Port { name: name.to_owned(), kind, need: Need::Required });
        self
    }

    /// Adds a port that takes a value where there is one.
    pub fn read_optional(mut self, name: &str, kind: Type) -> Self {
        self.reads.push(Port { name: name.to_owned(), kind, need: Need::Optional });
        self
    }

    /// Adds a port that gives a value.
    pub fn write(mut self, name: &str, kind: Type) -> Self {
        self.writes.push(Port { name: name.to_owned(), kind, need: Need::Required });
        self
    }
}

/// A step of a graph.
///
/// Runs of the same graph share it, on any thread, at the same time; what it needs for itself it
/// keeps behind a lock, or in a pool. What it gives back reaches the context when it has returned
/// `Ok`, and not at all otherwise.
///
/// ```
/// use ambit_flow::{Node, NodeError, Ports, Scope, Type};
/// use ambit_mem::Bytes;
///
/// /// Counts the words of a text.
/// struct Words;
///
/// impl Node for Words {
///     fn ports(&self) -> Ports {
///         Ports::new().read("text", Type::Text).write("words", Type::Int)
///     }
///
///     fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
///         let words = scope.text("text")?.split_whitespace().count();
///         scope.set("words", words as i64)
///     }
///
///     fn footprint(&self) -> Bytes {
///         Bytes::of(size_of::<Self>())
///     }
/// }
/// ```
pub trait Node: Send + Sync {
    /// What it takes and gives.
    fn ports(&self) -> Ports;

    /// What its answer depends on: whether a graph may keep its results.
    fn purity(&self) -> Purity {
        Purity::default()
    }

    /// Does its work.
    ///
    /// # Errors
    /// Whatever keeps it from that. A panic is caught and becomes [`NodeError::Panicked`].
    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError>;

    /// Bytes that it holds, itself included; the graph is charged for them.
    fn footprint(&self) -> Bytes;
}
