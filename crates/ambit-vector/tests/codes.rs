//! Do codes say how wrong they are? Bounds and intervals of every quantizer against f64, on rows
//! from gentle to hostile; models against damage.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use ambit_vector::binary::{BinaryCentre, BinaryQuantizer};
use ambit_vector::half::{Half, HalfQuantizer};
use ambit_vector::quantizer::{CodeError, Coded, Interval, Quantizer, RowTerms};
use ambit_vector::scalar::{ScalarOptions, ScalarQuantizer, ScalarRange, ScalarWidth};
use ambit_vector::{Metric, kernels, oracle};
use proptest::prelude::*;
use support::Random;

mod support;

const SCALARS: [ScalarOptions; 4] = [
    ScalarOptions::INT8,
    ScalarOptions::INT4,
    ScalarOptions { width: ScalarWidth::Int8, range: ScalarRange::Dimension },
    ScalarOptions { width: ScalarWidth::Int4, range: ScalarRange::Dimension },
];

/// Rows of `dim`, each kind several times.
fn rows(random: &mut Random, dim: usize) -> Vec<f32> {
    let mut rows = Vec::new();
    for round in 0..if cfg!(miri) { 1 } else { 4 } {
        rows.extend(random.vector(dim));
        rows.extend(random.scaled(dim, 0, 20));
        rows.extend(random.scaled(dim, -130, 19));
        rows.extend(random.scaled(dim, 110, 17));
        rows.extend(random.vector(dim).iter().map(|x| 1000.0 + x));
        rows.extend(random.vector(dim).iter().map(|x| 1e-3 * x));
        rows.extend(vec![0.0; dim]);
        rows.extend(vec![-0.25; dim]);
        rows.extend(vec![f32::from_bits(round + 1); dim]);
        rows.extend((0..dim).map(|i| if i % 7 == 3 { 50.0 } else { 1e-4 * random.unit() }));
        rows.extend((0..dim).map(|i| if i % 2 == 0 { f32::MAX } else { f32::MIN }));
    }
    rows
}

fn encode(quantizer: &impl Quantizer, rows: &[f32]) -> (Vec<u8>, Vec<RowTerms>) {
    let n = rows.len() / quantizer.dim();
    let mut codes = vec![0xA5; n * quantizer.code_len()];
    let mut terms = vec![RowTerms::default(); n];
    quantizer.encode(rows, &mut codes, &mut terms).unwrap();
    (codes, terms)
}

/// What Kernels and plain sums say of a score.
fn scores(metric: Metric, query: &[f32], row: &[f32]) -> [f64; 2] {
    let norms = (oracle::norm_sq(query) * oracle::norm_sq(row)).sqrt();
    let kernels = kernels();
    match metric {
        Metric::InnerProduct => [oracle::dot(query, row), kernels.dot_f64(query, row)],
        Metric::Cosine => {
            let checked = kernels.norm_sq_f64(query) * kernels.norm_sq_f64(row);
            [oracle::dot(query, row) / norms, kernels.dot_f64(query, row) / checked.sqrt()]
        }
        _ => [oracle::l2sq(query, row).sqrt(), kernels.l2sq_f64(query, row).sqrt()],
    }
}

/// Every interval contains the score, and the estimate is in it; returns the part that says
/// something.
fn assert_intervals(quantizer: &impl Quantizer, queries: &[f32], rows: &[f32]) -> f64 {
    let dim = quantizer.dim();
    let (codes, terms) = encode(quantizer, rows);
    let coded = Coded { codes: &codes, terms: &terms };
    let (mut known, mut all) = (0, 0);
    for query in queries.chunks(dim) {
        for metric in Metric::ALL {
            let ready = quantizer.query(metric, query).unwrap();
            let mut intervals = vec![Interval::ANYWHERE; terms.len()];
            let mut estimates = vec![0.0; terms.len()];
            quantizer.intervals(&ready, coded, &mut intervals).unwrap();
            quantizer.scan(&ready, coded, &mut estimates).unwrap();
            for (i, row) in rows.chunks(dim).enumerate() {
                let interval = intervals[i];
                for score in scores(metric, query, row) {
                    assert!(
                        interval.contains(score),
                        "{metric} of dim {dim}, row {i}: {score:e} not in {interval:?}, {:?}",
                        terms[i]
                    );
                }
                all += 1;
                if interval != Interval::ANYWHERE {
                    known += 1;
                    let code = &codes[i * quantizer.code_len()..][..quantizer.code_len()];
                    let one = quantizer.score(&ready, code, &terms[i]).unwrap();
                    assert!(interval.contains(f64::from(estimates[i])));
                    assert!(interval.contains(f64::from(one)));
                }
            }
        }
    }
    f64::from(known) / f64::from(all)
}

