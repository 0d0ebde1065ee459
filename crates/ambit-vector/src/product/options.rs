//! What is asked of a product quantizer?

use crate::Metric;

/// Bits of the code of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// 16 centroids a part.
    Four,
    /// 256 centroids a part.
    Eight,
}

impl Bits {
    /// Centroids of a part.
    pub const fn centroids(self) -> usize {
        match self {
            Self::Four => 16,
            Self::Eight => 256,
        }
    }
}

/// Whether rows are rotated before they are cut into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Turn {
    /// Rows are cut as they are.
    None,
    /// By a rotation that is learned with the codebooks; training and encoding take longer, the
    /// model holds dim^2 floats more.
    Learned,
}

/// How to code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProductOptions {
    /// Numbers of a row.
    pub dim: usize,
    /// Parts, 1 to `dim`; where they do not divide the dimension the first ones are longer by one.
    pub parts: usize,
    /// Bits of the code of a part.
    pub bits: Bits,
    /// What scores mean; the cosine takes four more bytes a row.
    pub metric: Metric,
    /// Whether rows are rotated; [`Turn::None`] by default.
    pub turn: Turn,
    /// The most k-means steps of a part; 16 by default.
    pub steps: usize,
    /// What training draws with; 1 by default.
    pub seed: u64,
}

impl ProductOptions {
    /// `parts` parts of rows of `dim` numbers, the rest by default.
    pub const fn new(dim: usize, parts: usize, bits: Bits, metric: Metric) -> Self {
        Self { dim, parts, bits, metric, turn: Turn::None, steps: 16, seed: 1 }
    }
}
