//! Half of the bytes: rows as binary16 or bfloat16.
//!
//! A row is rounded element by element, so there is nothing to learn from a sample. Rows that
//! are too large or too small for the format are multiplied by a power of two first, which is
//! kept beside the code as its step.

mod number;
mod quantizer;

pub use number::Half;
pub use quantizer::{HalfQuantizer, HalfQuery};
