//! What is wrong with a graph, each fault with the names that it concerns.

use std::fmt;

use ambit_mem::OverBudget;

use crate::node::NodeFault;
use crate::{RuleError, Type};

/// Faults that are listed, at most.
pub(crate) const MAX_FAULTS: usize = 64;

/// One thing that is wrong with a graph.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// It has no nodes.
    Empty,
    /// It has more nodes or edges than can be numbered.
    TooLarge,
    /// A node has no name.
    Nameless {
        /// Its place in the list, from 0.
        place: usize,
    },
    /// Two nodes have the same name.
    Duplicate {
        /// The name.
        node: String,
    },
    /// No such kind of node.
    UnknownKind {
        /// The node.
        node: String,
        /// The kind that it names.
        kind: String,
        /// The kind most like it.
        nearest: Option<String>,
    },
    /// An edge, or the entry, names a node that is not there.
    Dangling {
        /// Where: `edge a -> b`, `entry`.
        place: String,
        /// The name.
        name: String,
        /// The node most like it.
        nearest: Option<String>,
    },
    /// Edges lead in a circle.
    Cycle {
        /// The nodes of the circle in order, the first one again at the end.
        nodes: Vec<String>,
    },
    /// The entry does not lead to a node.
    Unreachable {
        /// The node.
        node: String,
    },
    /// A node's definition is wrong.
    Node {
        /// The node.
        node: String,
        /// What is wrong.
        fault: NodeFault,
    },
    /// The rule of an edge cannot be read.
    EdgeRule {
        /// `a -> b`.
        edge: String,
        /// What is wrong.
        error: RuleError,
    },
    /// An edge stands for a branch that its node does not have.
    UnknownBranch {
        /// `a -> b`.
        edge: String,
        /// The branch.
        branch: String,
        /// Those that there are; none where the node is no condition.
        branches: Vec<String>,
    },
    /// A graph binds a port that the node does not have.
    UnknownPort {
        /// The node.
        node: String,
        /// The port.
        port: String,
        /// The port most like it.
        nearest: Option<String>,
    },
    /// Nothing sets a key before it is read.
    NoSource {
        /// The node that reads.
        node: String,
        /// The key.
        key: String,
        /// The key most like it that is set.
        nearest: Option<String>,
    },
    /// A key is written and read, and no edge says in which order.
    Unordered {
        /// The key.
        key: String,
        /// The node that writes it.
        writer: String,
        /// The node that reads it.
        reader: String,
    },
    /// A key is written as one type and read as another.
    TypeMismatch {
        /// The key.
        key: String,
        /// Who writes it; `the caller` for an input.
        writer: String,
        /// The type that is written.
        gives: Type,
        /// The node that reads it.
        reader: String,
        /// The type that is read.
        takes: Type,
    },
    /// A key that is to be read after the run is set by nothing.
    NoOutput {
        /// The key.
        key: String,
        /// The key most like it that is set.
        nearest: Option<String>,
    },
    /// There are more faults than are listed.
    More {
        /// How many.
        count: usize,
    },
}

/// `; is 'x' meant?`, where something is like it.
struct Meant<'a>(&'a Option<String>);

