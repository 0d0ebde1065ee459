//! Kernels for 64-bit ARM: four lanes, fused multiply-add.

use std::arch::aarch64::*;

use super::super::lanes::{Lanes, padded};

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
        Self(unsafe { vld1q_f32(padded::<f32, 4>(from, len).as_ptr()) })
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: the caller vouches for NEON and 4 readable numbers. Exponent and fraction move
        // to their places in f32, then 2^112 makes up for the biases; the product is exact, also
        // where the half is subnormal. What is 2^16 or more was infinite or NaN.
        unsafe {
            let bits = vmovl_u16(vld1_u16(from));
            let size = vshlq_n_u32::<13>(vandq_u32(bits, vdupq_n_u32(0x7FFF)));
            let scaled = vmulq_f32(
                vreinterpretq_f32_u32(size),
                vdupq_n_f32(f32::from_bits((127 + 112) << 23)),
            );
            let endless = vcgeq_f32(scaled, vdupq_n_f32(65_536.0));
            let exponent = vandq_u32(endless, vdupq_n_u32(0x7F80_0000));
            let sign = vshlq_n_u32::<16>(vandq_u32(bits, vdupq_n_u32(0x8000)));
            let whole = vorrq_u32(vreinterpretq_u32_f32(scaled), vorrq_u32(exponent, sign));
            Self(vreinterpretq_f32_u32(whole))
        }
    }

    #[inline(always)]
    unsafe fn load_f16_head(from: *const u16, len: usize) -> Self {
        // SAFETY: the caller vouches for NEON and `len` < 4 readable numbers; the second load
        // reads the 4 numbers of the copy.
        unsafe { Self::load_f16(padded::<u16, 4>(from, len).as_ptr()) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: the caller vouches for NEON and 4 readable numbers.
        Self(unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from))) })
    }

    #[inline(always)]
    unsafe fn load_bf16_head(from: *const u16, len: usize) -> Self {
        // SAFETY: the caller vouches for NEON and `len` < 4 readable numbers; the second load
        // reads the 4 numbers of the copy.
        unsafe { Self::load_bf16(padded::<u16, 4>(from, len).as_ptr()) }
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
        // SAFETY: the caller vouches for NEON. Pairs, then both pairs.
        unsafe {
            let pairs = vpaddq_f32(self.0, self.0);
            vgetq_lane_f32::<0>(vpaddq_f32(pairs, pairs))
        }
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

super::super::table::kernels_of!(NEON, "neon", Four, streams: 4, tile: 4 x 4, "neon");
