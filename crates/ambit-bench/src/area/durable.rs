//! Does an acknowledged write survive kill -9?
//!
//! `ambit add --ack` is fed until some keys are acknowledged, then killed; a new process must list
//! each of them.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use serde::Deserialize;

use super::Bench;
use crate::error::BenchError;
use crate::process;
use crate::row::{Row, Table, Target};

const KILLS: usize = 10;
const ACKNOWLEDGED: usize = 200;

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let store = bench.fresh("durable")?;
    let mut acknowledged = BTreeSet::new();
    let mut seconds = 0.0;
    for round in 0..KILLS {
        let started = Instant::now();
        // A different moment of the batch each time.
        let wanted = ACKNOWLEDGED + round * 7;
        acknowledged.append(&mut killed(bench, &store, round, wanted)?);
        seconds += started.elapsed().as_secs_f64();
    }
    let listed = list(bench, &store)?;
    let lost = acknowledged.difference(&listed).count();
    let case = format!("durable, {KILLS} kills");
    table.add(
        Row::new(&case, "acknowledged entities", acknowledged.len() as f64, "")
            .target(Target::AtLeast((KILLS * ACKNOWLEDGED) as f64)),
    )?;
    table.add(
        Row::new(&case, "acknowledged entities that are lost", lost as f64, "")
            .target(Target::AtMost(0.0)),
    )?;
    let whole = process::run(&bench.ambit(&store, ["verify"])?).is_ok();
    table.add(
        Row::new(&case, "ambit verify finds it whole", f64::from(u8::from(whole)), "")
            .target(Target::AtLeast(1.0)),
    )?;
    let rate = acknowledged.len() as f64 / seconds;
    table.add(Row::new(&case, "acknowledged, start and recovery included", rate, "1/s"))?;
    bench.fresh("durable")?;
    Ok(())
}

/// Feeds `ambit add`, kills it after `wanted` acknowledgements, and returns all that it gave.
fn killed(
    bench: &mut Bench,
    store: &Path,
    round: usize,
    wanted: usize,
) -> Result<BTreeSet<String>, BenchError> {
    let mut command = bench.ambit(store, ["add", "--ack", "--collection", "bench"])?;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(BenchError::new("ambit add has no pipes"));
    };
    let acknowledged = std::thread::scope(|scope| {
        scope.spawn(move || {
            // Ends when the process is gone.
            (0..usize::MAX).try_for_each(|number| {
                writeln!(
                    input,
                    "{{\"key\":\"{round}/{number}\",\"kind\":\"note\",\"text\":\"note {number}\",\
                     \"embeddings\":{{\"v\":[{number},1.5,-2.25]}}}}"
                )
            })
        });
        let mut acknowledged = BTreeSet::new();
        let mut dead = false;
        for line in BufReader::new(output).lines() {
            // The last line may be cut: only whole ones count, and `lines` cannot tell.
            let Ok(line) = line else { break };
            if let Some(key) = key_of(&line, round) {
                acknowledged.insert(key);
            }
            if acknowledged.len() >= wanted && !dead {
                dead = child.kill().is_ok();
            }
        }
        acknowledged
    });
    child.wait()?;
    Ok(acknowledged)
}

/// The key that a line acknowledges: the line itself, or the field of an object.
fn key_of(line: &str, round: usize) -> Option<String> {
    #[derive(Deserialize)]
    struct Acknowledged {
        key: String,
    }
    let prefix = format!("{round}/");
    let key = match serde_json::from_str::<Acknowledged>(line) {
        Ok(acknowledged) => acknowledged.key,
        Err(_) => line.to_owned(),
    };
    key.starts_with(&prefix).then_some(key)
}

fn list(bench: &mut Bench, store: &Path) -> Result<BTreeSet<String>, BenchError> {
    #[derive(Deserialize)]
    struct Listed {
        key: String,
    }
    let list = bench.ambit(store, ["list", "--collection", "bench"])?;
    let printed = process::run(&list)?.stdout;
    printed.lines().map(|line| Ok(serde_json::from_str::<Listed>(line)?.key)).collect()
}
