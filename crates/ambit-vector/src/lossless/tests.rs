//! Exactness of the whole codec: whatever the bits, they come back, from both copies of the loops.

use proptest::prelude::*;

use super::decode::Coded;
use super::dispatch::row_portable;
use super::*;

/// A stream of numbers that can be repeated.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn bits(&mut self) -> u32 {
        self.next() as u32
    }

    /// About a normal deviate, as embeddings have them.
    fn normal(&mut self) -> f32 {
        let sum: f64 = (0..12).map(|_| self.next() as f64 / u64::MAX as f64).sum();
        ((sum - 6.0) * 0.05) as f32
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Fails at the first number that differs.
#[track_caller]
fn same(found: &[f32], expected: &[f32], what: &dyn std::fmt::Debug) {
    let differs = found.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits());
    if let Some(at) = differs {
        let (found, expected) = (found[at].to_bits(), expected[at].to_bits());
        panic!("number {at} is {found:#x}, expected {expected:#x}: {what:?}");
    }
    assert_eq!(found.len(), expected.len());
}

/// Encodes and decodes in every way; the encoded length.
fn round_trip(rows: &[f32], dim: usize) -> usize {
    let count = rows.len() / dim;
    let mut least = usize::MAX;
    for level in [Level::Fast, Level::Compact] {
        let mut out = vec![0xAA; max_encoded_len(count, dim).unwrap()];
        let len = Encoder::new(dim, level).unwrap().encode_segment(rows, &mut out).unwrap();
        let segment = Segment::open(&out[..len]).unwrap();
        assert_eq!((segment.rows(), segment.dim()), (count, dim));
        let mut scratch = Scratch::new(dim);
        let mut back = vec![f32::NAN; rows.len()];
        segment.decode_rows(0, &mut scratch, &mut back).unwrap();
        same(&back, rows, &(level, segment.report()));
        let mut one = vec![f32::NAN; dim];
        for (number, row) in rows.chunks_exact(dim).enumerate().rev() {
            segment.decode_row(number, &mut scratch, &mut one).unwrap();
            same(&one, row, &(level, number));
        }
        portable_gives_the_same(&segment, rows, &mut scratch);
        least = least.min(len);
    }
    least
}

fn portable_gives_the_same(segment: &Segment<'_>, rows: &[f32], scratch: &mut Scratch) {
    let mut one = vec![f32::NAN; segment.dim()];
    for (number, row) in rows.chunks_exact(segment.dim()).enumerate() {
        let record = segment.record(number).unwrap();
        if let Ok(coded) = Coded::parse(segment.model(), record[0], &record[1..]) {
            row_portable(&coded, scratch, &mut one).unwrap();
            same(&one, row, &number);
        }
    }
}

fn to_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000)
}

/// To 11 significant bits: binary16 but for its narrow range.
fn to_11_bits(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0xFFF + (bits >> 13 & 1)) & 0xFFFF_E000)
}

fn normalise(row: &mut [f32]) {
    let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
    row.iter_mut().for_each(|x| *x /= norm);
}

fn rounded(x: f32, digits: usize) -> f32 {
    format!("{:.*e}", digits - 1, x).parse::<f64>().unwrap() as f32
}

fn quantize(row: &mut [f32]) {
    let most = row.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let scale = most / 127.0;
    row.iter_mut().for_each(|x| *x = f32::from((*x / scale).round() as i8) * scale);
}

