//! Why could an object not be replaced or retired?

use std::fmt;
use std::time::Duration;

use super::Owned;
use crate::Bytes;

/// Garbage that readers may still see leaves no room for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GarbageFull {
    /// Bytes that would become garbage.
    pub requested: Bytes,
    /// Bytes of garbage now.
    pub held: Bytes,
    /// The collector's cap.
    pub cap: Bytes,
    /// The reader that has been pinned for longest, and for how long at least; `None` where
    /// none is, and other threads are freeing.
    pub reader: Option<(String, Duration)>,
}

impl fmt::Display for GarbageFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requested, held, cap, reader } = self;
        write!(f, "garbage full: {requested} would be added to {held} of at most {cap}")?;
        match reader {
            _ if requested > cap => write!(f, "; a cap of at least {requested} would fit it"),
            Some((name, age)) => {
                write!(f, "; reader {name} has been pinned for {} ms or more", age.as_millis())
            }
            None => write!(f, "; others are freeing; try again"),
        }
    }
}

impl std::error::Error for GarbageFull {}

/// Why an object was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// What it replaces would not fit into the garbage, or it never would itself.
    Full(GarbageFull),
    /// The pointer leads to another object than the one that was expected.
    Changed,
    /// The pointer belongs to another collector.
    Foreign,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(full) => full.fmt(f),
            Self::Changed => {
                write!(f, "somebody else replaced the object meanwhile; read it again")
            }
            Self::Foreign => write!(f, "the pointer belongs to another collector"),
        }
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Full(full) => Some(full),
            _ => None,
        }
    }
}

impl From<GarbageFull> for Refused {
    fn from(full: GarbageFull) -> Self {
        Self::Full(full)
    }
}

/// An object that was not taken, and why. Nothing changed.
pub struct Rejected<T> {
    /// The object.
    pub value: Owned<T>,
    /// Why it was not taken.
    pub reason: Refused,
}

impl<T> fmt::Debug for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<T> std::error::Error for Rejected<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.reason.source()
    }
}
