//! The loops with AVX-512 VNNI: 16 rows of a block in the 16 lanes of a register.

use std::arch::x86_64::*;

use super::super::layout::{BLOCK_ROWS, STRETCH};
use super::super::query::Query;
use super::quantize;
use super::table::{Functions, TOGETHER};

pub(super) static AVX512: Functions = Functions {
    name: "avx512vnni",
    is_detected: || {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vnni")
    },
    scan,
    scan_together: Some(scan_together),
    next,
    score,
    fit,
    apply,
};

/// See [`super::table::ScanBlocks`].
///
/// # Safety
/// The processor has AVX-512 F, BW and VNNI. `bytes` are whole blocks of the query's layout; `uppers`
/// and `estimates` have room for all their rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn scan(query: &Query, bytes: &[u8], uppers: &mut [f32], estimates: &mut [f32]) {
    // SAFETY: as the caller vouches.
    unsafe { scan_of([query], bytes, [uppers], [estimates]) }
}

/// See [`super::table::ScanTogether`].
///
/// # Safety
/// As [`scan`], for each query; all are of one layout.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn scan_together(
    queries: [&Query; TOGETHER],
    bytes: &[u8],
    uppers: [&mut [f32]; TOGETHER],
    estimates: [&mut [f32]; TOGETHER],
) {
    // SAFETY: as the caller vouches.
    unsafe { scan_of(queries, bytes, uppers, estimates) }
}

/// Upper end and estimate of the rows of one block for one query, from the sums of its codes.
///
/// # Safety
/// The processor has AVX-512 F, BW and VNNI. `at`: factors of a block of the query's layout.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn finish(query: &Query, head: __m512i, middle: __m512i, at: *const u8) -> (__m512, __m512) {
    let (layout, coarse) = (query.layout, &query.coarse);
    // SAFETY: five times 32 bytes of factors follow the codes.
    let factor = |index: usize| unsafe {
        let bits = _mm256_loadu_si256(at.add(32 * index).cast());
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
    };
    let part = |sum: __m512i, group: usize| {
        let offset = _mm512_set1_epi32(coarse.offsets[group]);
        let doubled = _mm512_add_epi32(_mm512_add_epi32(sum, sum), offset);
        let scaled =
            _mm512_mul_ps(_mm512_set1_ps(coarse.units[group]), _mm512_cvtepi32_ps(doubled));
        _mm512_mul_ps(factor(group), scaled)
    };
    let k = _mm512_set1_ps(coarse.k);
    let mut estimate = _mm512_add_ps(part(head, 0), part(middle, 1));
    if layout.has_norms {
        // SAFETY: 64 bytes of norms follow the factors.
        let norm = unsafe { _mm512_loadu_ps(at.add(160).cast()) };
        let raised = _mm512_fmadd_ps(norm, k, estimate);
        let square = _mm512_set1_ps(coarse.square);
        estimate = _mm512_fnmadd_ps(_mm512_mul_ps(norm, norm), square, raised);
    } else {
        estimate = _mm512_add_ps(estimate, k);
    }
    let norm = |group: usize| _mm512_set1_ps(coarse.norms[group]);
    let error = _mm512_mul_ps(factor(2), norm(0));
    let error = _mm512_fmadd_ps(factor(3), norm(1), error);
    let error = _mm512_fmadd_ps(factor(4), norm(2), error);
    (_mm512_add_ps(estimate, error), estimate)
}

/// Scans for several queries: codes are read and unpacked once for all of them.
///
/// # Safety
/// As [`scan`], for each query; all are of one layout.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn scan_of<const Q: usize>(
    queries: [&Query; Q],
    bytes: &[u8],
    uppers: [&mut [f32]; Q],
    estimates: [&mut [f32]; Q],
) {
    let Some(layout) = queries.first().map(|query| query.layout) else {
        return;
    };
    let len = layout.coarse_block_len();
    let blocks = bytes.len() / len;
    let room = uppers.iter().chain(&estimates).map(|to| to.len()).min().unwrap_or(0);
    debug_assert!(room >= blocks * BLOCK_ROWS);
    // Of one layout, all have as many words.
    let head = queries.map(|query| query.coarse.head.as_chunks::<2>().0);
    let middle = queries.map(|query| query.coarse.middle.as_chunks::<4>().0);
    let (heads, middles) = (head.map(<[_]>::len), middle.map(<[_]>::len));
    let heads = heads.into_iter().min().unwrap_or(0);
    let middles = middles.into_iter().min().unwrap_or(0);
    let low_half = _mm512_set1_epi8(15);
    let low_pair = _mm512_set1_epi8(3);
    for block in 0..blocks {
        let mut sums = [[_mm512_setzero_si512(); 2]; Q];
        // SAFETY: the block lies in `bytes`: `block` < `blocks`, each of `len` bytes.
        let mut at = unsafe { bytes.as_ptr().add(block * len) };
        for word in 0..heads {
            // SAFETY: the head has 64 bytes for each two words of z.
            let codes = unsafe { _mm512_loadu_si512(at.cast()) };
            let low = _mm512_and_si512(codes, low_half);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), low_half);
            for (sums, head) in sums.iter_mut().zip(&head) {
                // SAFETY: each has at least `heads`.
                let [first, second] = unsafe { *head.get_unchecked(word) };
                sums[0] = _mm512_dpbusd_epi32(sums[0], low, _mm512_set1_epi32(first));
                sums[1] = _mm512_dpbusd_epi32(sums[1], high, _mm512_set1_epi32(second));
            }
            at = at.wrapping_add(64);
        }
        let heads_of = sums.map(|[even, odd]| _mm512_add_epi32(even, odd));
        sums = [[_mm512_setzero_si512(); 2]; Q];
        for word in 0..middles {
            // SAFETY: the middle follows the head, with 64 bytes for each four words of z.
            let codes = unsafe { _mm512_loadu_si512(at.cast()) };
            let first = _mm512_and_si512(codes, low_pair);
            let second = _mm512_and_si512(_mm512_srli_epi16::<2>(codes), low_pair);
            let third = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), low_pair);
            let fourth = _mm512_and_si512(_mm512_srli_epi16::<6>(codes), low_pair);
            for (sums, middle) in sums.iter_mut().zip(&middle) {
                // SAFETY: each has at least `middles`.
                let [a, b, c, d] = unsafe { *middle.get_unchecked(word) };
                sums[0] = _mm512_dpbusd_epi32(sums[0], first, _mm512_set1_epi32(a));
                sums[1] = _mm512_dpbusd_epi32(sums[1], second, _mm512_set1_epi32(b));
                sums[0] = _mm512_dpbusd_epi32(sums[0], third, _mm512_set1_epi32(c));
                sums[1] = _mm512_dpbusd_epi32(sums[1], fourth, _mm512_set1_epi32(d));
            }
            at = at.wrapping_add(64);
        }
        for (index, query) in queries.into_iter().enumerate() {
            let [even, odd] = sums[index];
            // SAFETY: the factors of the block follow its codes, and all have room for the rows of
            // all blocks.
            unsafe {
                let middle = _mm512_add_epi32(even, odd);
                let (upper, estimate) = finish(query, heads_of[index], middle, at);
                _mm512_storeu_ps(uppers[index].as_mut_ptr().add(block * BLOCK_ROWS), upper);
                _mm512_storeu_ps(estimates[index].as_mut_ptr().add(block * BLOCK_ROWS), estimate);
            }
        }
    }
}

