//! A row that is as good as the cut is never left out: held where it is sharpest, at the cut of
//! the row's own score, for every unit, metric and dimension, and for values of any size.

use proptest::prelude::*;

use super::*;
use crate::{Metric, kernels};

/// The f64 score that a search gives.
fn score(metric: Metric, query: &[f32], row: &[f32]) -> f64 {
    let kernels = kernels();
    match metric {
        Metric::Euclidean => kernels.l2sq_f64(query, row).sqrt(),
        Metric::InnerProduct => kernels.dot_f64(query, row),
        Metric::Cosine => {
            let norms = kernels.norm_sq_f64(query) * kernels.norm_sq_f64(row);
            kernels.dot_f64(query, row) / norms.sqrt()
        }
    }
}

struct Planes {
    model: Model,
    coarse: Vec<u8>,
    fine: Vec<u8>,
    rows: usize,
}

impl Planes {
    fn new(model: Model, rows: &[f32]) -> Self {
        let layout = *model.layout();
        let dim = layout.dim;
        let mut encoder = Encoder::new(&model);
        let (mut coarse, mut fine) = (Vec::new(), Vec::new());
        for block in rows.chunks(BLOCK_ROWS * dim) {
            let (c, f) = (coarse.len(), fine.len());
            coarse.resize(c + layout.coarse_block_len(), 0xaa);
            fine.resize(f + block.len() / dim * layout.fine_len(), 0xaa);
            encoder.encode(block, &mut coarse[c..], &mut fine[f..]);
        }
        Self { coarse, fine, rows: rows.len() / dim, model }
    }

    fn coarse(&self) -> Coarse<'_> {
        Coarse::new(*self.model.layout(), &self.coarse, self.rows)
    }

    fn fine(&self) -> Fine<'_> {
        Fine::new(*self.model.layout(), &self.fine)
    }

    /// What a scan with `cut` leaves: (row, estimate), and the highest upper end left out.
    fn scan(&self, unit: Unit, query: &Query, cut: f32) -> (Vec<(u32, f32)>, f32) {
        let room = self.rows.next_multiple_of(BLOCK_ROWS);
        let (mut uppers, mut estimates) = (vec![0.0; room], vec![0.0; room]);
        self.coarse().scan(unit, query, &mut uppers, &mut estimates);
        for upper in &uppers[self.rows..] {
            assert!(upper.is_nan() || *upper == f32::NEG_INFINITY);
        }
        let (mut found, mut at, mut left_out) = (Vec::new(), 0, f32::NEG_INFINITY);
        loop {
            let (next, largest) = unit.next_reaching(&uppers[..self.rows], cut, at);
            left_out = left_out.max(largest);
            if next == self.rows {
                return (found, left_out);
            }
            found.push((next as u32, estimates[next]));
            at = next + 1;
        }
    }
}

fn assert_sound(metric: Metric, dim: usize, rows: &[f32], query: &[f32]) {
    if metric == Metric::Cosine && kernels().norm_sq_f64(query) == 0.0 {
        return;
    }
    let model = Model::train(rows, dim, metric, 7).unwrap();
    let planes = Planes::new(model, rows);
    let ready = Query::new(&planes.model, query).unwrap();
    for unit in units() {
        for (number, row) in rows.chunks_exact(dim).enumerate() {
            let own = score(metric, query, row);
            let cut = ready.cut(own);
            let (found, left_out) = planes.scan(unit, &ready, cut);
            let Some(&(_, estimate)) = found.iter().find(|(found, _)| *found as usize == number)
            else {
                panic!("{metric} {unit:?} row {number} with {own} was left out at {cut}");
            };
            let (_, upper) = planes.fine().refine(unit, &ready, number, estimate);
            assert!(
                upper.is_nan() || upper >= cut,
                "{metric} {unit:?} row {number}: fine {upper} below {cut}"
            );
            let best_left_out = ready.score_of(left_out);
            for (other, row) in rows.chunks_exact(dim).enumerate() {
                if found.iter().all(|(found, _)| *found as usize != other) {
                    let theirs = score(metric, query, row);
                    let is_within = match metric {
                        Metric::Euclidean => theirs >= best_left_out * (1.0 - 1e-6),
                        _ => theirs <= best_left_out,
                    };
                    assert!(is_within, "{metric} row {other}: {theirs}, left out {best_left_out}");
                }
            }
        }
    }
}

