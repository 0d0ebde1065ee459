//! Which instructions score the rows? The tree is the answer: one folder per instruction set.
//!
//! [`Kernels`] is a table of functions for one instruction set, [`kernels`] the best one that
//! this processor runs, chosen once. `avx512`, `avx2`, `neon` and `portable` each say only how
//! to load, multiply and add one register, of floats ([`lanes::Lanes`]) or of bytes
//! ([`bytes::Bytes`]); the loops over rows ([`loops`], [`walk`]) are written once and compiled
//! for each of them. Scores in double precision, the cut that skips rows ([`checked`]), encoding
//! ([`encode`]) and scores from sums ([`finish`]) are plain code, compiled for each as well.
//!
//! Invariants: a table is reachable only after its instructions were detected; every length is
//! checked by the safe methods of [`Kernels`] before a loop without bounds checks starts.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bytes;
mod checked;
mod encode;
mod finish;
mod halves;
mod integers;
mod lanes;
mod loops;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
mod portable;
mod table;
#[cfg(test)]
mod tests;
mod walk;
mod weights;

pub use checked::Cut;
pub(crate) use encode::Grid;
pub use halves::HalfRows;
pub use integers::CodeWidth;
pub use table::{Kernels, kernels};
pub use weights::{MAX_WEIGHT, Weights};
