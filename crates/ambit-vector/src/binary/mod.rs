//! One bit a number: on which side of its centre it is.
//!
//! A bit says more than its sign: the row's mean distance from the centres is kept beside it, so
//! that a code stands for a row, with a bound on the error as for every code. Two scans: by
//! Hamming distance, where the query becomes bits too, and with the query as integers, which
//! ranks better and gives intervals.

mod quantizer;

pub use quantizer::{BinaryCentre, BinaryQuantizer};
