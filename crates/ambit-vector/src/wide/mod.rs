//! How is one loop written for every register? Sixteen f32 lanes, on every processor.
//!
//! A [`Wide`] is proof that its instructions are present: its values are made by [`Set::run`]
//! alone, after detection. So a [`Job`] is safe code, compiled once for each instruction set:
//! one register of AVX-512, two of AVX2, four of NEON, or an array.
//!
//! Every operation rounds once, lane by lane, and a multiply-add is fused everywhere. So a job
//! gives the same bits on every processor, as far as it does not make NaNs.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;
mod lanes;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code)]
mod neon;
mod portable;
#[allow(unsafe_code)]
mod set;

#[cfg(test)]
mod tests;

pub(crate) use lanes::{LANES, Wide};
pub(crate) use set::{Job, Set};
