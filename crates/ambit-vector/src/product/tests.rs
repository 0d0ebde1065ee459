//! Codes against slow twins: nearest centroids, scores and bounds in f64, damage.

use proptest::prelude::*;

use super::*;
use crate::blocks::ROWS;
use crate::draws::Draws;
use crate::quantizer::{CodeError, Interval};
use crate::{Metric, TopK, oracle};

fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut draws = Draws::new(seed);
    let mut next = || (draws.next_u64() >> 40) as f32 / (1 << 24) as f32 - 0.5;
    (0..len).map(|_| next() + next() + next() + next()).collect()
}

/// Rows of fewer degrees of freedom than dimensions, as real ones have.
fn structured(dim: usize, count: usize, seed: u64) -> Vec<f32> {
    let hidden = (dim / 4).max(1);
    let mixing = noise(dim * hidden, seed ^ 99);
    let small = noise(dim * count, seed ^ 98);
    let mut rows = Vec::with_capacity(dim * count);
    for (h, small) in noise(hidden * count, seed).chunks(hidden).zip(small.chunks(dim)) {
        for (i, small) in small.iter().enumerate() {
            let mixed: f32 = (0..hidden).map(|k| mixing[i * hidden + k] * h[k]).sum();
            rows.push(mixed + 0.1 * small);
        }
    }
    rows
}

fn options(dim: usize, parts: usize, bits: Bits, metric: Metric) -> ProductOptions {
    ProductOptions { steps: 3, ..ProductOptions::new(dim, parts, bits, metric) }
}

fn coded(quantizer: &Product, rows: &[f32]) -> Vec<u8> {
    let mut codes = vec![0xA5; quantizer.codes_len(rows.len() / quantizer.dim())];
    quantizer.encode(0, rows, &mut codes).unwrap();
    codes
}

fn score(metric: Metric, q: &[f32], x: &[f32]) -> f64 {
    match metric {
        Metric::InnerProduct => oracle::dot(q, x),
        Metric::Euclidean => oracle::l2sq(q, x).sqrt(),
        Metric::Cosine => oracle::dot(q, x) / (oracle::norm_sq(q) * oracle::norm_sq(x)).sqrt(),
    }
}

/// Bounds and intervals hold, and scans agree with single scores.
fn check(quantizer: &Product, rows: &[f32], query: &[f32]) {
    let (dim, metric) = (quantizer.dim(), quantizer.options().metric);
    let count = rows.len() / dim;
    let codes = coded(quantizer, rows);
    let mut decoded = vec![0.0; rows.len()];
    quantizer.decode(0, &codes, &mut decoded).unwrap();
    let ready = quantizer.query(query).unwrap();
    let mut intervals = vec![Interval::ANYWHERE; count];
    quantizer.intervals(&ready, &codes, &mut intervals).unwrap();
    let mut scores = vec![0.0; count];
    quantizer.scan(&ready, &codes, &mut scores).unwrap();
    for (number, row) in rows.chunks(dim).enumerate() {
        let context = format!("{:?}, row {number}", quantizer.options());
        let bound = f64::from(quantizer.error_bound(&codes, number).unwrap());
        let distance = oracle::l2sq(row, &decoded[number * dim..][..dim]).sqrt();
        assert!(distance <= bound, "{context}: {distance} of {bound}");
        let interval = intervals[number];
        let exact = score(metric, query, row);
        assert!(interval.contains(exact), "{context}: {exact} in {interval:?}");
        let single = quantizer.score(&ready, &codes, number).unwrap();
        if interval != Interval::ANYWHERE && single.abs() < 1e18 {
            // Half a step a part, on the square where that is what is added up.
            let slack = ready.slack * 1.001 + 1e-4 * f64::from(single).powi(2).abs().max(1e-3);
            let (a, b) = (f64::from(scores[number]), f64::from(single));
            match metric {
                Metric::Euclidean => assert!((a * a - b * b).abs() <= slack, "{context}: {a} {b}"),
                Metric::InnerProduct => assert!((a - b).abs() <= slack, "{context}: {a} {b}"),
                Metric::Cosine => {
                    let norms = (oracle::norm_sq(query) * oracle::norm_sq(row)).sqrt();
                    assert!((a - b).abs() <= slack / norms + 1e-4, "{context}: {a} {b}");
                }
            }
        }
    }
}

const STEP: usize = if cfg!(miri) { 17 } else { 1 };

