//! 64-bit ARM: 16 bytes a register.
//!
//! `floats` scores f32 and half floats, `bytes` scores int8, int4 and bits.

mod bytes;
mod floats;

pub(super) use bytes::NEON as NEON_BYTES;
pub(super) use floats::NEON;
