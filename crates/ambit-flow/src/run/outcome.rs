//! How a run ended.

use std::fmt;

use crate::RuleError;
use crate::node::NodeError;

/// How many nodes did what, in a run that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Nodes that did their work.
    pub ran: u32,
    /// Nodes that no edge that was taken led to.
    pub skipped: u32,
    /// Nodes that failed and whose failure an edge took up, or is to be skipped by their
    /// definition; [`Executor::failures`](crate::Executor::failures) has them.
    pub failed: u32,
}

/// A node that failed in a run that went on.
#[derive(Debug)]
pub struct NodeFailure {
    /// The node.
    pub node: String,
    /// Why.
    pub error: NodeError,
}

/// Why a run did not come to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// A node failed.
    Node {
        /// The node.
        node: String,
        /// Why.
        error: NodeError,
    },
    /// The rule of an edge had no answer.
    Edge {
        /// `a -> b`.
        edge: String,
        /// Why.
        error: RuleError,
    },
    /// It was called off, or its deadline passed.
    CalledOff(CalledOff),
}

/// Why a run was called off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalledOff {
    /// By whom.
    pub by: CalledOffBy,
    /// The first node that did not run.
    pub before: String,
}

/// Who called a run off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalledOffBy {
    /// Its token.
    Token,
    /// Its deadline.
    Deadline,
}

impl RunError {
    /// Whether trying again can help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Node { error, .. } if error.is_retryable())
    }

    /// Whether bytes were short: those of the budget, or the run's own.
    pub fn is_over_budget(&self) -> bool {
        matches!(self, Self::Node { error, .. } if error.is_over_budget())
    }

    /// Whether it was called off, or its deadline passed, before a node or inside one.
    pub fn is_called_off(&self) -> bool {
        matches!(self, Self::CalledOff(_) | Self::Node { error: NodeError::CalledOff, .. })
    }

    pub(crate) fn is_panic(&self) -> bool {
        matches!(self, Self::Node { error, .. } if error.is_panic())
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { node, error } => write!(f, "node '{}': {error}", node.escape_debug()),
            Self::Edge { edge, error } => write!(f, "edge {edge}: {error}"),
            Self::CalledOff(CalledOff { by, before }) => {
                let why = match by {
                    CalledOffBy::Token => "called off",
                    CalledOffBy::Deadline => "the deadline passed",
                };
                write!(f, "{why} before node '{}'", before.escape_debug())
            }
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Node { error, .. } => Some(error),
            Self::Edge { error, .. } => Some(error),
            Self::CalledOff(_) => None,
        }
    }
}
