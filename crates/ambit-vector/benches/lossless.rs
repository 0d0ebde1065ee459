//! How many bits does a value take, and how fast does it come back?
//!
//! Every origin at both levels: bits a value with everything included, encoding, streaming and
//! single rows. Real vectors where `shared/data` lies beside the workspace, else normal deviates.
//! The best of several rounds counts; every figure is of rows that came back bit for bit.
//! Peers stand beside these figures in `ambit-bench lossless`.
//!
//! `cargo bench -p ambit-vector --bench lossless [-- FILTER]`

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and stops")]

mod support;

use std::path::PathBuf;
use std::time::Instant;

use ambit_vector::lossless::{
    Encoder, Level, Report, Scratch, Segment, max_encoded_len, max_record_len,
};
use support::{data, read};

const ROWS: usize = 32_768;
const ROUNDS: usize = 7;
/// Rows that are timed together.
const SLICE: usize = 512;

fn stand_in(rows: usize, dim: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut normal = || (0..12).map(|_| next()).sum::<f32>() - 6.0;
    (0..rows * dim).map(|_| normal() * 0.05).collect()
}

fn to_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000)
}

fn to_fp16(x: f32) -> f32 {
    if x.abs() < 2f32.powi(-14) {
        return (x * 2f32.powi(24)).round_ties_even() * 2f32.powi(-24);
    }
    let bits = x.to_bits();
    f32::from_bits((bits + 0xFFF + (bits >> 13 & 1)) & 0xFFFF_E000)
}

fn normalise(row: &mut [f32]) {
    let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
    row.iter_mut().for_each(|x| *x /= norm);
}

fn digits(x: f32, digits: usize) -> f32 {
    format!("{:.*e}", digits - 1, x).parse::<f64>().map_or(x, |wide| wide as f32)
}

fn quantize(row: &mut [f32]) {
    let scale = row.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
    row.iter_mut().for_each(|x| *x = f32::from((*x / scale).round_ties_even() as i8) * scale);
}

type Make = fn(&mut [f32]);

const ORIGINS: [(&str, Make); 9] = [
    ("f32", |_| ()),
    ("bf16", |row| row.iter_mut().for_each(|x| *x = to_bf16(*x))),
    ("fp16", |row| row.iter_mut().for_each(|x| *x = to_fp16(*x))),
    ("bf16, normalised", |row| {
        row.iter_mut().for_each(|x| *x = to_bf16(*x));
        normalise(row);
    }),
    ("fp16, normalised", |row| {
        row.iter_mut().for_each(|x| *x = to_fp16(*x));
        normalise(row);
    }),
    ("bf16, twice", |row| {
        row.iter_mut().for_each(|x| *x = to_bf16(*x));
        normalise(row);
        normalise(row);
    }),
    ("int8 x scale", quantize),
    ("6 digits", |row| row.iter_mut().for_each(|x| *x = digits(*x, 6))),
    ("7 digits", |row| row.iter_mut().for_each(|x| *x = digits(*x, 7))),
];

/// Seconds of `work` over all slices of `rows` rows; of each slice the best of several rounds, so
/// that what else runs on the machine counts little.
fn best(rows: usize, mut work: impl FnMut(usize, usize)) -> f64 {
    let mut best = vec![f64::INFINITY; rows.div_ceil(SLICE)];
    for _ in 0..ROUNDS {
        for (slice, best) in best.iter_mut().enumerate() {
            let (first, last) = (slice * SLICE, rows.min((slice + 1) * SLICE));
            let start = Instant::now();
            work(first, last);
            *best = best.min(start.elapsed().as_secs_f64());
        }
    }
    best.iter().sum()
}

fn measure(name: &str, rows: &[f32], dim: usize, level: Level) -> Report {
    let count = rows.len() / dim;
    let gigabytes = size_of_val(rows) as f64 / 1e9;
    let mut bytes = vec![0; max_encoded_len(count, dim).unwrap()];
    let mut encoder = Encoder::new(dim, level).unwrap();
    let len = encoder.encode_segment(rows, &mut bytes).unwrap();
    // Row by row with the model that the segment has: what choosing it took is printed apart.
    let start = Instant::now();
    assert_eq!(encoder.encode_segment(rows, &mut bytes).unwrap(), len);
    let whole = start.elapsed().as_secs_f64();
    let mut record = vec![0; max_record_len(dim)];
    let encode = best(count, |first, last| {
        for row in rows[first * dim..last * dim].chunks_exact(dim) {
            encoder.encode_row(row, None, &mut record).unwrap();
        }
    });
    let segment = Segment::open(&bytes[..len]).unwrap();
    let mut scratch = Scratch::new(dim);
    let mut block = vec![0.0; dim];
    let mut back = vec![0.0; rows.len()];
    segment.decode_rows(0, &mut scratch, &mut back).unwrap();
    let same = back.iter().zip(rows).all(|(a, b)| a.to_bits() == b.to_bits());
    assert!(same, "{name}: not bit for bit");
    // Into a block that stays in the cache, as a scan decodes.
    let stream = best(count, |first, last| {
        let mut rows = segment.rows_from(first).unwrap();
        for _ in first..last {
            rows.next_into(&mut scratch, &mut block[..dim]).unwrap();
        }
    });
    let single = best(count, |first, last| {
        for at in first..last {
            let row = at * 7919 % count;
            segment.decode_row(row, &mut scratch, &mut block[..dim]).unwrap();
        }
    });
    let report = segment.report().unwrap();
    let mut origins = String::new();
    for share in report.origins.iter().take(3) {
        origins += &format!(" {:.1}% {},", 100.0 * share.rows as f64 / count as f64, share.origin);
    }
    let without = 8.0 * (report.bytes - report.model_bytes) as f64 / rows.len() as f64;
    println!(
        "{name:24} {level:?}\t{:6.3} bits ({without:.3} without model)  model {:5}  held {:6}  encode {:4.0} ({:4.0} with training) MB/s  \
         decode {:.2} GB/s  row {:.2} us {origins}",
        report.bits_per_value(),
        report.model_bytes,
        segment.held_bytes(),
        gigabytes / encode * 1e3,
        gigabytes / whole * 1e3,
        gigabytes / stream,
        single / count as f64 * 1e6,
    );
    report
}

fn main() {
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let glosses = read(&data("minilm/glosses_50k_384_f32.npy"));
    let (mut base, dim) = glosses.unwrap_or_else(|| (stand_in(ROWS, 384), 384));
    base.truncate(ROWS * dim);
    for (name, make) in ORIGINS.iter().filter(|(name, _)| name.contains(&filter)) {
        let mut rows = base.clone();
        rows.chunks_exact_mut(dim).for_each(make);
        for level in [Level::Fast, Level::Compact] {
            measure(name, &rows, dim, level);
        }
    }
    if "f32 1024".contains(&filter) {
        // Three rows beside each other, cut off.
        let wide = base.chunks_exact(3 * dim).flat_map(|rows| rows.iter().take(1024));
        let rows: Vec<f32> = wide.copied().collect();
        measure("f32 1024", &rows, 1024.min(3 * dim), Level::Fast);
        measure("f32 1024", &rows, 1024.min(3 * dim), Level::Compact);
    }
    let folder = std::fs::read_dir(data("providers"));
    let mut files: Vec<PathBuf> =
        folder.map(|files| files.flatten().map(|file| file.path()).collect()).unwrap_or_default();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|end| end == "npy")) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if let Some((rows, dim)) = read(path).filter(|_| name.contains(&filter)) {
            measure(&name, &rows, dim, Level::Compact);
        }
    }
}