/// A name, what makes a row of it, and the bits a value that it must not exceed.
type Source = (&'static str, fn(&mut [f32]), f64);

const SOURCES: [Source; 9] = [
    ("float32", |_| (), 27.3),
    ("bf16", |row| row.iter_mut().for_each(|x| *x = to_bf16(*x)), 11.3),
    ("fp16", |row| row.iter_mut().for_each(|x| *x = to_11_bits(*x)), 14.3),
    (
        "bf16 normalised",
        |row| {
            row.iter_mut().for_each(|x| *x = to_bf16(*x));
            normalise(row);
        },
        11.6,
    ),
    (
        "fp16 normalised",
        |row| {
            row.iter_mut().for_each(|x| *x = to_11_bits(*x));
            normalise(row);
        },
        14.6,
    ),
    (
        "bf16 normalised twice",
        |row| {
            row.iter_mut().for_each(|x| *x = to_bf16(*x * 3.0));
            normalise(row);
            row.iter_mut().for_each(|x| *x /= 1.000_123);
        },
        13.0,
    ),
    ("int8", quantize, 8.6),
    ("6 digits", |row| row.iter_mut().for_each(|x| *x = rounded(*x, 6)), 22.8),
    ("7 digits", |row| row.iter_mut().for_each(|x| *x = rounded(*x, 7)), 26.0),
];

fn made(source: &Source, rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut dice = Dice(seed);
    let mut values: Vec<f32> = (0..rows * dim).map(|_| dice.normal()).collect();
    values.chunks_exact_mut(dim).for_each(source.1);
    values
}

#[test]
fn rows_of_every_origin_come_back_and_take_few_bits() {
    for source in &SOURCES {
        let rows = made(source, 200, 384, 1);
        let bits = 8.0 * round_trip(&rows, 384) as f64 / rows.len() as f64;
        assert!(bits <= source.2, "{}: {bits:.2} bits a value", source.0);
    }
}

#[test]
fn decimals_of_every_number_of_places_and_digits_come_back() {
    let mut dice = Dice(12);
    // Neighbours from 1 on are decimals of more places than a model holds.
    let neighbours: Vec<f32> = (0..64 * 64).map(|at| f32::from_bits(0x3F80_0000 + at)).collect();
    round_trip(&neighbours, 64);
    for digits in 1..=9 {
        for size in [0.01f32, 1.0, 3.9, 50.0] {
            let mut value = || dice.normal() * 4.0 * size;
            let places: Vec<f32> =
                (0..64 * 40).map(|_| format!("{:.*}", digits, value()).parse().unwrap()).collect();
            round_trip(&places, 64);
        }
    }
}

#[test]
fn vectors_of_any_dimension_come_back() {
    // Every remainder of the planes and of the residuals, then ever larger steps.
    let steps = (1..=48).chain((49..4096).step_by(499)).chain([383, 385, 4095, 4096]);
    for dim in steps {
        for source in SOURCES.iter().cycle().skip(dim).take(2) {
            round_trip(&made(source, 2, dim, dim as u64), dim);
        }
    }
    round_trip(&made(&SOURCES[0], 1, MAX_DIM, 5), MAX_DIM);
}

#[test]
fn a_dimension_is_from_1_to_the_limit() {
    for (dim, taken) in [(0, false), (1, true), (MAX_DIM, true), (MAX_DIM + 1, false)] {
        assert_eq!(Encoder::new(dim, Level::Fast).is_ok(), taken, "{dim}");
    }
}

#[test]
fn constants_zeros_and_equal_rows_come_back_small() {
    for value in [0.0, -0.0, 1.0, f32::NAN, f32::INFINITY, f32::from_bits(1)] {
        let len = round_trip(&vec![value; 50 * 100], 100);
        assert!(len < 50 * 5 + 40, "{len}");
    }
    let row = made(&SOURCES[0], 1, 100, 9);
    round_trip(&row.repeat(300), 100);
    round_trip(&[], 7);
}

#[test]
fn dead_dimensions_and_polluted_rows_come_back_and_stay_small() {
    let odd = [0x7FC0_1234, 0xFF80_0001, 0x8000_0000, 1, 0x7F80_0000, 0x3DCC_CCCD];
    for source in &SOURCES {
        let mut rows = made(source, 120, 256, 3);
        let clean = round_trip(&rows, 256);
        for (number, row) in rows.chunks_exact_mut(256).enumerate() {
            row[17] = 1e-33;
            row[99] = 0.0;
            if number % 10 == 3 {
                row[number] = f32::from_bits(odd[number / 10 % odd.len()]);
            }
        }
        let polluted = round_trip(&rows, 256);
        assert!(polluted < clean + clean / 20, "{}: {clean} {polluted}", source.0);
    }
}

#[test]
fn noise_grows_by_less_than_one_per_cent() {
    let mut dice = Dice(4);
    for (count, dim) in [(40, 384), (3, 1024), (200, 128)] {
        let rows: Vec<f32> = (0..count * dim).map(|_| f32::from_bits(dice.bits())).collect();
        let len = round_trip(&rows, dim);
        assert!(len * 100 <= rows.len() * 404, "{count} x {dim}: {len}");
    }
}

#[test]
fn every_exponent_and_sign_comes_back_with_random_significands() {
    let mut dice = Dice(5);
    let rows: Vec<f32> = (0..512u32 * 64)
        .map(|at| f32::from_bits((at / 64) << 23 | (dice.bits() & 0x7F_FFFF)))
        .collect();
    round_trip(&rows, 512);
    round_trip(&rows, 64);
}

#[test]
fn an_output_one_byte_short_is_refused() {
    let rows = made(&SOURCES[1], 70, 96, 2);
    let mut out = vec![0; max_encoded_len(70, 96).unwrap()];
    let mut encoder = Encoder::new(96, Level::Compact).unwrap();
    let len = encoder.encode_segment(&rows, &mut out).unwrap();
    // Room for the whole index is needed while it is written.
    let needed = (len..out.len())
        .find(|room| encoder.encode_segment(&rows, &mut out[..*room]).is_ok())
        .unwrap();
    let refused = encoder.encode_segment(&rows, &mut out[..needed - 1]);
    assert_eq!(refused, Err(LosslessError::OutputFull { offered: needed - 1 }));
    assert_eq!(encoder.encode_segment(&rows, &mut out[..needed]), Ok(len));
    let mut record = vec![0; max_record_len(96)];
    let len = encoder.encode_row(&rows[..96], None, &mut record).unwrap();
    assert!(encoder.encode_row(&rows[..96], None, &mut record[..len - 1]).is_err());
    assert!(encoder.encode_row(&rows[..95], None, &mut record).is_err());
    assert!(encoder.encode_segment(&rows[..95], &mut out).is_err());
}

#[test]
fn rows_and_sizes_that_do_not_fit_are_refused() {
    let rows = made(&SOURCES[0], 3, 16, 2);
    let mut out = vec![0; max_encoded_len(3, 16).unwrap()];
    let len = Encoder::new(16, Level::Fast).unwrap().encode_segment(&rows, &mut out).unwrap();
    let segment = Segment::open(&out[..len]).unwrap();
    let (mut scratch, mut row) = (Scratch::new(16), vec![0.0; 48]);
    let no_row = Err(LosslessError::NoSuchRow { row: 3, rows: 3 });
    assert_eq!(segment.decode_row(3, &mut scratch, &mut row[..16]), no_row);
    assert!(segment.decode_row(0, &mut scratch, &mut row[..15]).is_err());
    assert!(segment.decode_row(0, &mut Scratch::new(15), &mut row[..16]).is_err());
    assert!(segment.decode_rows(1, &mut scratch, &mut row).is_err());
    assert!(segment.decode_rows(0, &mut scratch, &mut row[..47]).is_err());
    let mut rows = segment.rows_from(3).unwrap();
    assert!(!rows.next_into(&mut scratch, &mut row[..16]).unwrap());
    assert!(segment.rows_from(4).is_err());
    assert_eq!(max_encoded_len(usize::MAX, 2), None);
    assert_eq!(max_encoded_len(1 << 22, 256), None);
}

#[test]
fn an_update_is_a_small_difference_and_needs_the_vector_before() {
    let rows = made(&SOURCES[0], 40, 384, 6);
    let mut out = vec![0; max_encoded_len(40, 384).unwrap()];
    let mut encoder = Encoder::new(384, Level::Fast).unwrap();
    let len = encoder.encode_segment(&rows, &mut out).unwrap();
    let segment = Segment::open(&out[..len]).unwrap();
    let (mut scratch, mut back) = (Scratch::new(384), vec![0.0; 384]);
    let mut record = vec![0; max_record_len(384)];
    let before = &rows[..384];
    let one_changed = |row: &mut [f32]| row[7] = 0.5;
    let all_nudged = |row: &mut [f32]| {
        row.iter_mut().for_each(|x| *x = f32::from_bits(x.to_bits() ^ 5));
    };
    let unchanged = |_: &mut [f32]| ();
    let changes = [unchanged as fn(&mut [f32]), one_changed, all_nudged];
    for (change, most) in changes.into_iter().zip([60, 70, 500]) {
        let mut after = before.to_vec();
        change(&mut after);
        let len = encoder.encode_row(&after, Some(before), &mut record).unwrap();
        assert!(len <= most, "{len}");
        let alone = segment.decode_record(&record[..len], None, &mut scratch, &mut back);
        assert_eq!(alone, Err(LosslessError::NeedsPrevious));
        segment.decode_record(&record[..len], Some(before), &mut scratch, &mut back).unwrap();
        same(&back, &after, &len);
    }
}

#[test]
fn short_numbers_times_the_scale_are_the_row() {
    let half = |bits: u16| {
        let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3FF));
        let size = match exponent {
            0 => fraction * 2f64.powi(-24),
            _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
        };
        if bits >> 15 == 1 { -size } else { size }
    };
    for (source, expected) in [(1, "bf16"), (2, "fp16"), (3, "bf16"), (4, "fp16"), (6, "int8")] {
        let rows = made(&SOURCES[source], 100, 128, 8);
        let mut out = vec![0; max_encoded_len(100, 128).unwrap()];
        let mut encoder = Encoder::new(128, Level::Compact).unwrap();
        let len = encoder.encode_segment(&rows, &mut out).unwrap();
        let segment = Segment::open(&out[..len]).unwrap();
        let (mut scratch, mut buffer) = (Scratch::new(128), NarrowBuffer::new(128));
        let mut found = 0;
        for (number, row) in rows.chunks_exact(128).enumerate() {
            let Some(narrow) = segment.narrow_row(number, &mut scratch, &mut buffer).unwrap()
            else {
                continue;
            };
            found += 1;
            let (kind, values): (&str, Vec<f64>) = match narrow {
                Narrow::Bf16 { values, scale } => {
                    let wide = |v: &u16| f64::from(f32::from_bits(u32::from(*v) << 16)) * scale;
                    ("bf16", values.iter().map(wide).collect())
                }
                Narrow::Fp16 { values, scale } => {
                    ("fp16", values.iter().map(|v| half(*v) * scale).collect())
                }
                Narrow::Int8 { values, scale } => {
                    ("int8", values.iter().map(|v| f64::from(*v) * scale).collect())
                }
            };
            assert_eq!(kind, expected);
            let floats: Vec<f32> = values.iter().map(|v| *v as f32).collect();
            same(&floats, row, &number);
        }
        assert!(found >= 95, "{expected}: {found} of 100");
    }
}

