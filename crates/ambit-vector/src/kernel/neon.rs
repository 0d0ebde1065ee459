//! Kernels for 64-bit ARM: four lanes, fused multiply-add.

use std::arch::aarch64::*;

use super::lanes::{Lanes, padded};

#[derive(Clone, Copy)]
pub(super) struct Four(float32x4_t);

impl Lanes for Four {
    const WIDTH: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for NEON.
        Self(unsafe { vdupq_n_f32(0.0) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for NEON and 4 readable floats.
        Self(unsafe { vld1q_f32(from) })
    }

    #[inline(always)]
    unsafe fn load_head(from: *const f32, len: usize) -> Self {
        // SAFETY: the caller vouches for NEON and `len` < 4 readable floats; the second load
        // reads the 4 floats of the copy.
        Self(unsafe { vld1q_f32(padded::<4>(from, len).as_ptr()) })
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller vouches for NEON.
        Self(unsafe { vaddq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller vouches for NEON.
        Self(unsafe { vsubq_f32(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller vouches for NEON.
        Self(unsafe { vfmaq_f32(self.0, a.0, b.0) })
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the caller vouches for NEON.
        unsafe { vaddvq_f32(self.0) }
    }

    #[inline(always)]
    unsafe fn sum_four(four: [Self; 4]) -> [f32; 4] {
        let [a, b, c, d] = four;
        // SAFETY: the caller vouches for NEON; the store fills `out`, 4 floats.
        unsafe {
            let sums = vpaddq_f32(vpaddq_f32(a.0, b.0), vpaddq_f32(c.0, d.0));
            let mut out = [0.0; 4];
            vst1q_f32(out.as_mut_ptr(), sums);
            out
        }
    }
}

super::table::kernels_of!(NEON, "neon", Four, streams: 4, tile: 4 x 4, "neon");
