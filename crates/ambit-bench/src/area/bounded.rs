//! Does the kernel's peak of memory stay within budget and base?
//!
//! The peak is that of the whole process, its program and libraries included. The base is what
//! a process needs that does next to nothing; it is published, and bounded itself.

use std::path::Path;

use super::{Bench, LARGE_BUDGET_MIB, LARGE_DIM, oracle};
use crate::error::BenchError;
use crate::process::{self, Figures};
use crate::row::{Row, Table, Target};

const MIB: f64 = (1 << 20) as f64;
/// What a process may take beside its budget, in MiB.
const BASE: f64 = 16.0;
const SMALL_BUDGET_MIB: u64 = 32;
const QUERIES: usize = 5;

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let (glosses, queries) = (bench.data.glosses()?, bench.data.queries()?);
    let some = oracle::first_rows(bench, &queries, QUERIES)?;
    let store = bench.fresh("bounded")?;
    let budget = format!("{SMALL_BUDGET_MIB}MiB");
    let import = bench.import(&store, &glosses.path, &["--budget", &budget])?.figures;
    let search = bench.query(&store, &some, &["--budget", &budget])?.figures;
    let idle = bench.ambit(&store, ["collections", "--budget", &budget])?;
    let idle = process::run(&idle)?.figures;
    table.add(
        Row::new("bounded, base", "VmHWM of ambit collections", mib(&idle), "MiB")
            .target(Target::AtMost(BASE)),
    )?;
    let case = format!(
        "bounded, {} x {}, {SMALL_BUDGET_MIB} MiB",
        glosses.array.rows, glosses.array.columns
    );
    peaks(table, &case, SMALL_BUDGET_MIB, &import, &search, glosses.note)?;
    verified(bench, table, &case, &store)?;
    bench.fresh("bounded")?;

    let large = bench.large_store()?;
    let budget = format!("{LARGE_BUDGET_MIB}MiB");
    let search = bench.query(&large.store, &some, &["--budget", &budget])?.figures;
    let case = format!("bounded, {} x {LARGE_DIM}, {LARGE_BUDGET_MIB} MiB", large.rows);
    peaks(table, &case, LARGE_BUDGET_MIB, &large.import, &search, "generated, see gen --help")?;
    let rate = large.bytes as f64 / large.import.seconds / 1e6;
    table.add(Row::new(&case, "import, durable, process start to exit", rate, "MB/s"))?;
    let each = search.seconds / QUERIES as f64 * 1e3;
    table.add(Row::new(&case, "search, process time / queries", each, "ms"))?;
    bench.fresh(&format!("first-{QUERIES}.npy"))?;
    Ok(())
}

fn mib(figures: &Figures) -> f64 {
    figures.peak_bytes as f64 / MIB
}

fn peaks(
    table: &mut Table,
    case: &str,
    budget: u64,
    import: &Figures,
    search: &Figures,
    note: &str,
) -> Result<(), BenchError> {
    let target = Target::AtMost(budget as f64 + BASE);
    for (metric, figures) in [("VmHWM of import", import), ("VmHWM of search", search)] {
        table.add(Row::new(case, metric, mib(figures), "MiB").target(target).note(note))?;
    }
    Ok(())
}

/// The store that was made under the budget is whole.
fn verified(
    bench: &mut Bench,
    table: &mut Table,
    case: &str,
    store: &Path,
) -> Result<(), BenchError> {
    let verify = bench.ambit(store, ["verify"])?;
    let clean = process::run(&verify).is_ok();
    table.add(
        Row::new(case, "ambit verify finds it whole", f64::from(u8::from(clean)), "")
            .target(Target::AtLeast(1.0)),
    )
}
