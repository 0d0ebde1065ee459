//! Does every kernel of int8, levels and bits give exactly what plain sums give?
//!
//! All tables that this processor runs, at every length that takes another path through the
//! loops, at every alignment, and at the values where a product can saturate or a sum overflow.

use ambit_vector::{CodeWidth, Kernels, MAX_WEIGHT, Weights};
use proptest::prelude::*;
use support::{Random, lengths};

mod support;

/// Slow sums, one element at a time, in 64 bits.
mod oracle {
    use super::CodeWidth;

    pub fn dot_i8(a: &[i8], b: &[i8]) -> i64 {
        a.iter().zip(b).map(|(&a, &b)| i64::from(a) * i64::from(b)).sum()
    }

    pub fn l2sq_i8(a: &[i8], b: &[i8]) -> i64 {
        a.iter().zip(b).map(|(&a, &b)| (i64::from(a) - i64::from(b)).pow(2)).sum()
    }

    pub fn hamming(a: &[u8], b: &[u8]) -> i64 {
        let bit = |bytes: &[u8], i: usize| bytes[i / 8] >> (i % 8) & 1;
        (0..8 * a.len()).filter(|&i| bit(a, i) != bit(b, i)).count() as i64
    }

    /// Element `i` of a packed row of `dim`.
    pub fn level(width: CodeWidth, dim: usize, row: &[u8], i: usize) -> u8 {
        match width {
            CodeWidth::One => row[i / 8] >> (i % 8) & 1,
            CodeWidth::Four if i < dim.div_ceil(2) => row[i] & 15,
            CodeWidth::Four => row[i - dim.div_ceil(2)] >> 4,
            CodeWidth::Eight => row[i],
        }
    }

    pub fn weighted(width: CodeWidth, weights: &[i16], row: &[u8]) -> i64 {
        let dim = weights.len();
        (0..dim).map(|i| i64::from(level(width, dim, row, i)) * i64::from(weights[i])).sum()
    }

    pub fn levels(row: &[u8]) -> Vec<i8> {
        row.iter().flat_map(|byte| [(byte & 15) as i8, (byte >> 4) as i8]).collect()
    }
}

fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.next() as u8).collect()
}

fn signed(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|&byte| byte as i8).collect()
}

/// Holds every function of two operands against the oracle: m queries, n rows of `len` bytes.
fn assert_pairs(kernels: Kernels, len: usize, queries: &[u8], rows: &[u8]) {
    let (m, n) = (queries.len() / len, rows.len() / len);
    let (signed_queries, signed_rows) = (signed(queries), signed(rows));
    let mut blocks = vec![vec![0; m * n]; 5];
    kernels.dot_i8_block(len, &signed_queries, &signed_rows, &mut blocks[0]);
    kernels.l2sq_i8_block(len, &signed_queries, &signed_rows, &mut blocks[1]);
    kernels.dot_u4_block(len, queries, rows, &mut blocks[2]);
    kernels.l2sq_u4_block(len, queries, rows, &mut blocks[3]);
    kernels.hamming_block(len, queries, rows, &mut blocks[4]);
    for j in 0..m {
        let (query, signed_query) = (&queries[j * len..][..len], &signed_queries[j * len..][..len]);
        let mut scans = vec![vec![0; n]; 5];
        kernels.dot_i8_rows(signed_query, &signed_rows, &mut scans[0]);
        kernels.l2sq_i8_rows(signed_query, &signed_rows, &mut scans[1]);
        kernels.dot_u4_rows(query, rows, &mut scans[2]);
        kernels.l2sq_u4_rows(query, rows, &mut scans[3]);
        kernels.hamming_rows(query, rows, &mut scans[4]);
        for i in 0..n {
            let (row, signed_row) = (&rows[i * len..][..len], &signed_rows[i * len..][..len]);
            let (levels, row_levels) = (oracle::levels(query), oracle::levels(row));
            let expected = [
                oracle::dot_i8(signed_query, signed_row),
                oracle::l2sq_i8(signed_query, signed_row),
                oracle::dot_i8(&levels, &row_levels),
                oracle::l2sq_i8(&levels, &row_levels),
                oracle::hamming(query, row),
            ];
            let pairs = [
                kernels.dot_i8(signed_query, signed_row),
                kernels.l2sq_i8(signed_query, signed_row).cast_signed(),
                kernels.dot_u4(query, row),
                kernels.l2sq_u4(query, row),
                kernels.hamming(query, row),
            ];
            for what in 0..5 {
                let expected = expected[what] as i32;
                let found = [pairs[what], scans[what][i], blocks[what][j * n + i]];
                assert_eq!(found, [expected; 3], "{kernels:?} measure {what} of {len} bytes");
            }
        }
    }
}

