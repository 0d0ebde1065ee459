//! What does the profiler cost, and does it find leaks?
//!
//! The programs get their memory from the allocators by name, not as the allocator of this
//! process: so one run compares several. Rounds take turns, each figure is the least of its
//! rounds, in processor time.

#[allow(unsafe_code)]
mod heap;
mod index;
#[path = "../../../ambit-mem/tests/planted/mod.rs"]
mod planted;

use std::alloc::System;
use std::hint::black_box;

use ambit_mem::profile::{MemoryProfiler, ProfileConfig, ProfileError};
use ambit_mem::{Account, Budget, Bytes, Priority, TrackingAllocator};
use planted::{LEAKS, Program, SITES};

use super::Bench;
use crate::error::BenchError;
use crate::row::{Row, Table, Target};
use crate::timing::time;
use heap::{Block, TrackedHeap};

/// Counts for this area only.
static TRACKED: TrackingAllocator<System> = TrackingAllocator::new(System);

const ROUNDS: usize = 15;

pub fn run(_: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let account = Budget::new(Bytes::gib(1)).account("bench/profile", Priority::Write);
    // The profiler starts where a thread is seen to use the allocator.
    drop(Block::of(&TRACKED, 1));
    overhead(&account, table)?;
    snapshots(&account, table)?;
    leaks(&account, table)?;
    bytes(table)
}

impl From<ProfileError> for BenchError {
    fn from(error: ProfileError) -> Self {
        Self::new(error.to_string())
    }
}

/// Processor time of `work`, in milliseconds.
fn milliseconds<T>(work: impl FnOnce() -> T) -> Result<f64, BenchError> {
    time(|| black_box(work())).map(|(_, took)| took.cpu * 1e3)
}

/// A program, in milliseconds: without a profiler, and with one at the default interval.
fn pair(account: &Account, mut work: impl FnMut() -> u64) -> Result<[f64; 2], BenchError> {
    let mut least = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        // Each time once without the clock: where the C library puts the profiler's tables, it
        // leaves its heap in another state, and pages come in that were there before.
        black_box(work());
        least[0] = least[0].min(milliseconds(&mut work)?);
        let profiler = MemoryProfiler::start(account, ProfileConfig::default())?;
        black_box(work());
        least[1] = least[1].min(milliseconds(&mut work)?);
        profiler.stop();
    }
    Ok(least)
}

fn overhead(account: &Account, table: &mut Table) -> Result<(), BenchError> {
    let texts = index::texts(1, 4000);
    let [without, with] = pair(account, || index::run(&TRACKED, &texts))?;
    table.add(
        Row::new("profiler, 4,000 texts indexed", "time at the default interval", with, "ms")
            .peer("no profiler", without)
            .ratio_target(Target::AtMost(1.02)),
    )?;
    let [without, with] = pair(account, || heap::churn(&TRACKED, 400_000))?;
    table.add(
        Row::new("profiler, only allocations", "time at the default interval", with, "ms")
            .peer("no profiler", without)
            .note("400,000 blocks of 16 to 1,024 bytes, nothing done with them"),
    )?;
    let mut every = f64::INFINITY;
    for _ in 0..ROUNDS {
        let config = ProfileConfig { interval: Bytes::new(1), ..ProfileConfig::default() };
        let profiler = MemoryProfiler::start(account, config)?;
        every = every.min(milliseconds(|| heap::churn(&TRACKED, 20_000))?);
        profiler.stop();
    }
    let sample = (every / 20_000.0 - without / 400_000.0) * 1e6;
    table.add(Row::new("profiler", "a sample, taken and given back", sample, "ns"))?;
    peer_dhat(without, table)
}

#[cfg(feature = "peers")]
fn peer_dhat(without: f64, table: &mut Table) -> Result<(), BenchError> {
    let profiler = dhat::Profiler::builder().testing().build();
    let dhat = milliseconds(|| heap::churn(&dhat::Alloc, 20_000))? * 20.0;
    drop(profiler);
    table.add(
        Row::new("dhat, only allocations", "time", dhat, "ms")
            .peer("no profiler", without)
            .note("20,000 blocks, times 20; it looks at every allocation"),
    )
}

#[cfg(not(feature = "peers"))]
fn peer_dhat(_: f64, table: &mut Table) -> Result<(), BenchError> {
    table.add(
        Row::new("profiler, only allocations", "ratio to dhat", 0.0, "")
            .absent_peer("dhat", "built without peers"),
    )
}

