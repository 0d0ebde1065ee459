//! Half of the bytes: rows as binary16 or bfloat16.
//!
//! A row is rounded element by element, so there is nothing to train.

mod number;

pub use number::Half;
