//! What can go wrong between rows and bytes? The caller's sizes, or damaged bytes.

use std::fmt;

/// Why rows could not be encoded or bytes not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LosslessError {
    /// The dimension is 0 or above [`MAX_DIM`](super::MAX_DIM).
    Dimension {
        /// What was asked for.
        dim: usize,
    },
    /// A slice has not the length that rows and dimension ask for.
    Shape {
        /// Elements expected.
        expected: usize,
        /// Elements found.
        found: usize,
    },
    /// The output does not take the encoding; [`max_encoded_len`](super::max_encoded_len) does.
    OutputFull {
        /// Bytes that were offered.
        offered: usize,
    },
    /// Rows or bytes exceed the 32 bits that a segment counts them with.
    TooLarge,
    /// There is no such row.
    NoSuchRow {
        /// The row asked for.
        row: usize,
        /// Rows of the segment.
        rows: usize,
    },
    /// The record is a difference, and the vector that it differs from was not given.
    NeedsPrevious,
    /// The bytes are no encoding: damaged, cut short, or of another format.
    Corrupt {
        /// The part that is wrong.
        part: &'static str,
    },
}

impl LosslessError {
    /// Whether the bytes are to blame, not the caller.
    pub fn is_corrupt(self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

impl fmt::Display for LosslessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Dimension { dim } => {
                write!(f, "vectors of {dim} numbers; 1 to {} are encoded", super::MAX_DIM)
            }
            Self::Shape { expected, found } => {
                write!(f, "{found} numbers, expected {expected}: rows times dimension")
            }
            Self::OutputFull { offered } => {
                write!(f, "{offered} bytes are too few for the encoding; max_encoded_len tells")
            }
            Self::TooLarge => write!(f, "more than 4 GiB or 2^32 rows; encode several segments"),
            Self::NoSuchRow { row, rows } => write!(f, "row {row} of a segment of {rows} rows"),
            Self::NeedsPrevious => write!(f, "a difference needs the vector that it differs from"),
            Self::Corrupt { part } => write!(f, "damaged lossless vectors: {part}"),
        }
    }
}

impl std::error::Error for LosslessError {}

/// The error of a part that is wrong.
pub(super) const fn corrupt(part: &'static str) -> LosslessError {
    LosslessError::Corrupt { part }
}
