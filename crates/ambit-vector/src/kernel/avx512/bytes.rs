//! Bytes with AVX-512BW, VNNI and VPOPCNTDQ: 64 at a time.
//!
//! `vpdpbusd` multiplies unsigned bytes with signed ones. Levels are unsigned as they are; an
//! int8 becomes a + 128, and 128 times the sum of b is taken off at the end. A query's weights
//! are two planes of signed bytes, 128 high + low, which are summed apart.

use std::arch::x86_64::*;

use super::super::bytes::{Bytes, WeightsAt};

#[derive(Clone, Copy)]
pub(super) struct SixtyFour(__m512i);

impl Bytes for SixtyFour {
    const WIDTH: usize = 64;
    type Sum = __m512i;
    /// High and low bytes.
    type Weights = [__m512i; 2];
    /// Sums of the high and of the low bytes.
    type Weighted = [__m512i; 2];

    #[inline(always)]
    unsafe fn zero() -> __m512i {
        // SAFETY: the caller vouches for AVX-512F.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn zero_weighted() -> [__m512i; 2] {
        // SAFETY: the caller vouches for AVX-512F.
        unsafe { [_mm512_setzero_si512(), _mm512_setzero_si512()] }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller vouches for AVX-512F and 64 readable bytes.
        Self(unsafe { _mm512_loadu_si512(from.cast()) })
    }

    #[inline(always)]
    unsafe fn load_head(from: *const u8, len: usize) -> Self {
        let mask = (1u64 << len) - 1;
        // SAFETY: the caller vouches for AVX-512BW and `len` < 64 readable bytes; bytes outside
        // the mask are neither read nor faulted on.
        Self(unsafe { _mm512_maskz_loadu_epi8(mask, from.cast()) })
    }

    #[inline(always)]
    unsafe fn load_bits(from: *const u8) -> Self {
        // SAFETY: the caller vouches for AVX-512BW and 8 readable bytes.
        unsafe {
            let bits = from.cast::<u64>().read_unaligned();
            Self(_mm512_maskz_set1_epi8(bits, 1))
        }
    }

    #[inline(always)]
    unsafe fn load_weights(from: WeightsAt) -> [__m512i; 2] {
        // SAFETY: the caller vouches for AVX-512F and 64 weights.
        unsafe { [_mm512_loadu_si512(from.high.cast()), _mm512_loadu_si512(from.low.cast())] }
    }

    #[inline(always)]
    unsafe fn low(self) -> Self {
        // SAFETY: the caller vouches for AVX-512F.
        Self(unsafe { _mm512_and_si512(self.0, _mm512_set1_epi8(15)) })
    }

    #[inline(always)]
    unsafe fn high(self) -> Self {
        // SAFETY: the caller vouches for AVX-512BW.
        Self(unsafe { _mm512_and_si512(_mm512_srli_epi16::<4>(self.0), _mm512_set1_epi8(15)) })
    }

    #[inline(always)]
    unsafe fn add_signed_products(sum: __m512i, a: Self, b: Self) -> __m512i {
        // SAFETY: the caller vouches for VNNI. a + 128 is a with its top bit flipped.
        unsafe {
            let unsigned = _mm512_xor_si512(a.0, _mm512_set1_epi8(i8::MIN));
            _mm512_dpbusd_epi32(sum, unsigned, b.0)
        }
    }

    #[inline(always)]
    unsafe fn signed_correction(b: *const u8, len: usize) -> i32 {
        // SAFETY: the caller vouches for VNNI and `len` readable bytes; full loads end at or
        // before `len`, the head load has fewer than 64 bytes left.
        unsafe {
            let ones = _mm512_set1_epi8(1);
            let mut sum = Self::zero();
            let mut at = 0;
            while at + Self::WIDTH <= len {
                sum = _mm512_dpbusd_epi32(sum, ones, Self::load(b.add(at)).0);
                at += Self::WIDTH;
            }
            sum = _mm512_dpbusd_epi32(sum, ones, Self::load_head(b.add(at), len - at).0);
            Self::total(sum).wrapping_mul(-128)
        }
    }

    #[inline(always)]
    unsafe fn add_signed_squares(sum: __m512i, a: Self, b: Self) -> __m512i {
        // SAFETY: the caller vouches for AVX-512BW and VNNI. Larger less smaller is 0 to 255,
        // right as an unsigned byte; even and odd bytes become words for the squares.
        unsafe {
            let difference = _mm512_sub_epi8(_mm512_max_epi8(a.0, b.0), _mm512_min_epi8(a.0, b.0));
            let even = _mm512_and_si512(difference, _mm512_set1_epi16(255));
            let odd = _mm512_srli_epi16::<8>(difference);
            _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sum, even, even), odd, odd)
        }
    }

    #[inline(always)]
    unsafe fn add_level_products(sum: __m512i, a: Self, b: Self) -> __m512i {
        // SAFETY: the caller vouches for VNNI; levels below 128 are right as signed bytes.
        unsafe { _mm512_dpbusd_epi32(sum, a.0, b.0) }
    }

    #[inline(always)]
    unsafe fn add_level_squares(sum: __m512i, a: Self, b: Self) -> __m512i {
        // SAFETY: the caller vouches for AVX-512BW and VNNI.
        unsafe {
            let difference = _mm512_abs_epi8(_mm512_sub_epi8(a.0, b.0));
            _mm512_dpbusd_epi32(sum, difference, difference)
        }
    }

    #[inline(always)]
    unsafe fn add_differing_bits(sum: __m512i, a: Self, b: Self) -> __m512i {
        // SAFETY: the caller vouches for VPOPCNTDQ.
        unsafe { _mm512_add_epi32(sum, _mm512_popcnt_epi32(_mm512_xor_si512(a.0, b.0))) }
    }

    #[inline(always)]
    unsafe fn add_weighted(sum: [__m512i; 2], weights: [__m512i; 2], bytes: Self) -> [__m512i; 2] {
        // SAFETY: the caller vouches for VNNI.
        unsafe {
            [
                _mm512_dpbusd_epi32(sum[0], bytes.0, weights[0]),
                _mm512_dpbusd_epi32(sum[1], bytes.0, weights[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn unweighted(sum: [__m512i; 2]) -> __m512i {
        // SAFETY: the caller vouches for AVX-512F.
        unsafe { _mm512_add_epi32(_mm512_slli_epi32::<7>(sum[0]), sum[1]) }
    }

    #[inline(always)]
    unsafe fn total(sum: __m512i) -> i32 {
        // SAFETY: the caller vouches for AVX-512F.
        unsafe { _mm512_reduce_add_epi32(sum) }
    }

    #[inline(always)]
    unsafe fn total_four(four: [__m512i; 4]) -> [i32; 4] {
        let [a, b, c, d] = four;
        // SAFETY: the caller vouches for AVX-512F, which implies the SSE2 used here; the store
        // fills `out`, 4 sums.
        unsafe {
            // 32-bit lanes within each quarter: [a0+a2, b0+b2, a1+a3, b1+b3], then of c and d.
            let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            // [a, b, c, d] of each quarter, then of all.
            let abcd =
                _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
            let half = _mm256_add_epi32(
                _mm512_castsi512_si256(abcd),
                _mm512_extracti64x4_epi64::<1>(abcd),
            );
            let whole =
                _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
            let mut out = [0; 4];
            _mm_storeu_si128(out.as_mut_ptr().cast(), whole);
            out
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // SAFETY: a hint; it never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
}

super::super::integers::integers_of!(
    AVX512, SixtyFour, streams: 4, tile: 4 x 4, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vpopcntdq"
);
