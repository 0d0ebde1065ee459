//! Hit ratios of all policies on traces, at parts of their unique keys.
//!
//! A cell is a trace and a size. Its gap is how many points (hundredths of its requests) the
//! policy is behind the best online policy of that cell, LIRS with ghosts without end and ARC
//! among them, other crates' caches not. Traces with sizes have cells of their own, of parts of
//! their unique bytes; they are not in the mean.

use std::io::Write as _;
use std::path::Path;

use serde::Serialize;

use super::simulators::{self, Cell, Kind, Score, Simulator};
use super::traces::{self, Trace};
use crate::error::BenchError;
use crate::row::{Row, Table, Target};

/// Sizes of caches, in percent of the unique keys.
const SIZES: [f64; 3] = [1.0, 5.0, 20.0];

#[derive(Serialize)]
struct Line<'a> {
    trace: &'a str,
    size_pct: f64,
    policy: &'a str,
    hit_ratio: f64,
    byte_hit_ratio: f64,
    /// What the size is a part of: of keys, each of size 1, or of bytes.
    weights: &'static str,
}

fn cells(trace: &Trace) -> impl Iterator<Item = (f64, Cell<'_>)> {
    let part = |of: u64, percent: f64| ((of as f64 * percent / 100.0) as u64).max(1);
    let bytes = trace.bytes();
    let by_key = SIZES
        .map(|size| (size, Cell { trace, cap: part(trace.unique as u64, size), sized: false }));
    let by_byte = bytes
        .map(|bytes| SIZES.map(|size| (size, Cell { trace, cap: part(bytes, size), sized: true })));
    by_key.into_iter().chain(by_byte.into_iter().flatten())
}

fn everybody() -> impl Iterator<Item = &'static Simulator> {
    #[cfg(feature = "peers")]
    let peers = super::peers::HIT_RATIOS;
    #[cfg(not(feature = "peers"))]
    let peers: &[Simulator] = &[];
    simulators::ALL.iter().chain(peers)
}

/// Prints a line for each trace, size and policy.
pub fn print(directory: &Path, json: bool) -> Result<(), BenchError> {
    let mut out = std::io::stdout().lock();
    if !json {
        writeln!(out, "trace size_pct policy hit_ratio byte_hit_ratio weights")?;
    }
    for trace in traces::load_all(directory)? {
        for (size_pct, cell) in cells(&trace) {
            for simulator in everybody() {
                let Some(score) = (simulator.run)(&cell) else { continue };
                let (hits, bytes) = (score.hit_ratio() / 100.0, score.byte_hit_ratio() / 100.0);
                let line = Line {
                    trace: &trace.name,
                    size_pct,
                    policy: simulator.name,
                    hit_ratio: hits,
                    byte_hit_ratio: bytes,
                    weights: if cell.sized { "bytes" } else { "keys" },
                };
                if json {
                    writeln!(out, "{}", serde_json::to_string(&line)?)?;
                } else {
                    let Line { trace, policy, weights, .. } = line;
                    writeln!(out, "{trace} {size_pct} {policy} {hits:.4} {bytes:.4} {weights}")?;
                }
            }
        }
    }
    Ok(())
}

/// What everybody hit in a cell, in percent.
struct Scored {
    name: String,
    sized: bool,
    scores: Vec<(&'static str, Kind, Score)>,
}

impl Scored {
    fn of(&self, policy: &str) -> Option<&Score> {
        self.scores.iter().find(|(name, ..)| *name == policy).map(|(.., score)| score)
    }

    fn hits(&self, policy: &str) -> f64 {
        self.of(policy).map_or(f64::NAN, Score::hit_ratio)
    }

    fn byte_hits(&self, policy: &str) -> f64 {
        self.of(policy).map_or(f64::NAN, Score::byte_hit_ratio)
    }

    /// The best that could run in a cache.
    fn best(&self) -> f64 {
        let online = |kind: &Kind| matches!(kind, Kind::Ours | Kind::Online);
        // What is measured against the others is not among them.
        let others = self
            .scores
            .iter()
            .filter(|(name, kind, _)| online(kind) && !name.starts_with("adaptive"));
        others.map(|(.., score)| score.hit_ratio()).fold(0.0, f64::max)
    }

