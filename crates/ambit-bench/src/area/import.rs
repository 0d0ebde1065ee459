//! How fast do vectors come in, durably?
//!
//! Beside it: the same bytes appended to a plain file, with a sync for every 1 MiB, and with one
//! sync at the end. The first is what a durable acknowledgement per batch can cost at most, the
//! second is what this disk allows.

use std::fs::File;
use std::io::Write as _;
use std::time::Instant;

use super::Bench;
use crate::error::BenchError;
use crate::row::{Row, Table, Target};
use crate::timing::median;

const ROUNDS: usize = 3;

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let glosses = bench.data.glosses()?;
    let bytes: &[u8] = bytemuck::cast_slice(&glosses.array.values);
    let (mut imports, mut each, mut once) = (Vec::new(), Vec::new(), Vec::new());
    let mut with_codes = Vec::new();
    for _ in 0..ROUNDS {
        let mut seconds = |codes| -> Result<f64, BenchError> {
            let store = bench.fresh("import")?;
            let how = ["--budget", "32MiB", "--codes", codes];
            Ok(bench.import(&store, &glosses.path, &how)?.figures.seconds)
        };
        imports.push(seconds("later")?);
        with_codes.push(seconds("now")?);
        each.push(append(bench, bytes, 1 << 20)?);
        once.push(append(bench, bytes, bytes.len())?);
    }
    bench.fresh("import")?;
    let rate = |seconds: Vec<f64>| bytes.len() as f64 / median(seconds) / 1e6;
    let (import, each, once) = (rate(imports), rate(each), rate(once));
    let case = format!("import, {} x {}", glosses.array.rows, glosses.array.columns);
    let metric = "float32, durable, process start to exit";
    table.add(
        Row::new(&case, metric, import, "MB/s")
            .peer("append, one sync", once)
            .target(Target::AtLeast(150.0))
            .note(glosses.note),
    )?;
    table.add(Row::new(&case, metric, import, "MB/s").peer("append, sync per MiB", each))?;
    let metric = "the same, codes built at the end";
    table.add(Row::new(&case, metric, rate(with_codes), "MB/s"))
}

/// Seconds to append `bytes` to a new file with a sync after every `step` of them.
fn append(bench: &Bench, bytes: &[u8], step: usize) -> Result<f64, BenchError> {
    let path = bench.fresh("append")?;
    let started = Instant::now();
    let mut file = File::create(&path)?;
    for part in bytes.chunks(step.max(1)) {
        file.write_all(part)?;
        file.sync_data()?;
    }
    let seconds = started.elapsed().as_secs_f64();
    bench.fresh("append")?;
    Ok(seconds)
}
