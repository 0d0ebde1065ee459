//! Bytes with NEON: sixteen at a time, products of bytes as words.

use std::arch::aarch64::*;

use super::super::bytes::{Bytes, WeightsAt};
use super::super::lanes::padded;

#[derive(Clone, Copy)]
pub(super) struct Sixteen(uint8x16_t);

/// `sum` plus the squares of unsigned bytes.
///
/// # Safety
///
/// NEON is present.
#[inline(always)]
unsafe fn add_squares(sum: int32x4_t, bytes: uint8x16_t) -> int32x4_t {
    // SAFETY: the caller vouches for NEON.
    unsafe {
        let low = vmull_u8(vget_low_u8(bytes), vget_low_u8(bytes));
        let high = vmull_high_u8(bytes, bytes);
        vreinterpretq_s32_u32(vpadalq_u16(vpadalq_u16(vreinterpretq_u32_s32(sum), low), high))
    }
}

impl Bytes for Sixteen {
    const WIDTH: usize = 16;
    type Sum = int32x4_t;
    type Weights = [int16x8_t; 2];
    type Weighted = int32x4_t;

    #[inline(always)]
    unsafe fn zero() -> int32x4_t {
        // SAFETY: the caller vouches for NEON.
        unsafe { vdupq_n_s32(0) }
    }

    #[inline(always)]
    unsafe fn zero_weighted() -> int32x4_t {
        // SAFETY: the caller vouches for NEON.
        unsafe { vdupq_n_s32(0) }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller vouches for NEON and 16 readable bytes.
        Self(unsafe { vld1q_u8(from) })
    }

    #[inline(always)]
    unsafe fn load_head(from: *const u8, len: usize) -> Self {
        // SAFETY: the caller vouches for NEON and `len` < 16 readable bytes; the second load
        // reads the 16 bytes of the copy.
        Self(unsafe { vld1q_u8(padded::<u8, 16>(from, len).as_ptr()) })
    }

    #[inline(always)]
    unsafe fn load_bits(from: *const u8) -> Self {
        const BITS: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
        // SAFETY: the caller vouches for NEON and 2 readable bytes; `BITS` has 16.
        unsafe {
            let both = vcombine_u8(vdup_n_u8(*from), vdup_n_u8(*from.add(1)));
            Self(vandq_u8(vtstq_u8(both, vld1q_u8(BITS.as_ptr())), vdupq_n_u8(1)))
        }
    }

    #[inline(always)]
    unsafe fn load_weights(from: WeightsAt) -> [int16x8_t; 2] {
        // SAFETY: the caller vouches for NEON and 16 weights.
        unsafe { [vld1q_s16(from.words), vld1q_s16(from.words.add(8))] }
    }

    #[inline(always)]
    unsafe fn low(self) -> Self {
        // SAFETY: the caller vouches for NEON.
        Self(unsafe { vandq_u8(self.0, vdupq_n_u8(15)) })
    }

    #[inline(always)]
    unsafe fn high(self) -> Self {
        // SAFETY: the caller vouches for NEON.
        Self(unsafe { vshrq_n_u8::<4>(self.0) })
    }

    #[inline(always)]
    unsafe fn add_signed_products(sum: int32x4_t, a: Self, b: Self) -> int32x4_t {
        // SAFETY: the caller vouches for NEON.
        unsafe {
            let (a, b) = (vreinterpretq_s8_u8(a.0), vreinterpretq_s8_u8(b.0));
            let sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
            vpadalq_s16(sum, vmull_high_s8(a, b))
        }
    }

    #[inline(always)]
    unsafe fn add_signed_squares(sum: int32x4_t, a: Self, b: Self) -> int32x4_t {
        // SAFETY: the caller vouches for NEON. The difference is 0 to 255, right as unsigned.
        unsafe {
            let difference = vabdq_s8(vreinterpretq_s8_u8(a.0), vreinterpretq_s8_u8(b.0));
            add_squares(sum, vreinterpretq_u8_s8(difference))
        }
    }

    #[inline(always)]
    unsafe fn add_level_products(sum: int32x4_t, a: Self, b: Self) -> int32x4_t {
        // SAFETY: the caller vouches for NEON; levels below 128 are right as signed bytes.
        unsafe { Self::add_signed_products(sum, a, b) }
    }

    #[inline(always)]
    unsafe fn add_level_squares(sum: int32x4_t, a: Self, b: Self) -> int32x4_t {
        // SAFETY: the caller vouches for NEON.
        unsafe { add_squares(sum, vabdq_u8(a.0, b.0)) }
    }

    #[inline(always)]
    unsafe fn add_differing_bits(sum: int32x4_t, a: Self, b: Self) -> int32x4_t {
        // SAFETY: the caller vouches for NEON.
        unsafe {
            let words = vpaddlq_u8(vcntq_u8(veorq_u8(a.0, b.0)));
            vreinterpretq_s32_u32(vpadalq_u16(vreinterpretq_u32_s32(sum), words))
        }
    }

    #[inline(always)]
    unsafe fn add_weighted(sum: int32x4_t, weights: [int16x8_t; 2], bytes: Self) -> int32x4_t {
        // SAFETY: the caller vouches for NEON.
        unsafe {
            let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes.0)));
            let high = vreinterpretq_s16_u16(vmovl_high_u8(bytes.0));
            let sum = vmlal_s16(sum, vget_low_s16(low), vget_low_s16(weights[0]));
            let sum = vmlal_high_s16(sum, low, weights[0]);
            let sum = vmlal_s16(sum, vget_low_s16(high), vget_low_s16(weights[1]));
            vmlal_high_s16(sum, high, weights[1])
        }
    }

    #[inline(always)]
    unsafe fn unweighted(sum: int32x4_t) -> int32x4_t {
        sum
    }

    #[inline(always)]
    unsafe fn total(sum: int32x4_t) -> i32 {
        // SAFETY: the caller vouches for NEON.
        unsafe { vaddvq_s32(sum) }
    }

    #[inline(always)]
    unsafe fn total_four(four: [int32x4_t; 4]) -> [i32; 4] {
        let [a, b, c, d] = four;
        // SAFETY: the caller vouches for NEON; the store fills `out`, 4 sums.
        unsafe {
            let sums = vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
            let mut out = [0; 4];
            vst1q_s32(out.as_mut_ptr(), sums);
            out
        }
    }
}

super::super::integers::integers_of!(NEON, Sixteen, streams: 4, tile: 4 x 4, "neon");
