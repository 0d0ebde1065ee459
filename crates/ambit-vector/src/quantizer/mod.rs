//! What do all codes have in common? The words, the error bound, and the interval.
//!
//! A [`Quantizer`] turns a row of f32 into a code of fixed length and [`RowTerms`], 16 bytes
//! beside it: what the code is worth, the norm of the row, and an upper bound on the distance
//! between the row and what its code says. So every score from a code comes with an interval
//! ([`Interval`]) that surely contains the score of the row itself; [`line`] has the proof.
//!
//! Codes and terms lie in buffers of the caller. A trained quantizer is a model of published
//! size; it is written with a checksum, and bytes that are none are a typed error.

mod error;
mod interval;
mod line;
mod model;
mod terms;
mod verbs;

pub use error::CodeError;
pub use interval::Interval;
pub use line::CodeQuery;
pub(crate) use line::{Constants, Line, Weighing};
pub(crate) use model::{Reader, Writer};
pub(crate) use terms::error_above;
pub use terms::{Coded, RowTerms};
pub use verbs::Quantizer;
pub(crate) use verbs::{check_coded, check_dim, check_rows};