#[test]
fn every_dimension_and_number_of_parts_keeps_its_bounds() {
    for dim in (1..=40).step_by(STEP) {
        for parts in [1, 2, 3, 5, dim / 2, dim].into_iter().filter(|p| (1..=dim).contains(p)) {
            for metric in Metric::ALL {
                let rows = structured(dim, 40, dim as u64);
                let quantizer = Product::train(options(dim, parts, Bits::Four, metric), &rows);
                check(&quantizer.unwrap(), &rows, &noise(dim, 7));
            }
        }
    }
}

#[test]
fn codes_of_eight_bits_keep_their_bounds() {
    let count = if cfg!(miri) { 10 } else { 400 };
    for (dim, parts) in [(7, 1), (7, 3), (16, 4)].into_iter().take(if cfg!(miri) { 1 } else { 3 }) {
        for metric in Metric::ALL {
            let rows = structured(dim, count, 5);
            let quantizer =
                Product::train(options(dim, parts, Bits::Eight, metric), &rows).unwrap();
            check(&quantizer, &rows, &noise(dim, 7));
        }
    }
}

#[test]
fn learned_rotations_keep_their_bounds_and_lower_the_error() {
    if cfg!(miri) {
        return;
    }
    let (dim, parts) = (24, 6);
    let rows = structured(dim, 1500, 3);
    for metric in Metric::ALL {
        let mean = |turn| {
            let options = ProductOptions { turn, ..options(dim, parts, Bits::Four, metric) };
            let quantizer = Product::train(options, &rows).unwrap();
            check(&quantizer, &rows[..100 * dim], &noise(dim, 7));
            let codes = coded(&quantizer, &rows);
            let bound = |row| quantizer.error_bound(&codes, row).unwrap();
            (0..1500).map(bound).sum::<f32>() / 1500.0
        };
        let (plain, turned) = (mean(Turn::None), mean(Turn::Learned));
        assert!(turned < 0.9 * plain, "{metric}: {turned} of {plain}");
    }
}

#[test]
fn dead_dimensions_do_not_spoil_a_learned_rotation() {
    if cfg!(miri) {
        return;
    }
    let mut rows = structured(12, 300, 3);
    for row in rows.chunks_mut(12) {
        (row[3], row[7]) = (1e-33, 0.0);
    }
    let options =
        ProductOptions { turn: Turn::Learned, ..options(12, 3, Bits::Four, Metric::InnerProduct) };
    let quantizer = Product::train(options, &rows).unwrap();
    assert!(quantizer.learned.as_ref().unwrap().off < 1e-4);
    check(&quantizer, &rows, &noise(12, 7));
    // A sample that says nothing at all.
    let quantizer = Product::train(options, &[0.0; 24]).unwrap();
    check(&quantizer, &rows, &noise(12, 7));
}

#[test]
fn each_part_gets_its_nearest_centroid() {
    for (dim, parts, bits) in [(10, 3, Bits::Four), (6, 2, Bits::Eight)] {
        let rows = structured(dim, if cfg!(miri) { 20 } else { 300 }, 8);
        let quantizer =
            Product::train(options(dim, parts, bits, Metric::Euclidean), &rows).unwrap();
        let codes = coded(&quantizer, &rows);
        let mut centroid = vec![0.0; dim];
        for (number, row) in rows.chunks(dim).enumerate() {
            let (block, place) = quantizer.place(&codes, number);
            for part in 0..parts {
                let (start, len) = (quantizer.start(part), quantizer.part_len(part));
                let mut distance = |code: usize| {
                    quantizer.rebuild(|_| code as u8, &mut centroid);
                    oracle::l2sq(&row[start..start + len], &centroid[start..start + len])
                };
                let found = distance(usize::from(quantizer.code(block, place, part)));
                let least = (0..bits.centroids()).map(&mut distance).fold(f64::INFINITY, f64::min);
                assert!(found <= least + 1e-5, "row {number}, part {part}: {found} for {least}");
            }
        }
    }
}

#[test]
fn extremes_keep_their_bounds() {
    let train =
        |rows: &[f32], metric| Product::train(options(8, 3, Bits::Four, metric), rows).unwrap();
    for metric in Metric::ALL {
        for scale in [1e-38, 1e-20, 1e10, 1e17] {
            let rows: Vec<f32> = noise(8 * 40, 1).iter().map(|x| x * scale).collect();
            check(&train(&rows, metric), &rows, &noise(8, 2));
            // Rows that nothing like them was trained on.
            check(&train(&noise(8 * 40, 3), metric), &rows, &noise(8, 2));
            let query: Vec<f32> = noise(8, 2).iter().map(|x| x * scale).collect();
            check(&train(&noise(8 * 40, 3), metric), &noise(80, 4), &query);
        }
        check(&train(&[0.0; 16], metric), &[0.0; 16], &[0.0; 8]);
    }
}