fn floats(parts: &[(i8, i8)], power: i32) -> Vec<f32> {
    let element = |(value, shift): &(i8, i8)| {
        let value = f64::from(*value) + f64::from(*shift) / 1000.0;
        (value * 2f64.powi(power + i32::from(*shift) / 16)) as f32
    };
    parts.iter().map(element).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_row_as_good_as_the_cut_is_found(
        values in prop::collection::vec(any::<(i8, i8)>(), 40 * 20),
        query in prop::collection::vec(any::<(i8, i8)>(), 40),
        dim in 1usize..41,
        powers in (-40i32..40, -40i32..40),
    ) {
        let rows = floats(&values[..values.len() / dim.max(4) / 2 * dim], powers.0);
        let rows = &rows[..(rows.len() / dim).min(19) * dim];
        for metric in Metric::ALL {
            assert_sound(metric, dim, rows, &floats(&query[..dim], powers.1));
            if rows.len() >= dim {
                assert_sound(metric, dim, rows, &rows[..dim]);
            }
        }
    }

    #[test]
    fn a_row_of_many_dimensions_as_good_as_the_cut_is_found(
        values in prop::collection::vec(-1f32..1.0, 18 * 300),
        dim in 60usize..300,
        stretch in 0f32..1.0,
    ) {
        // Components of unlike size, so that head, middle and tail are all in use.
        let mut rows = values[..18 * dim].to_vec();
        for (index, value) in rows.iter_mut().enumerate() {
            *value *= (1.0 + (index % dim) as f32 * stretch).recip();
        }
        for metric in Metric::ALL {
            assert_sound(metric, dim, &rows[dim..], &rows[..dim]);
        }
    }
}

#[test]
fn rows_of_any_bits_as_good_as_the_cut_are_found() {
    let strange = [0.0, -0.0, 1.0, -1e-45, 1e-38, 3e38, f32::MIN, f32::INFINITY, f32::NAN];
    let rows: Vec<f32> = (0..9usize.pow(3))
        .flat_map(|row| [row, row / 9, row / 81].map(|pick| strange[pick % 9]))
        .collect();
    for query in [[1.5, -2.0, 1e-40], [3e38, 1.0, -3e38], [1e-45, 0.0, 0.0]] {
        for metric in Metric::ALL {
            for some in rows.chunks(3 * 100) {
                assert_sound(metric, 3, some, &query);
            }
        }
    }
}

#[test]
fn rows_that_are_equal_or_lie_in_a_subspace_are_found() {
    let dim = 96;
    let line: Vec<f32> =
        (0..20 * dim).map(|i| (i / dim) as f32 * ((i % dim) as f32).sin()).collect();
    let equal = [0.25f32; 96].repeat(20);
    for metric in Metric::ALL {
        assert_sound(metric, dim, &line, &line[dim..2 * dim]);
        assert_sound(metric, dim, &equal, &line[dim..2 * dim]);
        assert_sound(metric, dim, &equal, &equal[..dim]);
    }
}

#[test]
fn all_units_find_the_same_with_the_same_integers() {
    let dim = 200;
    let rows: Vec<f32> =
        (0..50 * dim).map(|i| ((i * i) as f32).sin() / (1 + i % dim) as f32).collect();
    for metric in Metric::ALL {
        let planes = Planes::new(Model::train(&rows, dim, metric, 1).unwrap(), &rows);
        let query = Query::new(&planes.model, &rows[..dim]).unwrap();
        let (oracle, _) = planes.scan(*units().last().unwrap(), &query, f32::NEG_INFINITY);
        assert_eq!(oracle.len(), 50);
        for unit in units() {
            let (found, _) = planes.scan(unit, &query, f32::NEG_INFINITY);
            for (&(row, estimate), &(expected_row, expected)) in found.iter().zip(&oracle) {
                assert_eq!(row, expected_row, "{unit:?}");
                assert!((estimate - expected).abs() <= 1e-5, "{unit:?} {estimate} {expected}");
                let mine = planes.fine().refine(unit, &query, row as usize, expected);
                let theirs =
                    planes.fine().refine(*units().last().unwrap(), &query, row as usize, expected);
                assert_eq!(mine, theirs, "{unit:?}");
            }
            assert_eq!(found.len(), oracle.len(), "{unit:?}");
        }
    }
}

proptest! {
    #[test]
    fn the_next_value_that_reaches_is_found_as_one_looks_at_each(
        values in prop::collection::vec(prop_oneof![-4i8..4, Just(100)], 0..80),
        cut in -5i8..6,
        from in 0usize..90,
    ) {
        let value = |&value: &i8| if value == 100 { f32::NAN } else { f32::from(value) };
        let values: Vec<f32> = values.iter().map(value).collect();
        let cut = f32::from(cut);
        let expected = (from..values.len()).find(|&index| values[index].is_nan() || values[index] >= cut);
        let expected = expected.unwrap_or(values.len());
        let passed = values.get(from..expected).unwrap_or_default();
        let largest = passed.iter().fold(f32::NEG_INFINITY, |most, &value| most.max(value));
        for unit in units() {
            prop_assert_eq!(unit.next_reaching(&values, cut, from), (expected, largest));
        }
    }
}

#[test]
fn a_cut_leaves_rows_out() {
    let dim = 128;
    let rows: Vec<f32> = (0..320 * dim).map(|i| ((i * i) as f32 * 0.7).sin()).collect();
    let planes = Planes::new(Model::train(&rows, dim, Metric::Cosine, 1).unwrap(), &rows);
    let query = Query::new(&planes.model, &rows[..dim]).unwrap();
    for unit in units() {
        let (found, left_out) = planes.scan(unit, &query, query.cut(0.9));
        assert!(found.len() < 10, "{unit:?}: {} rows of 320", found.len());
        assert!(left_out < 0.9 && left_out > -1.0, "{left_out}");
    }
}

