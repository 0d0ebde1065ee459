//! Codes against slow twins: the best point of the grid, scores in f64, bounds, damage.

use proptest::prelude::*;

use super::*;
use crate::draws::Draws;
use crate::quantizer::{CodeError, Interval};
use crate::{Metric, TopK, oracle};

fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut draws = Draws::new(seed);
    // The sum of four uniform draws: about normal.
    let mut next = || (draws.next_u64() >> 40) as f32 / (1 << 24) as f32 - 0.5;
    (0..len).map(|_| next() + next() + next() + next()).collect()
}

fn options(bits: u32, metric: Metric) -> RabitqOptions {
    RabitqOptions { bits, metric, seed: 3 }
}

fn coded(quantizer: &Rabitq, rows: &[f32]) -> Vec<u8> {
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

/// Bounds and intervals hold, and scans agree with single scores, for all rows and metrics.
fn check(bits: u32, dim: usize, rows: &[f32], query: &[f32], centred: bool) {
    let count = rows.len() / dim;
    for metric in Metric::ALL {
        let quantizer = if centred && count > 0 {
            Rabitq::train(options(bits, metric), dim, rows).unwrap()
        } else {
            Rabitq::new(options(bits, metric), dim).unwrap()
        };
        let codes = coded(&quantizer, rows);
        let mut decoded = vec![0.0; rows.len()];
        quantizer.decode(0, &codes, &mut decoded).unwrap();
        let ready = quantizer.query(query).unwrap();
        let mut intervals = vec![Interval::ANYWHERE; count];
        quantizer.intervals(&ready, &codes, &mut intervals).unwrap();
        let mut scores = vec![0.0; count];
        quantizer.scan(&ready, &codes, &mut scores).unwrap();
        for (number, row) in rows.chunks(dim).enumerate() {
            let context = format!("{bits} bits, dim {dim}, {metric}, row {number}");
            let bound = f64::from(quantizer.error_bound(&codes, number).unwrap());
            let distance = oracle::l2sq(row, &decoded[number * dim..][..dim]).sqrt();
            assert!(distance <= bound, "{context}: {distance} of {bound}");
            let exact = score(metric, query, row);
            let interval = intervals[number];
            assert!(interval.contains(exact), "{context}: {exact} in {interval:?}");
            let single = quantizer.score(&ready, &codes, number).unwrap();
            // Scans square in f32.
            if interval != Interval::ANYWHERE && single.abs() < 1e18 {
                let width = (interval.high - interval.low).abs();
                let off = (scores[number] - single).abs();
                let slack = 1e-4 * single.abs() + 1e-3 * oracle::norm_sq(query).sqrt() as f32;
                assert!(off <= width + slack, "{context}: {} for {single}", scores[number]);
            }
        }
    }
}

const STEP: usize = if cfg!(miri) { 53 } else { 1 };

#[test]
fn every_dimension_and_width_keeps_its_bounds() {
    for dim in (1..=130).step_by(STEP) {
        for bits in 1..=8 {
            let rows = noise(dim * 5, dim as u64);
            check(bits, dim, &rows, &noise(dim, 7), dim.is_multiple_of(2));
        }
    }
}

#[test]
fn every_number_of_rows_fills_its_blocks() {
    for count in (0..=100).step_by(STEP) {
        for bits in [1, 3, 4, 8] {
            check(bits, 9, &noise(9 * count, 5), &noise(9, 6), true);
        }
    }
}

#[test]
fn extremes_keep_their_bounds() {
    for scale in [1e-38, 1e-30, 1e-20, 1e15, 1e18, 1e30] {
        for bits in 1..=8 {
            let rows: Vec<f32> = noise(20 * 4, 1).iter().map(|x| x * scale).collect();
            check(bits, 20, &rows, &noise(20, 2), false);
            let query: Vec<f32> = noise(20, 2).iter().map(|x| x * scale).collect();
            check(bits, 20, &noise(80, 3), &query, true);
        }
    }
    for row in [[0.0; 6], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0], [1e-45; 6], [2.0; 6]] {
        for bits in 1..=8 {
            check(bits, 6, &row, &[1.0, -2.0, 3.0, 0.5, 0.0, 4.0], false);
            check(bits, 6, &row, &[0.0; 6], true);
        }
    }
}