impl fmt::Display for Meant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(near) => write!(f, "; is '{}' meant?", near.escape_debug()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the graph has no nodes"),
            Self::TooLarge => f.write_str("the graph has more nodes or edges than 32 bits count"),
            Self::Nameless { place } => write!(f, "node number {} has no id", place + 1),
            Self::Duplicate { node } => {
                write!(f, "two nodes have the id '{}'", node.escape_debug())
            }
            Self::UnknownKind { node, kind, nearest } => write!(
                f,
                "node '{}': no kind '{}'{}",
                node.escape_debug(),
                kind.escape_debug(),
                Meant(nearest)
            ),
            Self::Dangling { place, name, nearest } => {
                write!(f, "{place}: no node '{}'{}", name.escape_debug(), Meant(nearest))
            }
            Self::Cycle { nodes } => {
                write!(f, "edges lead in a circle: {}", nodes.join(" -> "))
            }
            Self::Unreachable { node } => {
                write!(f, "the entry does not lead to node '{}'", node.escape_debug())
            }
            Self::Node { node, fault } => write!(f, "node '{}': {fault}", node.escape_debug()),
            Self::EdgeRule { edge, error } => write!(f, "edge {edge}: {error}"),
            Self::UnknownBranch { edge, branch, branches } if branches.is_empty() => write!(
                f,
                "edge {edge}: branch '{}' of a node that is no condition",
                branch.escape_debug()
            ),
            Self::UnknownBranch { edge, branch, branches } => write!(
                f,
                "edge {edge}: no branch '{}'; there are {}",
                branch.escape_debug(),
                branches.join(", ")
            ),
            Self::UnknownPort { node, port, nearest } => write!(
                f,
                "node '{}': no port '{}'{}",
                node.escape_debug(),
                port.escape_debug(),
                Meant(nearest)
            ),
            Self::NoSource { node, key, nearest } => write!(
                f,
                "node '{}' reads '{}', which nothing sets before it{}",
                node.escape_debug(),
                key.escape_debug(),
                Meant(nearest)
            ),
            Self::Unordered { key, writer, reader } => write!(
                f,
                "'{}' is written by '{writer}' and read by '{reader}', and no edge says which \
                 comes first; add an edge {writer} -> {reader}",
                key.escape_debug()
            ),
            Self::TypeMismatch { key, writer, gives, reader, takes } => write!(
                f,
                "'{}' is {gives} from {writer}, and node '{reader}' reads {takes}",
                key.escape_debug()
            ),
            Self::NoOutput { key, nearest } => {
                write!(f, "output '{}' is set by nothing{}", key.escape_debug(), Meant(nearest))
            }
            Self::More { count } => write!(f, "and {count} more"),
        }
    }
}

impl fmt::Display for NodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(message) => f.write_str(message),
            Self::Rule(error) => error.fmt(f),
            Self::Inside(faults) => {
                f.write_str("in its graph: ")?;
                list(f, faults)
            }
            Self::UnknownFunction { name, nearest } => {
                write!(f, "no function '{}'{}", name.escape_debug(), Meant(nearest))
            }
            Self::OverBudget(refusal) => refusal.fmt(f),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, faults: &[Fault]) -> fmt::Result {
    for (number, fault) in faults.iter().enumerate() {
        let lead = if number == 0 { "" } else { "; " };
        write!(f, "{lead}{fault}")?;
    }
    Ok(())
}

/// Why a graph could not be built.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum BuildError {
    /// It is wrong in these places, at most 64 and then [`Fault::More`].
    Faults(Vec<Fault>),
    /// The byte budget does not allow it.
    OverBudget(Box<OverBudget>),
    /// The system has no thread on which rules could be parsed.
    NoThread(String),
}

impl BuildError {
    /// What is wrong with the graph; nothing where only the budget does not allow it.
    pub fn faults(&self) -> &[Fault] {
        match self {
            Self::Faults(faults) => faults,
            Self::OverBudget(_) | Self::NoThread(_) => &[],
        }
    }

    /// Whether bytes were short.
    pub fn is_over_budget(&self) -> bool {
        matches!(self, Self::OverBudget(_))
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Faults(faults) => list(f, faults),
            Self::OverBudget(refusal) => refusal.fmt(f),
            Self::NoThread(error) => write!(f, "no thread to parse rules on: {error}"),
        }
    }
}

impl std::error::Error for BuildError {}

impl From<OverBudget> for BuildError {
    fn from(refusal: OverBudget) -> Self {
        Self::OverBudget(Box::new(refusal))
    }
}

/// Faults as they are found; what is beyond the most is counted.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<Fault>,
    more: usize,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        if self.list.len() < MAX_FAULTS {
            self.list.push(fault);
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn into_error(mut self) -> BuildError {
        if self.more > 0 {
            self.list.push(Fault::More { count: self.more });
        }
        BuildError::Faults(self.list)
    }
}
