//! Does every kernel say what the oracle says, within the bound that is published for it?
//!
//! All tables that this processor runs, at every length that takes another path through the
//! loops, at every alignment, and at the values where f32 is hardest.

use ambit_vector::{Cut, Kernels, Metric, bounds, kernels, oracle};
use proptest::prelude::*;
use support::Random;

mod support;

fn lengths() -> impl Iterator<Item = usize> {
    (1..=300).chain([383, 384, 511, 512, 513, 1000, 1536, 4095, 4096, 65_535, 65_536])
}

fn assert_dot(kernels: Kernels, found: f32, a: &[f32], b: &[f32]) {
    if !found.is_finite() {
        return;
    }
    let norms = (oracle::norm_sq(a) * oracle::norm_sq(b)).sqrt();
    let bound = bounds::dot_error(a.len()) * norms + bounds::underflow(a.len());
    for expected in [oracle::dot(a, b), kernels.dot_f64(a, b)] {
        let error = (f64::from(found) - expected).abs();
        assert!(error <= bound, "{kernels:?} dim {}: {found} for {expected}", a.len());
    }
}

fn assert_l2sq(kernels: Kernels, found: f32, a: &[f32], b: &[f32]) {
    if !found.is_finite() {
        return;
    }
    let exact = oracle::l2sq(a, b);
    let bound = bounds::l2sq_error(a.len()) * exact + bounds::underflow(a.len());
    for expected in [exact, kernels.l2sq_f64(a, b)] {
        let error = (f64::from(found) - expected).abs();
        assert!(error <= bound, "{kernels:?} dim {}: {found} for {expected}", a.len());
    }
}

/// Holds every f32 function of `kernels` against the oracle, m queries with n rows.
fn assert_all(kernels: Kernels, dim: usize, queries: &[f32], rows: &[f32]) {
    let (m, n) = (queries.len() / dim, rows.len() / dim);
    let (mut dots, mut distances) = (vec![0.0; n], vec![0.0; n]);
    let (mut dot_block, mut l2sq_block) = (vec![0.0; m * n], vec![0.0; m * n]);
    kernels.dot_block(dim, queries, rows, &mut dot_block);
    kernels.l2sq_block(dim, queries, rows, &mut l2sq_block);
    for (j, query) in queries.chunks(dim).enumerate() {
        kernels.dot_rows(query, rows, &mut dots);
        kernels.l2sq_rows(query, rows, &mut distances);
        for (i, row) in rows.chunks(dim).enumerate() {
            for found in [dots[i], dot_block[j * n + i], kernels.dot(query, row)] {
                assert_dot(kernels, found, query, row);
            }
            for found in [distances[i], l2sq_block[j * n + i], kernels.l2sq(query, row)] {
                assert_l2sq(kernels, found, query, row);
            }
        }
        assert_dot(kernels, kernels.norm_sq(query), query, query);
    }
}

#[test]
fn every_kernel_is_within_its_bound_at_every_length() {
    let mut random = Random(1);
    for kernels in Kernels::available() {
        for dim in lengths() {
            let (m, n) = if dim > 600 { (2, 5) } else { (5, 9) };
            let (queries, rows) = (random.vector(m * dim), random.vector(n * dim));
            assert_all(kernels, dim, &queries, &rows);
        }
    }
}

#[test]
fn every_kernel_is_within_its_bound_for_every_number_of_rows_and_queries() {
    let mut random = Random(2);
    for kernels in Kernels::available() {
        for dim in [3, 37, 384, 7000] {
            let largest = if dim > 1000 { 6 } else { 18 };
            for m in [1, 2, 3, 4, 5, largest] {
                for n in 0..=largest {
                    let (queries, rows) = (random.vector(m * dim), random.vector(n * dim));
                    assert_all(kernels, dim, &queries, &rows);
                }
            }
        }
    }
}

