//! Kernels for x86-64 with AVX-512F: sixteen lanes, fused multiply-add, masked tails.

use std::arch::x86_64::*;

use super::super::lanes::{Lanes, padded};

#[derive(Clone, Copy)]
pub(super) struct Sixteen(__m512);

impl Lanes for Sixteen {
    const WIDTH: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller vouches for AVX-512F.
        Self(unsafe { _mm512_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for AVX-512F and 16 readable floats.
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn load_head(from: *const f32, len: usize) -> Self {
        let mask = (1u16 << len) - 1;
        // SAFETY: the caller vouches for AVX-512F and `len` < 16 readable floats; lanes outside
        // the mask are neither read nor faulted on.
        Self(unsafe { _mm512_maskz_loadu_ps(mask, from) })
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> Self {
        // SAFETY: the caller vouches for AVX-512F and 16 readable numbers, 32 bytes.
        Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
    }

    #[inline(always)]
    unsafe fn load_f16_head(from: *const u16, len: usize) -> Self {
        // SAFETY: the caller vouches for AVX-512F and `len` < 16 readable numbers; the second
        // load reads the 16 numbers of the copy.
        unsafe { Self::load_f16(padded::<u16, 16>(from, len).as_ptr()) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: the caller vouches for AVX-512F and 16 readable numbers, 32 bytes.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
        }
    }

    #[inline(always)]
    unsafe fn load_bf16_head(from: *const u16, len: usize) -> Self {
        // SAFETY: the caller vouches for AVX-512F and `len` < 16 readable numbers; the second
        // load reads the 16 numbers of the copy.
        unsafe { Self::load_bf16(padded::<u16, 16>(from, len).as_ptr()) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX-512F.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        // SAFETY: the caller vouches for AVX-512F.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        // SAFETY: the caller vouches for AVX-512F.
        Self(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: the caller vouches for AVX-512F.
        unsafe { _mm512_reduce_add_ps(self.0) }
    }

    #[inline(always)]
    unsafe fn sum_four(four: [Self; 4]) -> [f32; 4] {
        let [a, b, c, d] = four;
        // SAFETY: the caller vouches for AVX-512F, which implies the AVX and SSE used here; the
        // store fills `out`, 4 floats.
        unsafe {
            let (a, b) = (_mm512_castps_pd(a.0), _mm512_castps_pd(b.0));
            let (c, d) = (_mm512_castps_pd(c.0), _mm512_castps_pd(d.0));
            // 128-bit quarters: [a0 a1 b0 b1] + [a2 a3 b2 b3], then the same of c and d.
            let ab = _mm512_add_ps(
                _mm512_castpd_ps(_mm512_shuffle_f64x2::<0b01_00_01_00>(a, b)),
                _mm512_castpd_ps(_mm512_shuffle_f64x2::<0b11_10_11_10>(a, b)),
            );
            let cd = _mm512_add_ps(
                _mm512_castpd_ps(_mm512_shuffle_f64x2::<0b01_00_01_00>(c, d)),
                _mm512_castpd_ps(_mm512_shuffle_f64x2::<0b11_10_11_10>(c, d)),
            );
            // [a b c d], one quarter each.
            let abcd = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd),
            );
            let pairs = _mm512_add_ps(abcd, _mm512_permute_ps::<0b10_11_00_01>(abcd));
            let whole = _mm512_add_ps(pairs, _mm512_permute_ps::<0b01_00_11_10>(pairs));
            let every_fourth = _mm512_maskz_compress_ps(0x1111, whole);
            let mut out = [0.0; 4];
            _mm_storeu_ps(out.as_mut_ptr(), _mm512_castps512_ps128(every_fourth));
            out
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        // SAFETY: a hint; it never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
}

super::super::table::kernels_of!(AVX512, "avx512", Sixteen, streams: 4, tile: 4 x 4, "avx512f");
