//! How fast are source files indexed, and how fast is a second look at them?

use super::Bench;
use crate::error::BenchError;
use crate::process;
use crate::row::{Row, Table, Target};
use crate::source_tree;
use crate::timing::median;

const SEARCHES: usize = 9;

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let tree = source_tree::copy(&bench.fresh("sources")?)?;
    let store = bench.fresh("index")?;
    let mut command = bench.ambit(&store, ["index"])?;
    command.arg(&tree.path).args(["--threads", "2"]);
    let first = process::run(&command)?.figures;
    let again = process::run(&command)?.figures;
    let case = format!("index, {} source files, {:.1} MB", tree.files, tree.bytes as f64 / 1e6);
    let rate = |seconds: f64| tree.bytes as f64 / seconds / 1e6;
    let note = if tree.files < source_tree::FILES { "fewer files than asked for" } else { "" };
    table.add(
        Row::new(&case, "text, 2 threads, process start to exit", rate(first.seconds), "MB/s")
            .target(Target::AtLeast(10.0))
            .note(note),
    )?;
    table.add(
        Row::new(&case, "second run, nothing changed", again.seconds * 1e3, "ms")
            .peer("first run", first.seconds * 1e3),
    )?;
    let mut searches = Vec::new();
    for _ in 0..SEARCHES {
        let search = bench.ambit(&store, ["search", "read a file line by line"])?;
        searches.push(process::run(&search)?.figures.seconds * 1e3);
    }
    table.add(
        Row::new(&case, "one search, process start to exit, median", median(searches), "ms")
            .target(Target::AtMost(60.0)),
    )?;
    bench.fresh("index")?;
    bench.fresh("sources")?;
    Ok(())
}
