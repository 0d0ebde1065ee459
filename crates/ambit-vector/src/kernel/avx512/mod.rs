//! AVX-512: 64 bytes a register.
//!
//! `floats` scores f32 and half floats, `bytes` scores int8, int4 and bits.

mod bytes;
mod floats;

pub(super) use bytes::AVX512 as AVX512_BYTES;
pub(super) use floats::AVX512;
