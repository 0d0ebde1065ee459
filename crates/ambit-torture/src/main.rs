//! Runs the torture tests at any count: `ambit-torture TEST [--seed S] [--count N]`.
//!
//! `TEST` is `t1`, `t2`, `t3`, `t5`, `t8`, `t14`, `lossless`, `accounted` (its count is seconds), or
//! `nightly` for all of them at the nightly counts. What fails prints all that is needed to see it again, and
//! the exit code is 1. `child-write`, `child-bounded` and `child-accounted` are the processes that
//! T8, T14 and `accounted` start.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that reports")]

use std::alloc::System;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ambit_mem::{Bytes, TrackingAllocator};
use ambit_store::bugs::{Bugs, SeededBug};
use ambit_torture::accounted::Run;
use ambit_torture::fleet::Failure;
use ambit_torture::{accounted, bounded, crash, damage, fault, kill, lossless, seeded};

const USAGE: &str = "usage: ambit-torture t1|t2|t3|t5|t8|t14|lossless|accounted|nightly \
                     [--seed S] [--count N]";

/// Counts of a night.
const NIGHTLY: [(&str, u64); 8] = [
    ("t1", 2_000_000),
    ("t2", 20),
    ("t3", 320_000),
    ("t5", 4_000_000),
    ("t8", 10_000),
    ("t14", 1),
    ("lossless", lossless::BLOCKS),
    ("accounted", 600),
];
/// Counts of the gate.
const GATE: [(&str, u64); 8] = [
    ("t1", 50_000),
    ("t2", 20),
    ("t3", 16_000),
    ("t5", 20_000),
    ("t8", 100),
    ("t14", 1),
    ("lossless", 4),
    ("accounted", 60),
];

#[global_allocator]
static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<(), String> {
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    let plain: Vec<&str> = words.iter().map(String::as_str).collect();
    match plain[..] {
        ["child-write", directory, epoch] => kill::child(Path::new(directory), number(epoch)?),
        ["child-bounded", directory, budget] => {
            bounded::child(Path::new(directory), Bytes::new(number(budget)?))
        }
        ["child-accounted", directory, budget, seconds] => {
            let run = Run { budget: Bytes::new(number(budget)?), seconds: number(seconds)? };
            accounted::child(Path::new(directory), run, || ALLOCATOR.stats())
        }
        [test, ref options @ ..] => {
            let (mut seed, mut count) = (1, None);
            for option in options.chunks(2) {
                match option {
                    ["--seed", value] => seed = number(value)?,
                    ["--count", value] => count = Some(number(value)?),
                    _ => return Err(USAGE.to_owned()),
                }
            }
            start(test, seed, count)
        }
        [] => Err(USAGE.to_owned()),
    }
}

fn start(test: &str, seed: u64, count: Option<u64>) -> Result<(), String> {
    if test == "nightly" {
        return NIGHTLY.iter().try_for_each(|(test, count)| one(test, seed, *count));
    }
    let gate = GATE.iter().find(|(name, _)| *name == test).map(|(_, count)| *count);
    one(test, seed, count.or(gate).ok_or(USAGE)?)
}

fn one(test: &str, seed: u64, count: u64) -> Result<(), String> {
    let broken = |failed: Option<Failure>| match failed {
        Some(failure) => Err(format!("{test}, run {}: {}", failure.run, failure.what)),
        None => Ok(()),
    };
    match test {
        "t1" => {
            let (tally, failed) = crash::torture(seed, count, Bugs::NONE);
            println!("T1 from seed {seed}: {tally:?}");
            broken(failed)
        }
        "t2" => hunt_all(seed, count),
        "t3" => {
            let (tally, failed) = fault::torture(seed, count, Bugs::NONE);
            println!("T3 from seed {seed}: {tally:?}");
            broken(failed)
        }
        "t5" => {
            let (tally, failed) = damage::sample(seed, count, Bugs::NONE);
            println!("T5 from seed {seed}: {tally:?}");
            broken(failed)
        }
        "t8" => {
            let directory = Scratch::new("t8")?;
            let tally = kill::torture(&this_binary()?, &directory.0, seed, count)?;
            println!("T8 and T9 from seed {seed}: {tally:?}");
            Ok(())
        }
        "lossless" => {
            let (tally, failed) = lossless::torture(seed, count);
            println!("lossless from run {seed}: {tally:?}");
            broken(failed)
        }
        "t14" => {
            let directory = Scratch::new("t14")?;
            let store = directory.0.join("store");
            let measured = bounded::measure(&this_binary()?, &store, Bytes::mib(24))?;
            println!("T14: {measured:?}");
            Ok(())
        }
        "accounted" => {
            let directory = Scratch::new("accounted")?;
            let run = Run { budget: Bytes::mib(24), seconds: count };
            let measured = accounted::measure(&this_binary()?, &directory.0.join("store"), run)?;
            println!("accounted: {measured:?}");
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    }
}

fn hunt_all(seed: u64, count: u64) -> Result<(), String> {
    let mut missed = Vec::new();
    for &bug in SeededBug::ALL.iter().take(usize::try_from(count).unwrap_or(usize::MAX)) {
        let hunt = seeded::hunt(bug, seed);
        println!("T2 from seed {seed}: {bug:?} by {} after {}", hunt.test, hunt.tried);
        if hunt.caught.is_none() {
            missed.push(bug);
        }
    }
    match missed.is_empty() {
        true => Ok(()),
        false => Err(format!("not caught: {missed:?}")),
    }
}

fn this_binary() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| error.to_string())
}

/// A directory for one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("ambit-{test}-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning of its scratch space.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
