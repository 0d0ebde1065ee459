//! Why a step failed.

use std::fmt;

use ambit_mem::{ArenaError, OverBudget};

use crate::run::RunError;
use crate::{ContextError, RuleError, RuleErrorKind};

/// Why a step failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum NodeError {
    /// What it does failed, and might go well another time.
    Failed(Box<dyn std::error::Error + Send + Sync>),
    /// What it does failed, and would fail again.
    Hopeless(Box<dyn std::error::Error + Send + Sync>),
    /// It panicked; the text is the panic's.
    Panicked(String),
    /// It did not end in its time, in milliseconds.
    TimedOut(u64),
    /// The run was called off, or its deadline passed, while the node was at work.
    CalledOff,
    /// It failed too often and is given a rest.
    Resting,
    /// A value could not be read or written.
    Context(ContextError),
    /// A rule had no answer.
    Rule(RuleError),
    /// A step of the graph inside it failed.
    Inside(Box<RunError>),
    /// What is done for an element of a list failed.
    Element {
        /// Its place in the list, from 0.
        number: usize,
        /// Why.
        error: Box<NodeError>,
    },
    /// A list has more elements, or a loop more rounds, than the node may go through.
    TooMany(String),
}

impl NodeError {
    /// A failure that might go well another time.
    pub fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }

    /// A failure that would come again.
    pub fn hopeless(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Hopeless(error.into())
    }

    /// Whether trying again can help: only what the node itself calls a failure, alone or inside a
    /// graph of its own.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Failed(_) => true,
            Self::Inside(error) => error.is_retryable(),
            Self::Element { error, .. } => error.is_retryable(),
            _ => false,
        }
    }

    /// Whether bytes were short: those of the budget, or the run's own.
    pub fn is_over_budget(&self) -> bool {
        match self {
            Self::Context(error) => error.is_over_budget(),
            Self::Inside(error) => error.is_over_budget(),
            Self::Element { error, .. } => error.is_over_budget(),
            _ => false,
        }
    }

    /// Forgets which set name is nearest to one that is not: it depends on what else the layer has
    /// set so far, and what a graph reads of a failure must not.
    pub(crate) fn forget_nearest(&mut self) {
        match self {
            Self::Context(ContextError::Missing { nearest, .. }) => *nearest = None,
            Self::Rule(RuleError { kind: RuleErrorKind::Unset { nearest, .. }, .. }) => {
                *nearest = None;
            }
            _ => {}
        }
    }

    /// Whether a node panicked.
    pub(crate) fn is_panic(&self) -> bool {
        match self {
            Self::Panicked(_) => true,
            Self::Inside(error) => error.is_panic(),
            Self::Element { error, .. } => error.is_panic(),
            _ => false,
        }
    }

    /// One word for a program: what the key `error` of an error edge holds as `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::Hopeless(_) => "hopeless",
            Self::Panicked(_) => "panicked",
            Self::TimedOut(_) => "timed_out",
            Self::CalledOff => "called_off",
            Self::Resting => "resting",
            Self::Context(error) if error.is_over_budget() => "over_budget",
            Self::Context(_) => "context",
            Self::Rule(_) => "rule",
            Self::Inside(_) => "inside",
            Self::Element { error, .. } => error.kind(),
            Self::TooMany(_) => "too_many",
        }
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) | Self::Hopeless(error) => error.fmt(f),
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::TimedOut(ms) => write!(f, "did not end within {ms} ms"),
            Self::CalledOff => f.write_str("called off while at work"),
            Self::Resting => f.write_str("failed too often and is given a rest"),
            Self::Context(error) => error.fmt(f),
            Self::Rule(error) => error.fmt(f),
            Self::Inside(error) => error.fmt(f),
            Self::Element { number, error } => write!(f, "element {number}: {error}"),
            Self::TooMany(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for NodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(error) | Self::Hopeless(error) => Some(&**error),
            Self::Context(error) => Some(error),
            Self::Rule(error) => Some(error),
            Self::Inside(error) => Some(error),
            Self::Element { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl From<ContextError> for NodeError {
    fn from(error: ContextError) -> Self {
        Self::Context(error)
    }
}

impl From<RuleError> for NodeError {
    fn from(error: RuleError) -> Self {
        Self::Rule(error)
    }
}

impl From<OverBudget> for NodeError {
    fn from(refusal: OverBudget) -> Self {
        Self::Context(refusal.into())
    }
}

impl From<ArenaError> for NodeError {
    fn from(error: ArenaError) -> Self {
        match error {
            ArenaError::OverBudget(refusal) => Self::Context(refusal.into()),
            other => Self::Hopeless(other.into()),
        }
    }
}
