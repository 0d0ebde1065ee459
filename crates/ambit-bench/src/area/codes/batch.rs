//! What does a block of queries save? Blocks of 400 queries over all rows, one thread.

use std::hint::black_box;

use ambit_vector::kernels;

use super::peers::{Peers, batch_beside};
use crate::error::BenchError;
use crate::npy::Array;
use crate::row::{Row, Table, Target};
use crate::timing::time;

const QUERIES: usize = 400;
/// Rows of a block: they stay in the second-level cache.
const ROWS: usize = 256;
const ROUNDS: usize = 5;
const CASE: &str = "codes, 400 queries at once";

pub fn run(
    table: &mut Table,
    rows: &Array<f32>,
    queries: &Array<f32>,
    peers: Option<&Peers>,
) -> Result<(), BenchError> {
    let dim = rows.columns;
    let m = queries.rows.min(QUERIES);
    let asked = &queries.values[..m * dim];
    let (mut block, mut looped) = (f64::INFINITY, f64::INFINITY);
    let mut scores = vec![0.0; m * ROWS];
    for _ in 0..ROUNDS {
        let ((), took) = time(|| {
            for rows in rows.values.chunks(ROWS * dim) {
                let scores = &mut scores[..m * (rows.len() / dim)];
                kernels().dot_block(dim, asked, rows, scores);
                black_box(&*scores);
            }
        })?;
        block = block.min(took.cpu * 1e3 / m as f64);
        let ((), took) = time(|| {
            for rows in rows.values.chunks(ROWS * dim) {
                let n = rows.len() / dim;
                for (query, scores) in asked.chunks_exact(dim).zip(scores.chunks_exact_mut(n)) {
                    kernels().dot_rows(query, rows, scores);
                }
                black_box(&scores);
            }
        })?;
        looped = looped.min(took.cpu * 1e3 / m as f64);
    }
    add(table, "f32", block, looped)?;
    let row =
        Row::new(CASE, "f32, block, cpu a query", block, "ms").ratio_target(Target::AtMost(1.0));
    table.add(batch_beside(row, peers))?;
    int8(table, rows, asked)
}

fn add(table: &mut Table, name: &str, block: f64, looped: f64) -> Result<(), BenchError> {
    table.add(
        Row::new(CASE, &format!("{name}, block, cpu a query"), block, "ms")
            .peer("one query after the other", looped)
            .ratio_target(Target::AtMost(1.0)),
    )
}

fn int8(table: &mut Table, rows: &Array<f32>, asked: &[f32]) -> Result<(), BenchError> {
    let dim = rows.columns;
    let signed = |floats: &[f32]| -> Vec<i8> {
        floats.iter().map(|x| (x * 400.0).clamp(-127.0, 127.0) as i8).collect()
    };
    let (bytes, asked) = (signed(&rows.values), signed(asked));
    let m = asked.len() / dim;
    let mut scores = vec![0; m * ROWS];
    let (mut block, mut looped) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        let ((), took) = time(|| {
            for rows in bytes.chunks(ROWS * dim) {
                let scores = &mut scores[..m * (rows.len() / dim)];
                kernels().dot_i8_block(dim, &asked, rows, scores);
                black_box(&*scores);
            }
        })?;
        block = block.min(took.cpu * 1e3 / m as f64);
        let ((), took) = time(|| {
            for rows in bytes.chunks(ROWS * dim) {
                let n = rows.len() / dim;
                for (query, scores) in asked.chunks_exact(dim).zip(scores.chunks_exact_mut(n)) {
                    kernels().dot_i8_rows(query, rows, scores);
                }
                black_box(&scores);
            }
        })?;
        looped = looped.min(took.cpu * 1e3 / m as f64);
    }
    add(table, "int8", block, looped)
}
