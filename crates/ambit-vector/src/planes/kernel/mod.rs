//! The planes as bytes, and the loops over them for each processor.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
mod quantize;
mod table;

pub use table::{Coarse, Fine, Strip, Unit, units};
