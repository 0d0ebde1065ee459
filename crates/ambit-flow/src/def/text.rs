//! Graph files: JSON and YAML.
//!
//! Both go through serde, with limits on how deep they nest: `serde_json` has its own, and YAML is
//! read with a budget that also bounds anchors and aliases. An error says the line and the column.

use std::fmt;

use super::GraphDef;

/// Bytes of a graph file, at most.
pub const MAX_FILE: usize = 64 << 20;

/// Why a text is no graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    /// `JSON` or `YAML`.
    pub format: &'static str,
    /// What is wrong, with line and column.
    pub message: String,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a graph in {}: {}", self.format, self.message)
    }
}

impl std::error::Error for FormatError {}

const JSON: &str = "JSON";
const YAML: &str = "YAML";

impl GraphDef {
    /// Reads a graph from JSON.
    ///
    /// # Errors
    /// [`FormatError`], also for a text longer than [`MAX_FILE`].
    pub fn from_json(text: &str) -> Result<Self, FormatError> {
        check_len(JSON, text)?;
        serde_json::from_str(text).map_err(|error| fail(JSON, error))
    }

    /// Reads a graph from YAML.
    ///
    /// # Errors
    /// [`FormatError`], also for a text longer than [`MAX_FILE`].
    pub fn from_yaml(text: &str) -> Result<Self, FormatError> {
        check_len(YAML, text)?;
        // The reader's own budget counts events and nodes for files of people; a graph of
        // 100,000 nodes is larger, and its length is bounded already.
        let most = text.len().max(1024);
        let options = serde_saphyr::options! {
            // A key called `n` is a name, not a truth value.
            strict_booleans: true,
            budget: serde_saphyr::budget! {
                max_events: most,
                max_nodes: most,
                max_total_scalar_bytes: 2 * most,
                max_depth: 128,
                max_reader_input_bytes: Some(MAX_FILE),
            },
        };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| fail(YAML, error))
    }

    /// Reads a graph in whichever format `text` is: a text whose first sign is a brace is JSON.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn from_text(text: &str) -> Result<Self, FormatError> {
        if text.trim_start().starts_with('{') {
            Self::from_json(text)
        } else {
            Self::from_yaml(text)
        }
    }

    /// The graph as JSON, indented.
    ///
    /// # Errors
    /// [`FormatError`] where a number of its parameters is none that JSON has.
    pub fn to_json(&self) -> Result<String, FormatError> {
        serde_json::to_string_pretty(self).map_err(|error| fail(JSON, error))
    }

    /// The graph as YAML.
    ///
    /// # Errors
    /// [`FormatError`] where it cannot be written.
    pub fn to_yaml(&self) -> Result<String, FormatError> {
        serde_saphyr::to_string(self).map_err(|error| fail(YAML, error))
    }
}

fn check_len(format: &'static str, text: &str) -> Result<(), FormatError> {
    if text.len() > MAX_FILE {
        let message = format!("{} bytes; a graph has at most {MAX_FILE}", text.len());
        return Err(FormatError { format, message });
    }
    Ok(())
}

fn fail(format: &'static str, error: impl fmt::Display) -> FormatError {
    FormatError { format, message: error.to_string() }
}
