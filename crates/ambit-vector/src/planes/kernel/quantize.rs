//! Coding the values of one row: written once, compiled for each instruction set.
//!
//! Sums run in sixteen lanes, which are added up in one order, and nothing is fused, so every
//! instruction set gives the same bits.

const LANES: usize = 16;

/// Adding and taking away this rounds a small f32 to the nearest whole number: 1.5 x 2^23.
const ROUNDS: f32 = 12_582_912.0;

/// The code of a value as a whole number, -most to most - 1: the value is meant that is 2 code + 1
/// half steps.
#[inline(always)]
fn code(value: f32, step: f32, most: f32) -> f32 {
    // Clamped first, so that the number to be rounded is small.
    let steps = (value * step - 0.5).clamp(-most, most - 1.0);
    (steps + ROUNDS) - ROUNDS
}

/// The sum of value x odd, and of odd x odd, odd = 2 code + 1.
#[inline(always)]
pub(super) fn fit(values: &[f32], step: f32, most: f32) -> (f32, f32) {
    let (mut product, mut square) = ([0.0f32; LANES], [0.0f32; LANES]);
    let mut add = |values: &[f32; LANES]| {
        for lane in 0..LANES {
            let odd = 2.0 * code(values[lane], step, most) + 1.0;
            product[lane] += values[lane] * odd;
            square[lane] += odd * odd;
        }
    };
    let (whole, rest) = values.as_chunks::<LANES>();
    whole.iter().for_each(&mut add);
    for &value in rest {
        let odd = 2.0 * code(value, step, most) + 1.0;
        product[0] += value * odd;
        square[0] += odd * odd;
    }
    (product.iter().sum(), square.iter().sum())
}

/// Writes the codes, counted from 0, leaves in `values` what scale x odd leaves of them, and
/// returns the sum of its squares.
#[inline(always)]
pub(super) fn apply(values: &mut [f32], step: f32, most: f32, scale: f32, codes: &mut [u8]) -> f64 {
    let mut left = [0.0f64; LANES];
    let (whole, rest) = values.as_chunks_mut::<LANES>();
    let (whole_codes, rest_codes) = codes.as_chunks_mut::<LANES>();
    for (values, codes) in whole.iter_mut().zip(whole_codes) {
        for lane in 0..LANES {
            let code = code(values[lane], step, most);
            let odd = 2.0 * code + 1.0;
            // Exact but for one rounding: the product of a bfloat16 and a small number is exact.
            let rest = f64::from(values[lane]) - f64::from(scale * odd);
            left[lane] += rest * rest;
            values[lane] = rest as f32;
            codes[lane] = (code + most) as i32 as u8;
        }
    }
    for (value, to) in rest.iter_mut().zip(rest_codes) {
        let code = code(*value, step, most);
        let rest = f64::from(*value) - f64::from(scale * (2.0 * code + 1.0));
        left[0] += rest * rest;
        *value = rest as f32;
        *to = (code + most) as i32 as u8;
    }
    left.iter().sum()
}