#[test]
fn every_kernel_is_exact_at_every_length() {
    let mut random = Random(1);
    for kernels in Kernels::available() {
        for len in lengths().into_iter().filter(|&len| len > 0) {
            let (m, n) = if len > 600 { (2, 5) } else { (5, 9) };
            let (queries, rows) = (bytes(&mut random, m * len), bytes(&mut random, n * len));
            assert_pairs(kernels, len, &queries, &rows);
        }
    }
}

#[test]
fn every_kernel_is_exact_for_every_number_of_rows_and_queries() {
    let mut random = Random(2);
    for kernels in Kernels::available() {
        for len in [3, 48, 100, 9000] {
            let largest = if len > 1000 { 6 } else { 18 };
            for m in [1, 2, 3, 4, 5, largest, 4 * largest] {
                for n in [0, 1, 2, 3, 4, 5, 7, 8, 9, largest] {
                    if cfg!(miri) && m * n * len > 2000 {
                        continue;
                    }
                    let (queries, rows) =
                        (bytes(&mut random, m * len), bytes(&mut random, n * len));
                    assert_pairs(kernels, len, &queries, &rows);
                }
            }
        }
    }
}

#[test]
fn extremes_neither_saturate_nor_overflow() {
    let largest = if cfg!(miri) { 257 } else { 65_536 };
    for kernels in Kernels::available() {
        for len in [1, 33, 257, largest] {
            for value in [i8::MIN, i8::MAX, -1, 0] {
                for other in [i8::MIN, i8::MAX, 1] {
                    let (a, b) = (vec![value as u8; len], vec![other as u8; len]);
                    assert_pairs(kernels, len, &a, &b);
                }
            }
        }
        let (a, b) = (vec![i8::MIN; largest], vec![i8::MAX; largest]);
        assert_eq!(i64::from(kernels.l2sq_i8(&a, &b)), oracle::l2sq_i8(&a, &b));
    }
}

/// Holds the weighted sums of `rows` rows of `dim` elements against the oracle.
fn assert_weighted(kernels: Kernels, width: CodeWidth, values: &[i16], rows: &[u8]) {
    let (dim, len) = (values.len(), width.row_len(values.len()));
    let mut weights = Weights::new(width, dim);
    weights.set(values);
    let n = rows.len().checked_div(len).unwrap_or(3);
    let mut found = vec![0; n];
    kernels.weighted_rows(&weights, rows, &mut found);
    for (i, found) in found.into_iter().enumerate() {
        let expected = oracle::weighted(width, values, &rows[i * len..][..len]);
        assert_eq!(found, expected as i32, "{kernels:?} {width:?} dim {dim} row {i}");
    }
}

const WIDTHS: [CodeWidth; 3] = [CodeWidth::One, CodeWidth::Four, CodeWidth::Eight];

#[test]
fn weighted_sums_are_exact_at_every_length_and_at_the_extremes() {
    let mut random = Random(3);
    for kernels in Kernels::available() {
        for width in WIDTHS {
            for dim in lengths() {
                let n = if dim > 600 { 5 } else { 9 };
                let range = 2 * u64::from(MAX_WEIGHT.unsigned_abs()) + 1;
                let weight = |random: &mut Random| (random.next() % range) as i16 - MAX_WEIGHT;
                let values: Vec<i16> = (0..dim).map(|_| weight(&mut random)).collect();
                let rows = bytes(&mut random, n * width.row_len(dim));
                assert_weighted(kernels, width, &values, &rows);
                for extreme in [-MAX_WEIGHT, MAX_WEIGHT, 63, 64, -64, -65] {
                    let rows = vec![255; 5 * width.row_len(dim)];
                    assert_weighted(kernels, width, &vec![extreme; dim], &rows);
                }
            }
        }
    }
}

