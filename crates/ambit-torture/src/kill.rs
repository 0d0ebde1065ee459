//! T8: do acknowledged writes of a real process survive `kill -9`?
//!
//! A child process opens a store on real files and writes with four threads, while a fifth
//! seals, merges and reclaims. Every batch is announced, written and acknowledged through a
//! pipe, together with the trace of the child's file calls. The parent kills it after a drawn
//! number of acknowledgements, opens the store and holds it to them; then the next child goes
//! on in the same store. The trace goes to [`order`](crate::order), which is T9.
//!
//! A writer's batch `n` puts an entity and a relation of that number, and some batches delete
//! the pair of an earlier one; bytes follow from the number. So a writer's rows must be those
//! after exactly `m` batches, whole, where `m` is at least what was acknowledged and at most
//! what was announced.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::AddAssign;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ambit_store::vfs::{Event, OsFs, TraceFs};

use crate::dice::Dice;
use crate::model::{Model, Row, Rows};
use crate::order;
use crate::subject::{Opening, Subject};
use crate::workload::{Change, ENTITIES, FIXED, Op, RELATIONS};

/// Threads that write.
const WRITERS: u64 = 4;
/// Children that write to one store, one after the other.
const KILLS_PER_STORE: u64 = 10;
/// Acknowledgements before a kill, at most.
const MOST_ACKS: usize = 120;

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Children killed.
    pub kills: u64,
    /// Batches that they had acknowledged.
    pub acknowledged: u64,
    /// Events of their traces that were audited.
    pub events: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.kills += other.kills;
        self.acknowledged += other.acknowledged;
        self.events += other.events;
    }
}

/// The row of a writer's batch.
fn row(epoch: u64, writer: u64, number: u64) -> Row {
    let mut dice = Dice::stream(epoch * WRITERS + writer, number);
    let len = dice.below(300);
    vec![Some(dice.bytes(len)), Some(dice.bytes(FIXED))]
}

fn key(epoch: u64, writer: u64, number: u64) -> Vec<u8> {
    format!("e{epoch}w{writer}-{number:06}").into_bytes()
}

/// The batch that a batch's deletion hits, if it has one.
fn deleted_by(number: u64) -> Option<u64> {
    (number % 5 == 4).then(|| number - 3)
}

fn batch(epoch: u64, writer: u64, number: u64) -> Op {
    let tables = [ENTITIES, RELATIONS];
    let put = |table| Change {
        table,
        key: key(epoch, writer, number),
        row: Some(row(epoch, writer, number)),
    };
    let delete = |old| move |table| Change { table, key: key(epoch, writer, old), row: None };
    let mut changes: Vec<Change> = tables.map(put).into();
    if let Some(old) = deleted_by(number) {
        changes.extend(tables.map(delete(old)));
    }
    Op::Write(changes)
}

/// The child: writes to the store in `directory` until it is killed.
///
/// # Errors
/// Anything that fails; a child is never done.
pub fn child(directory: &Path, epoch: u64) -> Result<(), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let files = OsFs::open(directory).map_err(|error| told(&error))?;
    let mut pipe = std::io::stdout();
    let mut silent = std::collections::BTreeSet::new();
    let traced = TraceFs::new(Arc::new(files), move |event| {
        let is_told = match event {
            Event::Begin(call) => call.kind.changes() || !silent.insert(call.index),
            Event::End { index, .. } => !silent.remove(index),
            Event::Note(_) => true,
        };
        // A closed pipe is the parent's end: nobody is left to be told.
        if is_told && writeln!(pipe, "{event}").and_then(|()| pipe.flush()).is_err() {
            std::process::exit(1);
        }
    });
    let store = Subject::open(Arc::new(traced.clone()), Opening::default());
    let store = store.map_err(|error| told(&error))?;
    for table in [ENTITIES, RELATIONS] {
        if !store.has_table(table) {
            store.apply(&Op::CreateTable(table)).map_err(|error| told(&error))?;
        }
    }
    let failed = AtomicBool::new(false);
    let fail = |error: &dyn std::fmt::Display| {
        traced.note(&format!("failed {error}"));
        failed.store(true, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, traced, fail, failed) = (&store, &traced, &fail, &failed);
            scope.spawn(move || {
                let mut number = 0;
                while !failed.load(Ordering::Relaxed) {
                    let name = format!("{writer}/{number}");
                    traced.note(&order::submitting(&name));
                    match store.apply(&batch(epoch, writer, number)) {
                        Ok(()) => traced.note(&order::acknowledged(&name)),
                        Err(error) => fail(&error),
                    }
                    number += 1;
                }
            });
        }
        let mut dice = Dice::stream(epoch, 99);
        while !failed.load(Ordering::Relaxed) {
            let op = dice.pick(&[Op::Seal, Op::MergeStep(64), Op::MergeStep(1000), Op::Reclaim]);
            if let Err(error) = store.apply(op) {
                fail(&error);
            }
        }
    });
    Err("a write failed".to_owned())
}