#[test]
fn rows_that_are_not_finite_are_stored_without_a_bound() {
    for metric in Metric::ALL {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            let quantizer = Rabitq::new(options(4, metric), 3).unwrap();
            let rows = [1.0, 2.0, 3.0, bad, bad, 1.0, 4.0, 5.0, 6.0];
            let codes = coded(&quantizer, &rows);
            assert_eq!(quantizer.error_bound(&codes, 1).unwrap(), f32::INFINITY);
            let query = quantizer.query(&[1.0, 1.0, 1.0]).unwrap();
            let mut intervals = [Interval { low: 0.0, high: 0.0 }; 3];
            quantizer.intervals(&query, &codes, &mut intervals).unwrap();
            assert_eq!(intervals[1], Interval::ANYWHERE);
            assert!(intervals[0] != Interval::ANYWHERE && intervals[2] != Interval::ANYWHERE);
        }
    }
}

#[test]
fn a_query_that_is_not_finite_knows_nothing() {
    for bits in 1..=8 {
        let quantizer = Rabitq::new(options(bits, Metric::InnerProduct), 3).unwrap();
        let codes = coded(&quantizer, &[1.0, 2.0, 3.0]);
        let query = quantizer.query(&[f32::NAN, 1.0, 1.0]).unwrap();
        let mut intervals = [Interval { low: 0.0, high: 0.0 }];
        quantizer.intervals(&query, &codes, &mut intervals).unwrap();
        assert_eq!(intervals, [Interval::ANYWHERE]);
        let mut scores = [0.0];
        quantizer.scan(&query, &codes, &mut scores).unwrap();
        assert!(scores[0].is_nan());
        let mut top = TopK::new(1);
        quantizer.scan_top(&query, &codes, 1, &mut top).unwrap();
        assert!(top.into_sorted().is_empty());
    }
}

/// The largest cosine between a row and any code, over all scales at which a level changes.
fn best_cosine(row: &[f32], bits: u32) -> f64 {
    let limit = f64::from((1u32 << bits) - 1) / 2.0;
    let mut scales: Vec<f64> = Vec::new();
    for x in row.iter().filter(|x| **x != 0.0) {
        for edge in 1..(1u32 << (bits - 1)) {
            scales.push(f64::from(edge) / f64::from(x.abs()) * (1.0 + 1e-9));
        }
    }
    scales.push(1e-9);
    let mut best = 0.0f64;
    for t in scales {
        let (mut product, mut square) = (0.0, 0.0);
        for x in row {
            let x = f64::from(*x);
            let level = ((x * t).abs().floor() + 0.5).min(limit) * x.signum();
            product += x * level;
            square += level * level;
        }
        best = best.max(product / square.sqrt());
    }
    best / oracle::norm_sq(row).sqrt()
}

#[test]
fn codes_are_nearly_the_best_of_the_grid() {
    let dim = if cfg!(miri) { 16 } else { 96 };
    for bits in 1..=if cfg!(miri) { 2 } else { 6 } {
        let (mut found, mut best) = (0.0, 0.0);
        let quantizer = Rabitq::new(options(bits, Metric::InnerProduct), dim).unwrap();
        for row in noise(dim * 20, 9).chunks(dim) {
            let codes = coded(&quantizer, row);
            // e = |x| tan of the angle between row and code.
            let bound = f64::from(quantizer.error_bound(&codes, 0).unwrap());
            let tangent = bound / oracle::norm_sq(row).sqrt();
            found += tangent;
            let mut turned = row.to_vec();
            quantizer.rotation.apply(&mut turned);
            let cosine = best_cosine(&turned, bits);
            best += (1.0 - cosine * cosine).sqrt() / cosine;
        }
        // Errors are stored rounded up by less than 1 %.
        assert!(found < best * 1.012, "{bits} bits: {found} for {best}");
    }
}

