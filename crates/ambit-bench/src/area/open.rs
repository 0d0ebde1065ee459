//! How long does a store of a million rows take to open?

use ambitdb::{Access, Config, Store};

use super::{Bench, LARGE_DIM};
use crate::error::BenchError;
use crate::process;
use crate::row::{Row, Table, Target};
use crate::timing::{median, time};

const RUNS: usize = 15;

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let large = bench.large_store()?;
    let config = Config { create: false, access: Access::Read, ..Config::new(&large.store) };
    let (mut opens, mut processes, mut nothings) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (found, took) = time(|| Store::open(&config)?.collection("bench").map(|c| c.len()))?;
        if found? != large.rows as u64 {
            return Err(BenchError::at(&large.store, "rows are missing from the collection"));
        }
        opens.push(took.wall * 1e3);
        let collections = bench.ambit(&large.store, ["collections"])?;
        processes.push(process::run(&collections)?.figures.seconds * 1e3);
        let nothing = bench.ambit(&large.store, ["config"])?;
        nothings.push(process::run(&nothing)?.figures.seconds * 1e3);
    }
    let case = format!("open, {} x {LARGE_DIM}", large.rows);
    let bound = Target::AtMost(50.0);
    table.add(
        Row::new(&case, "Store::open, collection, len, close, median", median(opens), "ms")
            .target(bound),
    )?;
    table.add(
        Row::new(
            &case,
            "ambit collections, process start to exit, median",
            median(processes),
            "ms",
        )
        .peer("ambit config, which opens nothing", median(nothings))
        .target(bound),
    )
}
