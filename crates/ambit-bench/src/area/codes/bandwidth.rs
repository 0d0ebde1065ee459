//! Does a scan read as fast as memory does? Rows of 384 numbers in 256 MiB, which no cache holds.
//!
//! Reads and scans alternate every 4 MiB, each on a part of the buffer that nothing has touched
//! for as long as any other part, and the middle of all times counts: what else runs on the
//! machine slows both alike. The bandwidth is that of the best number of streams.

use std::hint::black_box;

use ambit_vector::half::Half;
use ambit_vector::quantizer::{Coded, Quantizer, RowTerms};
use ambit_vector::scalar::ScalarOptions;
use ambit_vector::{Metric, kernels};

use super::{bits, failed, scalar};
use crate::error::BenchError;
use crate::noise::Noise;
use crate::row::{Row, Table, Target};
use crate::timing::{median, time};

const BYTES: usize = 256 << 20;
const PART: usize = 4 << 20;
const DIM: usize = 384;
const ROUNDS: usize = 5;

/// Scores a part of the buffer, whose first row has this number.
type Scan<'a> = Box<dyn FnMut(&[f32], usize) -> Result<(), BenchError> + 'a>;

/// Codes of one kind, as they lie in the buffer.
struct Kind<'a> {
    name: &'a str,
    target: Option<f64>,
    /// Bytes of a row in the buffer, and beside it.
    row_len: usize,
    beside: usize,
    scan: Scan<'a>,
}

pub fn run(table: &mut Table) -> Result<(), BenchError> {
    let mut noise = Noise::new(21);
    // Small normal numbers as floats, halves and integers alike, so that no format is special.
    let buffer: Vec<f32> = (0..BYTES / 4).map(|_| noise.normal()).collect();
    let query: Vec<f32> = (0..DIM).map(|_| noise.normal()).collect();
    let mut kinds = kinds(&query, &buffer)?;
    let reads = kernels().read_streams();
    let parts = BYTES / PART;
    let mut times = vec![Vec::new(); reads.len() + kinds.len()];
    for turn in 0..ROUNDS * parts {
        for (number, times) in times.iter_mut().enumerate() {
            // Each at its own distance from the others, and none twice in a row.
            let part = (turn + number * parts / (reads.len() + kinds.len())) % parts;
            let floats = &buffer[part * PART / 4..][..PART / 4];
            let (took, bytes) = match number.checked_sub(reads.len()) {
                None => {
                    let read = || black_box(kernels().read(floats, reads[number]));
                    (time(read)?.1, PART)
                }
                Some(kind) => {
                    let kind = &mut kinds[kind];
                    let rows = PART / kind.row_len;
                    let floats = &floats[..rows * kind.row_len / 4];
                    let (done, took) = time(|| (kind.scan)(floats, part * rows))?;
                    done?;
                    (took, rows * (kind.row_len + kind.beside))
                }
            };
            times.push(took.wall * 1e9 / bytes as f64);
        }
    }
    let rates: Vec<f64> = times.into_iter().map(|times| 1.0 / median(times)).collect();
    let (read, scanned) = rates.split_at(reads.len());
    let limit = read.iter().copied().fold(0.0, f64::max);
    let case = "codes, 256 MiB of rows x 384";
    table.add(
        Row::new(case, "read bandwidth, 1 thread", limit, "GB/s")
            .note(format!("{} kernels", kernels().name())),
    )?;
    for (kind, &rate) in kinds.iter().zip(scanned) {
        let row = Row::new(case, kind.name, rate, "GB/s").peer("read bandwidth", limit);
        table.add(match kind.target {
            Some(target) => row.ratio_target(Target::AtLeast(target)),
            None => row,
        })?;
    }
    Ok(())
}

fn kinds<'a>(query: &'a [f32], buffer: &'a [f32]) -> Result<Vec<Kind<'a>>, BenchError> {
    let sample = &buffer[..64 * DIM];
    let mut sums = vec![0; PART / DIM];
    let signed: Vec<i8> = query.iter().map(|x| (x * 30.0) as i8).collect();
    let mut all = vec![Kind {
        name: "f32, kernel",
        target: Some(0.9),
        row_len: 4 * DIM,
        beside: 0,
        scan: Box::new(move |rows, _| {
            let mut scores = [0.0; PART / (4 * DIM)];
            kernels().dot_rows(query, rows, &mut scores);
            black_box(&scores);
            Ok(())
        }),
    }];
    for (name, half) in [("float16, kernel", Half::F16), ("bfloat16, kernel", Half::Bf16)] {
        let mut scores = vec![0.0; PART / (2 * DIM)];
        all.push(Kind {
            name,
            target: None,
            row_len: 2 * DIM,
            beside: 0,
            scan: Box::new(move |rows, _| {
                let rows = bytemuck::cast_slice(rows);
                kernels().dot_half_rows(half, query, rows, &mut scores);
                black_box(&scores);
                Ok(())
            }),
        });
    }
    all.push(Kind {
        name: "int8 x int8, kernel",
        target: Some(0.8),
        row_len: DIM,
        beside: 0,
        scan: Box::new(move |rows, _| {
            kernels().dot_i8_rows(&signed, bytemuck::cast_slice(rows), &mut sums);
            black_box(&sums);
            Ok(())
        }),
    });
    let n = BYTES / DIM;
    all.push(with_terms("int8, scan", scalar(ScalarOptions::INT8, DIM, sample)?, query, n)?);
    all.push(with_terms("int4, scan", scalar(ScalarOptions::INT4, DIM, sample)?, query, 2 * n)?);
    let quantizer = bits(DIM, sample)?;
    let mut code = vec![0; quantizer.code_len()];
    quantizer.query_bits(query, &mut code).map_err(failed)?;
    let mut distances = vec![0; PART / code.len()];
    let hamming = quantizer.clone();
    all.push(Kind {
        name: "binary, Hamming scan",
        target: Some(0.8),
        row_len: code.len(),
        beside: 0,
        scan: Box::new(move |rows, _| {
            let rows = bytemuck::cast_slice(rows);
            hamming.hamming_scan(&code, rows, &mut distances).map_err(failed)?;
            black_box(&distances);
            Ok(())
        }),
    });
    let mut binary = with_terms("binary, scan with integer query", quantizer, query, 8 * n)?;
    binary.target = None;
    all.push(binary);
    Ok(all)
}

/// The whole scan of a quantizer: codes from the buffer, terms beside them.
fn with_terms<'a, Q: Quantizer + 'a>(
    name: &'a str,
    quantizer: Q,
    query: &[f32],
    rows: usize,
) -> Result<Kind<'a>, BenchError> {
    let term = RowTerms { offset: 0.01, step: 0.02, norm: 1.0, error: 0.1 };
    let terms = vec![term; rows];
    let row_len = quantizer.code_len();
    let ready = quantizer.query(Metric::InnerProduct, query).map_err(failed)?;
    let mut scores = vec![0.0; PART / row_len];
    Ok(Kind {
        name,
        target: Some(0.8),
        row_len,
        beside: size_of::<RowTerms>(),
        scan: Box::new(move |rows, first| {
            let terms = &terms[first..first + scores.len()];
            let coded = Coded { codes: bytemuck::cast_slice(rows), terms };
            quantizer.scan(&ready, coded, &mut scores).map_err(failed)?;
            black_box(&scores);
            Ok(())
        }),
    })
}
