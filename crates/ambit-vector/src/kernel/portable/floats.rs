//! Kernels for every processor: eight lanes in plain Rust, which compilers turn into whatever
//! the baseline of the target has. Products and sums are rounded separately.

use super::super::lanes::{Lanes, padded};
use crate::half::Half;

#[derive(Clone, Copy)]
pub(super) struct Eight([f32; 8]);

impl Eight {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Eight {
    const WIDTH: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for 8 readable floats; the read needs no alignment.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_head(from: *const f32, len: usize) -> Self {
        // SAFETY: the caller vouches for `len` < 8 readable floats.
        Self(unsafe { padded(from, len) })
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: the caller vouches for 8 readable numbers; the read needs no alignment.
        Self(unsafe { from.cast::<[u16; 8]>().read_unaligned() }.map(|bits| Half::F16.value(bits)))
    }

    #[inline(always)]
    unsafe fn load_f16_head(from: *const u16, len: usize) -> Self {
        // SAFETY: the caller vouches for `len` < 8 readable numbers.
        Self(unsafe { padded::<u16, 8>(from, len) }.map(|bits| Half::F16.value(bits)))
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: the caller vouches for 8 readable numbers; the read needs no alignment.
        Self(unsafe { from.cast::<[u16; 8]>().read_unaligned() }.map(|bits| Half::Bf16.value(bits)))
    }

    #[inline(always)]
    unsafe fn load_bf16_head(from: *const u16, len: usize) -> Self {
        // SAFETY: the caller vouches for `len` < 8 readable numbers.
        Self(unsafe { padded::<u16, 8>(from, len) }.map(|bits| Half::Bf16.value(bits)))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        self.zip(a.zip(b, |a, b| a * b), |sum, product| sum + product)
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}

super::super::table::kernels_of!(PORTABLE, "portable", Eight, streams: 2, tile: 2 x 2);
