//! The loops with AVX2: the 16 rows of a block in two registers of 8 lanes.
//!
//! Bytes are multiplied into pairs of 16 bits: 15 x 127 x 2 and its double fit, so nothing
//! saturates.

use std::arch::x86_64::*;

use super::super::layout::{BLOCK_ROWS, STRETCH};
use super::super::query::Query;
use super::quantize;
use super::table::Functions;

pub(super) static AVX2: Functions = Functions {
    name: "avx2",
    is_detected: || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
    scan,
    scan_together: None,
    next: super::portable::next,
    score,
    fit,
    apply,
};

/// See [`super::table::ScanBlocks`].
///
/// # Safety
/// The processor has AVX2 and FMA. `bytes` are whole blocks of the query's layout; `uppers` and
/// `estimates` have room for all their rows.
#[target_feature(enable = "avx2,fma")]
unsafe fn scan(query: &Query, bytes: &[u8], uppers: &mut [f32], estimates: &mut [f32]) {
    for (block, bytes) in bytes.chunks_exact(query.layout.coarse_block_len()).enumerate() {
        for half in 0..2 {
            let rows = block * BLOCK_ROWS + half * 8..block * BLOCK_ROWS + half * 8 + 8;
            // SAFETY: a whole block, as the caller vouches, and AVX2 with FMA; both slices have 8
            // floats.
            unsafe {
                let (estimate, upper) = half_block(query, bytes, half);
                _mm256_storeu_ps(uppers[rows.clone()].as_mut_ptr(), upper);
                _mm256_storeu_ps(estimates[rows].as_mut_ptr(), estimate);
            }
        }
    }
}

/// Estimates and upper ends of 8 rows of a block.
///
/// # Safety
/// The processor has AVX2 and FMA; `bytes` is one block of the query's layout.
#[target_feature(enable = "avx2,fma")]
unsafe fn half_block(query: &Query, bytes: &[u8], half: usize) -> (__m256, __m256) {
    let (layout, coarse) = (query.layout, &query.coarse);
    let ones = _mm256_set1_epi16(1);
    let low_half = _mm256_set1_epi8(15);
    let low_pair = _mm256_set1_epi8(3);
    let times = |codes: __m256i, z: i32| _mm256_maddubs_epi16(codes, _mm256_set1_epi32(z));
    let mut at = bytes.as_ptr().wrapping_add(32 * half);
    let mut head = _mm256_setzero_si256();
    for &[first, second] in coarse.head.as_chunks::<2>().0 {
        // SAFETY: the head has 64 bytes for each two words of z, of which this half has 32.
        let codes = unsafe { _mm256_loadu_si256(at.cast()) };
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), low_half);
        let pairs =
            _mm256_add_epi16(times(_mm256_and_si256(codes, low_half), first), times(high, second));
        head = _mm256_add_epi32(head, _mm256_madd_epi16(pairs, ones));
        at = at.wrapping_add(64);
    }
    let mut middle = _mm256_setzero_si256();
    for &[a, b, c, d] in coarse.middle.as_chunks::<4>().0 {
        // SAFETY: the middle follows the head, with 64 bytes for each four words of z.
        let codes = unsafe { _mm256_loadu_si256(at.cast()) };
        let first = _mm256_and_si256(codes, low_pair);
        let second = _mm256_and_si256(_mm256_srli_epi16::<2>(codes), low_pair);
        let third = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), low_pair);
        let fourth = _mm256_and_si256(_mm256_srli_epi16::<6>(codes), low_pair);
        let pairs = _mm256_add_epi16(
            _mm256_add_epi16(times(first, a), times(second, b)),
            _mm256_add_epi16(times(third, c), times(fourth, d)),
        );
        middle = _mm256_add_epi32(middle, _mm256_madd_epi16(pairs, ones));
        at = at.wrapping_add(64);
    }
    let factors = bytes.as_ptr().wrapping_add(layout.factors_at() + 16 * half);
    // SAFETY: five times 32 bytes of factors follow the codes, of which this half has 16 each.
    let factor = |index: usize| unsafe {
        let bits = _mm_loadu_si128(factors.add(32 * index).cast());
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
    };
    let part = |sum: __m256i, group: usize| {
        let offset = _mm256_set1_epi32(coarse.offsets[group]);
        let doubled = _mm256_add_epi32(_mm256_add_epi32(sum, sum), offset);
        let unit = _mm256_set1_ps(coarse.units[group]);
        _mm256_mul_ps(factor(group), _mm256_mul_ps(unit, _mm256_cvtepi32_ps(doubled)))
    };
    let mut estimate = _mm256_add_ps(part(head, 0), part(middle, 1));
    let k = _mm256_set1_ps(coarse.k);
    if layout.has_norms {
        // SAFETY: 64 bytes of norms follow the factors, of which this half has 32.
        let norm =
            unsafe { _mm256_loadu_ps(bytes.as_ptr().add(layout.norms_at() + 32 * half).cast()) };
        let raised = _mm256_fmadd_ps(norm, k, estimate);
        let square = _mm256_set1_ps(coarse.square);
        estimate = _mm256_fnmadd_ps(_mm256_mul_ps(norm, norm), square, raised);
    } else {
        estimate = _mm256_add_ps(estimate, k);
    }
    let norms = coarse.norms.map(|norm| _mm256_set1_ps(norm));
    let error = _mm256_mul_ps(factor(2), norms[0]);
    let error = _mm256_fmadd_ps(factor(3), norms[1], error);
    let error = _mm256_fmadd_ps(factor(4), norms[2], error);
    (estimate, _mm256_add_ps(estimate, error))
}