/// Kills `kills` children of `binary`, in stores below `directory`, and audits each.
///
/// # Errors
/// The first write that was lost, half visible or wrong, and the first violated order.
pub fn torture(binary: &Path, directory: &Path, seed: u64, kills: u64) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut writers = BTreeMap::new();
    for kill in 0..kills {
        let store = directory.join(format!("store-{}", kill / KILLS_PER_STORE));
        if kill % KILLS_PER_STORE == 0 {
            writers.clear();
            std::fs::create_dir(&store).map_err(|error| error.to_string())?;
        }
        let place = |what: String| format!("seed {seed}, kill {kill}: {what}");
        let acks = 1 + Dice::stream(seed, kill).below(MOST_ACKS);
        let events = run_and_kill(binary, &store, kill, acks).map_err(place)?;
        let violations = order::audit(&events);
        if let Some(first) = violations.first() {
            let from = number_of(first).saturating_sub(25);
            let around: Vec<String> =
                events[from..].iter().take(27).map(|event| format!("  {event}")).collect();
            return Err(place(format!("T9: {}\n{}", violations.join("\n"), around.join("\n"))));
        }
        tally.acknowledged += note_writers(&events, kill, &mut writers).map_err(place)?;
        tally.events += events.len() as u64;
        tally.kills += 1;
        hold(&store, &writers).map_err(place)?;
    }
    Ok(tally)
}

/// The event that a violation names.
fn number_of(violation: &str) -> usize {
    let number = violation.strip_prefix("event ").and_then(|rest| rest.split(':').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Starts a child and kills it when it has acknowledged so many batches; all that it said.
fn run_and_kill(
    binary: &Path,
    store: &Path,
    epoch: u64,
    acks: usize,
) -> Result<Vec<Event>, String> {
    let mut child = Command::new(binary)
        .arg("child-write")
        .arg(store)
        .arg(epoch.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
    let pipe = child.stdout.take().ok_or("the child has no pipe")?;
    let mut events = Vec::new();
    let mut left = acks;
    let mut problem = None;
    for line in BufReader::new(pipe).lines() {
        // The last line of a killed process may be a piece of one.
        let Some(event) = line.ok().and_then(|line| line.parse::<Event>().ok()) else { break };
        if let Event::Note(text) = &event {
            if let Some(failure) = text.strip_prefix("failed ") {
                problem = Some(format!("the child failed: {failure}"));
                left = 1;
            }
            if text.starts_with("ack ") || problem.is_some() {
                left = left.saturating_sub(1);
                if left == 0 {
                    // From here on only what is in the pipe already.
                    child.kill().map_err(|error| error.to_string())?;
                }
            }
        }
        events.push(event);
    }
    // Also where the child ended by itself; a second kill does nothing.
    let _ = child.kill();
    child.wait().map_err(|error| error.to_string())?;
    match problem {
        Some(problem) => Err(problem),
        None if left > 0 => Err(format!("the child ended by itself, {left} batches too early")),
        None => Ok(events),
    }
}

/// Per epoch and writer: batches acknowledged, batches announced.
type Writers = BTreeMap<(u64, u64), (u64, u64)>;

fn note_writers(events: &[Event], epoch: u64, writers: &mut Writers) -> Result<u64, String> {
    let mut acknowledged = 0;
    for event in events {
        let Event::Note(text) = event else { continue };
        let (verb, name) = text.split_once(' ').ok_or("a note without a name")?;
        let (writer, number) = name.split_once('/').ok_or("a name without a number")?;
        let parse = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
        let entry = writers.entry((epoch, parse(writer)?)).or_default();
        match verb {
            "ack" => {
                entry.0 = parse(number)? + 1;
                acknowledged += 1;
            }
            _ => entry.1 = parse(number)? + 1,
        }
    }
    Ok(acknowledged)
}

/// Opens the store as the next process would and holds it to the writers.
fn hold(store: &Path, writers: &Writers) -> Result<(), String> {
    let files = OsFs::open(store).map_err(|error| error.to_string())?;
    let subject = Subject::open(Arc::new(files), Opening::default())
        .map_err(|error| format!("does not open: {error}"))?;
    let found = subject.read().map_err(|trouble| format!("does not read: {trouble}"))?;
    let problems = subject.verify().map_err(|error| error.to_string())?;
    if let Some(problem) = problems.first() {
        return Err(format!("does not verify: {problem}"));
    }
    let mut rest = found.clone();
    for (&(epoch, writer), &(acknowledged, announced)) in writers {
        let batches = (acknowledged..=announced)
            .find(|&batches| is_after(&found, (epoch, writer), batches))
            .ok_or_else(|| {
                format!(
                    "epoch {epoch}, writer {writer}: {acknowledged} batches acknowledged, \
                     {announced} announced, and the rows are those of no number between"
                )
            })?;
        take_out(&mut rest, (epoch, writer), batches);
    }
    let strange = rest.tables.values().flat_map(|rows| rows.keys()).next();
    match strange {
        None => Ok(()),
        Some(key) => Err(format!("key {} was never written", String::from_utf8_lossy(key))),
    }
}

/// Are a writer's rows those after exactly so many batches?
fn is_after(found: &Model, (epoch, writer): (u64, u64), batches: u64) -> bool {
    let expected = rows_after((epoch, writer), batches);
    let prefix = format!("e{epoch}w{writer}-").into_bytes();
    [ENTITIES, RELATIONS].iter().all(|table| {
        let empty = Rows::new();
        let rows = found.tables.get(*table).map_or(&empty, Arc::as_ref);
        let own = rows.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        own.eq(expected.iter())
    })
}

fn rows_after((epoch, writer): (u64, u64), batches: u64) -> Rows {
    let mut rows = Rows::new();
    for number in 0..batches {
        rows.insert(key(epoch, writer, number), row(epoch, writer, number));
        if let Some(old) = deleted_by(number) {
            rows.remove(&key(epoch, writer, old));
        }
    }
    rows
}

fn take_out(rest: &mut Model, (epoch, writer): (u64, u64), batches: u64) {
    for rows in rest.tables.values_mut() {
        let rows = Arc::make_mut(rows);
        for number in 0..batches {
            rows.remove(&key(epoch, writer, number));
        }
    }
}