#[test]
fn estimates_are_unbiased_over_rotations() {
    if cfg!(miri) {
        return;
    }
    let (dim, seeds) = (64, 400);
    let (row, query) = (noise(dim, 1), noise(dim, 2));
    let exact = oracle::dot(&row, &query);
    for bits in [1, 2, 4] {
        let (mut sum, mut squares, mut predicted) = (0.0, 0.0, 0.0);
        for seed in 0..seeds {
            let options = RabitqOptions { bits, metric: Metric::InnerProduct, seed };
            let quantizer = Rabitq::new(options, dim).unwrap();
            let codes = coded(&quantizer, &row);
            let ready = quantizer.query(&query).unwrap();
            let off = f64::from(quantizer.score(&ready, &codes, 0).unwrap()) - exact;
            let error = quantizer.error_bound(&codes, 0).unwrap();
            predicted += f64::from(quantizer.deviation(ready.norm as f32, error));
            sum += off;
            squares += off * off;
        }
        let n = seeds as f64;
        let (mean, deviation) = (sum / n, (squares / n).sqrt());
        assert!(mean.abs() < 4.0 * deviation / n.sqrt(), "{bits} bits: {mean} of {deviation}");
        let ratio = deviation / (predicted / n);
        assert!((0.7..1.1).contains(&ratio), "{bits} bits: {deviation} is {ratio} of predicted");
    }
}

#[test]
fn the_best_rows_of_a_scan_are_those_of_its_scores() {
    for metric in Metric::ALL {
        for bits in [1, 4, 7] {
            let (dim, count) = (24, if cfg!(miri) { 40 } else { 700 });
            let rows = noise(dim * count, 4);
            let quantizer = Rabitq::train(options(bits, metric), dim, &rows).unwrap();
            let codes = coded(&quantizer, &rows);
            let query = quantizer.query(&noise(dim, 5)).unwrap();
            let mut scores = vec![0.0; count];
            quantizer.scan(&query, &codes, &mut scores).unwrap();
            let mut order: Vec<u32> = (0..count as u32).collect();
            let near = |row: u32| match metric {
                Metric::Euclidean => -scores[row as usize],
                _ => scores[row as usize],
            };
            order.sort_by(|a, b| near(*b).total_cmp(&near(*a)).then(a.cmp(b)));
            let mut top = TopK::new(10);
            quantizer.scan_top(&query, &codes, count, &mut top).unwrap();
            let found: Vec<u32> = top.into_sorted().into_iter().map(|(row, _)| row).collect();
            assert_eq!(found, order[..10], "{metric}, {bits} bits");
        }
    }
}

#[test]
fn rows_appended_one_by_one_give_the_codes_of_all_at_once() {
    let rows = noise(11 * 70, 8);
    for bits in 1..=8 {
        let quantizer = Rabitq::new(options(bits, Metric::Euclidean), 11).unwrap();
        let mut whole = vec![0; quantizer.codes_len(70)];
        quantizer.encode(0, &rows, &mut whole).unwrap();
        let mut single = vec![0; quantizer.codes_len(70)];
        for (number, row) in rows.chunks(11).enumerate().rev() {
            quantizer.encode(number, row, &mut single).unwrap();
        }
        assert!(whole == single, "{bits} bits");
    }
}

#[test]
fn a_row_gives_these_bytes_for_ever() {
    let rows: Vec<f32> = (0..2 * 100).map(|i| (i * i % 37) as f32 - 18.0).collect();
    let sums = (1..=8).map(|bits| {
        let quantizer = Rabitq::new(options(bits, Metric::Cosine), 100).unwrap();
        let mut codes = vec![0; quantizer.codes_len(2)];
        quantizer.encode(0, &rows, &mut codes).unwrap();
        crc32c::crc32c(&codes)
    });
    assert_eq!(sums.collect::<Vec<u32>>(), PINNED, "stored codes are read by these scans");
}

const PINNED: [u32; 8] = [
    4_164_961_428,
    519_384_611,
    884_725_255,
    2_991_263_122,
    3_215_640_031,
    2_097_598_883,
    9_702_668,
    3_069_410_760,
];

#[test]
fn a_model_is_read_back_and_damage_is_told() {
    for bits in 1..=8 {
        let quantizer = Rabitq::train(options(bits, Metric::Cosine), 7, &noise(70, 1)).unwrap();
        let bytes = quantizer.write();
        assert_eq!(bytes.len(), quantizer.model_len());
        let back = Rabitq::read(&bytes).unwrap();
        let rows = noise(7 * 5, 2);
        assert_eq!(coded(&back, &rows), coded(&quantizer, &rows));
        for cut in 0..bytes.len() {
            assert!(Rabitq::read(&bytes[..cut]).unwrap_err().is_corrupt());
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            assert!(Rabitq::read(&damaged).unwrap_err().is_corrupt(), "byte {place}");
        }
    }
}

