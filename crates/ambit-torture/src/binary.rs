//! T8 once more, from the outside: `kill -9` of the program that users run.
//!
//! One `ambit add --ack` gets lines from four feeding threads and prints each key when it is
//! durable; after a drawn number of them it is killed. Then `ambit verify` must find all well,
//! and `ambit list` must show every acknowledged entity with the text that belongs to it, and
//! of each feeder's lines a prefix: none is skipped, none is half there. The next process adds
//! to the same store.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::dice::Dice;
use crate::kill::Tally;

/// Threads that feed one process.
const FEEDERS: usize = 4;
/// Processes that add to one store, one after the other.
const KILLS_PER_STORE: u64 = 10;
/// Acknowledgements before a kill, at most.
const MOST_ACKS: usize = 400;

/// The program `ambit` of the build that `torture` belongs to, built now if need be.
///
/// # Errors
/// What cargo said.
pub fn build(cargo: &str, torture: &Path) -> Result<PathBuf, String> {
    let told = |error: std::io::Error| format!("cannot run {cargo}: {error}");
    let profile = torture.parent().ok_or("the test program lies in no directory")?;
    let target = profile.parent().ok_or("the build has no directory")?;
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "ambit-app", "--target-dir"]).arg(target);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let output = command.output().map_err(told)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(profile.join("ambit"))
}

fn text(epoch: u64, feeder: usize, number: u64) -> String {
    let mut dice = Dice::stream(epoch * 64 + feeder as u64, number);
    let len = dice.below(120);
    dice.bytes(len).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(epoch: u64, feeder: usize, number: u64) -> String {
    format!("e{epoch}f{feeder}-{number:06}")
}

/// Lines of each feeder: acknowledged, announced.
type Feeders = BTreeMap<(u64, usize), (u64, u64)>;

/// Kills `kills` runs of `ambit`, in stores below `directory`.
///
/// # Errors
/// The first entity that was lost, skipped or wrong.
pub fn torture(ambit: &Path, directory: &Path, seed: u64, kills: u64) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut feeders = Feeders::new();
    for kill in 0..kills {
        let place = |what: String| format!("seed {seed}, kill {kill}: {what}");
        if kill % KILLS_PER_STORE == 0 {
            feeders.clear();
        }
        let store = directory.join(format!("binary-{}", kill / KILLS_PER_STORE));
        let acks = 1 + Dice::stream(seed, kill).below(MOST_ACKS);
        let run = feed_and_kill(ambit, &store, kill, acks).map_err(place)?;
        tally.acknowledged += run.values().map(|(acknowledged, _)| acknowledged).sum::<u64>();
        tally.kills += 1;
        feeders.extend(run);
        hold(ambit, &store, &feeders).map_err(place)?;
    }
    Ok(tally)
}

fn start(ambit: &Path, store: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(ambit);
    command.args(words).arg("--store").arg(store).stderr(Stdio::piped());
    command
}

/// Feeds one process and kills it when it has acknowledged so many lines.
fn feed_and_kill(ambit: &Path, store: &Path, epoch: u64, acks: usize) -> Result<Feeders, String> {
    let mut process = start(ambit, store, &["add", "--ack"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start {}: {error}", ambit.display()))?;
    let lines = process.stdin.take().ok_or("no standard input")?;
    let answers = process.stdout.take().ok_or("no standard output")?;
    let lines = Mutex::new(lines);
    let announced: [AtomicU64; FEEDERS] = Default::default();
    let acknowledged = std::thread::scope(|scope| {
        for (feeder, announced) in announced.iter().enumerate() {
            let lines = &lines;
            scope.spawn(move || {
                for number in 0.. {
                    let (key, text) = (key(epoch, feeder, number), text(epoch, feeder, number));
                    let line =
                        format!("{{\"key\":\"{key}\",\"kind\":\"note\",\"text\":\"{text}\"}}\n");
                    announced.store(number + 1, Ordering::SeqCst);
                    let mut pipe = lines.lock().unwrap_or_else(|poison| poison.into_inner());
                    // A broken pipe: the process is dead, which is the point.
                    if pipe.write_all(line.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
        let acknowledged = count_and_kill(&mut process, answers, epoch, acks);
        // Dead by now, whatever happened, or the feeders would feed for ever.
        let _ = process.kill();
        acknowledged
    });
    let output = process.wait_with_output().map_err(|error| error.to_string())?;
    let acknowledged = acknowledged
        .map_err(|what| format!("{what}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let feeders = announced.iter().zip(acknowledged).enumerate();
    let count = |(feeder, (announced, acknowledged)): (usize, (&AtomicU64, u64))| {
        ((epoch, feeder), (acknowledged, announced.load(Ordering::SeqCst)))
    };
    Ok(feeders.map(count).collect())
}

/// Reads acknowledged keys to the end, killing the process after `acks` of them; per feeder,
/// how many.
fn count_and_kill(
    process: &mut Child,
    answers: impl std::io::Read,
    epoch: u64,
    acks: usize,
) -> Result<[u64; FEEDERS], String> {
    let mut acknowledged = [0; FEEDERS];
    let mut left = acks;
    for line in BufReader::new(answers).lines() {
        let Ok(line) = line else { break };
        let Some(feeder) = (0..FEEDERS).find(|&f| line == key(epoch, f, acknowledged[f])) else {
            // A piece of a key is the last thing that a killed process may say.
            if left > 0 {
                return Err(format!("acknowledged {line:?} out of turn"));
            }
            break;
        };
        acknowledged[feeder] += 1;
        left = left.saturating_sub(1);
        if left == 0 {
            process.kill().map_err(|error| error.to_string())?;
        }
    }
    if left > 0 {
        return Err(format!("it ended by itself, {left} lines too early"));
    }
    Ok(acknowledged)
}

/// Holds the store to all that was acknowledged in it.
fn hold(ambit: &Path, store: &Path, feeders: &Feeders) -> Result<(), String> {
    let verified = start(ambit, store, &["verify"]).output().map_err(|error| error.to_string())?;
    if !verified.status.success() {
        return Err(format!("does not verify: {}", String::from_utf8_lossy(&verified.stdout)));
    }
    let listed = start(ambit, store, &["list", "--json"]).output();
    let listed = listed.map_err(|error| error.to_string())?;
    if !listed.status.success() {
        return Err(format!("does not list: {}", String::from_utf8_lossy(&listed.stderr)));
    }
    let mut found = BTreeMap::new();
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let field = |name: &str| {
            let (_, rest) = line.split_once(&format!("\"{name}\":\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let entity = field("key").zip(field("text"));
        let (key, text) = entity.ok_or_else(|| format!("a strange line: {line}"))?;
        if found.insert(key, text).is_some() {
            return Err(format!("listed twice: {line}"));
        }
    }
    for (&(epoch, feeder), &(acknowledged, announced)) in feeders {
        for number in 0..announced {
            let key = key(epoch, feeder, number);
            match found.remove(&key) {
                Some(there) if there == text(epoch, feeder, number) => {}
                Some(there) => return Err(format!("{key} is there with the text {there:?}")),
                None if number < acknowledged => {
                    return Err(format!("{key} was acknowledged and is gone"));
                }
                // The first that is missing ends the prefix; what follows must be missing too.
                None => break,
            }
        }
    }
    match found.first_key_value() {
        None => Ok(()),
        Some((key, _)) => Err(format!("{key} is there, and the one before it is not")),
    }
}
