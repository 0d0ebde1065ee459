//! Sixteen lanes in two registers of AVX2.

use std::arch::x86_64::*;

use super::lanes::{LANES, Wide};

/// Proof of AVX2 and FMA.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    ///
    /// AVX2 and FMA are present.
    pub(super) unsafe fn assume() -> Self {
        Self(())
    }
}

type Two = [__m256; 2];

// SAFETY, of every block below: a value of `Avx2` is proof of AVX2 and FMA (see `assume`); loads
// and stores go through references to sixteen floats, of which a half is eight.
impl Wide for Avx2 {
    type Lanes = Two;
    type Mask = Two;

    const REGISTERS: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> Two {
        // SAFETY: as above.
        unsafe { [_mm256_set1_ps(x); 2] }
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Two {
        // SAFETY: as above.
        unsafe { [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))] }
    }

    #[inline(always)]
    fn store(self, lanes: Two, to: &mut [f32; LANES]) {
        // SAFETY: as above.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), lanes[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), lanes[1]);
        }
    }

    #[inline(always)]
    fn add(self, a: Two, b: Two) -> Two {
        // SAFETY: as above.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(self, a: Two, b: Two) -> Two {
        // SAFETY: as above.
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul(self, a: Two, b: Two) -> Two {
        // SAFETY: as above.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul_add(self, a: Two, b: Two, c: Two) -> Two {
        // SAFETY: as above.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    fn flip(self, a: Two, bits: u16) -> Two {
        // SAFETY: as above.
        unsafe {
            let sign = _mm256_set1_epi32(i32::MIN);
            // Bit i of the half goes to the sign of lane i.
            let to_sign = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
            let half = |a, bits: u16| {
                let spread = _mm256_sllv_epi32(_mm256_set1_epi32(i32::from(bits)), to_sign);
                _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_and_si256(spread, sign)))
            };
            [half(a[0], bits), half(a[1], bits >> 8)]
        }
    }

    #[inline(always)]
    fn partner<const H: usize>(self, a: Two) -> Two {
        // SAFETY: as above.
        unsafe {
            match H {
                1 => [
                    _mm256_permute_ps::<0b10_11_00_01>(a[0]),
                    _mm256_permute_ps::<0b10_11_00_01>(a[1]),
                ],
                2 => [
                    _mm256_permute_ps::<0b01_00_11_10>(a[0]),
                    _mm256_permute_ps::<0b01_00_11_10>(a[1]),
                ],
                4 => [
                    _mm256_permute2f128_ps::<1>(a[0], a[0]),
                    _mm256_permute2f128_ps::<1>(a[1], a[1]),
                ],
                _ => [a[1], a[0]],
            }
        }
    }

    #[inline(always)]
    fn less(self, a: Two, b: Two) -> Two {
        // SAFETY: as above.
        unsafe {
            [_mm256_cmp_ps::<_CMP_LT_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_LT_OQ>(a[1], b[1])]
        }
    }

    #[inline(always)]
    fn select(self, mask: Two, a: Two, b: Two) -> Two {
        // SAFETY: as above.
        unsafe { [_mm256_blendv_ps(b[0], a[0], mask[0]), _mm256_blendv_ps(b[1], a[1], mask[1])] }
    }
}