/// See [`super::table::FindNext`].
///
/// # Safety
/// The processor has AVX-512 F.
#[target_feature(enable = "avx512f")]
unsafe fn next(values: &[f32], cut: f32, from: usize) -> (usize, f32) {
    let wanted = _mm512_set1_ps(cut);
    let mut largest = _mm512_set1_ps(f32::NEG_INFINITY);
    let mut at = from;
    for chunk in values.get(from..).unwrap_or_default().chunks(16) {
        let all = u16::MAX >> (16 - chunk.len());
        // SAFETY: lanes outside of the mask are neither read nor faulted on; `chunk` has 1 to 16 floats.
        let value = unsafe { _mm512_maskz_loadu_ps(all, chunk.as_ptr()) };
        let below = _mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(all, value, wanted);
        // The lanes before the first one that is not below.
        let before = all & !below;
        let passed = if before == 0 { all } else { (1u16 << before.trailing_zeros()) - 1 };
        largest = _mm512_mask_max_ps(largest, passed, largest, value);
        if before != 0 {
            return (at + before.trailing_zeros() as usize, _mm512_reduce_max_ps(largest));
        }
        at += chunk.len();
    }
    (values.len(), _mm512_reduce_max_ps(largest))
}

/// See [`super::table::ScoreCodes`].
///
/// # Safety
/// The processor has AVX-512 F, BW and VNNI. `codes` are a fine row's codes of the query's layout.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn score(query: &Query, codes: &[u8]) -> (i32, i32) {
    let low_half = _mm512_set1_epi8(15);
    let mut high_sums = [_mm512_setzero_si512(); 2];
    let mut low_sums = [_mm512_setzero_si512(); 2];
    let fine = &query.fine;
    let stretches =
        fine.high.as_chunks::<STRETCH>().0.iter().zip(fine.low.as_chunks::<STRETCH>().0);
    for (codes, (high, low)) in codes.chunks(STRETCH / 2).zip(stretches) {
        let mask = u64::MAX >> (64 - codes.len());
        // SAFETY: bytes outside the mask are neither read nor faulted on; `codes` has 1 to 64 bytes.
        // A stretch of z has 128.
        unsafe {
            let codes = _mm512_maskz_loadu_epi8(mask, codes.as_ptr().cast());
            let first = _mm512_and_si512(codes, low_half);
            let second = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), low_half);
            let z =
                |from: &[i8; STRETCH], at: usize| _mm512_loadu_si512(from.as_ptr().add(at).cast());
            high_sums[0] = _mm512_dpbusd_epi32(high_sums[0], first, z(high, 0));
            high_sums[1] = _mm512_dpbusd_epi32(high_sums[1], second, z(high, 64));
            low_sums[0] = _mm512_dpbusd_epi32(low_sums[0], first, z(low, 0));
            low_sums[1] = _mm512_dpbusd_epi32(low_sums[1], second, z(low, 64));
        }
    }
    let sum = |sums: [__m512i; 2]| _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1]));
    (sum(high_sums), sum(low_sums))
}

/// See [`quantize::fit`].
///
/// # Safety
/// The processor has what the attribute names.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn fit(values: &[f32], step: f32, most: f32) -> (f32, f32) {
    quantize::fit(values, step, most)
}

/// See [`quantize::apply`].
///
/// # Safety
/// The processor has what the attribute names.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn apply(values: &mut [f32], step: f32, most: f32, scale: f32, codes: &mut [u8]) -> f64 {
    quantize::apply(values, step, most, scale, codes)
}
