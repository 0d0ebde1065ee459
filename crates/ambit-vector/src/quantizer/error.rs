//! What can go wrong between rows and codes? The caller's sizes, or damaged bytes.

use std::fmt;

/// Why rows could not be coded, scored, or a model not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodeError {
    /// The dimension is 0 or above [`MAX_DIM`](crate::lossless::MAX_DIM).
    Dimension {
        /// What was asked for.
        dim: usize,
    },
    /// A slice has not the length that rows and dimension ask for.
    Shape {
        /// What the slice holds.
        what: &'static str,
        /// Elements expected.
        expected: usize,
        /// Elements found.
        found: usize,
    },
    /// There is no row to train on.
    NoSample,
    /// A number of the sample is infinite or NaN.
    NotFinite,
    /// The bytes are no model: damaged, cut short, or of another format.
    Corrupt {
        /// The part that is wrong.
        part: &'static str,
    },
}

impl CodeError {
    /// Whether the bytes are to blame, not the caller.
    pub fn is_corrupt(self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

impl fmt::Display for CodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Dimension { dim } => {
                write!(f, "rows of {dim} numbers; 1 to {} are coded", crate::lossless::MAX_DIM)
            }
            Self::Shape { what, expected, found } => {
                write!(f, "{what}: {found} elements, expected {expected}")
            }
            Self::NoSample => write!(f, "no row to train on; give at least one"),
            Self::NotFinite => write!(f, "the sample has a number that is infinite or NaN"),
            Self::Corrupt { part } => write!(f, "damaged model of codes: {part}"),
        }
    }
}

impl std::error::Error for CodeError {}
