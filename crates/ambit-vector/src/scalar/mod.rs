//! A quarter or an eighth of the bytes: each number as one of 256 or 16 levels.
//!
//! The levels of a row lie evenly between its smallest and its largest number, or those of each
//! dimension between the smallest and the largest of a sample. Training finds by how much the
//! ends are worth cutting off. Rows come as they are: who wants them rotated first rotates rows
//! and queries, which changes no score.

mod quantizer;
mod train;

pub use quantizer::{ScalarQuantizer, ScalarWidth};
pub use train::{ScalarOptions, ScalarRange};