#[test]
fn the_published_sizes_bound_what_is_held() {
    for source in &SOURCES {
        let rows = made(source, 100, 64, 8);
        let mut out = vec![0; max_encoded_len(100, 64).unwrap()];
        let mut encoder = Encoder::new(64, Level::Compact).unwrap();
        let len = encoder.encode_segment(&rows, &mut out).unwrap();
        let segment = Segment::open(&out[..len]).unwrap();
        assert!(segment.held_bytes() <= Segment::max_held_bytes(len, 64));
        let report = segment.report().unwrap();
        assert_eq!(report.bytes, len);
        assert_eq!(report.origins.iter().map(|share| share.rows).sum::<usize>(), 100);
    }
}

/// Whatever bytes a segment is opened from: errors or rows, no panic, nothing out of bounds.
fn survives(bytes: &[u8], dim: usize) {
    let Ok(segment) = Segment::open(bytes) else { return };
    assert!(segment.held_bytes() <= Segment::max_held_bytes(bytes.len(), segment.dim()));
    if segment.dim() != dim {
        return;
    }
    let (mut scratch, mut row) = (Scratch::new(dim), vec![0.0; dim]);
    let mut buffer = NarrowBuffer::new(dim);
    for number in 0..segment.rows().min(4) {
        let _ = segment.decode_row(number, &mut scratch, &mut row);
        let _ = segment.narrow_row(number, &mut scratch, &mut buffer);
        if let Ok(record) = segment.record(number) {
            let previous = vec![1.0; dim];
            let _ = segment.decode_record(record, Some(&previous), &mut scratch, &mut row);
        }
    }
    let _ = segment.report();
}

