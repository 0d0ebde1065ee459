//! Is the scan bound by memory? Each kernel over rows far larger than the caches of a core,
//! beside the bandwidth that one thread reaches on the same rows in the same minute.
//!
//! Scan and plain read alternate, and the best pass of each counts, so a busy machine lowers
//! both. A timing library reports each alone; the ratio is what is asked for here.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::time::Instant;

use ambit_vector::{Kernels, bandwidth};

const ROUNDS: usize = 7;

fn seconds(mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

fn filled(len: usize) -> Vec<f32> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn scan(kernels: Kernels, dim: usize, floats: &[f32]) {
    let n = floats.len() / dim;
    let rows = &floats[..n * dim];
    let query = filled(dim);
    let mut out = vec![0.0; n];
    let gb = size_of_val(rows) as f64 / 1e9;
    let (mut best, mut dot, mut l2sq) = (0.0f64, 0.0f64, 0.0f64);
    for _ in 0..ROUNDS {
        best = best.max(bandwidth::measure(kernels, rows, 1).bytes_per_second / 1e9);
        // Blocks of 1 MiB, as a search walks them.
        let block = ((1 << 20) / (4 * dim)).max(1);
        let time = seconds(|| {
            for (rows, out) in rows.chunks(block * dim).zip(out.chunks_mut(block)) {
                kernels.dot_rows(&query, rows, out);
            }
        });
        dot = dot.max(gb / time);
        let time = seconds(|| {
            for (rows, out) in rows.chunks(block * dim).zip(out.chunks_mut(block)) {
                kernels.l2sq_rows(&query, rows, out);
            }
        });
        l2sq = l2sq.max(gb / time);
        black_box(&out);
    }
    println!(
        "{:9} dim {dim:5}  read {best:5.1} GB/s  dot_rows {dot:5.1} ({:.2})  l2sq_rows {l2sq:5.1} ({:.2})",
        kernels.name(),
        dot / best,
        l2sq / best
    );
}

fn block(kernels: Kernels, dim: usize, m: usize, n: usize) {
    let (queries, rows) = (filled(m * dim), filled(n * dim));
    let mut out = vec![0.0; m * n];
    let products = (m * n * dim) as f64;
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        best = best.min(seconds(|| kernels.dot_block(dim, &queries, &rows, &mut out)));
        black_box(&out);
    }
    println!(
        "{:9} dim {dim:5}  dot_block {m} x {n}: {:.1} billion products/s",
        kernels.name(),
        products / best / 1e9
    );
}

fn main() {
    let floats = filled(32 << 20);
    for kernels in Kernels::available() {
        for dim in [16, 96, 384, 1536, 65_536] {
            scan(kernels, dim, &floats);
        }
        block(kernels, 384, 64, 128);
    }
}