/// The decoded row is as near as the bound says, but for the rounding of decoding; what a model
/// adds is of the size of its sample.
fn assert_errors(quantizer: &impl Quantizer, sample: &[f32], rows: &[f32]) {
    let dim = quantizer.dim();
    let (codes, terms) = encode(quantizer, rows);
    let mut decoded = vec![0.0; rows.len()];
    quantizer.decode(Coded { codes: &codes, terms: &terms }, &mut decoded).unwrap();
    for ((row, said), terms) in rows.chunks(dim).zip(decoded.chunks(dim)).zip(&terms) {
        if terms.error.is_finite() {
            let distance = oracle::l2sq(row, said).sqrt();
            let sizes = [said, row, sample].map(|x| oracle::norm_sq(x).sqrt());
            let rounding = 1e-6 * sizes.into_iter().sum::<f64>();
            let error = f64::from(quantizer.error_bound(terms));
            assert!(distance <= error + rounding, "dim {dim}: {distance:e} > {error:e}");
        }
    }
}

fn dims() -> Vec<usize> {
    if cfg!(miri) { vec![1, 17, 35] } else { (1..=70).chain([127, 128, 129, 384, 1000]).collect() }
}

fn assert_all(quantizer: &impl Quantizer, sample: &[f32], random: &mut Random) {
    let dim = quantizer.dim();
    let rows = rows(random, dim);
    let mut queries = random.vector(2 * dim);
    queries.extend(random.scaled(dim, 0, 30));
    queries.extend(random.scaled(dim, 100, 20));
    queries.extend(random.scaled(dim, -120, 10));
    queries.extend(vec![0.0; dim]);
    queries.extend(random.vector(dim).iter().map(|x| 1000.0 + x));
    assert_errors(quantizer, sample, &rows);
    assert_intervals(quantizer, &queries, &rows);
}

#[test]
fn scores_lie_in_the_intervals_of_scalar_codes() {
    let mut random = Random(1);
    for dim in dims() {
        let sample = random.vector(20 * dim);
        for options in SCALARS {
            assert_all(
                &ScalarQuantizer::train(options, dim, &sample).unwrap(),
                &sample,
                &mut random,
            );
        }
    }
}

#[test]
fn scores_lie_in_the_intervals_of_half_floats() {
    let mut random = Random(2);
    for dim in dims() {
        for half in [Half::F16, Half::Bf16] {
            assert_all(&HalfQuantizer::new(half, dim).unwrap(), &[], &mut random);
        }
    }
}

#[test]
fn scores_lie_in_the_intervals_of_bits() {
    let mut random = Random(3);
    for dim in dims() {
        let sample: Vec<f32> = random.vector(9 * dim).iter().map(|x| x + 0.3).collect();
        for centre in [BinaryCentre::Zero, BinaryCentre::Mean] {
            assert_all(
                &BinaryQuantizer::train(centre, dim, &sample).unwrap(),
                &sample,
                &mut random,
            );
        }
    }
}

/// A row that is scaled, so that its numbers are of one size, is known, and not badly.
#[test]
fn intervals_of_ordinary_rows_are_narrow() {
    let mut random = Random(4);
    let dim = 384;
    let rows = random.vector(200 * dim);
    let queries = random.vector(3 * dim);
    let spread = |quantizer: &dyn Fn(&mut Vec<Interval>, &[f32])| {
        let mut intervals = vec![Interval::ANYWHERE; 200];
        quantizer(&mut intervals, &queries[..dim]);
        let widths = intervals.iter().map(|interval| interval.high - interval.low);
        widths.sum::<f32>() / 200.0
    };
    fn fill<Q: Quantizer>(quantizer: &Q, rows: &[f32], out: &mut [Interval], query: &[f32]) {
        let (codes, terms) = encode(quantizer, rows);
        let ready = quantizer.query(Metric::Cosine, query).unwrap();
        quantizer.intervals(&ready, Coded { codes: &codes, terms: &terms }, out).unwrap();
    }
    for (options, most) in [(0, 0.015), (1, 0.22), (2, 0.015), (3, 0.24)] {
        let quantizer = ScalarQuantizer::train(SCALARS[options], dim, &rows).unwrap();
        let width = spread(&|out: &mut Vec<Interval>, query| fill(&quantizer, &rows, out, query));
        assert!(width < most, "{:?}: {width}", SCALARS[options]);
    }
    for (half, most) in [(Half::F16, 0.001), (Half::Bf16, 0.008)] {
        let quantizer = HalfQuantizer::new(half, dim).unwrap();
        let width = spread(&|out: &mut Vec<Interval>, query| fill(&quantizer, &rows, out, query));
        assert!(width < most, "{half:?}: {width}");
    }
    let bits = BinaryQuantizer::train(BinaryCentre::Zero, dim, &rows).unwrap();
    let width = spread(&|out: &mut Vec<Interval>, query| fill(&bits, &rows, out, query));
    assert!(width < 1.2, "bits: {width}");
}

