//! A rotation against its slow twin in f64, and every copy against the portable one.

use proptest::prelude::*;

use super::hadamard::Way;
use super::*;
use crate::oracle;
use crate::wide::Set;

/// The exact rotation, from the definition of the Hadamard matrix, in f64.
fn slow(rotation: &Rotation, row: &[f32]) -> Vec<f64> {
    let (plan, signs) = rotation.parts();
    let dim = plan.dim;
    let mut x: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
    for (round, signs) in signs.chunks(dim.div_ceil(32)).enumerate() {
        for (i, x) in x.iter_mut().enumerate() {
            *x *= if signs[i / 32] >> (i % 32) & 1 == 1 { -1.0 } else { 1.0 };
        }
        let window = plan.window(round);
        let scale = 1.0 / (window.len() as f64).sqrt();
        let turned: Vec<f64> = (0..window.len())
            .map(|i| {
                let sign = |j: usize| 1.0 - 2.0 * f64::from((i & j).count_ones() % 2);
                (0..window.len()).map(|j| sign(j) * x[window.start + j]).sum::<f64>() * scale
            })
            .collect();
        x[window].copy_from_slice(&turned);
        if !dim.is_power_of_two() {
            let (half, h) = (dim - dim / 2, std::f64::consts::FRAC_1_SQRT_2);
            for i in 0..dim / 2 {
                (x[i], x[i + half]) = ((x[i] + x[i + half]) * h, (x[i] - x[i + half]) * h);
            }
        }
    }
    x
}

fn distance(a: &[f32], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>().sqrt()
}

fn rows(dim: usize, count: usize, seed: u64) -> Vec<f32> {
    let mut draws = crate::draws::Draws::new(seed);
    let next = || (draws.next_u64() >> 40) as f32 / (1 << 23) as f32 - 1.0;
    std::iter::repeat_with(next).take(dim * count).collect()
}

fn check_row(dim: usize, seed: u64, row: &[f32]) {
    let rotation = Rotation::new(dim, seed).unwrap();
    let norm = oracle::norm_sq(row).sqrt();
    let bound = error(dim) * norm + underflow(dim);
    let mut turned = row.to_vec();
    rotation.apply(&mut turned);
    let exact = slow(&rotation, row);
    assert!(distance(&turned, &exact) <= bound + 1e-12 * norm, "dim {dim}");
    rotation.invert(&mut turned);
    let back: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
    let grown = bound * (2.0 + error(dim));
    assert!(distance(&turned, &back) <= grown + 1e-12 * norm, "dim {dim}, back");
}

/// Miri is some thousand times slower.
const STEP: usize = if cfg!(miri) { 97 } else { 1 };

#[test]
fn every_small_dimension_is_within_its_bound_of_the_exact_rotation() {
    for dim in (1..=300).step_by(STEP) {
        check_row(dim, dim as u64, &rows(dim, 1, 3 + dim as u64));
    }
}

#[test]
fn every_instruction_set_gives_the_bits_of_the_portable_one() {
    let large: &[usize] = if cfg!(miri) { &[300] } else { &[384, 768, 1023, 1025, 1536, 4096] };
    for dim in (1..=260).step_by(STEP).chain(large.iter().copied()) {
        let rotation = Rotation::new(dim, 5).unwrap();
        for way in [Way::Forward, Way::Back] {
            let mut expected = rows(dim, 3, 9);
            rotation.turn(Set::available().last().unwrap(), way, &mut expected);
            for set in Set::available() {
                let mut found = rows(dim, 3, 9);
                rotation.turn(set, way, &mut found);
                let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{set:?}, dim {dim}");
            }
        }
    }
}

#[test]
fn a_seed_gives_these_bits_for_ever() {
    let mut row: Vec<f32> = (0..384).map(|i| i as f32 - 100.5).collect();
    Rotation::new(384, 42).unwrap().apply(&mut row);
    let bytes: Vec<u8> = row.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
    assert_eq!(crc32c::crc32c(&bytes), PINNED, "stored codes depend on the bits of a rotation");
}

const PINNED: u32 = 590_263_679;

#[test]
fn one_loud_dimension_is_spread_over_all_others() {
    for dim in (16..if cfg!(miri) { 150 } else { 600 }).step_by(STEP) {
        let rotation = Rotation::new(dim, 1).unwrap();
        for place in [0, dim / 3, dim / 2, dim - 1] {
            let mut row = vec![0.0; dim];
            row[place] = 1.0;
            rotation.apply(&mut row);
            let loudest = row.iter().fold(0.0f32, |loudest, x| loudest.max(x.abs()));
            let even = 1.0 / (dim as f32).sqrt();
            assert!(loudest < 6.0 * even, "dim {dim}, place {place}: {loudest} of {even}");
        }
    }
}

#[test]
fn large_finite_rows_do_not_overflow() {
    for dim in [4, 384, 1000] {
        let rotation = Rotation::new(dim, 1).unwrap();
        let mut row = vec![f32::MAX / (dim as f32).sqrt() * 0.99; dim];
        rotation.apply(&mut row);
        assert!(row.iter().all(|x| x.is_finite()), "dim {dim}");
    }
}

#[test]
fn subnormal_rows_stay_within_the_bound() {
    for dim in [3, 16, 100, 384] {
        let row: Vec<f32> = (0..dim as u32).map(f32::from_bits).collect();
        check_row(dim, 8, &row);
    }
}

#[test]
fn dimensions_are_limited() {
    assert_eq!(Rotation::new(0, 1).unwrap_err(), RotationError::Dimension { dim: 0 });
    assert!(Rotation::new(1, 1).is_ok());
    assert!(Rotation::new(MAX_DIM - 1, 1).is_ok());
    assert!(Rotation::new(MAX_DIM, 1).is_ok());
    let over = MAX_DIM + 1;
    assert_eq!(Rotation::new(over, 1).unwrap_err(), RotationError::Dimension { dim: over });
}

#[test]
fn the_footprint_is_what_is_held() {
    for dim in [1, 32, 33, 384, MAX_DIM] {
        let rotation = Rotation::new(dim, 1).unwrap();
        assert_eq!(rotation.footprint(), Rotation::footprint_of(dim));
        assert_eq!(rotation.footprint(), size_of::<Rotation>() + 4 * rotation.parts().1.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 64 }))]

    #[test]
    fn any_finite_row_is_within_the_bound(
        row in prop::collection::vec(-1e30f32..1e30, 1..200),
        seed: u64,
    ) {
        check_row(row.len(), seed, &row);
    }

    #[test]
    fn inner_products_stay_what_they_were(dim in 1usize..200, seed: u64) {
        let (mut a, mut b) = (rows(dim, 1, seed), rows(dim, 1, !seed));
        let before = oracle::dot(&a, &b);
        let norms = (oracle::norm_sq(&a) * oracle::norm_sq(&b)).sqrt();
        let rotation = Rotation::new(dim, seed).unwrap();
        rotation.apply(&mut a);
        rotation.apply(&mut b);
        let g = error(dim);
        prop_assert!((oracle::dot(&a, &b) - before).abs() <= (2.0 * g + g * g) * norms * 1.001);
    }
}
