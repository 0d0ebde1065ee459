//! What do code planes cost and save? Training, coding, one pass over the coarse plane, and how
//! many rows each plane leaves when the k-th best score is known, on sentence embeddings where
//! `shared/data` lies beside the workspace, else on deviates of falling variance.
//!
//! `cargo bench -p ambit-vector --bench planes`

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints and stops")]

mod support;

use std::time::Instant;

use ambit_vector::planes::{BLOCK_ROWS, Coarse, Encoder, Fine, Model, Query, units};
use ambit_vector::{Metric, kernels};
use support::{data, read};

const K: usize = 10;
const QUERIES: usize = 64;
const ROUNDS: usize = 7;
const CHUNK: usize = 4096;

fn stand_in(rows: usize, dim: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut normal = || (0..12).map(|_| next()).sum::<f32>() - 6.0;
    (0..rows * dim).map(|i| normal() * 0.985f32.powi((i % dim) as i32)).collect()
}

fn main() {
    let (rows, dim) = read(&data("minilm/glosses_50k_384_f32.npy"))
        .unwrap_or_else(|| (stand_in(20_000, 384), 384));
    let queries = read(&data("minilm/queries_1k_384_f32.npy"))
        .map_or_else(|| stand_in(QUERIES, dim), |(queries, _)| queries);
    let queries: Vec<&[f32]> = queries.chunks_exact(dim).take(QUERIES).collect();
    let n = rows.len() / dim;
    let sample: Vec<f32> =
        rows.chunks_exact(dim).step_by(n / 4096 + 1).flatten().copied().collect();
    let start = Instant::now();
    let model = Model::train(&sample, dim, Metric::Cosine, 1).unwrap();
    println!(
        "train {} rows: {:.2} s, {:?}",
        sample.len() / dim,
        start.elapsed().as_secs_f64(),
        model.layout()
    );
    let layout = *model.layout();
    let mut coarse = vec![0; n.div_ceil(BLOCK_ROWS) * layout.coarse_block_len()];
    let mut fine = vec![0; n * layout.fine_len()];
    let mut encoder = Encoder::new(&model);
    let start = Instant::now();
    let blocks = coarse.chunks_exact_mut(layout.coarse_block_len());
    for ((block, coarse), fine) in rows
        .chunks(BLOCK_ROWS * dim)
        .zip(blocks)
        .zip(fine.chunks_mut(BLOCK_ROWS * layout.fine_len()))
    {
        encoder.encode(block, coarse, fine);
    }
    println!(
        "encode: {:.1} us a row; {} B a row of {}",
        start.elapsed().as_secs_f64() * 1e6 / n as f64,
        layout.footprint(n) / n,
        dim * 4
    );
    let start = Instant::now();
    let ready: Vec<Query> =
        queries.iter().map(|query| Query::new(&model, query).unwrap()).collect();
    println!("query: {:.1} us", start.elapsed().as_secs_f64() * 1e6 / QUERIES as f64);
    let cuts: Vec<f32> = queries
        .iter()
        .zip(&ready)
        .map(|(query, ready)| {
            let mut scores: Vec<f64> = rows
                .chunks_exact(dim)
                .map(|row| {
                    let norms = kernels().norm_sq_f64(query) * kernels().norm_sq_f64(row);
                    kernels().dot_f64(query, row) / norms.sqrt()
                })
                .collect();
            scores.sort_unstable_by(|a, b| b.total_cmp(a));
            ready.cut(scores[K - 1])
        })
        .collect();
    let (mut uppers, mut estimates) = (vec![0.0; CHUNK], vec![0.0; CHUNK]);
    for unit in units() {
        let (mut scan, mut refine) = (f64::MAX, f64::MAX);
        let (mut left, mut final_left) = (0, 0);
        for _ in 0..ROUNDS {
            (left, final_left) = (0, 0);
            let (mut scan_time, mut refine_time) = (0.0, 0.0);
            for (ready, &cut) in ready.iter().zip(&cuts) {
                let chunk_len = CHUNK / BLOCK_ROWS * layout.coarse_block_len();
                for (number, bytes) in coarse.chunks(chunk_len).enumerate() {
                    let first = number * CHUNK;
                    let rows = CHUNK.min(n - first);
                    let start = Instant::now();
                    let coarse = Coarse::new(layout, bytes, rows);
                    coarse.scan(unit, ready, &mut uppers, &mut estimates);
                    let mut found = Vec::new();
                    let (mut next, _) = unit.next_reaching(&uppers[..rows], cut, 0);
                    while next < rows {
                        found.push(next);
                        next = unit.next_reaching(&uppers[..rows], cut, next + 1).0;
                    }
                    scan_time += start.elapsed().as_secs_f64();
                    left += found.len();
                    let fine = Fine::new(layout, &fine[first * layout.fine_len()..]);
                    let start = Instant::now();
                    for row in found {
                        let (_, upper) = fine.refine(unit, ready, row, estimates[row]);
                        final_left += usize::from(upper >= cut);
                    }
                    refine_time += start.elapsed().as_secs_f64();
                }
            }
            scan = scan.min(scan_time / (QUERIES * n) as f64);
            refine = refine.min(refine_time / left as f64);
        }
        println!(
            "{:10} coarse {:.2} ns a row ({:.1} GB/s), leaves {} of {n} ({:.2} %); fine {:.0} ns a row, leaves {}; together {:.0} us a query",
            unit.name(),
            scan * 1e9,
            layout.coarse_block_len() as f64 / BLOCK_ROWS as f64 / scan / 1e9,
            left / QUERIES,
            left as f64 / (QUERIES * n) as f64 * 100.0,
            refine * 1e9,
            final_left / QUERIES,
            (scan * n as f64 + refine * (left / QUERIES) as f64) * 1e6
        );
    }
}