#[test]
fn a_row_that_is_not_finite_lies_anywhere() {
    let mut random = Random(5);
    let dim = 33;
    let sample = random.vector(4 * dim);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 16, 32] {
            let mut row = random.vector(dim);
            row[at] = bad;
            for options in SCALARS {
                let quantizer = ScalarQuantizer::train(options, dim, &sample).unwrap();
                assert_eq!(assert_intervals(&quantizer, &sample, &row), 0.0);
                assert_eq!(assert_intervals(&quantizer, &row, &sample), 0.0);
            }
            for half in [Half::F16, Half::Bf16] {
                let quantizer = HalfQuantizer::new(half, dim).unwrap();
                assert_eq!(assert_intervals(&quantizer, &sample, &row), 0.0);
                assert_eq!(assert_intervals(&quantizer, &row, &sample), 0.0);
            }
            let quantizer = BinaryQuantizer::train(BinaryCentre::Mean, dim, &sample).unwrap();
            assert_eq!(assert_intervals(&quantizer, &sample, &row), 0.0);
            assert_eq!(assert_intervals(&quantizer, &row, &sample), 0.0);
        }
    }
}

#[test]
fn half_floats_of_half_floats_are_exact() {
    let mut random = Random(6);
    for half in [Half::F16, Half::Bf16] {
        for up in [1.0, 2f32.powi(-40), 2f32.powi(60)] {
            let row: Vec<f32> =
                random.vector(384).iter().map(|&x| half.value(half.narrow(x)) * up).collect();
            let quantizer = HalfQuantizer::new(half, 384).unwrap();
            let (codes, terms) = encode(&quantizer, &row);
            let mut decoded = vec![0.0; 384];
            quantizer.decode(Coded { codes: &codes, terms: &terms }, &mut decoded).unwrap();
            if half == Half::Bf16 || up == 1.0 {
                assert_eq!(decoded, row, "{half:?} {up:e}");
            }
            let size = oracle::norm_sq(&row).sqrt();
            assert!(f64::from(terms[0].error) <= 1e-6 * size, "{half:?} {up:e} {terms:?}");
        }
    }
}

#[test]
fn bits_are_signs_and_their_step_is_the_mean_size() {
    let quantizer = BinaryQuantizer::train(BinaryCentre::Zero, 9, &[]).unwrap();
    let row = [1.0, -1.0, 3.0, -3.0, 0.0, -2.0, 2.0, 4.0, -2.0];
    let (codes, terms) = encode(&quantizer, &row);
    assert_eq!(codes, [0b1101_0101, 0]);
    assert_eq!(terms[0].step, 2.0);
    let (mut bits, mut distances) = ([0; 2], [0; 1]);
    quantizer.query_bits(&row.map(|x| -x), &mut bits).unwrap();
    quantizer.hamming_scan(&bits, &codes, &mut distances).unwrap();
    assert_eq!(distances, [8]); // -0.0 is not below 0 either.
    let mut decoded = [0.0; 9];
    quantizer.decode(Coded { codes: &codes, terms: &terms }, &mut decoded).unwrap();
    assert_eq!(decoded, [2.0, -2.0, 2.0, -2.0, 2.0, -2.0, 2.0, 2.0, -2.0]);
}

#[test]
fn levels_of_a_row_reach_from_its_smallest_to_its_largest_number() {
    let row: Vec<f32> = (0..16).map(|i| i as f32 - 3.0).collect();
    let quantizer = ScalarQuantizer::train(ScalarOptions::INT4, 16, &row).unwrap();
    let (codes, terms) = encode(&quantizer, &row);
    assert_eq!(codes, [0x80, 0x91, 0xA2, 0xB3, 0xC4, 0xD5, 0xE6, 0xF7]);
    assert_eq!((terms[0].offset, terms[0].step), (5.0, 1.0));
    assert!(terms[0].error < 1e-5);
}

