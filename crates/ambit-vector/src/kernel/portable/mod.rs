//! Every processor: plain Rust.
//!
//! `floats` scores f32 and half floats, `bytes` scores int8, int4 and bits.

mod bytes;
mod floats;

pub(super) use bytes::PORTABLE as PORTABLE_BYTES;
pub(super) use floats::PORTABLE;
