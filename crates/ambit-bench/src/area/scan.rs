//! Does an exact search read as fast as memory does, and as faiss?
//!
//! Three layers, one query at a time, one thread: the kernel over an array in memory, the search
//! over the same array, and the search through the binary over mapped segments. The ceiling is
//! read bandwidth of the same array, measured between the rounds.

use std::cmp::Ordering;
use std::path::Path;

use ambit_mem::{Budget, Bytes, Priority};
use ambit_search::{DenseBlock, DenseSource, Options, Query, RowRef, Rows, SourceError, search};
use ambit_vector::{Kernels, Metric, bandwidth, kernels};
use serde::Deserialize;

use super::Bench;
use crate::data::Vectors;
use crate::error::BenchError;
use crate::npy::Array;
use crate::peer;
use crate::row::{Row, Table, Target};
use crate::timing::{Took, median, time};

const ROUNDS: usize = 5;
const QUERIES_PER_ROUND: usize = 40;
/// Bytes of vectors in a block.
const BLOCK_BYTES: usize = 1 << 20;

/// What the Python peer prints.
#[derive(Deserialize)]
struct Faiss {
    version: String,
    cpu_ms: f64,
}

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let (glosses, queries) = (bench.data.glosses()?, bench.data.queries()?);
    let kernels = kernels();
    let source = ArraySource::new(&glosses.array, kernels);
    let account = Budget::new(Bytes::mib(64)).account("query", Priority::Query);
    let options = Options { threads: 1, account: &account, cancel: None };
    let bytes = size_of_val(glosses.array.values.as_slice()) as f64;
    let mut limit: f64 = 0.0;
    let (mut scans, mut searches) = (Vec::new(), Vec::new());
    let mut scores = vec![0.0; BLOCK_BYTES / 4 / glosses.array.columns];
    for round in 0..ROUNDS {
        let read = bandwidth::measure(kernels, &glosses.array.values, 2);
        limit = limit.max(read.bytes_per_second);
        for number in 0..QUERIES_PER_ROUND {
            let number = (round * QUERIES_PER_ROUND + number) % queries.array.rows;
            let vector =
                &queries.array.values[number * glosses.array.columns..][..glosses.array.columns];
            scans.push(time(|| source.scan(vector, &mut scores))?.1);
            let query = Query { vector, k: 10, metric: Metric::InnerProduct };
            let (answer, took) = time(|| search(&source, &query, &options))?;
            answer?;
            searches.push(took);
        }
    }
    let case = format!("scan, {} x {}", glosses.array.rows, glosses.array.columns);
    let gigabytes = |took: &[Took]| bytes / median(took.iter().map(|took| took.wall)) / 1e9;
    let limit = limit / 1e9;
    let bound = Target::AtLeast(0.8);
    let note = format!("{} kernels", kernels.name());
    table.add(Row::new(&case, "read bandwidth, 1 thread", limit, "GB/s").note(glosses.note))?;
    table.add(
        Row::new(&case, "kernel over memory", gigabytes(&scans), "GB/s")
            .peer("read bandwidth", limit)
            .ratio_target(bound)
            .note(&note),
    )?;
    table.add(
        Row::new(&case, "search over memory", gigabytes(&searches), "GB/s")
            .peer("read bandwidth", limit)
            .ratio_target(bound),
    )?;
    let cpu_ms = median(searches.iter().map(|took| took.cpu)) * 1e3;
    let faiss = faiss(&glosses.path, &queries.path)?;
    table.add(beside(Row::new(&case, "search over memory, cpu", cpu_ms, "ms"), faiss.as_ref()))?;
    drop(source);
    through_store(bench, table, &glosses, &queries, limit, faiss.as_ref())
}

