//! Bytes with AVX2: 32 at a time.
//!
//! There is no product of bytes that cannot saturate but for levels below 128, so bytes become
//! words: by halves where the order matters (weights), else even and odd ones.

use std::arch::x86_64::*;

use super::super::bytes::{Bytes, WeightsAt};
use super::super::lanes::padded;

#[derive(Clone, Copy)]
pub(super) struct ThirtyTwo(__m256i);

/// Even and odd int8 as words.
///
/// # Safety
///
/// AVX2 is present.
#[inline(always)]
unsafe fn signed_words(bytes: __m256i) -> [__m256i; 2] {
    // SAFETY: the caller vouches for AVX2.
    unsafe {
        [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(bytes)), _mm256_srai_epi16::<8>(bytes)]
    }
}

/// `sum` plus products of words, neighbours together.
///
/// # Safety
///
/// AVX2 is present.
#[inline(always)]
unsafe fn add_words(sum: __m256i, a: [__m256i; 2], b: [__m256i; 2]) -> __m256i {
    // SAFETY: the caller vouches for AVX2.
    unsafe {
        let both = _mm256_add_epi32(_mm256_madd_epi16(a[0], b[0]), _mm256_madd_epi16(a[1], b[1]));
        _mm256_add_epi32(sum, both)
    }
}

impl Bytes for ThirtyTwo {
    const WIDTH: usize = 32;
    type Sum = __m256i;
    /// The first and the second half.
    type Weights = [__m256i; 2];
    type Weighted = __m256i;

    #[inline(always)]
    unsafe fn zero() -> __m256i {
        // SAFETY: the caller vouches for AVX.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn zero_weighted() -> __m256i {
        // SAFETY: the caller vouches for AVX.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller vouches for AVX and 32 readable bytes.
        Self(unsafe { _mm256_loadu_si256(from.cast()) })
    }

    #[inline(always)]
    unsafe fn load_head(from: *const u8, len: usize) -> Self {
        // SAFETY: the caller vouches for AVX and `len` < 32 readable bytes; the second load
        // reads the 32 bytes of the copy.
        unsafe { Self::load(padded::<u8, 32>(from, len).as_ptr()) }
    }

    #[inline(always)]
    unsafe fn load_bits(from: *const u8) -> Self {
        // SAFETY: the caller vouches for AVX2 and 4 readable bytes. Each byte gets the byte of
        // its bit, keeps that bit, and becomes 0 or 1.
        unsafe {
            let bits = _mm256_set1_epi32(from.cast::<i32>().read_unaligned());
            let place = _mm256_set_epi64x(
                0x0303_0303_0303_0303,
                0x0202_0202_0202_0202,
                0x0101_0101_0101_0101,
                0,
            );
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201u64 as i64);
            let kept = _mm256_and_si256(_mm256_shuffle_epi8(bits, place), bit);
            Self(_mm256_and_si256(_mm256_cmpeq_epi8(kept, bit), _mm256_set1_epi8(1)))
        }
    }

    #[inline(always)]
    unsafe fn load_weights(from: WeightsAt) -> [__m256i; 2] {
        // SAFETY: the caller vouches for AVX and 32 weights.
        unsafe {
            [_mm256_loadu_si256(from.words.cast()), _mm256_loadu_si256(from.words.add(16).cast())]
        }
    }

    #[inline(always)]
    unsafe fn low(self) -> Self {
        // SAFETY: the caller vouches for AVX2.
        Self(unsafe { _mm256_and_si256(self.0, _mm256_set1_epi8(15)) })
    }

    #[inline(always)]
    unsafe fn high(self) -> Self {
        // SAFETY: the caller vouches for AVX2.
        Self(unsafe { _mm256_and_si256(_mm256_srli_epi16::<4>(self.0), _mm256_set1_epi8(15)) })
    }

    #[inline(always)]
    unsafe fn add_signed_products(sum: __m256i, a: Self, b: Self) -> __m256i {
        // SAFETY: the caller vouches for AVX2.
        unsafe { add_words(sum, signed_words(a.0), signed_words(b.0)) }
    }

    #[inline(always)]
    unsafe fn add_signed_squares(sum: __m256i, a: Self, b: Self) -> __m256i {
        // SAFETY: the caller vouches for AVX2. Larger less smaller is 0 to 255, right as an
        // unsigned byte.
        unsafe {
            let difference = _mm256_sub_epi8(_mm256_max_epi8(a.0, b.0), _mm256_min_epi8(a.0, b.0));
            let even = _mm256_and_si256(difference, _mm256_set1_epi16(255));
            let words = [even, _mm256_srli_epi16::<8>(difference)];
            add_words(sum, words, words)
        }
    }

    #[inline(always)]
    unsafe fn add_level_products(sum: __m256i, a: Self, b: Self) -> __m256i {
        // SAFETY: the caller vouches for AVX2. Two products of levels to 15 are at most 450.
        unsafe {
            let pairs = _mm256_maddubs_epi16(a.0, b.0);
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    unsafe fn add_level_squares(sum: __m256i, a: Self, b: Self) -> __m256i {
        // SAFETY: the caller vouches for AVX2.
        unsafe {
            let difference = Self(_mm256_abs_epi8(_mm256_sub_epi8(a.0, b.0)));
            Self::add_level_products(sum, difference, difference)
        }
    }

    #[inline(always)]
    unsafe fn add_differing_bits(sum: __m256i, a: Self, b: Self) -> __m256i {
        // SAFETY: the caller vouches for AVX2. Bits of each half byte by a table, then the bytes
        // of each quarter in 64 bits, whose upper half stays 0.
        unsafe {
            let counts = _mm256_broadcastsi128_si256(_mm_setr_epi8(
                0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
            ));
            let differing = Self(_mm256_xor_si256(a.0, b.0));
            let bytes = _mm256_add_epi8(
                _mm256_shuffle_epi8(counts, differing.low().0),
                _mm256_shuffle_epi8(counts, differing.high().0),
            );
            _mm256_add_epi32(sum, _mm256_sad_epu8(bytes, _mm256_setzero_si256()))
        }
    }

    #[inline(always)]
    unsafe fn add_weighted(sum: __m256i, weights: [__m256i; 2], bytes: Self) -> __m256i {
        // SAFETY: the caller vouches for AVX2.
        unsafe {
            let words = [
                _mm256_cvtepu8_epi16(_mm256_castsi256_si128(bytes.0)),
                _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(bytes.0)),
            ];
            add_words(sum, words, weights)
        }
    }

    #[inline(always)]
    unsafe fn unweighted(sum: __m256i) -> __m256i {
        sum
    }

    #[inline(always)]
    unsafe fn total(sum: __m256i) -> i32 {
        // SAFETY: the caller vouches for AVX2.
        unsafe {
            let half =
                _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
            let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
            _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32::<0b10_11_00_01>(pair)))
        }
    }

    #[inline(always)]
    unsafe fn total_four(four: [__m256i; 4]) -> [i32; 4] {
        let [a, b, c, d] = four;
        // SAFETY: the caller vouches for AVX2; the store fills `out`, 4 sums.
        unsafe {
            let halves = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
            let sums = _mm_add_epi32(
                _mm256_castsi256_si128(halves),
                _mm256_extracti128_si256::<1>(halves),
            );
            let mut out = [0; 4];
            _mm_storeu_si128(out.as_mut_ptr().cast(), sums);
            out
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // SAFETY: a hint; it never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
}

super::super::integers::integers_of!(AVX2, ThirtyTwo, streams: 4, tile: 2 x 4, "avx2,fma,f16c");
