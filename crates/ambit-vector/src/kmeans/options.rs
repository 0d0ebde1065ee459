//! What is asked for, what is told on the way, and what comes out.

/// The most clusters that are found.
pub const MAX_CLUSTERS: usize = 1 << 20;

/// Whether clusters are to be of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// Centroids lie where the mean squared distance is least.
    Nearest,
    /// While steps go on, clusters below half the mean size give up their place and split one
    /// above twice the mean, so that centroids move to where rows are dense. Sizes come out more
    /// alike, at some cost in distance.
    Even,
}

/// How to cluster.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Numbers of a row.
    pub dim: usize,
    /// Clusters, 1 to [`MAX_CLUSTERS`], and no more than rows.
    pub clusters: usize,
    /// The most Lloyd steps; 16 by default. Without balance, steps end early once they
    /// gain less than 0.1 %.
    pub steps: usize,
    /// What seeds are drawn with; 1 by default.
    pub seed: u64,
    /// Whether clusters are to be of one size; [`Balance::Nearest`] by default.
    pub balance: Balance,
}

impl Options {
    /// `clusters` clusters of rows of `dim` numbers, the rest by default.
    pub const fn new(dim: usize, clusters: usize) -> Self {
        Self { dim, clusters, steps: 16, seed: 1, balance: Balance::Nearest }
    }
}

/// How far training is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Progress {
    /// Seeds are being drawn.
    Seeding {
        /// Candidates so far.
        seeds: usize,
    },
    /// A Lloyd step is done.
    Step {
        /// Which one, from 1.
        step: usize,
        /// The most there will be.
        steps: usize,
        /// The mean squared distance of a row to its centroid before the centroids moved.
        distortion: f64,
    },
}

/// Centroids, and how good they are.
#[derive(Debug, Clone)]
pub struct Trained {
    /// clusters x dim, row-major.
    pub centroids: Vec<f32>,
    /// Lloyd steps that were made.
    pub steps: usize,
    /// The mean squared distance of a row to its centroid, as of the last step.
    pub distortion: f64,
    /// Rows of the sample in the largest cluster, as of the last step.
    pub largest: usize,
}
