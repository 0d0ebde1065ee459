//! Which instructions decode? The same source, compiled once more for AVX2 and BMI2.
//!
//! The loops are safe and portable; the second copy lets the compiler use registers of 256 bits
//! and shifts without flags. The portable copy is the oracle of the other one.

use super::decode::{Coded, Scratch};
use super::error::LosslessError;

/// Decodes a row with the best copy that this processor runs.
#[inline]
pub(super) fn row(
    coded: &Coded<'_>,
    scratch: &mut Scratch,
    row: &mut [f32],
) -> Result<(), LosslessError> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2") {
        // SAFETY: both instruction sets that the function is compiled for were detected.
        return unsafe { row_avx2(coded, scratch, row) };
    }
    row_portable(coded, scratch, row)
}

/// Decodes a row with the instructions of the target's baseline.
pub(super) fn row_portable(
    coded: &Coded<'_>,
    scratch: &mut Scratch,
    row: &mut [f32],
) -> Result<(), LosslessError> {
    coded.row(scratch, row)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2")]
fn row_avx2(
    coded: &Coded<'_>,
    scratch: &mut Scratch,
    row: &mut [f32],
) -> Result<(), LosslessError> {
    coded.row(scratch, row)
}
