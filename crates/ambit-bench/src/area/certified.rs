//! What does an exact answer with a certificate cost, beside an exact scan and beside codes
//! without any proof?
//!
//! Through the binary and mapped segments, on one thread. Processor time of a query is that of a
//! run with many queries less that of a run with one, so start and opening are taken off. That
//! the answers are those of exact rows is held in every run.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Bench, LARGE_DIM, oracle};
use crate::data::Vectors;
use crate::error::BenchError;
use crate::peer;
use crate::process;
use crate::row::{Row, Table, Target};

/// What the kernel may count beside the budget, in MiB; see `bounded`.
const BASE: f64 = 16.0;
/// The budget that the large store is served with, in MiB.
const SMALL_BUDGET_MIB: u64 = 64;
/// The budget that holds the codes.
const BUDGET: &str = "1GiB";

/// What the Python peer prints.
#[derive(Deserialize)]
struct Peers {
    version: String,
    flat_ms: f64,
    batch_ms: f64,
    turbo_ms: Option<f64>,
    turbo_recall: Option<f64>,
    turbo_batch_ms: Option<f64>,
}

/// What `ambit query` and `ambit optimize` print.
#[derive(Deserialize)]
struct Queried {
    queries: u64,
    scanned: u64,
    uncoded: u64,
    refined: u64,
    rescored: u64,
}

#[derive(Deserialize)]
struct Optimized {
    coded_rows: u64,
    coded_bytes: u64,
}

/// One data set.
struct Set<'a> {
    case: String,
    rows: usize,
    file: &'a Path,
    note: &'a str,
    /// Queries that are asked one at a time.
    alone: usize,
}

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let (glosses, queries) = (bench.data.glosses()?, bench.data.queries()?);
    let (rows, columns) = (glosses.array.rows, glosses.array.columns);
    let set = Set {
        case: format!("certified, {rows} x {columns}"),
        rows,
        file: &glosses.path,
        note: glosses.note,
        alone: queries.array.rows,
    };
    measure(bench, table, &set, &queries)?;
    let (file, rows) = bench.large_file()?;
    let set = Set {
        case: format!("certified, {rows} x {LARGE_DIM}"),
        rows,
        file: &file,
        note: "generated, see gen --help",
        alone: 100,
    };
    measure(bench, table, &set, &queries)
}

fn measure(
    bench: &mut Bench,
    table: &mut Table,
    set: &Set<'_>,
    queries: &Vectors,
) -> Result<(), BenchError> {
    let case = set.case.as_str();
    let store = bench.fresh("certified")?;
    let later = ["--metric", "inner-product", "--codes", "later", "--budget", BUDGET];
    bench.import(&store, set.file, &later)?;
    let one = oracle::first_rows(bench, queries, 1)?;
    let few = oracle::first_rows(bench, queries, 20)?;
    let exact = ids(bench, &store, &few, "exact.npy")?;
    let optimize = bench.ambit(&store, ["optimize", "--budget", BUDGET])?;
    let ran = process::run(&optimize)?;
    let built: Optimized = last_line(&ran.stdout)?;
    let same = ids(bench, &store, &few, "coded.npy")? == exact;
    table.add(
        Row::new(case, "same answers as exact rows", f64::from(u8::from(same)), "")
            .target(Target::AtLeast(1.0))
            .note(set.note),
    )?;
    let share = built.coded_bytes as f64 / (built.coded_rows.max(1) as f64 * 4.0 * columns(set)?);
    let bytes = "bytes of the codes, of float32";
    table.add(Row::new(case, bytes, share, "x").target(Target::AtMost(0.2)))?;
    let each = ran.figures.cpu_seconds / built.coded_rows.max(1) as f64 * 1e6;
    table.add(Row::new(case, "build the codes, cpu a row", each, "us"))?;

    let some = oracle::first_rows(bench, queries, set.alone)?;
    let alone = cost(bench, &store, [&one, &some], &["--one-at-a-time"])?;
    let batch = cost(bench, &store, [&one, &queries.path], &[])?;
    let seen = |rows: u64| rows as f64 / alone.queried.queries.max(1) as f64;
    table.add(Row::new(case, "rows whose fine codes are read", seen(alone.queried.refined), ""))?;
    table.add(Row::new(case, "rows scored in float64", seen(alone.queried.rescored), ""))?;
    let uncoded = alone.queried.uncoded as f64 / alone.queried.scanned.max(1) as f64;
    table.add(Row::new(case, "share of rows without codes", uncoded, "x"))?;
    beside_peers(table, set, queries, alone.cpu_ms, batch.cpu_ms)?;

    let budget = format!("{SMALL_BUDGET_MIB}MiB");
    let small = cost(bench, &store, [&one, &few], &["--one-at-a-time", "--budget", &budget])?;
    let metric = format!("one query under {budget}, cpu");
    table.add(Row::new(case, &metric, small.cpu_ms, "ms"))?;
    table.add(
        Row::new(case, &format!("VmHWM of search under {budget}"), small.peak_mib, "MiB")
            .target(Target::AtMost(SMALL_BUDGET_MIB as f64 + BASE)),
    )?;
    for name in ["certified", "exact.npy", "coded.npy", "first-1.npy", "first-20.npy"] {
        bench.fresh(name)?;
    }
    bench.fresh(&format!("first-{}.npy", set.alone))?;
    Ok(())
}