/// See [`super::table::ScoreCodes`].
///
/// # Safety
/// The processor has AVX2. `codes` are a fine row's codes of the query's layout.
#[target_feature(enable = "avx2")]
unsafe fn score(query: &Query, codes: &[u8]) -> (i32, i32) {
    let ones = _mm256_set1_epi16(1);
    let low_half = _mm256_set1_epi8(15);
    let mut sums = [_mm256_setzero_si256(); 2];
    let fine = &query.fine;
    let stretches =
        fine.high.as_chunks::<STRETCH>().0.iter().zip(fine.low.as_chunks::<STRETCH>().0);
    for (codes, parts) in codes.chunks(STRETCH / 2).zip(stretches) {
        let mut whole = [0; STRETCH / 2];
        whole[..codes.len()].copy_from_slice(codes);
        for half in 0..2 {
            // SAFETY: 64 bytes of codes in `whole`, 128 of z in each part.
            unsafe {
                let codes = _mm256_loadu_si256(whole.as_ptr().add(32 * half).cast());
                let first = _mm256_and_si256(codes, low_half);
                let second = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), low_half);
                for (sum, z) in sums.iter_mut().zip([parts.0, parts.1]) {
                    let z = z.as_ptr().add(32 * half);
                    // z reaches -128: 15 x 128 x 4 fits 16 bits.
                    let pairs = _mm256_add_epi16(
                        _mm256_maddubs_epi16(first, _mm256_loadu_si256(z.cast())),
                        _mm256_maddubs_epi16(second, _mm256_loadu_si256(z.add(64).cast())),
                    );
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
        }
    }
    let [high, low] = sums.map(|sum| {
        let mut lanes = [0i32; 8];
        // SAFETY: room for 8 lanes.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        lanes.iter().sum::<i32>()
    });
    (high, low)
}

/// See [`quantize::fit`].
///
/// # Safety
/// The processor has what the attribute names.
#[target_feature(enable = "avx2")]
unsafe fn fit(values: &[f32], step: f32, most: f32) -> (f32, f32) {
    quantize::fit(values, step, most)
}

/// See [`quantize::apply`].
///
/// # Safety
/// The processor has what the attribute names.
#[target_feature(enable = "avx2")]
unsafe fn apply(values: &mut [f32], step: f32, most: f32, scale: f32, codes: &mut [u8]) -> f64 {
    quantize::apply(values, step, most, scale, codes)
}