/// Bytes that are wrong and have the right checksum.
#[test]
fn hostile_models_are_told() {
    let bytes = Rabitq::new(options(4, Metric::Cosine), 7).unwrap().write();
    for (place, value) in [(4, 0), (6, 0xFF), (8, 0), (8, 9), (9, 3), (21, 0x7F)] {
        let mut hostile = bytes.clone();
        hostile[place] = value;
        if place == 21 {
            hostile[20] = 0x80;
        }
        let body = hostile.len() - 4;
        let sum = crc32c::crc32c(&hostile[..body]);
        hostile[body..].copy_from_slice(&sum.to_le_bytes());
        assert!(Rabitq::read(&hostile).unwrap_err().is_corrupt(), "byte {place}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    assert!(Rabitq::new(options(0, Metric::Cosine), 4).is_err());
    assert!(Rabitq::new(options(1, Metric::Cosine), 4).is_ok());
    assert!(Rabitq::new(options(8, Metric::Cosine), 4).is_ok());
    assert!(Rabitq::new(options(9, Metric::Cosine), 4).is_err());
    assert_eq!(
        Rabitq::new(options(1, Metric::Cosine), 0).unwrap_err(),
        CodeError::Dimension { dim: 0 }
    );
    assert!(Rabitq::new(options(1, Metric::Cosine), 65_537).is_err());
    assert!(Rabitq::train(options(1, Metric::Cosine), 4, &[]).is_err());
    assert!(Rabitq::train(options(1, Metric::Cosine), 4, &[0.0; 5]).is_err());
    assert!(Rabitq::train(options(1, Metric::Cosine), 1, &[f32::NAN]).is_err());
    let quantizer = Rabitq::new(options(4, Metric::Cosine), 4).unwrap();
    let mut codes = vec![0; quantizer.codes_len(33)];
    assert!(quantizer.encode(0, &[0.0; 4 * 64], &mut codes).is_ok());
    assert!(quantizer.encode(0, &[0.0; 4 * 65], &mut codes).is_err());
    assert!(quantizer.encode(64, &[0.0; 4], &mut codes).is_err());
    assert!(quantizer.encode(usize::MAX, &[0.0; 4], &mut codes).is_err());
    assert!(quantizer.encode(0, &[0.0; 3], &mut codes).is_err());
    assert!(quantizer.decode(64, &codes, &mut [0.0; 4]).is_err());
    assert!(quantizer.error_bound(&codes, 64).is_err());
    assert!(quantizer.query(&[0.0; 3]).is_err());
    let query = quantizer.query(&[1.0; 4]).unwrap();
    assert!(quantizer.scan(&query, &codes, &mut [0.0; 64]).is_ok());
    assert!(quantizer.scan(&query, &codes, &mut [0.0; 65]).is_err());
    assert!(quantizer.scan(&query, &codes[1..], &mut [0.0; 32]).is_err());
    let other = Rabitq::new(options(1, Metric::Cosine), 4).unwrap();
    let codes = vec![0; other.codes_len(1)];
    assert!(other.scan(&query, &codes, &mut [0.0; 1]).is_err());
}

/// Whatever bytes stand for codes, scans end without a panic.
#[test]
fn hostile_codes_are_scored_without_a_panic() {
    let mut draws = Draws::new(5);
    for bits in 1..=8 {
        let quantizer = Rabitq::new(options(bits, Metric::Euclidean), 13).unwrap();
        let codes: Vec<u8> = (0..quantizer.codes_len(60)).map(|_| draws.next_u64() as u8).collect();
        let query = quantizer.query(&noise(13, 1)).unwrap();
        let mut intervals = vec![Interval::ANYWHERE; 60];
        quantizer.intervals(&query, &codes, &mut intervals).unwrap();
        let mut top = TopK::new(5);
        quantizer.scan_top(&query, &codes, 60, &mut top).unwrap();
        quantizer.decode(0, &codes, &mut [0.0; 13 * 60]).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 64 }))]

    #[test]
    fn any_finite_rows_keep_their_bounds(
        bits in 1u32..=8,
        dim in 1usize..80,
        rows in prop::collection::vec(-1e6f32..1e6, 80..300),
        query in prop::collection::vec(-1e6f32..1e6, 80),
        centred: bool,
    ) {
        let count = rows.len() / dim;
        check(bits, dim, &rows[..count * dim], &query[..dim], centred);
    }
}