fn columns(set: &Set<'_>) -> Result<f64, BenchError> {
    let bytes = std::fs::metadata(set.file)?.len();
    Ok((bytes / 4 / set.rows.max(1) as u64) as f64)
}

/// The ids that a search of `file` finds.
fn ids(bench: &mut Bench, store: &Path, file: &Path, out: &str) -> Result<Vec<u8>, BenchError> {
    let out = bench.fresh(out)?;
    let name = out.display().to_string();
    bench.query(store, file, &["--ids", &name, "--budget", BUDGET])?;
    Ok(std::fs::read(out)?)
}

struct Cost {
    cpu_ms: f64,
    peak_mib: f64,
    queried: Queried,
}

/// What a query of the second file costs more than the one of the first.
fn cost(
    bench: &mut Bench,
    store: &Path,
    [one, many]: [&PathBuf; 2],
    how: &[&str],
) -> Result<Cost, BenchError> {
    let ids = bench.fresh("ids.npy")?;
    let name = ids.display().to_string();
    let budget: &[&str] = if how.contains(&"--budget") { &[] } else { &["--budget", BUDGET] };
    let how = [how, budget, &["--threads", "1", "--ids", &name]].concat();
    let mut least = f64::MAX;
    let mut last = None;
    for _ in 0..3 {
        let warm = bench.query(store, one, &how)?;
        let ran = bench.query(store, many, &how)?;
        let queried: Queried = last_line(&ran.stdout)?;
        let more = queried.queries.saturating_sub(1).max(1) as f64;
        least = least.min((ran.figures.cpu_seconds - warm.figures.cpu_seconds) / more * 1e3);
        last = Some((ran.figures.peak_bytes as f64 / f64::from(1 << 20), queried));
    }
    bench.fresh("ids.npy")?;
    let (peak_mib, queried) = last.ok_or_else(|| BenchError::new("no run"))?;
    Ok(Cost { cpu_ms: least, peak_mib, queried })
}

fn last_line<T: serde::de::DeserializeOwned>(stdout: &str) -> Result<T, BenchError> {
    let parsed = stdout.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    parsed.ok_or_else(|| BenchError::new(format!("ambit printed no result: {stdout}")))
}

fn beside_peers(
    table: &mut Table,
    set: &Set<'_>,
    queries: &Vectors,
    alone: f64,
    batch: f64,
) -> Result<(), BenchError> {
    let case = set.case.as_str();
    let one = || Row::new(case, "one query, cpu", alone, "ms");
    let many = || Row::new(case, "batch of 1,000, cpu a query", batch, "ms");
    let peers: Option<Peers> = match peer::python_with("faiss") {
        Some(python) => {
            let script = include_str!("../../peers/exact.py");
            Some(peer::run(&python, script, &[set.file, &queries.path])?)
        }
        None => None,
    };
    let Some(peers) = peers else {
        let how = "no Python with faiss: set AMBIT_PEERS_PYTHON after pip install faiss-cpu turbovec numpy";
        table.add(one().absent_peer("faiss IndexFlatIP", how))?;
        return table.add(many().absent_peer("faiss IndexFlatIP, block", how));
    };
    let flat = one().peer("faiss IndexFlatIP", peers.flat_ms).note(&peers.version);
    table.add(flat.ratio_target(Target::AtMost(0.05)))?;
    let block = many().peer("faiss IndexFlatIP, block", peers.batch_ms);
    table.add(block.ratio_target(Target::AtMost(1.0)))?;
    if let (Some(turbo), Some(recall)) = (peers.turbo_ms, peers.turbo_recall) {
        let note = format!("no proof; recall@10 {recall:.4}");
        let row = one().peer("turbovec 4-bit, 20 rescored", turbo).note(note);
        table.add(row.ratio_target(Target::AtMost(1.0)))?;
    }
    if let Some(turbo) = peers.turbo_batch_ms {
        let row = many().peer("turbovec 4-bit, 20 rescored, block", turbo);
        table.add(row.ratio_target(Target::AtMost(1.0)))?;
    }
    Ok(())
}