#[test]
fn what_is_not_finite_has_no_bound_and_no_score() {
    for bits in [Bits::Four, Bits::Eight] {
        let options = options(3, 2, bits, Metric::InnerProduct);
        let quantizer = Product::train(options, &noise(90, 1)).unwrap();
        let rows = [1.0, 2.0, 3.0, f32::NAN, 1.0, 1.0, f32::INFINITY, 5.0, 6.0];
        let codes = coded(&quantizer, &rows);
        let query = quantizer.query(&[1.0, 1.0, 1.0]).unwrap();
        let mut intervals = [Interval { low: 0.0, high: 0.0 }; 3];
        quantizer.intervals(&query, &codes, &mut intervals).unwrap();
        assert_eq!(intervals[1..], [Interval::ANYWHERE; 2]);
        assert!(intervals[0] != Interval::ANYWHERE);
        let query = quantizer.query(&[f32::NAN, 1.0, 1.0]).unwrap();
        quantizer.intervals(&query, &codes, &mut intervals).unwrap();
        assert_eq!(intervals, [Interval::ANYWHERE; 3]);
        let mut scores = [0.0; 3];
        quantizer.scan(&query, &codes, &mut scores).unwrap();
        assert!(scores.iter().all(|score| score.is_nan()));
        assert_eq!(Product::train(options, &rows).unwrap_err(), CodeError::NotFinite);
    }
}

#[test]
fn the_best_rows_of_a_scan_are_those_of_its_scores() {
    for metric in Metric::ALL {
        for bits in [Bits::Four, Bits::Eight] {
            let (dim, count) = (12, if cfg!(miri) { 40 } else { 700 });
            let rows = structured(dim, count, 4);
            let quantizer = Product::train(options(dim, 4, bits, metric), &rows).unwrap();
            let codes = coded(&quantizer, &rows);
            let query = quantizer.query(&noise(dim, 5)).unwrap();
            let mut scores = vec![0.0; count];
            quantizer.scan(&query, &codes, &mut scores).unwrap();
            let near = |row: u32| match metric {
                Metric::Euclidean => -scores[row as usize],
                _ => scores[row as usize],
            };
            let mut order: Vec<u32> = (0..count as u32).collect();
            order.sort_by(|a, b| near(*b).total_cmp(&near(*a)).then(a.cmp(b)));
            let mut top = TopK::new(10);
            quantizer.scan_top(&query, &codes, count, &mut top).unwrap();
            let found: Vec<u32> = top.into_sorted().into_iter().map(|(row, _)| row).collect();
            assert_eq!(found, order[..10], "{metric}, {bits:?}");
        }
    }
}

#[test]
fn rows_appended_one_by_one_give_the_codes_of_all_at_once() {
    let rows = structured(11, 2 * ROWS + 9, 8);
    for (bits, turn) in
        [(Bits::Four, Turn::None), (Bits::Eight, Turn::None), (Bits::Four, Turn::Learned)]
    {
        if cfg!(miri) && turn == Turn::Learned {
            continue;
        }
        let options = ProductOptions { turn, ..options(11, 3, bits, Metric::Cosine) };
        let quantizer = Product::train(options, &rows).unwrap();
        let mut whole = vec![0; quantizer.codes_len(rows.len() / 11)];
        quantizer.encode(0, &rows, &mut whole).unwrap();
        let mut single = vec![0; whole.len()];
        for (number, row) in rows.chunks(11).enumerate().rev() {
            quantizer.encode(number, row, &mut single).unwrap();
        }
        assert!(whole == single, "{bits:?}, {turn:?}");
    }
}

#[test]
fn a_seed_gives_these_bytes_for_ever() {
    if cfg!(miri) {
        return;
    }
    let rows: Vec<f32> = (0..300 * 20).map(|i| ((i * i + i / 7) % 37) as f32 - 18.0).collect();
    let sum = |bits, turn| {
        let options = ProductOptions { turn, ..options(20, 6, bits, Metric::Cosine) };
        let quantizer = Product::train(options, &rows).unwrap();
        let mut codes = vec![0; quantizer.codes_len(300)];
        quantizer.encode(0, &rows, &mut codes).unwrap();
        crc32c::crc32c(&codes)
    };
    let sums =
        [sum(Bits::Four, Turn::None), sum(Bits::Eight, Turn::None), sum(Bits::Four, Turn::Learned)];
    assert_eq!(sums, PINNED, "training is the same on every processor");
}

