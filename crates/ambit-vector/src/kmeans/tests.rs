//! Clusters against slow twins: the nearest centroid in f64, steps, balance, determinism.

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::draws::Draws;
use crate::oracle;
use crate::wide::Set;

fn go(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut draws = Draws::new(seed);
    let next = || (draws.next_u64() >> 40) as f32 / (1 << 23) as f32 - 1.0;
    std::iter::repeat_with(next).take(len).collect()
}

/// `groups` clouds of `each` rows around points far from each other.
fn clouds(groups: usize, each: usize, dim: usize) -> Vec<f32> {
    let centres = noise(groups * dim, 77);
    let mut rows = noise(groups * each * dim, 78);
    for (number, row) in rows.chunks_exact_mut(dim).enumerate() {
        for (x, centre) in row.iter_mut().zip(&centres[number % groups * dim..]) {
            *x = *x * 0.01 + centre * 10.0;
        }
    }
    rows
}

/// Every instruction set finds what the portable one finds, bit for bit, and a centroid that is
/// as near as the nearest up to rounding.
fn check_nearest(dim: usize, rows: &[f32], centroids: &[f32]) {
    let packed = Centroids::new(dim, centroids).unwrap();
    let n = rows.len() / dim;
    let (mut expected, mut expected_distances) = (vec![0; n], vec![0.0; n]);
    let portable = Set::available().last().unwrap();
    packed.assign_with(portable, rows, &mut expected, &mut expected_distances).unwrap();
    for set in Set::available() {
        let (mut nearest, mut distances) = (vec![0; n], vec![0.0; n]);
        packed.assign_with(set, rows, &mut nearest, &mut distances).unwrap();
        assert_eq!(nearest, expected, "{set:?}");
        assert!(distances.iter().zip(&expected_distances).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
    for ((row, nearest), distance) in rows.chunks(dim).zip(expected).zip(expected_distances) {
        let slow = |c: &[f32]| oracle::l2sq(row, c);
        let least = centroids.chunks(dim).map(slow).fold(f64::INFINITY, f64::min);
        let found = slow(&centroids[nearest as usize * dim..][..dim]);
        let largest = centroids.chunks(dim).map(oracle::norm_sq).fold(0.0, f64::max);
        let slack = (dim as f64 + 8.0) * 2e-7 * (oracle::norm_sq(row) + 2.0 * largest);
        assert!(found <= least + slack, "dim {dim}: {found} for {least}");
        assert!((f64::from(distance) - found).abs() <= slack, "{distance} for {found}");
    }
}

#[test]
fn every_count_of_centroids_and_rows_finds_the_nearest() {
    let step = if cfg!(miri) { 41 } else { 1 };
    for count in (1..=150).step_by(step) {
        check_nearest(5, &noise(5 * 13, 1), &noise(5 * count, 2));
    }
    for rows in (0..=140).step_by(step) {
        check_nearest(3, &noise(3 * rows, 3), &noise(3 * 70, 4));
    }
    for dim in (1..=70).step_by(step) {
        check_nearest(dim, &noise(dim * 9, 5), &noise(dim * 37, 6));
    }
}

#[test]
fn of_equal_centroids_the_lowest_wins() {
    let centroids = vec![0.5; 4 * 70];
    let packed = Centroids::new(4, &centroids).unwrap();
    let (mut nearest, mut distances) = ([9; 3], [0.0; 3]);
    packed.assign(&noise(12, 1), &mut nearest, &mut distances).unwrap();
    assert_eq!(nearest, [0; 3]);
}

#[test]
fn rows_that_are_not_finite_are_assigned_and_not_trained_on() {
    let packed = Centroids::new(2, &[0.0, 0.0, 1.0, 1.0]).unwrap();
    let rows = [f32::NAN, 0.0, f32::INFINITY, 1.0, 1.0, 1.0];
    let (mut nearest, mut distances) = ([0; 3], [0.0; 3]);
    packed.assign(&rows, &mut nearest, &mut distances).unwrap();
    assert!(nearest[..2].iter().all(|n| *n < 2) && nearest[2] == 1 && distances[2] == 0.0);
    assert!(!distances[0].is_finite() && !distances[1].is_finite());
    let failed = train(&rows, &Options::new(2, 2), &mut go);
    assert_eq!(failed.unwrap_err(), KmeansError::NotFinite { row: 0 });
    let failed = train(&[0.0, 0.0, 1e25, 0.0], &Options::new(2, 2), &mut go);
    assert_eq!(failed.unwrap_err(), KmeansError::NotFinite { row: 1 });
}

#[test]
fn clouds_are_found() {
    for (groups, each) in if cfg!(miri) { [(3, 4), (5, 3)] } else { [(7, 30), (40, 25)] } {
        let rows = clouds(groups, each, 8);
        let trained = train(&rows, &Options::new(8, groups), &mut go).unwrap();
        assert!(trained.distortion < 0.001, "{groups} groups: {}", trained.distortion);
        assert_eq!(trained.largest, each);
    }
}

#[test]
fn distortion_never_rises_and_ends_below_that_of_random_rows() {
    let rows = noise(if cfg!(miri) { 80 } else { 2000 } * 6, 9);
    let mut before = f64::INFINITY;
    let mut follow = |progress| {
        if let Progress::Step { distortion, .. } = progress {
            assert!(distortion <= before * 1.000_001);
            before = distortion;
        }
        ControlFlow::Continue(())
    };
    let trained = train(&rows, &Options::new(6, 32), &mut follow).unwrap();
    let random = Centroids::new(6, &rows[..6 * 32]).unwrap();
    let n = rows.len() / 6;
    let (mut nearest, mut distances) = (vec![0; n], vec![0.0; n]);
    random.assign(&rows, &mut nearest, &mut distances).unwrap();
    let mean = distances.iter().map(|d| f64::from(*d)).sum::<f64>() / n as f64;
    assert!(trained.distortion < 0.95 * mean, "{} of {mean}", trained.distortion);
}

#[test]
fn a_seed_gives_one_result() {
    let rows = noise(if cfg!(miri) { 60 } else { 900 } * 5, 4);
    for clusters in [1, 16, 17, 50] {
        let run = |seed| {
            let options = Options { seed, steps: 4, ..Options::new(5, clusters) };
            train(&rows, &options, &mut go).unwrap().centroids
        };
        assert_eq!(run(1), run(1));
        assert!(clusters == 1 || run(1) != run(2));
    }
}

#[test]
fn balanced_clusters_are_more_even() {
    // Half of all rows lie in one small cloud.
    let mut rows = noise(3000 * 4, 12);
    for row in rows.chunks_exact_mut(4).step_by(2) {
        row.iter_mut().for_each(|x| *x *= 0.05);
    }
    let of = |balance| {
        let options = Options { balance, steps: 24, ..Options::new(4, 30) };
        let trained = train(&rows, &options, &mut go).unwrap();
        let packed = Centroids::new(4, &trained.centroids).unwrap();
        let (mut nearest, mut distances) = (vec![0; 3000], vec![0.0; 3000]);
        packed.assign(&rows, &mut nearest, &mut distances).unwrap();
        let mut counts = [0usize; 30];
        nearest.iter().for_each(|cluster| counts[*cluster as usize] += 1);
        counts.into_iter().max().unwrap()
    };
    if !cfg!(miri) {
        let (free, even) = (of(Balance::Nearest), of(Balance::Even));
        assert!(even * 3 < free * 2 && even < 300, "{even} of {free}");
    }
}

#[test]
fn more_clusters_than_different_rows_are_filled_up() {
    for clusters in [3, 16, 20, 40] {
        let rows: Vec<f32> = (0..40 * 3).map(|i| (i / 3 % 2) as f32).collect();
        let trained = train(&rows, &Options::new(3, clusters), &mut go).unwrap();
        assert_eq!(trained.centroids.len(), clusters * 3);
        assert!(trained.centroids.iter().all(|x| x.is_finite()));
        assert!(trained.distortion < 1e-4);
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let rows = noise(12, 1);
    let failed = |dim, clusters| train(&rows, &Options::new(dim, clusters), &mut go).unwrap_err();
    assert_eq!(failed(0, 1), KmeansError::Dimension { dim: 0 });
    assert_eq!(failed(65_537, 1), KmeansError::Dimension { dim: 65_537 });
    assert_eq!(failed(3, 0), KmeansError::Clusters { clusters: 0, rows: 4 });
    assert_eq!(failed(3, 5), KmeansError::Clusters { clusters: 5, rows: 4 });
    assert!(train(&rows, &Options::new(3, 4), &mut go).is_ok());
    assert!(matches!(failed(5, 1), KmeansError::Shape { expected: 15, found: 12, .. }));
    let packed = Centroids::new(3, &rows).unwrap();
    let shape = packed.assign(&rows, &mut [0; 3], &mut [0.0; 3]);
    assert!(matches!(shape, Err(KmeansError::Shape { expected: 9, found: 12, .. })));
    assert!(packed.assign(&rows, &mut [0; 4], &mut [0.0; 3]).is_err());
    assert!(Centroids::new(3, &[]).is_err());
    assert!(Centroids::new(3, &rows[..4]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 64 }))]

    #[test]
    fn any_finite_rows_find_their_nearest(
        dim in 1usize..40,
        rows in prop::collection::vec(-1e3f32..1e3, 0..400),
        centroids in prop::collection::vec(-1e3f32..1e3, 40..2000),
    ) {
        let (n, count) = (rows.len() / dim, centroids.len() / dim);
        check_nearest(dim, &rows[..n * dim], &centroids[..count * dim]);
    }
}
