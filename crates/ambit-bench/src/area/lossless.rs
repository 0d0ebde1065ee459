//! How many bits does a value take, how fast does it come back, and what do peers need?
//!
//! Real vectors, and what services make of them: rounded to bf16 or fp16, divided by their norm
//! afterwards, quantized, printed as text. Bits are those of whole segments, index and model
//! included; every segment is decoded and compared bit for bit before it counts. Speed is
//! processor time of one thread, the best of several rounds for each slice of rows. Peers
//! compress all rows as one block, so their rows cannot be read one by one.

use ambit_vector::lossless::{Encoder, Level, Scratch, Segment, max_encoded_len, max_record_len};

use super::Bench;
use crate::data::Vectors;
use crate::error::BenchError;
use crate::noise::{Noise, normalise};
use crate::npy::Array;
use crate::row::{Row, Table, Target};
use crate::timing::time;

const ROWS: usize = 32_768;
const ROUNDS: usize = 7;
/// Rows that are timed together.
const SLICE: usize = 256;

type Make = fn(&mut [f32]);

/// An origin, what makes it of float32 rows, and the bits that a value may take at each level.
struct Origin {
    name: &'static str,
    make: Make,
    compact: f64,
    fast: Option<f64>,
}

const fn origin(name: &'static str, make: Make, compact: f64, fast: Option<f64>) -> Origin {
    Origin { name, make, compact, fast }
}

const ORIGINS: [Origin; 8] = [
    origin("f32", |_| (), 26.52, Some(26.70)),
    origin("bf16", to_bf16, 10.53, Some(10.70)),
    origin("fp16", to_fp16, 13.50, Some(13.70)),
    origin("bf16, normalised", bf16_normalised, 10.75, None),
    origin("fp16, normalised", fp16_normalised, 13.75, None),
    origin("int8 x scale", quantize, 7.5, None),
    origin("6 digits", |row| digits(row, 6), 21.7, None),
    origin("7 digits", |row| digits(row, 7), 24.95, None),
];

/// Files of `providers/` by the start of their name, and the bits that a value may take in records.
const PROVIDERS: [(&str, Option<f64>); 8] = [
    ("openai", Some(13.9)),
    ("nova", Some(10.9)),
    ("titan-v1", Some(10.9)),
    ("cohere-v4-bedrock", Some(10.9)),
    ("cohere-v3", Some(13.9)),
    ("cohere-v4-direct", Some(11.9)),
    ("titan-v2", None),
    ("gemini", None),
];

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let mut glosses = bench.data.glosses()?;
    let dim = glosses.array.columns;
    glosses.array.values.truncate(ROWS * dim);
    for origin in &ORIGINS {
        let mut rows = glosses.array.values.clone();
        rows.chunks_exact_mut(dim).for_each(origin.make);
        bits(bench, table, origin, &rows, &glosses)?;
    }
    speed(table, &glosses)?;
    noise(table)?;
    providers(bench, table)
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::new(error.to_string())
}

/// Encodes, decodes and compares; the segment.
fn encode(rows: &[f32], dim: usize, level: Level) -> Result<Vec<u8>, BenchError> {
    let count = rows.len() / dim;
    let room = max_encoded_len(count, dim).ok_or_else(|| failed("too many rows"))?;
    let mut bytes = vec![0; room];
    let len = Encoder::new(dim, level).and_then(|mut e| e.encode_segment(rows, &mut bytes));
    bytes.truncate(len.map_err(failed)?);
    let segment = Segment::open(&bytes).map_err(failed)?;
    let mut back = vec![0.0; rows.len()];
    segment.decode_rows(0, &mut Scratch::new(dim), &mut back).map_err(failed)?;
    let same = back.iter().zip(rows).all(|(a, b)| a.to_bits() == b.to_bits());
    if same { Ok(bytes) } else { Err(failed("a row did not come back bit for bit")) }
}

fn bits(
    bench: &mut Bench,
    table: &mut Table,
    origin: &Origin,
    rows: &[f32],
    glosses: &Vectors,
) -> Result<(), BenchError> {
    let dim = glosses.array.columns;
    let case = format!("lossless, {}", origin.name);
    let mut rows_of_levels = Vec::new();
    for (level, target) in [(Level::Compact, Some(origin.compact)), (Level::Fast, origin.fast)] {
        let bytes = encode(rows, dim, level)?;
        let bits = 8.0 * bytes.len() as f64 / rows.len() as f64;
        let metric =
            format!("bits a value, {}", if level == Level::Fast { "fast" } else { "compact" });
        let row = Row::new(&case, &metric, bits, "bits").note(glosses.note);
        rows_of_levels.push(match target {
            Some(target) => row.target(Target::AtMost(target)),
            None => row,
        });
    }
    let peers = peer::bits(rows)?;
    for (row, (name, bits)) in rows_of_levels.into_iter().zip(peers) {
        table.add(match bits {
            Some(bits) => row.peer(name, bits),
            None => row.absent_peer(name, "built without the feature `peers`"),
        })?;
    }
    zipnn(bench, table, &case, rows, dim)
}

