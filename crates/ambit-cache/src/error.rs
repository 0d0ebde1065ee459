//! Why something was not let in.

use ambit_mem::{Bytes, OverBudget};

/// A value that was not cached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InsertError {
    /// It is larger than the cap.
    TooLarge {
        /// Bytes that its entry takes.
        needed: Bytes,
        /// Bytes that the cache may have.
        cap: Bytes,
    },
    /// Everything that could go has gone, and it still does not fit: the rest is pinned, or what
    /// an account could give is held elsewhere.
    NoRoom {
        /// Bytes that its entry takes.
        needed: Bytes,
        /// Bytes of pinned entries.
        pinned: Bytes,
    },
}

impl std::fmt::Display for InsertError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge { needed, cap } => {
                write!(f, "an entry of {needed} is larger than the cache, which may have {cap}")
            }
            Self::NoRoom { needed, pinned } => {
                write!(f, "no room for an entry of {needed}; {pinned} are pinned")
            }
        }
    }
}

impl std::error::Error for InsertError {}

/// A change of the cap that was not possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapError {
    /// The cap that was asked for.
    pub cap: Bytes,
    /// Bytes that did not go: pinned entries, and tables.
    pub held: Bytes,
}

impl std::fmt::Display for CapError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a cap of {} is below the {} that are pinned or in tables", self.cap, self.held)
    }
}

impl std::error::Error for CapError {}

/// The cache could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateError {
    /// The account has no room for an empty cache.
    OverBudget(OverBudget),
    /// The cap has no room for an empty cache.
    CapTooSmall {
        /// The cap that was asked for.
        cap: Bytes,
        /// The smallest that would do.
        least: Bytes,
    },
}

impl std::fmt::Display for CreateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OverBudget(error) => write!(f, "no room for a cache: {error}"),
            Self::CapTooSmall { cap, least } => {
                write!(f, "a cap of {cap} is too small for a cache; {least} would do")
            }
        }
    }
}

impl std::error::Error for CreateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::OverBudget(error) => Some(error),
            Self::CapTooSmall { .. } => None,
        }
    }
}
