//! Why an arena could not grow.

use std::fmt;

use crate::{Bytes, OverBudget};

/// Why an arena could not grow. The arena is as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArenaError {
    /// The budget has no room.
    OverBudget(OverBudget),
    /// The allocator has none.
    NoMemory {
        /// Bytes that were asked of it.
        requested: Bytes,
    },
    /// No address space has room for it.
    TooLarge {
        /// Items that were to be stored.
        items: usize,
        /// Size of one.
        item: Bytes,
    },
    /// Every number that a key can hold is in use.
    OutOfKeys,
}

impl fmt::Display for ArenaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverBudget(refusal) => refusal.fmt(f),
            Self::NoMemory { requested } => {
                write!(f, "the allocator has no {requested}; a lower budget would have said so")
            }
            Self::TooLarge { items, item } => {
                write!(f, "{items} items of {item} are more than an address space holds")
            }
            Self::OutOfKeys => write!(f, "all 2^32 - 1 slots are in use; use a second arena"),
        }
    }
}

impl std::error::Error for ArenaError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::OverBudget(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl From<OverBudget> for ArenaError {
    fn from(refusal: OverBudget) -> Self {
        Self::OverBudget(refusal)
    }
}