/// ZipNN over the same rows, through Python.
fn zipnn(
    bench: &mut Bench,
    table: &mut Table,
    case: &str,
    rows: &[f32],
    dim: usize,
) -> Result<(), BenchError> {
    #[derive(serde::Deserialize)]
    struct Printed {
        version: String,
        bits: f64,
    }
    let Some(python) = crate::peer::python_with("zipnn") else { return Ok(()) };
    let path = bench.fresh("lossless.npy")?;
    crate::npy::write(&path, dim, rows)?;
    let script = include_str!("../../peers/zipnn_bits.py");
    let printed: Printed = crate::peer::run(&python, script, &[&path])?;
    bench.fresh("lossless.npy")?;
    let bytes = encode(rows, dim, Level::Compact)?;
    let bits = 8.0 * bytes.len() as f64 / rows.len() as f64;
    table.add(
        Row::new(case, "bits a value, compact", bits, "bits")
            .peer("ZipNN", printed.bits)
            .ratio_target(Target::AtMost(1.0))
            .note(format!("zipnn {}", printed.version)),
    )
}

/// The least processor time of `work` over slices of `rows` rows, in seconds.
fn least(
    rows: usize,
    mut work: impl FnMut(usize, usize) -> Result<(), ambit_vector::lossless::LosslessError>,
) -> Result<f64, BenchError> {
    let mut least = vec![f64::INFINITY; rows.div_ceil(SLICE)];
    for _ in 0..ROUNDS {
        for (slice, least) in least.iter_mut().enumerate() {
            let (first, last) = (slice * SLICE, rows.min((slice + 1) * SLICE));
            let (done, took) = time(|| work(first, last))?;
            done.map_err(failed)?;
            *least = least.min(took.cpu);
        }
    }
    Ok(least.iter().sum())
}

/// What a value, a row and a segment take in time.
struct Speed {
    encode: f64,
    stream: f64,
    row_us: f64,
}

fn measure(rows: &[f32], dim: usize, level: Level) -> Result<Speed, BenchError> {
    let count = rows.len() / dim;
    let bytes = encode(rows, dim, level)?;
    let segment = Segment::open(&bytes).map_err(failed)?;
    let mut encoder = Encoder::new(dim, level).map_err(failed)?;
    let mut out = vec![0; max_encoded_len(count, dim).unwrap_or(0)];
    encoder.encode_segment(rows, &mut out).map_err(failed)?;
    let mut record = vec![0; max_record_len(dim)];
    let encoding = least(count, |first, last| {
        let mut rows = rows[first * dim..last * dim].chunks_exact(dim);
        rows.try_for_each(|row| encoder.encode_row(row, None, &mut record).map(|_| ()))
    })?;
    let (mut scratch, mut row) = (Scratch::new(dim), vec![0.0; dim]);
    let streaming = least(count, |first, last| {
        let mut rows = segment.rows_from(first)?;
        (first..last).try_for_each(|_| rows.next_into(&mut scratch, &mut row).map(|_| ()))
    })?;
    let single = least(count, |first, last| {
        // Far from each other, as the rows that a search looks at again.
        (first..last)
            .try_for_each(|at| segment.decode_row(at * 7919 % count, &mut scratch, &mut row))
    })?;
    let gigabytes = size_of_val(rows) as f64 / 1e9;
    Ok(Speed {
        encode: gigabytes * 1e3 / encoding,
        stream: gigabytes / streaming,
        row_us: single / count as f64 * 1e6,
    })
}

fn speed(table: &mut Table, glosses: &Vectors) -> Result<(), BenchError> {
    let dim = glosses.array.columns;
    let floats = &glosses.array.values;
    let mut bf16 = floats.clone();
    bf16.chunks_exact_mut(dim).for_each(to_bf16);
    // Three rows beside each other, cut off.
    let wide = floats.chunks_exact(3 * dim).flat_map(|rows| rows.iter().take(1024));
    let wide: Vec<f32> = wide.copied().collect();
    let cases = [
        ("f32, fast", floats, dim, Level::Fast, 2.0, 1.5),
        ("f32, compact", floats, dim, Level::Compact, 1.2, 1.5),
        ("bf16, fast", &bf16, dim, Level::Fast, 3.0, 1.5),
        ("bf16, compact", &bf16, dim, Level::Compact, 1.2, 1.5),
        ("f32 of 1,024, fast", &wide, 1024.min(3 * dim), Level::Fast, 2.0, 4.0),
        ("f32 of 1,024, compact", &wide, 1024.min(3 * dim), Level::Compact, 1.2, 4.0),
    ];
    for (name, rows, dim, level, stream, row) in cases {
        let case = format!("lossless, {name}");
        let speed = measure(rows, dim, level)?;
        let decoding = Row::new(&case, "decoding, rows in order", speed.stream, "GB/s")
            .target(Target::AtLeast(stream))
            .note(glosses.note);
        table.add(match peer::decoding(rows)? {
            Some(peer) => decoding.peer("pco 8, one block", peer),
            None => decoding,
        })?;
        table.add(
            Row::new(&case, "decoding one row", speed.row_us, "us").target(Target::AtMost(row)),
        )?;
        table.add(
            Row::new(&case, "encoding", speed.encode, "MB/s").target(Target::AtLeast(250.0)),
        )?;
    }
    Ok(())
}