    fn gap(&self, policy: &str) -> f64 {
        self.best() - self.hits(policy)
    }
}

fn score_all(directory: &Path) -> Result<Vec<Scored>, BenchError> {
    let mut scored = Vec::new();
    for trace in traces::load_all(directory)? {
        for (size, cell) in cells(&trace) {
            let run = |simulator: &'static Simulator| {
                Some((simulator.name, simulator.kind, (simulator.run)(&cell)?))
            };
            let scores = everybody().filter_map(run).collect();
            let name = format!("{} at {size} %", trace.name);
            scored.push(Scored { name, sized: cell.sized, scores });
        }
    }
    Ok(scored)
}

/// The mean, and the largest with where it is.
fn summary<'a>(values: impl Iterator<Item = (&'a str, f64)>) -> (f64, f64, &'a str) {
    let (mut sum, mut count, mut worst) = (0.0, 0, (f64::NEG_INFINITY, ""));
    for (name, value) in values {
        sum += value;
        count += 1;
        if value > worst.0 {
            worst = (value, name);
        }
    }
    (sum / f64::from(count.max(1)), worst.0, worst.1)
}

pub fn rows(directory: &Path, table: &mut Table) -> Result<(), BenchError> {
    if !directory.is_dir() {
        let row = Row::new("hit ratio", "traces", 0.0, "").note("no traces here; give --traces");
        return table.add(row);
    }
    let scored = score_all(directory)?;
    let cells: Vec<&Scored> = scored.iter().filter(|cell| !cell.sized).collect();
    means(&cells, table)?;
    gaps(&cells, table)?;
    for cell in scored.iter().filter(|cell| cell.sized) {
        sized(cell, table)?;
    }
    Ok(())
}

fn means(cells: &[&Scored], table: &mut Table) -> Result<(), BenchError> {
    let mean =
        |policy: &str| summary(cells.iter().map(|cell| (cell.name.as_str(), cell.hits(policy)))).0;
    let case = format!("hit ratio, mean of {} cells", cells.len());
    let ours = mean("adaptive");
    for simulator in everybody().filter(|it| it.kind != Kind::Ours || it.name == "lru") {
        let theirs = mean(simulator.name);
        if theirs.is_nan() {
            continue;
        }
        let row = Row::new(&case, "adaptive", ours, "%").peer(simulator.name, theirs);
        let row = if simulator.kind == Kind::Crate {
            row.ratio_target(Target::AtLeast(1.0))
        } else {
            row
        };
        table.add(row)?;
    }
    Ok(())
}

fn gaps(cells: &[&Scored], table: &mut Table) -> Result<(), BenchError> {
    let gap = |policy: &str| {
        let gaps = cells.iter().map(|cell| (cell.name.as_str(), cell.gap(policy)));
        let (mean, worst, at) = summary(gaps);
        (mean, worst, at.to_owned())
    };
    let (ours, theirs) = (gap("adaptive"), gap("s3-fifo"));
    let case = "gap to the best of each cell";
    table.add(
        Row::new(case, "mean", ours.0, "points")
            .peer("s3-fifo", theirs.0)
            .target(Target::AtMost(0.6)),
    )?;
    table.add(
        Row::new(case, "worst", ours.1, "points")
            .peer("s3-fifo", theirs.1)
            .target(Target::AtMost(4.0))
            .note(ours.2),
    )?;
    let below = |cell: &&Scored| cell.hits("lru") - cell.hits("adaptive");
    let (_, worst, at) = summary(cells.iter().map(|cell| (cell.name.as_str(), below(cell))));
    table.add(
        Row::new("below LRU", "worst", worst, "points").target(Target::AtMost(1.0)).note(at),
    )?;
    let over = cells.iter().filter(|cell| below(cell) > 1.0).count();
    table.add(Row::new("below LRU", "cells by more than a point", over as f64, "cells"))
}

fn sized(cell: &Scored, table: &mut Table) -> Result<(), BenchError> {
    let case = format!("{}, with sizes", cell.name);
    table.add(
        Row::new(&case, "objects hit, set to hits", cell.hits("adaptive"), "%")
            .peer("gdsf", cell.hits("gdsf"))
            .ratio_target(Target::AtLeast(1.0)),
    )?;
    table.add(
        Row::new(&case, "bytes hit, set to bytes", cell.byte_hits("adaptive-bytes"), "%")
            .peer("s3-fifo", cell.byte_hits("s3-fifo"))
            .ratio_target(Target::AtLeast(1.0)),
    )
}
