//! Which instructions score the rows? The tree is the answer: one file per instruction set.
//!
//! [`Kernels`] is a table of functions for one instruction set, [`kernels`] the best one that
//! this processor runs, chosen once. `avx512`, `avx2`, `neon` and `portable` each say only how
//! to load, multiply and add one register ([`lanes::Lanes`]); the loops over rows ([`loops`])
//! are written once and compiled for each of them. Scores in double precision and the cut that
//! skips rows ([`checked`]) are plain code, compiled for each of them as well.
//!
//! Invariants: a table is reachable only after its instructions were detected; every length is
//! checked by the safe methods of [`Kernels`] before a loop without bounds checks starts.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod checked;
mod lanes;
mod loops;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod table;

pub use checked::Cut;
pub use table::{Kernels, kernels};