fn noise(table: &mut Table) -> Result<(), BenchError> {
    let mut noise = Noise::new(21);
    let rows: Vec<f32> = (0..1000 * 384).map(|_| f32::from_bits(noise.next_u64() as u32)).collect();
    let bytes = encode(&rows, 384, Level::Compact)?;
    let grown = 100.0 * (bytes.len() as f64 / size_of_val(rows.as_slice()) as f64 - 1.0);
    let row = Row::new("lossless, random bits", "growth", grown, "%");
    table.add(row.target(Target::AtMost(1.0)))
}

fn providers(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let files: Vec<(String, Array<f32>)> = bench.data.providers()?;
    for (start, target) in PROVIDERS {
        let (mut record_bytes, mut values, mut origins) = (0, 0, Vec::new());
        for (_, array) in files.iter().filter(|(name, _)| name.starts_with(start)) {
            let bytes = encode(&array.values, array.columns, Level::Compact)?;
            let report =
                Segment::open(&bytes).and_then(|segment| segment.report()).map_err(failed)?;
            record_bytes += report.origins.iter().map(|share| share.bytes).sum::<usize>();
            values += array.values.len();
            origins.extend(report.origins.iter().map(|share| share.origin.to_string()));
        }
        if values == 0 {
            continue;
        }
        origins.sort_unstable();
        origins.dedup();
        let bits = 8.0 * record_bytes as f64 / values as f64;
        let case = format!("lossless, recorded {start}");
        let row = Row::new(&case, "bits a value in records", bits, "bits").note(origins.join(", "));
        table.add(match target {
            Some(target) => row.target(Target::AtMost(target)),
            None => row,
        })?;
    }
    Ok(())
}

fn to_bf16(row: &mut [f32]) {
    for x in row {
        let bits = x.to_bits();
        *x = f32::from_bits((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000);
    }
}

fn to_fp16(row: &mut [f32]) {
    for x in row {
        *x = if x.abs() < 2f32.powi(-14) {
            (*x * 2f32.powi(24)).round_ties_even() * 2f32.powi(-24)
        } else {
            let bits = x.to_bits();
            f32::from_bits((bits + 0xFFF + (bits >> 13 & 1)) & 0xFFFF_E000)
        };
    }
}

fn bf16_normalised(row: &mut [f32]) {
    to_bf16(row);
    normalise(row);
}

pub(super) fn fp16_normalised(row: &mut [f32]) {
    to_fp16(row);
    normalise(row);
}

fn quantize(row: &mut [f32]) {
    let scale = row.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
    row.iter_mut().for_each(|x| *x = f32::from((*x / scale).round_ties_even() as i8) * scale);
}

fn digits(row: &mut [f32], digits: usize) {
    for x in row {
        let text = format!("{:.*e}", digits - 1, x);
        *x = text.parse::<f64>().map_or(*x, |wide| wide as f32);
    }
}

/// The peers in Rust.
#[cfg(feature = "peers")]
mod peer {
    use super::failed;
    use crate::error::BenchError;
    use crate::timing::time;

    fn pco(rows: &[f32]) -> Result<Vec<u8>, BenchError> {
        let config = pco::ChunkConfig::default().with_compression_level(8);
        pco::standalone::simple_compress(rows, &config).map_err(failed)
    }

    /// Bits a value of the peers of the compact and of the fast level.
    pub(super) fn bits(rows: &[f32]) -> Result<[(&'static str, Option<f64>); 2], BenchError> {
        let bits = |bytes: Vec<u8>| Some(8.0 * bytes.len() as f64 / rows.len() as f64);
        let zstd = zstd::bulk::compress(bytemuck::cast_slice(rows), 3)?;
        Ok([("pco 8", bits(pco(rows)?)), ("zstd 3", bits(zstd))])
    }

    /// GB/s of decoding all rows at once.
    pub(super) fn decoding(rows: &[f32]) -> Result<Option<f64>, BenchError> {
        let bytes = pco(rows)?;
        let mut back = vec![0.0f32; rows.len()];
        let mut least = f64::INFINITY;
        for _ in 0..3 {
            let (done, took) = time(|| pco::standalone::simple_decompress_into(&bytes, &mut back))?;
            done.map_err(failed)?;
            least = least.min(took.cpu);
        }
        Ok(Some(size_of_val(rows) as f64 / 1e9 / least))
    }
}

#[cfg(not(feature = "peers"))]
mod peer {
    use crate::error::BenchError;

    pub(super) fn bits(_: &[f32]) -> Result<[(&'static str, Option<f64>); 2], BenchError> {
        Ok([("pco 8", None), ("zstd 3", None)])
    }

    pub(super) fn decoding(_: &[f32]) -> Result<Option<f64>, BenchError> {
        Ok(None)
    }
}
