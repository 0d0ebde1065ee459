//! Sixteen lanes in an array: the oracle, and what runs where nothing better is known.

use super::lanes::{LANES, Wide};

/// No instructions beyond the baseline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

/// Applies `f` lane by lane.
#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    for (i, out) in out.iter_mut().enumerate() {
        *out = f(i);
    }
    out
}

impl Wide for Portable {
    type Lanes = [f32; LANES];
    type Mask = u16;

    const REGISTERS: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::Lanes {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::Lanes {
        *from
    }

    #[inline(always)]
    fn store(self, lanes: Self::Lanes, to: &mut [f32; LANES]) {
        *to = lanes;
    }

    #[inline(always)]
    fn add(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes {
        each(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes {
        each(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes {
        each(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Lanes, b: Self::Lanes, c: Self::Lanes) -> Self::Lanes {
        each(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn flip(self, a: Self::Lanes, bits: u16) -> Self::Lanes {
        each(|i| f32::from_bits(a[i].to_bits() ^ (u32::from(bits >> i & 1) << 31)))
    }

    #[inline(always)]
    fn partner<const H: usize>(self, a: Self::Lanes) -> Self::Lanes {
        each(|i| a[i ^ H])
    }

    #[inline(always)]
    fn less(self, a: Self::Lanes, b: Self::Lanes) -> u16 {
        let mut mask = 0;
        for i in 0..LANES {
            mask |= u16::from(a[i] < b[i]) << i;
        }
        mask
    }

    #[inline(always)]
    fn select(self, mask: u16, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes {
        each(|i| if mask >> i & 1 == 1 { a[i] } else { b[i] })
    }
}