/// The same queries through the binary. Start and opening are taken off: they are what a run with
/// one query takes more than its search.
fn through_store(
    bench: &mut Bench,
    table: &mut Table,
    glosses: &Vectors,
    queries: &Vectors,
    limit: f64,
    faiss: Option<&Faiss>,
) -> Result<(), BenchError> {
    #[derive(Deserialize)]
    struct Searched {
        search_seconds: f64,
    }
    let store = bench.gloss_store(glosses)?;
    let one = super::oracle::first_rows(bench, queries, 1)?;
    let ids = bench.fresh("ids.npy")?;
    let ids_name = ids.display().to_string();
    let how = ["--threads", "1", "--one-at-a-time", "--budget", "256MiB", "--ids", &ids_name];
    let warm = bench.query(&store, &one, &how)?;
    let ran = bench.query(&store, &queries.path, &how)?;
    bench.fresh("ids.npy")?;
    bench.fresh("first-1.npy")?;
    let more = (queries.array.rows - 1) as f64;
    let last =
        ran.stdout.lines().rev().find_map(|line| serde_json::from_str::<Searched>(line).ok());
    let searched =
        last.ok_or_else(|| BenchError::new("ambit query did not print search_seconds"))?;
    let bytes = size_of_val(glosses.array.values.as_slice()) as f64;
    let case = format!("scan, {} x {}, store", glosses.array.rows, glosses.array.columns);
    let gigabytes = bytes * queries.array.rows as f64 / searched.search_seconds / 1e9;
    table.add(
        Row::new(&case, "ambit query, mapped segments", gigabytes, "GB/s")
            .peer("read bandwidth", limit)
            .ratio_target(Target::AtLeast(0.8)),
    )?;
    let cpu_ms = (ran.figures.cpu_seconds - warm.figures.cpu_seconds) / more * 1e3;
    table.add(beside(Row::new(&case, "ambit query, mapped segments, cpu", cpu_ms, "ms"), faiss))
}

/// Puts faiss beside a row, if it is here.
fn beside(row: Row, faiss: Option<&Faiss>) -> Row {
    let row = row.ratio_target(Target::AtMost(1.0));
    match faiss {
        Some(faiss) => {
            row.peer("faiss IndexFlatIP", faiss.cpu_ms).note(format!("faiss {}", faiss.version))
        }
        None => row.absent_peer(
            "faiss IndexFlatIP",
            "no Python with faiss: set AMBIT_PEERS_PYTHON after pip install faiss-cpu numpy",
        ),
    }
}

fn faiss(base: &Path, queries: &Path) -> Result<Option<Faiss>, BenchError> {
    let Some(python) = peer::python_with("faiss") else {
        return Ok(None);
    };
    peer::run(&python, include_str!("../../peers/faiss_flat.py"), &[base, queries]).map(Some)
}

/// An array in memory as a source of rows.
struct ArraySource<'a> {
    array: &'a Array<f32>,
    norms: Vec<f32>,
    rows_per_block: usize,
    kernels: Kernels,
}

impl<'a> ArraySource<'a> {
    fn new(array: &'a Array<f32>, kernels: Kernels) -> Self {
        let norms = array.values.chunks_exact(array.columns).map(|row| kernels.norm(row)).collect();
        let rows_per_block = (BLOCK_BYTES / 4 / array.columns).max(1);
        Self { array, norms, rows_per_block, kernels }
    }

    /// Scores all rows and keeps nothing.
    fn scan(&self, query: &[f32], scores: &mut [f32]) {
        for block in self.array.values.chunks(self.rows_per_block * self.array.columns) {
            let scores = &mut scores[..block.len() / self.array.columns];
            self.kernels.dot_rows(query, block, scores);
            std::hint::black_box(&*scores);
        }
    }
}

impl DenseSource for ArraySource<'_> {
    fn dim(&self) -> usize {
        self.array.columns
    }

    fn blocks(&self) -> usize {
        self.array.rows.div_ceil(self.rows_per_block)
    }

    fn visit(&self, block: usize, take: &mut dyn FnMut(DenseBlock<'_>)) -> Result<(), SourceError> {
        let first = block * self.rows_per_block;
        let last = (first + self.rows_per_block).min(self.array.rows);
        take(DenseBlock {
            part: 0,
            rows: Rows::Range { first: u32::try_from(first)?, len: last - first },
            vectors: &self.array.values[first * self.array.columns..last * self.array.columns],
            norms: &self.norms[first..last],
            dead: None,
        });
        Ok(())
    }

    fn compare_keys(&self, a: RowRef, b: RowRef) -> Result<Ordering, SourceError> {
        Ok(a.row.cmp(&b.row))
    }
}