/// A snapshot and the judgement of leaks, with a million allocations alive.
fn snapshots(account: &Account, table: &mut Table) -> Result<(), BenchError> {
    let cases = [
        ("a million alive, one in 512 KiB sampled", ProfileConfig::default()),
        (
            "a million alive, all of them sampled",
            ProfileConfig {
                interval: Bytes::new(1),
                live_samples: 1 << 20,
                ..ProfileConfig::default()
            },
        ),
    ];
    for (case, config) in cases {
        let profiler = MemoryProfiler::start(account, config)?;
        let mut kept: Vec<Block<'_, TrackingAllocator<System>>> = Vec::new();
        let (mut least, mut samples) = (f64::INFINITY, 0);
        for step in 1..=10usize {
            kept.extend((0..100_000).map(|block| Block::of(&TRACKED, 16 + block % 64)));
            // The history is as full as it gets when the last ones are timed.
            if step == 10 {
                for _ in 0..ROUNDS {
                    let took = milliseconds(|| -> Result<_, BenchError> {
                        let snapshot = profiler.snapshot()?;
                        samples = snapshot.live().samples;
                        Ok((snapshot, profiler.leaks()?))
                    })?;
                    least = least.min(took);
                }
            } else {
                profiler.snapshot()?;
            }
        }
        let lost = profiler.snapshot()?.lost();
        table.add(
            Row::new(case, "snapshot and leak report", least, "ms")
                .target(Target::AtMost(50.0))
                .note(format!("{samples} samples, {lost} lost")),
        )?;
        let named = milliseconds(|| profiler.snapshot().map(|snapshot| snapshot.to_string()))?;
        table.add(
            Row::new(case, "the same as text, names looked up", named, "ms")
                .note("reads the debugging information of the whole binary the first time"),
        )?;
        drop(kept);
        profiler.stop();
    }
    Ok(())
}

/// A planted program, and how often it is looked at.
struct Plan {
    case: &'static str,
    interval: Bytes,
    /// Its blocks are as many times as large.
    scale: u64,
    programs: u64,
}

fn leaks(account: &Account, table: &mut Table) -> Result<(), BenchError> {
    let plans = [
        Plan {
            case: "planted leaks, one in 16 KiB",
            interval: Bytes::kib(16),
            scale: 1,
            programs: 20,
        },
        Plan {
            case: "planted leaks, one in 512 KiB, blocks 32 x as large",
            interval: Bytes::kib(512),
            scale: 32,
            programs: 5,
        },
    ];
    for plan in &plans {
        let (mut found, mut mistaken) = (0.0, Vec::new());
        for seed in 0..plan.programs {
            let (hits, errors) = judge(account, plan, seed + 30_000)?;
            found += hits as f64;
            mistaken.extend(errors);
        }
        let planted = plan.programs as f64 * LEAKS as f64;
        let caches = plan.programs as f64 * (SITES.len() - LEAKS) as f64;
        table.add(
            Row::new(plan.case, "leaks found", found / planted, "of 1")
                .target(Target::AtLeast(0.95))
                .note(format!("{} programs of 10 leaks and 10 caches", plan.programs)),
        )?;
        table.add(
            Row::new(plan.case, "others reported", mistaken.len() as f64 / caches, "of 1")
                .target(Target::AtMost(0.05))
                .note(mistaken.join(", ")),
        )?;
    }
    Ok(())
}

/// How many of the leaks were reported, and which other sites.
fn judge(account: &Account, plan: &Plan, seed: u64) -> Result<(usize, Vec<String>), BenchError> {
    const TICKS: u64 = 400;
    let config = ProfileConfig { interval: plan.interval, seed, ..ProfileConfig::default() };
    let profiler = MemoryProfiler::start(account, config)?;
    let mut program = Program::new(seed, TICKS, plan.scale);
    for tick in 1..=TICKS {
        program.tick(&mut TrackedHeap(&TRACKED));
        if tick % 20 == 0 {
            profiler.snapshot()?;
        }
    }
    let report = profiler.leaks()?;
    let mut found = [false; LEAKS];
    let mut others = Vec::new();
    for suspect in report.likely() {
        let stack = suspect.site.stack();
        let is_in = |name: &&str| stack.iter().any(|frame| frame.function.contains(name));
        match SITES.iter().position(is_in) {
            Some(leak) if leak < LEAKS => found[leak] = true,
            Some(cache) => others.push(SITES[cache].to_owned()),
            None => others.push(suspect.site.place()),
        }
    }
    Ok((found.iter().filter(|found| **found).count(), others))
}

fn bytes(table: &mut Table) -> Result<(), BenchError> {
    let config = ProfileConfig::default();
    let mib = config.footprint().get() as f64 / f64::from(1 << 20);
    table.add(Row::new("profiler, default limits", "its tables", mib, "MiB"))?;
    let twice = ProfileConfig { live_samples: config.live_samples * 2, ..config };
    let more = (twice.footprint().get() - config.footprint().get()) as f64;
    table.add(Row::new(
        "profiler",
        "bytes for each live sample there is room for",
        more / config.live_samples as f64,
        "B",
    ))
}
