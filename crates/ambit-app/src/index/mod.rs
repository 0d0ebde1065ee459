//! From folders to pieces of text: which files, what they hold, and where to cut them.
//!
//! - [`Walk`]: the files under the given paths, as ripgrep would list them, in a fixed order
//! - [`read`]: one file's text, or why it is not one
//! - [`split`]: pieces of about 1,000 characters with their lines; `borders` finds those of code
//!
//! Nothing here knows the store or an embedder.

mod borders;
pub mod read;
pub mod split;
mod walk;

pub use walk::{Found, Problem, Walk, key_of};