#[test]
fn sizes_are_what_is_published() {
    let sample = Random(7).vector(384 * 3);
    let int8 = ScalarQuantizer::train(ScalarOptions::INT8, 384, &sample).unwrap();
    let int4 = ScalarQuantizer::train(ScalarOptions::INT4, 384, &sample).unwrap();
    let half = HalfQuantizer::new(Half::F16, 384).unwrap();
    let bits = BinaryQuantizer::train(BinaryCentre::Zero, 384, &sample).unwrap();
    assert_eq!(
        [int8.code_len(), int4.code_len(), half.code_len(), bits.code_len()],
        [384, 192, 768, 48]
    );
    assert_eq!(int8.footprint(1000), 1000 * 400 + int8.model_len());
    assert_eq!(int4.footprint(1000), 1000 * 208 + int4.model_len());
    assert_eq!(half.footprint(1000), 1000 * 784 + half.model_len());
    assert_eq!(bits.footprint(1000), 1000 * 64 + bits.model_len());
    for options in SCALARS {
        let quantizer = ScalarQuantizer::train(options, 385, &Random(8).vector(385)).unwrap();
        assert_eq!(quantizer.write().len(), quantizer.model_len());
        assert!(ScalarQuantizer::training_bytes(options, 385) >= quantizer.code_len());
        assert!(quantizer.query_bytes() >= 4 * 385);
    }
}

#[test]
fn models_come_back_and_damage_is_told() {
    let sample = Random(9).vector(40 * 7);
    for options in SCALARS {
        let quantizer = ScalarQuantizer::train(options, 40, &sample).unwrap();
        assert_damage(&quantizer.write(), ScalarQuantizer::read);
        assert_eq!(ScalarQuantizer::read(&quantizer.write()).unwrap(), quantizer);
    }
    for half in [Half::F16, Half::Bf16] {
        let quantizer = HalfQuantizer::new(half, 40).unwrap();
        assert_damage(&quantizer.write(), HalfQuantizer::read);
        assert_eq!(HalfQuantizer::read(&quantizer.write()).unwrap(), quantizer);
    }
    for centre in [BinaryCentre::Zero, BinaryCentre::Mean] {
        let quantizer = BinaryQuantizer::train(centre, 40, &sample).unwrap();
        assert_damage(&quantizer.write(), BinaryQuantizer::read);
        assert_eq!(BinaryQuantizer::read(&quantizer.write()).unwrap(), quantizer);
    }
}

/// Every flipped bit and every shorter length is told, also where the checksum was made right.
fn assert_damage<Q>(bytes: &[u8], read: impl Fn(&[u8]) -> Result<Q, CodeError>) {
    let step = if cfg!(miri) { 37 } else { 1 };
    for bit in (0..8 * bytes.len()).step_by(step) {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&damaged).is_err_and(CodeError::is_corrupt), "bit {bit}");
        if bit / 8 < bytes.len() - 4 {
            // A forged checksum: whatever comes out is no panic.
            let _ = read(&sealed(&damaged[..bytes.len() - 4]));
        }
    }
    for len in (0..bytes.len()).step_by(step) {
        assert!(read(&bytes[..len]).is_err_and(CodeError::is_corrupt), "length {len}");
        let short = sealed(&bytes[..len]);
        assert!(short == bytes || read(&short).is_err_and(CodeError::is_corrupt));
    }
    let mut longer = bytes[..bytes.len() - 4].to_vec();
    longer.push(0);
    assert!(read(&sealed(&longer)).is_err_and(CodeError::is_corrupt));
}

fn sealed(body: &[u8]) -> Vec<u8> {
    let mut bytes = body.to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    bytes
}

