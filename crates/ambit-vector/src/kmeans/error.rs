//! What can go wrong when clusters are looked for?

use std::fmt;

/// Why there are no centroids, or rows could not be assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KmeansError {
    /// The dimension is 0 or above [`MAX_DIM`](crate::rotation::MAX_DIM).
    Dimension {
        /// What was asked for.
        dim: usize,
    },
    /// More clusters than rows, none, or more than [`MAX_CLUSTERS`](super::MAX_CLUSTERS).
    Clusters {
        /// What was asked for.
        clusters: usize,
        /// Rows to draw them from.
        rows: usize,
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
    /// A row of the sample is infinite or NaN, or so large that its squared norm is.
    NotFinite {
        /// The first such row.
        row: usize,
    },
    /// The progress callback asked to stop.
    Cancelled,
}

impl fmt::Display for KmeansError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Dimension { dim } => {
                write!(f, "rows of {dim} numbers; 1 to {} are clustered", crate::rotation::MAX_DIM)
            }
            Self::Clusters { clusters, rows } => write!(
                f,
                "{clusters} clusters of {rows} rows; 1 to {} are found, and no more than rows",
                super::MAX_CLUSTERS
            ),
            Self::Shape { what, expected, found } => {
                write!(f, "{what}: {found} elements, expected {expected}")
            }
            Self::NotFinite { row } => {
                write!(f, "row {row} of the sample has no finite squared norm")
            }
            Self::Cancelled => write!(f, "cancelled before the clusters were found"),
        }
    }
}

impl std::error::Error for KmeansError {}
