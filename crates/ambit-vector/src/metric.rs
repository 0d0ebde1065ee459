//! What does nearest mean? The three metrics of dense vectors.

/// How two vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// The inner product of the two vectors over the product of their norms, in [-1, 1]; large
    /// is near. Undefined (NaN) where one of them is zero.
    Cosine,
    /// The inner product; large is near.
    InnerProduct,
    /// The euclidean distance, not squared; small is near.
    Euclidean,
}

impl Metric {
    /// All metrics, in the order of their names.
    pub const ALL: [Self; 3] = [Self::Cosine, Self::InnerProduct, Self::Euclidean];

    /// The name in schemas and on the command line: `cosine`, `inner-product`, `euclidean`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::InnerProduct => "inner-product",
            Self::Euclidean => "euclidean",
        }
    }

    /// The metric of this [`Metric::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
