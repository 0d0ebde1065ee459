//! AVX2: 32 bytes a register.
//!
//! `floats` scores f32 and half floats, `bytes` scores int8, int4 and bits.

mod bytes;
mod floats;

pub(super) use bytes::AVX2 as AVX2_BYTES;
pub(super) use floats::AVX2;
