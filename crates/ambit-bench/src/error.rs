//! What keeps a figure from being measured.

use std::fmt;

/// A message that says what, where and what to do.
#[derive(Debug)]
pub struct BenchError(String);

impl BenchError {
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// A failure at a path.
    pub fn at(path: &std::path::Path, error: impl fmt::Display) -> Self {
        Self(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BenchError {}

macro_rules! from {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for BenchError {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        })*
    };
}

from!(
    std::io::Error,
    serde_json::Error,
    nix::Error,
    ambit_mem::ArenaError,
    ambit_mem::OverBudget,
    ambit_embed::EmbedError,
    ambit_search::SearchError,
    ambit_store::StoreError,
    ambitdb::Error,
);
