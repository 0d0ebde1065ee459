//! How close to the bandwidth of memory is an exact search? One query at a time, and a batch.
//!
//! 50,000 x 384 rows in memory (real embeddings where the checkout has them). Searches and
//! plain reads of the same rows alternate; medians of both are given, in time on the processor,
//! so that a busy machine weighs on both alike.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;

use ambit_mem::{Budget, Bytes, Priority};
use ambit_search::{
    Batch, BatchOptions, DenseBlock, DenseSource, Exactness, Metric, Options, Query, RowRef, Rows,
    Sharing, SourceError, search, search_batch,
};
use ambit_vector::kernels;
use rustix::time::{ClockId, clock_gettime};

#[path = "../tests/support/data.rs"]
mod data;

struct Flat {
    dim: usize,
    vectors: Vec<f32>,
    norms: Vec<f32>,
}

const BLOCK_ROWS: usize = 682;

impl DenseSource for Flat {
    fn dim(&self) -> usize {
        self.dim
    }

    fn blocks(&self) -> usize {
        self.norms.len().div_ceil(BLOCK_ROWS)
    }

    fn visit(&self, block: usize, take: &mut dyn FnMut(DenseBlock<'_>)) -> Result<(), SourceError> {
        let first = block * BLOCK_ROWS;
        let end = self.norms.len().min(first + BLOCK_ROWS);
        take(DenseBlock {
            part: 0,
            rows: Rows::Range { first: first as u32, len: end - first },
            vectors: &self.vectors[first * self.dim..end * self.dim],
            norms: &self.norms[first..end],
            dead: None,
        });
        Ok(())
    }

    fn compare_keys(&self, a: RowRef, b: RowRef) -> Result<std::cmp::Ordering, SourceError> {
        Ok(a.row.cmp(&b.row))
    }
}

/// Seconds that this thread spent on a processor while `f` ran.
fn cpu_seconds(f: impl FnOnce()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let start = now();
    f();
    now() - start
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let (dim, vectors, queries) = data::real_or_clustered(50_000, 1000);
    let kernels = kernels();
    let norms: Vec<f32> = vectors.chunks(dim).map(|row| kernels.norm(row)).collect();
    let source = Flat { dim, vectors, norms };
    let gb = size_of_val(&source.vectors[..]) as f64 / 1e9;
    println!("{} rows x {dim}, {gb:.3} GB, kernels {}", source.norms.len(), kernels.name());
    let account = Budget::new(Bytes::mib(64)).account("query/scratch", Priority::Query);
    let options = Options { threads: 1, account: &account, cancel: None };

    let mut best_read = 0.0f64;
    for metric in Metric::ALL {
        let (mut reads, mut scans, mut rescored_rows) = (Vec::new(), Vec::new(), 0);
        for vector in queries.chunks(dim).take(60) {
            for streams in kernels.read_streams() {
                reads.push(cpu_seconds(|| {
                    black_box(kernels.read(black_box(&source.vectors), streams));
                }));
            }
            scans.push(cpu_seconds(|| {
                let query = Query { vector, k: 10, metric };
                if let Ok(answer) = search(&source, &query, &options)
                    && let Exactness::Certified { rescored, .. } = black_box(answer).exactness
                {
                    rescored_rows += rescored;
                }
            }));
        }
        let by_streams = (0..4).map(|i| median(reads.iter().skip(i).step_by(4).copied().collect()));
        let read = gb / by_streams.fold(f64::INFINITY, f64::min);
        best_read = best_read.max(read);
        let scan = median(scans);
        println!(
            "{metric:13} one query: {:.2} ms CPU, {:.1} GB/s, read {read:.1} GB/s, ratio {:.2}, \
             rescored {:.0} rows",
            scan * 1e3,
            gb / scan,
            gb / scan / read,
            rescored_rows as f64 / 60.0
        );
    }
    for metric in Metric::ALL {
        let batch =
            Batch { vectors: &queries[..400.min(queries.len() / dim) * dim], k: 10, metric };
        let options = BatchOptions { options, sharing: Sharing::Shared };
        let times = (0..3).map(|_| {
            cpu_seconds(|| {
                black_box(search_batch(&source, &batch, &options).is_ok());
            })
        });
        let each = median(times.collect()) / (batch.vectors.len() / dim) as f64;
        println!("{metric:13} batch of 400: {:.3} ms CPU a query", each * 1e3);
    }
}
