//! Why there is no filter.

use ambit_mem::OverBudget;

/// A filter that could not be made, or read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterError {
    /// Its bytes do not fit.
    OverBudget(OverBudget),
    /// The bytes are not those of a filter: what was expected, and what was found.
    Corrupt {
        /// What does not hold.
        what: &'static str,
        /// The number that was expected.
        expected: u64,
        /// The number that was found.
        found: u64,
    },
    /// No arrangement of the keys was found; with distinct keys this is less likely than a
    /// fault of the machine.
    NotBuilt {
        /// Distinct keys.
        keys: usize,
    },
}

impl std::fmt::Display for FilterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OverBudget(error) => write!(f, "no room for a filter: {error}"),
            Self::Corrupt { what, expected, found } => {
                write!(f, "not a filter: {what} should be {expected} and is {found}; build it anew")
            }
            Self::NotBuilt { keys } => write!(f, "no filter found for {keys} keys"),
        }
    }
}

impl std::error::Error for FilterError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::OverBudget(error) => Some(error),
            _ => None,
        }
    }
}

impl From<OverBudget> for FilterError {
    fn from(error: OverBudget) -> Self {
        Self::OverBudget(error)
    }
}