const PINNED: [u32; 3] = [1_525_473_564, 1_511_147_350, 2_828_031_429];

#[test]
fn a_model_is_read_back_and_damage_is_told() {
    for (bits, turn) in
        [(Bits::Four, Turn::None), (Bits::Eight, Turn::None), (Bits::Four, Turn::Learned)]
    {
        if cfg!(miri) && turn == Turn::Learned {
            continue;
        }
        let rows = structured(5, 40, 1);
        let options = ProductOptions { turn, ..options(5, 2, bits, Metric::Cosine) };
        let quantizer = Product::train(options, &rows).unwrap();
        let bytes = quantizer.write();
        assert_eq!(bytes.len(), quantizer.model_len());
        let back = Product::read(&bytes).unwrap();
        assert_eq!(coded(&back, &rows), coded(&quantizer, &rows));
        let step = if cfg!(miri) { 301 } else { 7 };
        for place in (0..bytes.len()).step_by(step) {
            assert!(Product::read(&bytes[..place]).unwrap_err().is_corrupt());
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            assert!(Product::read(&damaged).unwrap_err().is_corrupt(), "byte {place}");
        }
        // Wrong bytes with the right checksum: dimension, parts, bits, metric, turn, a number.
        for (place, value) in [
            (4, 0),
            (6, 0xFF),
            (8, 0),
            (8, 6),
            (12, 2),
            (13, 3),
            (14, 2),
            (14, u8::from(turn == Turn::None)),
        ] {
            let mut hostile = bytes.clone();
            hostile[place] = value;
            let body = hostile.len() - 4;
            let sum = crc32c::crc32c(&hostile[..body]);
            hostile[body..].copy_from_slice(&sum.to_le_bytes());
            assert!(Product::read(&hostile).unwrap_err().is_corrupt(), "byte {place}");
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let train = |dim, parts, rows: &[f32]| {
        Product::train(options(dim, parts, Bits::Four, Metric::InnerProduct), rows)
    };
    assert_eq!(train(0, 1, &[]).unwrap_err(), CodeError::Dimension { dim: 0 });
    assert!(train(65_537, 1, &[]).is_err());
    assert_eq!(train(4, 1, &[]).unwrap_err(), CodeError::NoSample);
    assert!(train(4, 0, &[0.0; 4]).is_err());
    assert!(train(4, 4, &[0.0; 4]).is_ok());
    assert!(train(4, 5, &[0.0; 4]).is_err());
    assert!(train(4, 1, &[0.0; 5]).is_err());
    let quantizer = train(4, 2, &noise(80, 1)).unwrap();
    let mut codes = vec![0; quantizer.codes_len(33)];
    assert!(quantizer.encode(0, &[0.0; 4 * 64], &mut codes).is_ok());
    assert!(quantizer.encode(0, &[0.0; 4 * 65], &mut codes).is_err());
    assert!(quantizer.encode(usize::MAX, &[0.0; 4], &mut codes).is_err());
    assert!(quantizer.encode(0, &[0.0; 3], &mut codes).is_err());
    assert!(quantizer.decode(64, &codes, &mut [0.0; 4]).is_err());
    assert!(quantizer.error_bound(&codes, 64).is_err());
    assert!(quantizer.query(&[0.0; 3]).is_err());
    let query = quantizer.query(&[1.0; 4]).unwrap();
    assert!(quantizer.scan(&query, &codes, &mut [0.0; 64]).is_ok());
    assert!(quantizer.scan(&query, &codes, &mut [0.0; 65]).is_err());
    assert!(quantizer.scan(&query, &codes[1..], &mut [0.0; 32]).is_err());
    let other = train(4, 3, &noise(80, 1)).unwrap();
    assert!(other.scan(&query, &vec![0; other.codes_len(1)], &mut [0.0; 1]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 48 }))]

    #[test]
    fn any_finite_rows_keep_their_bounds(
        dim in 1usize..24,
        parts in 1usize..24,
        rows in prop::collection::vec(-1e6f32..1e6, 80..300),
        query in prop::collection::vec(-1e6f32..1e6, 24),
        metric in 0usize..3,
    ) {
        let count = rows.len() / dim;
        let options = options(dim, parts.min(dim), Bits::Four, Metric::ALL[metric]);
        let quantizer = Product::train(options, &rows[..count / 2 * dim]).unwrap();
        check(&quantizer, &rows[..count * dim], &query[..dim]);
    }
}
