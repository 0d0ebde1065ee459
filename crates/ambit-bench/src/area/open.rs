//! How long does a store of a million rows take to open?

use super::{Bench, LARGE_DIM};
use crate::error::BenchError;
use crate::process;
use crate::row::{Row, Table, Target};
use crate::timing::median;

const RUNS: usize = 15;

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let large = bench.large_store()?;
    let (mut opens, mut nothings) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let collections = bench.ambit(&large.store, ["collections"])?;
        opens.push(process::run(&collections)?.figures.seconds * 1e3);
        let nothing = bench.ambit(&large.store, ["config"])?;
        nothings.push(process::run(&nothing)?.figures.seconds * 1e3);
    }
    let case = format!("open, {} x {LARGE_DIM}", large.rows);
    table.add(
        Row::new(
            &case,
            "ambit collections, process start to exit, median",
            median(opens),
            "ms",
        )
        .peer("ambit config, which opens nothing", median(nothings))
        .target(Target::AtMost(50.0)),
    )
}