#[test]
fn wrong_sizes_are_errors_that_name_the_numbers() {
    let quantizer = ScalarQuantizer::train(ScalarOptions::INT4, 5, &[0.5; 5]).unwrap();
    let (mut codes, mut terms) = ([0; 6], [RowTerms::default(); 2]);
    let found = quantizer.encode(&[0.0; 9], &mut codes, &mut terms).unwrap_err();
    assert_eq!(found, CodeError::Shape { what: "rows", expected: 10, found: 9 });
    let found = quantizer.encode(&[0.0; 10], &mut codes[..5], &mut terms).unwrap_err();
    assert_eq!(found.to_string(), "codes: 5 elements, expected 6");
    assert!(quantizer.query(Metric::Cosine, &[0.0; 4]).is_err());
    let coded = Coded { codes: &codes, terms: &terms };
    assert!(quantizer.decode(coded, &mut [0.0; 11]).is_err());
    let query = quantizer.query(Metric::Cosine, &[0.0; 5]).unwrap();
    assert!(quantizer.scan(&query, coded, &mut [0.0; 3]).is_err());
    assert!(quantizer.intervals(&query, coded, &mut [Interval::ANYWHERE; 1]).is_err());
    let other = ScalarQuantizer::train(ScalarOptions::INT8, 5, &[0.5; 5]).unwrap();
    let query = other.query(Metric::Cosine, &[0.0; 5]).unwrap();
    assert!(quantizer.scan(&query, coded, &mut [0.0; 2]).is_err());
}

#[test]
fn dimensions_and_samples_are_checked_at_their_limits() {
    for (dim, good) in [(0, false), (1, true), (65_536, true), (65_537, false)] {
        let sample = vec![0.5; dim];
        assert_eq!(ScalarQuantizer::train(ScalarOptions::INT8, dim, &sample).is_ok(), good);
        assert_eq!(HalfQuantizer::new(Half::F16, dim).is_ok(), good);
        assert_eq!(BinaryQuantizer::train(BinaryCentre::Mean, dim, &sample).is_ok(), good);
    }
    let none = ScalarQuantizer::train(ScalarOptions::INT8, 3, &[]).unwrap_err();
    assert_eq!(none, CodeError::NoSample);
    assert_eq!(BinaryQuantizer::train(BinaryCentre::Mean, 3, &[]), Err(CodeError::NoSample));
    let bad = [f32::NAN; 3];
    assert_eq!(ScalarQuantizer::train(SCALARS[2], 3, &bad), Err(CodeError::NotFinite));
    assert_eq!(BinaryQuantizer::train(BinaryCentre::Mean, 3, &bad), Err(CodeError::NotFinite));
    assert!(ScalarQuantizer::train(ScalarOptions::INT8, 3, &[0.0; 4]).is_err());
}

#[test]
fn the_longest_rows_neither_overflow_a_sum_nor_leave_their_interval() {
    let dim = if cfg!(miri) { 300 } else { 65_536 };
    let (ones, mut random) = (vec![1.0; dim], Random(10));
    let sample: Vec<f32> = (0..dim).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    for options in SCALARS {
        let quantizer = ScalarQuantizer::train(options, dim, &sample).unwrap();
        for query in [&ones, &sample, &random.vector(dim)] {
            assert_intervals(&quantizer, query, &sample);
        }
    }
    let bits = BinaryQuantizer::train(BinaryCentre::Zero, dim, &sample).unwrap();
    assert!(assert_intervals(&bits, &ones, &sample) > 0.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 300 }))]

    /// Any bits at all, rows and queries.
    #[test]
    fn any_bits_lie_in_their_intervals(
        bits in prop::collection::vec(any::<u32>(), 4..60),
        spread in 0u32..3,
    ) {
        // A third of the cases have exponents near each other, so that something is known.
        let mask = [u32::MAX, 0x87FF_FFFF, 0x83FF_FFFF][spread as usize];
        let float = |bits: &u32| f32::from_bits((bits & mask) | (!mask & 0x3800_0000));
        let dim = bits.len() / 4;
        let rows: Vec<f32> = bits[..4 * dim].iter().map(float).collect();
        let sample: Vec<f32> =
            rows.iter().map(|x| if x.is_finite() { *x } else { 1.0 }).collect();
        for options in SCALARS {
            let quantizer = ScalarQuantizer::train(options, dim, &sample).unwrap();
            assert_intervals(&quantizer, &rows[..dim], &rows);
            assert_errors(&quantizer, &sample, &rows);
        }
        for half in [Half::F16, Half::Bf16] {
            let quantizer = HalfQuantizer::new(half, dim).unwrap();
            assert_intervals(&quantizer, &rows[..dim], &rows);
            assert_errors(&quantizer, &sample, &rows);
        }
        let quantizer = BinaryQuantizer::train(BinaryCentre::Zero, dim, &sample).unwrap();
        assert_intervals(&quantizer, &rows[..dim], &rows);
        assert_errors(&quantizer, &sample, &rows);
    }
}