#[test]
fn damaged_segments_are_errors_or_other_rows() {
    let rounds = if cfg!(miri) { 20 } else { 4000 };
    let mut dice = Dice(11);
    for source in &SOURCES {
        let mut rows = made(source, 40, 48, 8);
        rows[100] = f32::NAN;
        let mut out = vec![0; max_encoded_len(40, 48).unwrap()];
        let mut encoder = Encoder::new(48, Level::Compact).unwrap();
        let len = encoder.encode_segment(&rows, &mut out).unwrap();
        for len in (0..len).step_by(len / 50) {
            survives(&out[..len], 48);
        }
        for _ in 0..rounds / SOURCES.len() {
            let mut bytes = out[..len].to_vec();
            for _ in 0..1 + dice.next() % 4 {
                // The model and the index are worth more blows than the rows.
                let within = if dice.next().is_multiple_of(2) { len.min(500) } else { len };
                let at = dice.next() as usize % within;
                bytes[at] = dice.next() as u8;
            }
            survives(&bytes, 48);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 40 }))]

    #[test]
    fn any_bits_come_back(
        dim in 1usize..40,
        values in prop::collection::vec(any::<u32>(), 0..300),
        like in prop::collection::vec(0usize..SOURCES.len(), 1..4),
        share in 0usize..5,
    ) {
        let count = values.len() / dim;
        let mut rows = Vec::new();
        for (number, row) in values.chunks_exact(dim).enumerate() {
            let source = &SOURCES[like[number % like.len()]];
            let mut made = made(source, 1, dim, u64::from(row[0]));
            for (place, bits) in made.iter_mut().zip(row) {
                if (*bits as usize) % 8 < share {
                    *place = f32::from_bits(*bits);
                }
            }
            rows.extend(made);
        }
        prop_assert_eq!(rows.len(), count * dim);
        round_trip(&rows, dim);
    }

    #[test]
    fn any_difference_comes_back(
        pairs in prop::collection::vec((any::<u32>(), prop_oneof![Just(0u32), any::<u32>(), 0u32..300]), 1..100),
    ) {
        let before: Vec<f32> = pairs.iter().map(|(bits, _)| f32::from_bits(*bits)).collect();
        let after: Vec<f32> = pairs.iter().map(|(bits, by)| f32::from_bits(bits ^ by)).collect();
        let mut record = Vec::new();
        delta::encode(&after, &before, &mut record);
        let mut back = vec![0.0; after.len()];
        delta::decode(&record, &before, &mut back).unwrap();
        prop_assert_eq!(bits(&back), bits(&after));
        for len in 0..record.len() {
            prop_assert!(delta::decode(&record[..len], &before, &mut back).is_err());
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut segment = b"AVL1".to_vec();
        segment.extend([4, 0, 0, 0, 2, 0, 0, 0]);
        segment.extend(bytes);
        survives(&segment, 4);
    }
}