#[test]
fn any_alignment_gives_the_same_bits() {
    let mut random = Random(3);
    for kernels in Kernels::available() {
        for dim in [1, 15, 16, 17, 100] {
            let (query, rows) = (random.vector(dim), random.vector(9 * dim));
            let mut expected = vec![0.0; 9];
            kernels.dot_rows(&query, &rows, &mut expected);
            for shift in 1..16 {
                let mut shifted_query = vec![f32::NAN; shift];
                shifted_query.extend_from_slice(&query);
                let mut shifted_rows = vec![f32::NAN; 17 - shift];
                shifted_rows.extend_from_slice(&rows);
                shifted_rows.push(f32::NAN);
                let (start, end) = (17 - shift, 17 - shift + rows.len());
                let mut found = vec![0.0; 9];
                kernels.dot_rows(&shifted_query[shift..], &shifted_rows[start..end], &mut found);
                assert_eq!(bits(&found), bits(&expected), "{kernels:?} dim {dim} shift {shift}");
            }
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn every_kernel_is_within_its_bound_from_subnormal_to_huge() {
    let mut random = Random(4);
    for kernels in Kernels::available() {
        for middle in [-149, -140, -126, -80, -75, -63, 0, 40, 61, 63, 100, 126] {
            for spread in [0, 3, 20] {
                for dim in [1, 7, 16, 33, 200, 384] {
                    let spread = spread.min(127 - middle.max(0) as u64);
                    let queries = random.scaled(2 * dim, middle, spread);
                    let rows = random.scaled(5 * dim, middle, spread);
                    assert_all(kernels, dim, &queries, &rows);
                }
            }
        }
    }
}

#[test]
fn zeros_of_both_signs_score_zero() {
    for kernels in Kernels::available() {
        for dim in 1..40 {
            let (plus, minus) = (vec![0.0f32; dim], vec![-0.0f32; dim]);
            assert_eq!(kernels.dot(&plus, &minus), 0.0);
            assert_eq!(kernels.l2sq(&plus, &minus), 0.0);
            assert_eq!(kernels.norm(&minus), 0.0);
        }
    }
}

#[test]
fn a_nan_anywhere_makes_every_score_nan() {
    for kernels in Kernels::available() {
        for dim in [1, 4, 8, 15, 16, 17, 32, 33, 100] {
            for at in 0..dim {
                let query = vec![1.0; dim];
                let mut rows = vec![1.0; 6 * dim];
                rows[5 * dim + at] = f32::NAN;
                rows[dim + at] = -f32::NAN;
                let mut scores = vec![0.0; 6];
                kernels.dot_rows(&query, &rows, &mut scores);
                assert_eq!(scores.map_nan(), [false, true, false, false, false, true]);
                kernels.l2sq_rows(&query, &rows, &mut scores);
                assert_eq!(scores.map_nan(), [false, true, false, false, false, true]);
                kernels.dot_block(dim, &query, &rows, &mut scores);
                assert_eq!(scores.map_nan(), [false, true, false, false, false, true]);
                let row = &rows[dim..2 * dim];
                assert_eq!(kernels.dot_f64(&query, row).to_bits(), f64::NAN.to_bits());
                assert_eq!(kernels.l2sq_f64(&query, row).to_bits(), f64::NAN.to_bits());
            }
        }
    }
}

trait MapNan {
    fn map_nan(&self) -> Vec<bool>;
}

impl MapNan for Vec<f32> {
    fn map_nan(&self) -> Vec<bool> {
        self.iter().map(|value| value.is_nan()).collect()
    }
}

#[test]
fn an_infinity_or_an_overflow_never_gives_a_finite_score() {
    for kernels in Kernels::available() {
        for dim in [1, 8, 16, 31, 64] {
            for at in 0..dim {
                let mut row = vec![0.5; dim];
                row[at] = f32::NEG_INFINITY;
                let query = vec![1.0; dim];
                assert_eq!(kernels.dot(&query, &row), f32::NEG_INFINITY);
                assert_eq!(kernels.l2sq(&query, &row), f32::INFINITY);
                assert_eq!(kernels.dot_f64(&query, &row), f64::NEG_INFINITY);
                row[at] = f32::MAX;
                assert_eq!(kernels.dot(&row, &row), f32::INFINITY);
                assert!(kernels.norm_sq_f64(&row).is_finite());
            }
        }
        // An overflow that cancels: the partial result stays visible as a NaN or an infinity.
        let (a, b) = ([f32::MAX, f32::MAX], [2.0, -2.0]);
        assert!(!kernels.dot(&a, &b).is_finite());
        assert_eq!(kernels.dot_f64(&a, &b), 0.0);
    }
}

/// The documented order of the checked scores, spelt out.
fn in_order(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let lane = |j: usize| {
        let mut sum = 0.0;
        for i in (j..a.len()).step_by(8) {
            sum += term(f64::from(a[i]), f64::from(b[i]));
        }
        sum
    };
    ((lane(0) + lane(4)) + (lane(2) + lane(6))) + ((lane(1) + lane(5)) + (lane(3) + lane(7)))
}

#[test]
fn checked_scores_have_the_documented_bits_on_every_kernel() {
    let mut random = Random(5);
    for dim in (0..=70).chain([384, 1000, 65_536]) {
        let a = random.scaled(dim, 0, 30);
        let b = random.scaled(dim, 3, 30);
        let dot = in_order(&a, &b, |a, b| a * b);
        let fused = in_order_fused(&a, &b);
        let l2sq = in_order(&a, &b, |a, b| (a - b) * (a - b));
        for kernels in Kernels::available() {
            assert_eq!(kernels.dot_f64(&a, &b).to_bits(), dot.to_bits(), "{kernels:?} {dim}");
            assert_eq!(kernels.l2sq_f64(&a, &b).to_bits(), l2sq.to_bits(), "{kernels:?} {dim}");
            let norm = kernels.dot_f64(&a, &a).sqrt() as f32;
            assert_eq!(kernels.norm(&a).to_bits(), norm.to_bits());
        }
        assert_eq!(dot.to_bits(), fused.to_bits(), "products of f32 are exact in f64");
    }
}

/// As [`in_order`], with fused multiply-adds.
fn in_order_fused(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 8];
    for i in 0..a.len() {
        lanes[i % 8] = f64::from(a[i]).mul_add(f64::from(b[i]), lanes[i % 8]);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[test]
fn the_next_row_that_reaches_a_cut_is_the_one_that_a_plain_walk_finds() {
    let mut random = Random(6);
    let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 0.0];
    for kernels in Kernels::available() {
        for round in 0..400 {
            let n = (random.next() % 150) as usize;
            let mut scores = random.vector(n);
            let mut norms = random.vector(n);
            norms.iter_mut().for_each(|norm| *norm = norm.abs());
            if round % 3 == 0 && n > 0 {
                scores[random.next() as usize % n] = strange[random.next() as usize % 6];
                norms[random.next() as usize % n] = strange[random.next() as usize % 6];
            }
            let cut = Cut {
                sign: if round % 2 == 0 { 1.0 } else { -1.0 },
                slope: random.unit(),
                offset: random.unit() + 0.9,
            };
            let reaches = |i: usize| cut.reached(scores[i], norms[i]);
            for from in [0, n / 3, n] {
                let expected = (from..n).find(|&i| reaches(i)).unwrap_or(n);
                assert_eq!(kernels.next_reaching(&scores, &norms, cut, from), expected);
            }
        }
    }
}

#[test]
fn what_is_not_finite_reaches_every_cut() {
    let cut = Cut { sign: 1.0, slope: 1.0, offset: f32::MAX };
    for score in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert!(cut.reached(score, 0.0));
        assert!(Cut { sign: -1.0, ..cut }.reached(score, 0.0));
    }
    for norm in [f32::NAN, f32::INFINITY, f32::MAX] {
        assert!(cut.reached(0.0, norm));
    }
    assert!(!cut.reached(0.0, 0.0));
    assert!(Cut::NONE.reached(f32::MIN, f32::MAX));
}

#[test]
fn the_chosen_kernels_are_the_first_of_those_available_and_portable_is_the_last() {
    let available = Kernels::available();
    assert_eq!(available.first().map(Kernels::name), Some(kernels().name()));
    assert_eq!(available.last().map(Kernels::name), Some("portable"));
}

#[test]
fn the_published_bounds_are_small_and_grow_with_the_dimension() {
    assert!(bounds::dot_error(384) < 7e-6);
    assert!(bounds::dot_error(65_536) < 1e-3);
    assert_eq!(bounds::dot_error(1 << 26), f64::INFINITY);
    for dim in 1..2000 {
        assert!(bounds::dot_error(dim) <= bounds::dot_error(dim + 1));
    }
}

#[test]
fn metrics_are_found_by_their_names() {
    for metric in Metric::ALL {
        assert_eq!(Metric::from_name(metric.name()), Some(metric));
        assert_eq!(metric.to_string(), metric.name());
    }
    assert_eq!(Metric::from_name("manhattan"), None);
}

#[test]
fn reading_sums_the_whole_buffer_in_any_number_of_streams() {
    let buffer: Vec<f32> = (0..1000u16).map(|i| f32::from(i % 7)).collect();
    let sum: f32 = buffer.iter().sum();
    for kernels in Kernels::available() {
        for streams in kernels.read_streams().into_iter().chain([0, 3]) {
            assert_eq!(kernels.read(&buffer, streams), sum);
            assert_eq!(kernels.read(&[], streams), 0.0);
        }
        let bandwidth = ambit_vector::bandwidth::measure(kernels, &buffer, 1);
        assert!(kernels.read_streams().contains(&bandwidth.streams));
    }
}

#[test]
#[should_panic(expected = "vectors of different lengths")]
fn a_dot_of_different_lengths_panics() {
    kernels().dot(&[1.0], &[1.0, 2.0]);
}

#[test]
#[should_panic(expected = "rows are not 2 x 3")]
fn rows_of_another_size_panic() {
    kernels().dot_rows(&[1.0; 3], &[1.0; 7], &mut [0.0; 2]);
}

#[test]
#[should_panic(expected = "scores are not 2 x 1")]
fn a_block_of_another_size_panics() {
    kernels().dot_block(3, &[1.0; 6], &[1.0; 3], &mut [0.0; 1]);
}

proptest! {
    /// Any bits at all: finite scores are within the bound, NaN never hides.
    #[test]
    fn any_bits_score_within_the_bound_or_not_finite(
        pairs in prop::collection::vec((any::<u32>(), any::<u32>()), 1..120),
    ) {
        let a: Vec<f32> = pairs.iter().map(|(a, _)| f32::from_bits(*a)).collect();
        let b: Vec<f32> = pairs.iter().map(|(_, b)| f32::from_bits(*b)).collect();
        let portable = Kernels::available().last().copied().unwrap();
        for kernels in Kernels::available() {
            let (dot, l2sq) = (kernels.dot(&a, &b), kernels.l2sq(&a, &b));
            if a.iter().chain(&b).all(|element| element.is_finite()) {
                assert_dot(kernels, dot, &a, &b);
                assert_l2sq(kernels, l2sq, &a, &b);
            } else {
                prop_assert!(!l2sq.is_finite());
            }
            let bits = (kernels.dot_f64(&a, &b).to_bits(), kernels.l2sq_f64(&a, &b).to_bits());
            let same = (portable.dot_f64(&a, &b).to_bits(), portable.l2sq_f64(&a, &b).to_bits());
            prop_assert_eq!(bits, same);
        }
    }
}
