//! Why a string was not interned, and why an image was not restored.

use std::fmt;
use std::io;

use crate::{Bytes, OverBudget};

/// Why a string was not interned. All that was interned before stays as it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum InternError {
    /// There are as many strings as there may be.
    TooManyStrings {
        /// Distinct strings, at most.
        limit: u32,
    },
    /// The string does not fit into the text that may be kept.
    TooMuchText {
        /// Bytes of the string.
        requested: Bytes,
        /// Bytes of text kept now.
        used: Bytes,
        /// Bytes of text, at most.
        limit: Bytes,
    },
    /// The budget has no room.
    OverBudget(OverBudget),
}

impl fmt::Display for InternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyStrings { limit } => {
                write!(f, "the interner holds {limit} strings, its limit; raise max_strings")
            }
            Self::TooMuchText { requested, used, limit } => write!(
                f,
                "a string of {requested} does not fit beside {used} of text, of {limit} at most; \
                 raise max_text"
            ),
            Self::OverBudget(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for InternError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::OverBudget(refusal) => Some(refusal),
            _ => None,
        }
    }
}

impl From<OverBudget> for InternError {
    fn from(refusal: OverBudget) -> Self {
        Self::OverBudget(refusal)
    }
}

/// Why an image was not restored.
#[derive(Debug)]
#[non_exhaustive]
pub enum RestoreError {
    /// Reading failed.
    Io(io::Error),
    /// The bytes are not an image of an interner, or of a later format.
    Unknown {
        /// Version found; none where it is no image at all.
        version: Option<u32>,
    },
    /// The bytes are not what was written.
    Corrupt {
        /// Where, in bytes from the start of the image.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Its strings do not fit.
    Intern(InternError),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "an interner could not be read: {error}"),
            Self::Unknown { version: None } => f.write_str("not an image of an interner"),
            Self::Unknown { version: Some(version) } => {
                write!(f, "an image of an interner in format {version}; this reads format 1")
            }
            Self::Corrupt { offset, what } => {
                write!(f, "an image of an interner is corrupt at byte {offset}: {what}")
            }
            Self::Intern(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RestoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Intern(error) => Some(error),
            Self::Unknown { .. } | Self::Corrupt { .. } => None,
        }
    }
}

impl From<InternError> for RestoreError {
    fn from(error: InternError) -> Self {
        Self::Intern(error)
    }
}
