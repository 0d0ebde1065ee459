//! Elements of a file to float32: exactly, or not at all unless rounding was asked for.
//!
//! Float16 always fits, NaN payloads included; the hardware conversion would set the quiet bit of
//! a signalling NaN, so NaNs are widened by their bits. Float64 fits when its 29 low mantissa
//! bits are zero and its exponent is in range. Rounding is to nearest, ties to even.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// What happens to a number that float32 cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// It is refused.
    Refuse,
    /// It is rounded to the nearest float32, ties to even.
    Nearest,
}

/// Widens `from` into `into` (same length), bit for bit.
pub fn from_f16(from: &[u16], into: &mut [f32]) {
    let halves: &[f16] = half::slice::HalfBitsSliceExt::reinterpret_cast(from);
    halves.convert_to_f32_slice(into);
    for (bits, value) in from.iter().zip(into) {
        if bits & 0x7c00 == 0x7c00 {
            let sign = u32::from(bits & 0x8000) << 16;
            let payload = u32::from(bits & 0x03ff) << 13;
            *value = f32::from_bits(sign | 0x7f80_0000 | payload);
        }
    }
}

/// Narrows `from` into `into` (same length).
///
/// # Errors
/// The position of the first number that does not fit: not exactly representable where
/// `rounding` refuses, beyond the range of float32 always.
pub fn from_f64(from: &[f64], into: &mut [f32], rounding: Rounding) -> Result<(), usize> {
    for (position, (wide, narrow)) in from.iter().zip(into).enumerate() {
        *narrow = if wide.is_nan() { narrow_nan(*wide) } else { *wide as f32 };
        let exact = widened(*narrow) == wide.to_bits();
        let overflows = wide.is_finite() && narrow.is_infinite();
        if overflows || (!exact && rounding == Rounding::Refuse) {
            return Err(position);
        }
    }
    Ok(())
}

fn narrow_nan(wide: f64) -> f32 {
    let bits = wide.to_bits();
    let sign = ((bits >> 32) as u32) & 0x8000_0000;
    let payload = ((bits >> 29) as u32) & 0x007f_ffff;
    // A payload that lies only in the dropped bits would turn the NaN into an infinity.
    let payload = if payload == 0 { 0x0040_0000 } else { payload };
    f32::from_bits(sign | 0x7f80_0000 | payload)
}

/// The bits of `narrow` as a float64, NaN payload kept.
fn widened(narrow: f32) -> u64 {
    if !narrow.is_nan() {
        return f64::from(narrow).to_bits();
    }
    let bits = u64::from(narrow.to_bits());
    (bits & 0x8000_0000) << 32 | 0x7ff0_0000_0000_0000 | (bits & 0x007f_ffff) << 29
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_float16_widens_to_the_same_number_with_its_payload() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let mut wide = vec![0.0; all.len()];
        from_f16(&all, &mut wide);
        for (bits, value) in all.iter().zip(&wide) {
            let half = f16::from_bits(*bits);
            if half.is_nan() {
                let expected =
                    u32::from(bits & 0x8000) << 16 | 0x7f80_0000 | u32::from(bits & 0x3ff) << 13;
                assert_eq!(value.to_bits(), expected);
            } else {
                assert_eq!(value.to_bits(), half.to_f32().to_bits());
            }
        }
    }

    #[test]
    fn a_float64_that_does_not_fit_is_refused_or_rounded() {
        let fits = [0.0, -0.0, 1.5, f64::from(f32::MAX), f64::INFINITY, 1e-45_f32.into()];
        let mut narrow = [0.0; 6];
        assert_eq!(from_f64(&fits, &mut narrow, Rounding::Refuse), Ok(()));
        assert_eq!(narrow.map(f64::from).map(f64::to_bits), fits.map(f64::to_bits));
        for wide in [0.1, 1e-300, f64::from_bits(0x7ff0_0000_0000_0001)] {
            let numbers = [1.0, wide];
            let mut narrow = [0.0; 2];
            assert_eq!(from_f64(&numbers, &mut narrow, Rounding::Refuse), Err(1));
            assert_eq!(from_f64(&numbers, &mut narrow, Rounding::Nearest), Ok(()));
            assert_eq!(narrow[1].is_nan(), wide.is_nan());
        }
        assert_eq!(from_f64(&[1e300], &mut [0.0], Rounding::Nearest), Err(0));
    }

    proptest! {
        #[test]
        fn every_float32_survives_the_way_through_float64(bits: u32) {
            let wide = f64::from_bits(widened(f32::from_bits(bits)));
            let mut narrow = [0.0];
            prop_assert_eq!(from_f64(&[wide], &mut narrow, Rounding::Refuse), Ok(()));
            prop_assert_eq!(narrow[0].to_bits(), bits);
        }

        #[test]
        fn a_float64_is_accepted_only_if_it_comes_back(bits: u64) {
            let wide = f64::from_bits(bits);
            let mut narrow = [0.0];
            let accepted = from_f64(&[wide], &mut narrow, Rounding::Refuse).is_ok();
            prop_assert_eq!(accepted, widened(narrow[0]) == bits);
        }
    }
}
