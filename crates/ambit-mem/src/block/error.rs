//! Why a block could not be had, or not be filled.
//!
//! Three things can run out: the budget, the system's memory, and the room in a block. Each says
//! how much was asked for; what would have fitted a larger budget says which.

use std::fmt;

use crate::{Bytes, OverBudget};

/// Why a pool gave no block.
#[derive(Debug)]
#[non_exhaustive]
pub enum BlockError {
    /// A slab did not fit into the budget.
    OverBudget(Box<OverBudget>),
    /// No block of this pool is as large.
    TooLarge {
        /// Bytes that were asked for.
        requested: Bytes,
        /// The largest block there is.
        largest: Bytes,
    },
    /// A block has no room for what was to be written.
    Full(BlockFull),
    /// The system gave no memory.
    System {
        /// Bytes that were asked of it.
        requested: Bytes,
        /// What it said.
        source: std::io::Error,
    },
}

impl BlockError {
    /// Whether it would have fitted a larger budget.
    pub fn is_over_budget(&self) -> bool {
        matches!(self, Self::OverBudget(_))
    }
}

impl From<OverBudget> for BlockError {
    fn from(refusal: OverBudget) -> Self {
        Self::OverBudget(Box::new(refusal))
    }
}

impl From<BlockFull> for BlockError {
    fn from(full: BlockFull) -> Self {
        Self::Full(full)
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverBudget(refusal) => refusal.fmt(f),
            Self::Full(full) => full.fmt(f),
            Self::TooLarge { requested, largest } => write!(
                f,
                "a block of {requested} was asked for, the largest of this pool is {largest}; \
                 larger ones come from a BuddyPool"
            ),
            Self::System { requested, source } => {
                write!(f, "the system gave no {requested} of memory: {source}")
            }
        }
    }
}

impl std::error::Error for BlockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::OverBudget(refusal) => Some(refusal),
            Self::Full(full) => Some(full),
            Self::TooLarge { .. } => None,
            Self::System { source, .. } => Some(source),
        }
    }
}

/// More was to be written than a block has room for; nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFull {
    /// Bytes that were to be written.
    pub bytes: Bytes,
    /// Bytes that there was room for.
    pub room: Bytes,
}

impl fmt::Display for BlockFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} do not fit into the {} left of a block", self.bytes, self.room)
    }
}

impl std::error::Error for BlockFull {}
