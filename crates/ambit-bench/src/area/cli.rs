//! How long does one search take, process start to exit?

use super::{Bench, oracle};
use crate::error::BenchError;
use crate::process;
use crate::row::{Row, Table, Target};
use crate::timing::median;

const RUNS: usize = 15;

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let (glosses, queries) = (bench.data.glosses()?, bench.data.queries()?);
    let store = bench.gloss_store(&glosses)?;
    let one = oracle::first_rows(bench, &queries, 1)?;
    let (mut searches, mut nothings) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        searches.push(bench.query(&store, &one, &[])?.figures.seconds * 1e3);
        let nothing = bench.ambit(&store, ["config"])?;
        nothings.push(process::run(&nothing)?.figures.seconds * 1e3);
    }
    bench.fresh("first-1.npy")?;
    let case = format!("cli, {} x {}", glosses.array.rows, glosses.array.columns);
    table.add(
        Row::new(&case, "one query, process start to exit, median", median(searches), "ms")
            .peer("ambit config", median(nothings))
            .target(Target::AtMost(60.0))
            .note(glosses.note),
    )
}
