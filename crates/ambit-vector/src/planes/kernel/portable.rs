//! The loops in plain Rust: what the others are tested against, and what runs elsewhere.

use super::super::layout::{BLOCK_ROWS, STRETCH};
use super::super::query::Query;
use super::quantize;
use super::table::{Functions, factor};

pub(super) static PORTABLE: Functions = Functions {
    name: "portable",
    is_detected: || true,
    scan,
    scan_together: None,
    next,
    score,
    fit: quantize::fit,
    apply: quantize::apply,
};

/// See [`super::table::ScanBlocks`].
///
/// # Safety
/// None; it checks its bounds.
unsafe fn scan(query: &Query, bytes: &[u8], uppers: &mut [f32], estimates: &mut [f32]) {
    let (layout, coarse) = (query.layout, &query.coarse);
    for (block, bytes) in bytes.chunks_exact(layout.coarse_block_len()).enumerate() {
        let mut sums = [[0i32; BLOCK_ROWS]; 2];
        let (head, rest) = bytes.split_at(layout.middle_at());
        let (middle, rest) = rest.split_at(layout.factors_at() - layout.middle_at());
        for (codes, z) in head.chunks_exact(64).zip(coarse.head.chunks_exact(2)) {
            add(&mut sums[0], codes, z, 4);
        }
        for (codes, z) in middle.chunks_exact(64).zip(coarse.middle.chunks_exact(4)) {
            add(&mut sums[1], codes, z, 2);
        }
        for (row, sums) in sums[0].into_iter().zip(sums[1]).enumerate() {
            let part = |group: usize| {
                let sum = if group == 0 { sums.0 } else { sums.1 };
                let odd = 2 * sum + coarse.offsets[group];
                factor(rest, group, row) * (coarse.units[group] * odd as f32)
            };
            let mut estimate = part(0) + part(1);
            if layout.has_norms {
                let at = layout.norms_at() - layout.factors_at() + 4 * row;
                let norm = f32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
                estimate += norm * coarse.k - norm * norm * coarse.square;
            } else {
                estimate += coarse.k;
            }
            let errors = (0..3).map(|group| factor(rest, 2 + group, row) * coarse.norms[group]);
            estimates[block * BLOCK_ROWS + row] = estimate;
            uppers[block * BLOCK_ROWS + row] = estimate + errors.sum::<f32>();
        }
    }
}

/// See [`super::table::FindNext`].
///
/// # Safety
/// None; it checks its bounds.
pub(super) unsafe fn next(values: &[f32], cut: f32, from: usize) -> (usize, f32) {
    let mut largest = f32::NEG_INFINITY;
    for (index, &value) in values.iter().enumerate().skip(from) {
        if value < cut {
            largest = largest.max(value);
        } else {
            return (index, largest);
        }
    }
    (values.len(), largest)
}

/// Adds codes of `bits` bits times z to the sums of 16 rows; `z`: one word for each 4 components.
fn add(sums: &mut [i32; BLOCK_ROWS], codes: &[u8], z: &[i32], bits: u32) {
    let mask = (1u8 << bits) - 1;
    for (sum, codes) in sums.iter_mut().zip(codes.chunks_exact(4)) {
        for (part, word) in (0u32..).zip(z) {
            for (&byte, z) in codes.iter().zip(word.to_le_bytes()) {
                *sum += i32::from(byte >> (part * bits) & mask) * i32::from(z.cast_signed());
            }
        }
    }
}

/// See [`super::table::ScoreCodes`].
///
/// # Safety
/// None; it checks its bounds.
unsafe fn score(query: &Query, codes: &[u8]) -> (i32, i32) {
    let (mut high, mut low) = (0, 0);
    let parts = query.fine.high.chunks_exact(STRETCH).zip(query.fine.low.chunks_exact(STRETCH));
    for (codes, (h, l)) in codes.chunks(STRETCH / 2).zip(parts) {
        for (at, &byte) in codes.iter().enumerate() {
            let (first, second) = (i32::from(byte & 15), i32::from(byte >> 4));
            let other = STRETCH / 2 + at;
            high += first * i32::from(h[at]) + second * i32::from(h[other]);
            low += first * i32::from(l[at]) + second * i32::from(l[other]);
        }
    }
    (high, low)
}
