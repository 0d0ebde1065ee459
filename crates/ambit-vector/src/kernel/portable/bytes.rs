//! Bytes in plain Rust, sixteen at a time.

use super::super::bytes::{Bytes, WeightsAt};
use super::super::lanes::padded;

#[derive(Clone, Copy)]
pub(super) struct Sixteen([u8; 16]);

/// `sum[i] + f(i)`, modulo 2^32.
#[inline(always)]
fn add(sum: [i32; 16], f: impl Fn(usize) -> i32) -> [i32; 16] {
    std::array::from_fn(|i| sum[i].wrapping_add(f(i)))
}

impl Bytes for Sixteen {
    const WIDTH: usize = 16;
    type Sum = [i32; 16];
    type Weights = [i16; 16];
    type Weighted = [i32; 16];

    #[inline(always)]
    unsafe fn zero() -> [i32; 16] {
        [0; 16]
    }

    #[inline(always)]
    unsafe fn zero_weighted() -> [i32; 16] {
        [0; 16]
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller vouches for 16 readable bytes.
        Self(unsafe { from.cast::<[u8; 16]>().read() })
    }

    #[inline(always)]
    unsafe fn load_head(from: *const u8, len: usize) -> Self {
        // SAFETY: the caller vouches for `len` < 16 readable bytes.
        Self(unsafe { padded(from, len) })
    }

    #[inline(always)]
    unsafe fn load_bits(from: *const u8) -> Self {
        // SAFETY: the caller vouches for 2 readable bytes.
        let bytes = unsafe { from.cast::<[u8; 2]>().read() };
        Self(std::array::from_fn(|i| bytes[i / 8] >> (i % 8) & 1))
    }

    #[inline(always)]
    unsafe fn load_weights(from: WeightsAt) -> [i16; 16] {
        // SAFETY: the caller vouches for 16 weights; the read needs no alignment.
        unsafe { from.words.cast::<[i16; 16]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn low(self) -> Self {
        Self(self.0.map(|byte| byte & 15))
    }

    #[inline(always)]
    unsafe fn high(self) -> Self {
        Self(self.0.map(|byte| byte >> 4))
    }

    #[inline(always)]
    unsafe fn add_signed_products(sum: [i32; 16], a: Self, b: Self) -> [i32; 16] {
        add(sum, |i| i32::from(a.0[i] as i8) * i32::from(b.0[i] as i8))
    }

    #[inline(always)]
    unsafe fn add_signed_squares(sum: [i32; 16], a: Self, b: Self) -> [i32; 16] {
        add(sum, |i| (i32::from(a.0[i] as i8) - i32::from(b.0[i] as i8)).pow(2))
    }

    #[inline(always)]
    unsafe fn add_level_products(sum: [i32; 16], a: Self, b: Self) -> [i32; 16] {
        add(sum, |i| i32::from(a.0[i]) * i32::from(b.0[i]))
    }

    #[inline(always)]
    unsafe fn add_level_squares(sum: [i32; 16], a: Self, b: Self) -> [i32; 16] {
        add(sum, |i| (i32::from(a.0[i]) - i32::from(b.0[i])).pow(2))
    }

    #[inline(always)]
    unsafe fn add_differing_bits(sum: [i32; 16], a: Self, b: Self) -> [i32; 16] {
        add(sum, |i| (a.0[i] ^ b.0[i]).count_ones() as i32)
    }

    #[inline(always)]
    unsafe fn add_weighted(sum: [i32; 16], weights: [i16; 16], bytes: Self) -> [i32; 16] {
        add(sum, |i| i32::from(bytes.0[i]) * i32::from(weights[i]))
    }

    #[inline(always)]
    unsafe fn unweighted(sum: [i32; 16]) -> [i32; 16] {
        sum
    }

    #[inline(always)]
    unsafe fn total(sum: [i32; 16]) -> i32 {
        sum.into_iter().fold(0, i32::wrapping_add)
    }
}

super::super::integers::integers_of!(PORTABLE, Sixteen, streams: 2, tile: 2 x 2);