#[test]
fn any_alignment_gives_the_same_sums() {
    let mut random = Random(4);
    for kernels in Kernels::available() {
        for len in [1, 15, 48, 64, 65, 100] {
            let (query, rows) = (bytes(&mut random, len), bytes(&mut random, 9 * len));
            let mut expected = vec![0; 9];
            kernels.hamming_rows(&query, &rows, &mut expected);
            for shift in 1..if cfg!(miri) { 3 } else { 64 } {
                let mut shifted = vec![255; shift];
                shifted.extend_from_slice(&rows);
                shifted.push(255);
                let mut found = vec![0; 9];
                kernels.hamming_rows(&query, &shifted[shift..shift + 9 * len], &mut found);
                assert_eq!(found, expected, "{kernels:?} {len} bytes, shift {shift}");
            }
        }
    }
}

#[test]
fn cosines_of_integers_are_rounded_once_from_exact_sums() {
    for kernels in Kernels::available() {
        assert_eq!(kernels.cosine_i8(&[3, 4], &[-6, -8]), -1.0);
        assert_eq!(kernels.cosine_i8(&[1, 0], &[0, -128]), 0.0);
        assert_eq!(kernels.cosine_u4(&[0x43], &[0x86]), 1.0);
        assert!(kernels.cosine_i8(&[0, 0], &[1, 1]).is_nan());
        assert!(kernels.cosine_u4(&[0], &[1]).is_nan());
    }
}

#[test]
fn rows_take_the_bytes_that_their_width_says() {
    for (width, bits, lens) in [
        (CodeWidth::One, 1, [0, 1, 1, 2]),
        (CodeWidth::Four, 4, [0, 1, 4, 5]),
        (CodeWidth::Eight, 8, [0, 1, 8, 9]),
    ] {
        assert_eq!(width.bits(), bits);
        assert_eq!(u32::from(width.max_level()), (1 << bits) - 1);
        assert_eq!([0, 1, 8, 9].map(|dim| width.row_len(dim)), lens);
    }
    let weights = Weights::new(CodeWidth::Four, 384);
    assert_eq!((weights.dim(), weights.row_len()), (384, 192));
    assert_eq!(Weights::bytes(CodeWidth::Four, 384), 4 * 384);
}

#[test]
#[should_panic(expected = "weight 16257 is too large")]
fn a_weight_past_the_largest_panics() {
    Weights::new(CodeWidth::Eight, 1).set(&[MAX_WEIGHT + 1]);
}

#[test]
#[should_panic(expected = "rows are not 2 x 192")]
fn weighted_rows_of_another_size_panic() {
    let weights = Weights::new(CodeWidth::Four, 384);
    Kernels::available()[0].weighted_rows(&weights, &[0; 383], &mut [0; 2]);
}

#[test]
#[should_panic(expected = "rows of different lengths")]
fn a_hamming_distance_of_different_lengths_panics() {
    Kernels::available()[0].hamming(&[0], &[0, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

    /// Any bytes at all, also where only the wrapped sum is right.
    #[test]
    fn any_bytes_score_exactly(
        len in 1usize..200,
        seed in any::<u64>(),
        weights in prop::collection::vec(-MAX_WEIGHT..=MAX_WEIGHT, 1..300),
    ) {
        let mut random = Random(seed);
        let (queries, rows) = (bytes(&mut random, 2 * len), bytes(&mut random, 5 * len));
        for kernels in Kernels::available() {
            assert_pairs(kernels, len, &queries, &rows);
            for width in WIDTHS {
                let rows = bytes(&mut random, 5 * width.row_len(weights.len()));
                assert_weighted(kernels, width, &weights, &rows);
            }
        }
    }
}
