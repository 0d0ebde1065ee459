//! How are the codes of many rows scored at once? Thirty-two rows side by side.
//!
//! A block holds the codes of [`ROWS`] rows, interleaved so that one instruction works on all of
//! them and no sum across a register is needed. Two kernels:
//!
//! - tables: a code is nibbles, and each nibble picks one of sixteen bytes of a table that the
//!   query made; the bytes of a row are added up; or a code is bytes, and tables have 256. (F. Andre, A. Kermarrec and N. Le Scouarnec,
//!   "Cache locality is not enough", 2015.) A table lies in a register.
//! - fields: a code is unsigned numbers of 1, 2, 4 or 8 bits, and is multiplied by a query of
//!   signed bytes.
//!
//! Sums are integers, exact and the same on every processor: AVX-512 with VNNI, AVX2, NEON
//! (tables), portable. What the numbers mean is not known here.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;
mod layout;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod neon;
mod portable;
#[allow(unsafe_code)]
mod set;

#[cfg(test)]
mod tests;

pub(crate) use layout::{
    Field, ROWS, fields_len, get_field, nibble, put_field, put_nibble, tables_len,
};
pub(crate) use set::Blocks;
