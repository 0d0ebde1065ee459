//! How few bytes hold a vector bit for bit? Lossless coding of float32 embeddings.
//!
//! Embeddings that claim to be float32 are often something shorter: bfloat16 or float16 values,
//! integers with a scale, decimals of a text format, or any of them times a scalar that a service
//! divided by. The codec finds that origin for each vector and sends the short numbers: exponents
//! and leading bits with a static prefix code of the segment, the rest of the significand as it
//! is. True float32 loses what its exponents and the scales of its dimensions give away.
//!
//! A segment is a model, an index and one record for each vector, so any row is decoded by
//! itself. Whatever the bits are (NaN payloads, -0.0, subnormals), they come back: what an origin
//! does not give back exactly is sent in full, and what nothing shortens is stored.
//!
//! Buffers are the caller's; what encoding and decoding hold beside them is published as
//! functions. Budgets, files and threads are not known here.
//!
//! ```
//! use ambit_vector::lossless::{self, Encoder, Level, Scratch, Segment};
//!
//! let rows: Vec<f32> = (0..64 * 100).map(|i| (i as f32).sin()).collect(); // 100 x 64
//! let mut bytes = vec![0; lossless::max_encoded_len(100, 64).unwrap_or(0)];
//! let len = Encoder::new(64, Level::Compact)?.encode_segment(&rows, &mut bytes)?;
//!
//! let segment = Segment::open(&bytes[..len])?;
//! let (mut scratch, mut row) = (Scratch::new(64), vec![0.0; 64]);
//! segment.decode_row(7, &mut scratch, &mut row)?;
//! assert_eq!(row, rows[7 * 64..8 * 64]);
//! # Ok::<(), lossless::LosslessError>(())
//! ```

mod bits;
mod classes;
mod decode;
mod delta;
#[allow(unsafe_code)]
mod dispatch;
mod encode;
mod encoder;
mod error;
mod form;
mod model;
mod narrow;
mod numbers;
mod planes;
mod prefix;
mod report;
mod scalar;
mod segment;
mod tables;
mod train;

#[cfg(test)]
mod tests;

pub use decode::Scratch;
pub use encoder::{Encoder, Level, max_encoded_len, max_record_len};
pub use error::LosslessError;
pub use narrow::{Narrow, NarrowBuffer};
pub use report::{Origin, OriginShare, Report};
pub use segment::{Rows, Segment};

/// The longest vector that is encoded.
pub const MAX_DIM: usize = 65_536;