#[test]
fn bits_go_where_the_variance_is() {
    let dim = 384;
    let falling: Vec<f64> = (0..dim).map(|i| 0.98f64.powi(i as i32)).collect();
    let layout = Layout::choose(&falling, Metric::Cosine);
    assert!(layout.head > 0 && layout.head + layout.middle < dim, "{layout:?}");
    let even = Layout::choose(&vec![1.0; dim], Metric::Cosine);
    assert_eq!((even.head, even.middle), (0, dim));
    for spectrum in [falling, vec![1.0; dim]] {
        let layout = Layout::choose(&spectrum, Metric::Cosine);
        assert_eq!(layout.head * 4 + layout.middle * 2, 2 * dim);
        assert_eq!(layout.coarse_block_len(), 16 * (dim / 4 + 10));
        assert_eq!(layout.fine_len(), dim / 2 + 4);
    }
}

#[test]
fn a_model_is_read_back_and_damage_is_found() {
    let rows: Vec<f32> = (0..40 * 20).map(|i| (i as f32).cos()).collect();
    for metric in Metric::ALL {
        let model = Model::train(&rows, 20, metric, 3).unwrap();
        let bytes = model.encode();
        assert!(bytes.len() <= Model::max_encoded_len(20));
        assert_eq!(Model::decode(&bytes).unwrap(), model);
        for len in 0..bytes.len() {
            assert!(Model::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(Model::decode(&damaged).is_err(), "byte {at}");
        }
    }
}

#[test]
fn a_model_of_hostile_sizes_is_refused() {
    for (dim, head, middle, metric) in [
        (0, 0, 0, 0),
        (5000, 16, 0, 0),
        (20, 48, 0, 0),
        (20, 16, 32, 0),
        (20, 8, 0, 0),
        (20, 16, 0, 9),
    ] {
        let mut bytes = b"AMBPLAN1".to_vec();
        for number in [dim, head, middle, metric] {
            bytes.extend(u32::to_le_bytes(number));
        }
        bytes.extend(1e-6f64.to_le_bytes());
        bytes.extend(vec![0; 4 * (dim as usize) * (dim as usize).max(32)]);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        assert!(Model::decode(&bytes).is_err(), "{dim} {head} {middle} {metric}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused() {
    assert_eq!(Model::train(&[], 0, Metric::Cosine, 1), Err(PlaneError::Dimension(0)));
    let too_many = MAX_DIM + 1;
    assert_eq!(
        Model::train(&[], too_many, Metric::Cosine, 1),
        Err(PlaneError::Dimension(too_many))
    );
    assert!(matches!(Model::train(&[1.0; 5], 2, Metric::Cosine, 1), Err(PlaneError::Length(..))));
    let model = Model::train(&[], 3, Metric::Cosine, 1).unwrap();
    assert!(matches!(Query::new(&model, &[1.0; 2]), Err(PlaneError::Length(_, 3, 2))));
}

#[test]
fn training_is_deterministic_for_a_seed() {
    let rows: Vec<f32> = (0..64 * 48).map(|i| ((i * 7) as f32).sin()).collect();
    let train = |seed| Model::train(&rows, 48, Metric::Cosine, seed).unwrap();
    assert_eq!(train(5), train(5));
    assert_ne!(train(5), train(6));
}

#[test]
fn several_queries_together_get_the_bits_that_each_gets_alone() {
    for (metric, dim) in
        [(Metric::Cosine, 100), (Metric::InnerProduct, 384), (Metric::Euclidean, 20)]
    {
        let mut draws = crate::draws::Draws::new(3);
        let mut value = || (draws.next_u64() >> 40) as f32 / (1 << 23) as f32 - 1.0;
        let rows: Vec<f32> = (0..83 * dim).map(|_| value()).collect();
        let planes = Planes::new(Model::train(&rows, dim, metric, 1).unwrap(), &rows);
        let queries: Vec<Query> =
            rows.chunks(dim).take(9).map(|row| Query::new(&planes.model, row).unwrap()).collect();
        for unit in units() {
            let room = planes.rows.next_multiple_of(BLOCK_ROWS);
            let mut found = vec![(vec![0.0; room], vec![0.0; room]); queries.len()];
            let strips = queries.iter().zip(&mut found);
            let mut strips: Vec<Strip<'_>> = strips
                .map(|(query, (uppers, estimates))| Strip { query, uppers, estimates })
                .collect();
            planes.coarse().scan_all(unit, &mut strips);
            for (query, (uppers, estimates)) in queries.iter().zip(&found) {
                let (mut alone, mut estimated) = (vec![0.0; room], vec![0.0; room]);
                planes.coarse().scan(unit, query, &mut alone, &mut estimated);
                let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&alone), bits(uppers), "{metric} {unit:?}");
                assert_eq!(bits(&estimated), bits(estimates), "{metric} {unit:?}");
            }
        }
    }
}
