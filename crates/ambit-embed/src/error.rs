//! What can go wrong between a text and its vector.
//!
//! A text itself never fails: whatever it holds, the answer is a vector. Errors come from the model's
//! files (missing, cut off, lying), from the budget, and from an output slice of the wrong length.

use std::fmt;
use std::path::PathBuf;

use ambit_mem::OverBudget;

/// Why an embedder could not be loaded, or a text not embedded.
#[derive(Debug)]
#[non_exhaustive]
pub enum EmbedError {
    /// The output slice does not hold as many values as the vectors to be written.
    WrongLength {
        /// Values needed: texts x dimensions.
        expected: usize,
        /// Values that the slice holds.
        found: usize,
    },
    /// A file of the model could not be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the model is not what the format asks for.
    Malformed {
        /// The file, by name.
        file: &'static str,
        /// What was expected and what was found.
        what: String,
    },
    /// The model does not fit into the budget.
    OverBudget(OverBudget),
}

impl EmbedError {
    /// True if a larger budget, or freeing something else, would help.
    pub fn is_over_budget(&self) -> bool {
        matches!(self, Self::OverBudget(_))
    }

    pub(crate) fn malformed(file: &'static str, what: impl Into<String>) -> Self {
        Self::Malformed { file, what: what.into() }
    }
}

impl fmt::Display for EmbedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongLength { expected, found } => write!(
                f,
                "the output holds {found} values, the vectors need {expected}: \
                 pass a slice of texts x dimensions"
            ),
            Self::Unreadable { path, source } => {
                write!(f, "cannot read the model's file {}: {source}", path.display())
            }
            Self::Malformed { file, what } => write!(
                f,
                "the model's file {file} is not of the format static-embedding-v1: {what}; \
                 get the model's four files again"
            ),
            Self::OverBudget(refusal) => write!(f, "the embedding model does not fit: {refusal}"),
        }
    }
}

impl std::error::Error for EmbedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::OverBudget(refusal) => Some(refusal),
            Self::WrongLength { .. } | Self::Malformed { .. } => None,
        }
    }
}

impl From<OverBudget> for EmbedError {
    fn from(refusal: OverBudget) -> Self {
        Self::OverBudget(refusal)
    }
}
