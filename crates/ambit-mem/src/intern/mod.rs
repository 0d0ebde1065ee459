//! Strings stored once, named by four bytes.
//!
//! An [`Interner`] gives each distinct string a [`Symbol`], in order of first sight, and keeps
//! both for its whole life. Finding a string that is known, and the string of a symbol, takes no
//! lock and copies nothing. What is kept is bounded, charged, and can be written and restored.
//! [`InternedProperties`] maps symbols to values, with room that survives clearing.
//!
//! | file | what is in it |
//! |---|---|
//! | `interner` | the interner as its users see it |
//! | `texts` | the strings, and where each of them is |
//! | `table` | from a string's hash to its symbol |
//! | `readers` | when may a table that was replaced be freed? |
//! | `block` | memory that carries its charge |
//! | `image` | the bytes that are written and restored |
//! | `properties`, `value` | symbols to values |
//! | `json` | properties to and from JSON |

#[allow(unsafe_code)]
mod block;
mod config;
mod counts;
mod error;
mod image;
#[allow(unsafe_code)]
mod interner;
#[cfg(feature = "json")]
mod json;
mod properties;
mod readers;
mod stats;
mod symbol;
#[allow(unsafe_code)]
mod table;
#[allow(unsafe_code)]
mod texts;
mod value;

pub use config::InternerConfig;
pub use error::{InternError, RestoreError};
pub use interner::Interner;
#[cfg(feature = "json")]
pub use json::JsonError;
pub use properties::InternedProperties;
pub use stats::InternerStats;
pub use symbol::Symbol;
pub use value::PropertyValue;
