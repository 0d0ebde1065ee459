//! Why a value could not be read or written.

use std::fmt;

use ambit_mem::{Bytes, OverBudget};

use crate::Type;

/// Why a value could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextError {
    /// Nothing was set under this key.
    Missing {
        /// The key.
        key: String,
        /// The key most like it that is set.
        nearest: Option<String>,
    },
    /// The value is of another type.
    WrongType {
        /// The key.
        key: String,
        /// What was asked for.
        expected: Type,
        /// What is there.
        found: &'static str,
    },
    /// The run's own limit does not allow it.
    OverLimit {
        /// The key.
        key: String,
        /// Bytes that all values would say.
        needed: Bytes,
        /// Bytes that they may say.
        limit: Bytes,
    },
    /// The byte budget does not allow it.
    OverBudget(Box<OverBudget>),
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { key, nearest } => {
                write!(f, "nothing is set under '{}'", key.escape_debug())?;
                match nearest {
                    Some(near) => write!(f, "; is '{}' meant?", near.escape_debug()),
                    None => Ok(()),
                }
            }
            Self::WrongType { key, expected, found } => {
                write!(f, "'{}' is {found}, not {expected}", key.escape_debug())
            }
            Self::OverLimit { key, needed, limit } => write!(
                f,
                "over the run's budget: with '{}' its values would take {needed}, and may take \
                 {limit}",
                key.escape_debug()
            ),
            Self::OverBudget(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for ContextError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::OverBudget(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl ContextError {
    /// Whether bytes were short: those of the budget, or the run's own.
    pub fn is_over_budget(&self) -> bool {
        matches!(self, Self::OverBudget(_) | Self::OverLimit { .. })
    }
}

impl From<OverBudget> for ContextError {
    fn from(refusal: OverBudget) -> Self {
        Self::OverBudget(Box::new(refusal))
    }
}

/// The name of `names` that is most like `name`, if one is like it at all.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = names.map(|other| (strsim::normalized_damerau_levenshtein(name, other), other));
    let best = scored.filter(|(score, _)| *score >= 0.5).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, other)| other.to_owned())
}
