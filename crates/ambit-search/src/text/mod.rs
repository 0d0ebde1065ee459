//! Which terms does a text have? Words as Unicode cuts them, in lower case, and the parts of identifiers.

mod language;
mod words;

pub use language::Language;
pub use words::Words;
