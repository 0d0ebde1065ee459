//! Kernels for x86-64 with AVX2, FMA and F16C: eight lanes, fused multiply-add.

use std::arch::x86_64::*;

use super::super::lanes::{Lanes, padded};

#[derive(Clone, Copy)]
pub(super) struct Eight(__m256);

impl Lanes for Eight {
    const WIDTH: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for AVX.
        Self(unsafe { _mm256_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for AVX and 8 readable floats.
        Self(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn load_head(from: *const f32, len: usize) -> Self {
        // SAFETY: the caller vouches for AVX and `len` < 8 readable floats; the second load
        // reads the 8 floats of the copy.
        Self(unsafe { _mm256_loadu_ps(padded::<f32, 8>(from, len).as_ptr()) })
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: the caller vouches for F16C and 8 readable numbers, 16 bytes.
        Self(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) })
    }

    #[inline(always)]
    unsafe fn load_f16_head(from: *const u16, len: usize) -> Self {
        // SAFETY: the caller vouches for F16C and `len` < 8 readable numbers; the second load
        // reads the 8 numbers of the copy.
        unsafe { Self::load_f16(padded::<u16, 8>(from, len).as_ptr()) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: the caller vouches for AVX2 and 8 readable numbers, 16 bytes.
        unsafe {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide)))
        }
    }

    #[inline(always)]
    unsafe fn load_bf16_head(from: *const u16, len: usize) -> Self {
        // SAFETY: the caller vouches for AVX2 and `len` < 8 readable numbers; the second load
        // reads the 8 numbers of the copy.
        unsafe { Self::load_bf16(padded::<u16, 8>(from, len).as_ptr()) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX.
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller vouches for FMA.
        Self(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the caller vouches for AVX.
        unsafe {
            let half =
                _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
            _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
        }
    }

    #[inline(always)]
    unsafe fn sum_four(four: [Self; 4]) -> [f32; 4] {
        let [a, b, c, d] = four;
        // SAFETY: the caller vouches for AVX; the store fills `out`, 4 floats.
        unsafe {
            let halves = _mm256_hadd_ps(_mm256_hadd_ps(a.0, b.0), _mm256_hadd_ps(c.0, d.0));
            let sums =
                _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps::<1>(halves));
            let mut out = [0.0; 4];
            _mm_storeu_ps(out.as_mut_ptr(), sums);
            out
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // SAFETY: a hint; it never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
}

super::super::table::kernels_of!(AVX2, "avx2", Eight, streams: 4, tile: 2 x 4, "avx2,fma,f16c");
