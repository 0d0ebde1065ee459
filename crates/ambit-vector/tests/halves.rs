//! Are half floats the numbers that IEEE 754 says, and their scores within the bounds?

use ambit_vector::half::Half;
use ambit_vector::{HalfRows, Kernels, bounds, oracle};
use proptest::prelude::*;
use support::{Random, lengths};

mod support;

const HALVES: [Half; 2] = [Half::F16, Half::Bf16];

/// What the crate `half` says.
fn reference(half: Half, bits: u16) -> f32 {
    match half {
        Half::F16 => half::f16::from_bits(bits).to_f32(),
        Half::Bf16 => half::bf16::from_bits(bits).to_f32(),
    }
}

fn reference_bits(half: Half, x: f32) -> u16 {
    match half {
        Half::F16 => half::f16::from_f32(x).to_bits(),
        Half::Bf16 => half::bf16::from_f32(x).to_bits(),
    }
}

fn assert_narrow(half: Half, x: f32) {
    let (found, expected) = (half.narrow(x), reference_bits(half, x));
    if x.is_nan() {
        assert!(half.value(found).is_nan(), "{half:?} {:#x}", x.to_bits());
    } else {
        assert_eq!(found, expected, "{half:?} {x:e}");
    }
}

#[test]
fn every_half_float_has_its_value_and_comes_back() {
    for half in HALVES {
        for bits in (0..=u16::MAX).step_by(if cfg!(miri) { 127 } else { 1 }) {
            let value = half.value(bits);
            let expected = reference(half, bits);
            if expected.is_nan() {
                assert!(value.is_nan());
                continue;
            }
            assert_eq!(value.to_bits(), expected.to_bits(), "{half:?} {bits:#x}");
            assert_eq!(half.narrow(value), bits);
            // Around the middle between two neighbours, where a tie goes to the even one.
            let next = half.value(bits.wrapping_add(1));
            if next.is_finite() && value.is_finite() {
                let middle = (f64::from(value) + f64::from(next)) / 2.0;
                let middle = middle as f32;
                for x in [middle, middle.next_up(), middle.next_down()] {
                    assert_narrow(half, x);
                }
            }
        }
    }
}

#[test]
fn limits_round_to_the_largest_number_or_to_infinity() {
    for (half, largest, limit) in [
        (Half::F16, 65_504.0f32, 65_520.0f32),
        (Half::Bf16, f32::from_bits(0x7F7F_0000), f32::from_bits(0x7F7F_8000)),
    ] {
        for sign in [1.0f32, -1.0] {
            assert_eq!(half.value(half.narrow(sign * limit.next_down())), sign * largest);
            assert_eq!(half.value(half.narrow(sign * limit)), sign * f32::INFINITY);
            assert_eq!(half.value(half.narrow(sign * f32::INFINITY)), sign * f32::INFINITY);
            assert_eq!(half.value(half.narrow(sign * 0.0)).to_bits(), (sign * 0.0).to_bits());
        }
        assert!(half.unit_roundoff() * largest <= limit - largest + 0.5 * largest);
    }
}

/// Holds every score of half rows against the oracle over the widened rows.
fn assert_scores(kernels: Kernels, half: Half, dim: usize, queries: &[f32], bits: &[u16]) {
    let (m, n) = (queries.len() / dim, bits.len() / dim);
    let rows: Vec<f32> = bits.iter().map(|&bits| half.value(bits)).collect();
    let (mut dot_block, mut l2sq_block) = (vec![0.0; m * n], vec![0.0; m * n]);
    kernels.dot_half_block(HalfRows { half, dim, bits }, queries, &mut dot_block);
    kernels.l2sq_half_block(HalfRows { half, dim, bits }, queries, &mut l2sq_block);
    for (j, query) in queries.chunks(dim).enumerate() {
        let (mut dots, mut distances) = (vec![0.0; n], vec![0.0; n]);
        kernels.dot_half_rows(half, query, bits, &mut dots);
        kernels.l2sq_half_rows(half, query, bits, &mut distances);
        for (i, row) in rows.chunks(dim).enumerate() {
            let norms = (oracle::norm_sq(query) * oracle::norm_sq(row)).sqrt();
            let (dot, l2sq) = (oracle::dot(query, row), oracle::l2sq(query, row));
            let own = &bits[i * dim..][..dim];
            for found in [dots[i], dot_block[j * n + i], kernels.dot_half(half, query, own)] {
                let bound = bounds::dot_error(dim) * norms + bounds::underflow(dim);
                let right = (f64::from(found) - dot).abs() <= bound;
                assert!(right || !found.is_finite(), "{kernels:?} {half:?} {dim}: {found} {dot}");
            }
            for found in [distances[i], l2sq_block[j * n + i], kernels.l2sq_half(half, query, own)]
            {
                let bound = bounds::l2sq_error(dim) * l2sq + bounds::underflow(dim);
                let right = (f64::from(found) - l2sq).abs() <= bound;
                assert!(right || !found.is_finite(), "{kernels:?} {half:?} {dim}: {found} {l2sq}");
            }
        }
    }
}

#[test]
fn scores_are_within_the_bounds_at_every_length() {
    let mut random = Random(1);
    for kernels in Kernels::available() {
        for half in HALVES {
            for dim in lengths().into_iter().filter(|&dim| dim > 0) {
                let (m, n) = if dim > 600 { (2, 5) } else { (5, 9) };
                let queries = random.vector(m * dim);
                let bits: Vec<u16> =
                    random.vector(n * dim).into_iter().map(|x| half.narrow(x)).collect();
                assert_scores(kernels, half, dim, &queries, &bits);
            }
        }
    }
}

#[test]
fn subnormal_infinite_and_nan_halves_are_loaded_as_what_they_are() {
    for kernels in Kernels::available() {
        for half in HALVES {
            for bits in (0..=u16::MAX).step_by(if cfg!(miri) { 997 } else { 1 }) {
                for dim in [1, 17] {
                    let mut row = vec![0; dim];
                    row[dim - 1] = bits;
                    let found = kernels.dot_half(half, &vec![1.0; dim], &row);
                    let expected = half.value(bits);
                    let same = found == expected || found.is_nan() && expected.is_nan();
                    assert!(same, "{kernels:?} {half:?} {bits:#x}: {found} for {expected}");
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "rows are not 2 x 3")]
fn half_rows_of_another_size_panic() {
    Kernels::available()[0].dot_half_rows(Half::F16, &[1.0; 3], &[0; 7], &mut [0.0; 2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 2000 }))]

    #[test]
    fn any_float_is_rounded_to_the_nearest_half(bits in any::<u32>()) {
        for half in HALVES {
            assert_narrow(half, f32::from_bits(bits));
            // The range of binary16 is a small part of all patterns.
            assert_narrow(half, f32::from_bits(bits >> 3 | 0x3000_0000));
        }
    }

    #[test]
    fn any_bits_score_within_the_bound_or_not_finite(
        pairs in prop::collection::vec((any::<u32>(), any::<u16>()), 1..120),
    ) {
        let query: Vec<f32> = pairs.iter().map(|(query, _)| f32::from_bits(*query)).collect();
        let row: Vec<u16> = pairs.iter().map(|(_, row)| *row).collect();
        let finite = query.iter().all(|x| x.is_finite());
        for kernels in Kernels::available() {
            for half in HALVES {
                if finite && row.iter().all(|&bits| half.value(bits).is_finite()) {
                    assert_scores(kernels, half, query.len(), &query, &row);
                } else {
                    prop_assert!(!kernels.l2sq_half(half, &query, &row).is_finite());
                }
            }
        }
    }
}
