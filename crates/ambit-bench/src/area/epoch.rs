//! What does a pin cost, and what does a reader hold that stays pinned?
//!
//! Ours is measured with the kernel's `membarrier` and without it. The stalled reader has loaded
//! one object of a kilobyte, which a writer then replaces until 100 MB have been retired; what
//! is held is counted by the objects' destructors, in the same way for everybody.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use ambit_mem::epoch::{Barrier, Collector, CollectorOptions, Owned, Reader, Shared};
use ambit_mem::{Account, Budget, Bytes, Priority};

#[cfg(feature = "peers")]
#[allow(unsafe_code)]
mod peers;

use super::Bench;
use crate::error::BenchError;
use crate::row::{Row, Table, Target};
use crate::timing::time;

/// Many short rounds: some of them find the processor to themselves.
const ROUNDS: usize = 400;
const REPEATS: u32 = 50_000;
/// Replacements while a reader stalls.
const RETIRED: u64 = 100_000;
/// The cap of our garbage.
const CAP: Bytes = Bytes::mib(1);

/// A kilobyte that counts how many of it there are.
pub struct Kilobyte {
    bytes: [u8; 1000],
}

static LIVING: AtomicU64 = AtomicU64::new(0);

impl Kilobyte {
    fn new(seed: u64) -> Self {
        LIVING.fetch_add(1, Ordering::Relaxed);
        Self { bytes: [seed as u8; 1000] }
    }
}

impl Drop for Kilobyte {
    fn drop(&mut self) {
        LIVING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// MB that are alive beside what was, after another thread has called `replace` for each kilobyte.
fn held(replace: impl Fn(u64) + Sync) -> f64 {
    let before = LIVING.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| (0..RETIRED).for_each(&replace));
    });
    LIVING.load(Ordering::Relaxed).saturating_sub(before) as f64 * 1000.0 / 1e6
}

struct Ours {
    account: Account,
    collector: Collector,
    reader: Reader,
    cell: Shared<Kilobyte>,
}

impl Ours {
    fn new(budget: &Budget, barrier: Barrier) -> Result<Self, BenchError> {
        let account = budget.account("bench/epoch", Priority::Write);
        let collector = Collector::new(&account, CollectorOptions { cap: CAP, barrier })?;
        let reader = collector.reader("bench")?;
        let cell = Owned::new(&account, Kilobyte::new(0), Bytes::ZERO)?;
        let cell = Shared::new(&collector, cell).map_err(refused)?;
        Ok(Self { account, collector, reader, cell })
    }

    fn replace(&self, seed: u64) -> Result<(), BenchError> {
        let new = Owned::new(&self.account, Kilobyte::new(seed), Bytes::ZERO)?;
        self.cell.replace(&self.collector, new).map_err(refused)
    }
}

fn refused(error: impl std::fmt::Display) -> BenchError {
    BenchError::new(error.to_string())
}

/// Something to be timed: its name, and nanoseconds of one call.
struct Way<'a> {
    name: &'static str,
    time: Box<dyn Fn() -> f64 + 'a>,
}

fn way<'a>(name: &'static str, repeats: u32, call: impl Fn(u32) + 'a) -> Way<'a> {
    let time = move || {
        let timed = time(|| (0..repeats).for_each(&call));
        timed.map_or(f64::INFINITY, |((), took)| took.cpu * 1e9 / f64::from(repeats))
    };
    Way { name, time: Box::new(time) }
}

/// The least of rounds that take turns.
fn race(ways: &[Way<'_>]) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; ways.len()];
    for _ in 0..ROUNDS {
        for (way, least) in ways.iter().zip(&mut least) {
            *least = least.min((way.time)());
        }
    }
    least
}

pub fn run(_: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let budget = Budget::new(Bytes::mib(64));
    let [asymmetric, full] =
        [Barrier::Auto, Barrier::Full].map(|barrier| Ours::new(&budget, barrier));
    let (asymmetric, full) = (asymmetric?, full?);
    let note = if asymmetric.collector.stats().is_asymmetric {
        ""
    } else {
        "this kernel offers no membarrier"
    };
    pin(&asymmetric, &full, note, table)?;
    load(&asymmetric, &full, note, table)?;
    replace(&asymmetric, table)?;
    stalled(&asymmetric, table)
}

/// One row for each of ours, and more of the first for each peer.
fn rows(
    table: &mut Table,
    metric: &str,
    targets: [Option<f64>; 2],
    note: &str,
    ways: &[Way<'_>],
) -> Result<(), BenchError> {
    let least = race(ways);
    let row = |barrier: usize| {
        let case = ["epoch, membarrier", "epoch, full fence"][barrier];
        let row = Row::new(case, metric, least[barrier], "ns");
        let row = if barrier == 0 { row.note(note) } else { row };
        match targets[barrier] {
            Some(bound) => row.target(Target::AtMost(bound)),
            None => row,
        }
    };
    for barrier in 0..2 {
        if ways.len() == 2 {
            table.add(row(barrier))?;
        }
        for (way, peer) in ways.iter().zip(&least).skip(2) {
            table.add(row(barrier).peer(way.name, *peer))?;
        }
    }
    Ok(())
}

fn pin(asymmetric: &Ours, full: &Ours, note: &str, table: &mut Table) -> Result<(), BenchError> {
    let ours = |ours: &'static str, reader: Reader| {
        way(ours, REPEATS, move |_| {
            black_box(reader.pin().is_ok());
        })
    };
    #[allow(unused_mut, reason = "peers come where they are built in")]
    let mut ways = vec![
        ours("membarrier", asymmetric.reader.clone()),
        ours("full fence", full.reader.clone()),
    ];
    #[cfg(feature = "peers")]
    ways.extend(peers::pins());
    rows(table, "pin + unpin", [Some(2.0), Some(7.0)], note, &ways)
}

fn load(asymmetric: &Ours, full: &Ours, note: &str, table: &mut Table) -> Result<(), BenchError> {
    fn ours<'a>(name: &'static str, ours: &'a Ours) -> Way<'a> {
        way(name, REPEATS, move |_| {
            if let Ok(guard) = ours.reader.pin() {
                black_box(ours.cell.load(&guard).bytes[0]);
            }
        })
    }
    #[allow(unused_mut, reason = "peers come where they are built in")]
    let mut ways = vec![ours("membarrier", asymmetric), ours("full fence", full)];
    #[cfg(feature = "peers")]
    ways.extend(peers::loads());
    rows(table, "pin + load + unpin", [None, None], note, &ways)
}

fn replace(ours: &Ours, table: &mut Table) -> Result<(), BenchError> {
    #[allow(unused_mut, reason = "peers come where they are built in")]
    let mut ways = vec![way("ours", REPEATS / 10, |call| {
        black_box(ours.replace(u64::from(call)).is_ok());
    })];
    #[cfg(feature = "peers")]
    ways.extend(peers::replacements());
    let least = race(&ways);
    let row = || Row::new("epoch", "replace and retire a kilobyte", least[0], "ns");
    if ways.len() == 1 {
        table.add(row())?;
    }
    for (way, peer) in ways.iter().zip(&least).skip(1) {
        table.add(row().peer(way.name, *peer))?;
    }
    Ok(())
}

fn stalled(ours: &Ours, table: &mut Table) -> Result<(), BenchError> {
    ours.collector.flush();
    let guard = ours.reader.pin()?;
    black_box(ours.cell.load(&guard).bytes[0]);
    let refusals = AtomicU64::new(0);
    let most = held(|seed| {
        if ours.replace(seed).is_err() {
            refusals.fetch_add(1, Ordering::Relaxed);
        }
    });
    if refusals.load(Ordering::Relaxed) > 0 {
        return Err(BenchError::new("replacements were refused beside one stalled reader"));
    }
    let peak = ours.collector.stats().peak;
    let pinned = ours.collector.pinned();
    drop(guard);
    let cap = CAP.get() as f64 / 1e6;
    let row = || {
        Row::new("stalled reader", "held after 100 MB were retired", most, "MB")
            .target(Target::AtMost(cap))
            .note(pinned.first().map_or(String::new(), |reader| {
                format!("the collector names it: {}, {} ms", reader.name, reader.age.as_millis())
            }))
    };
    #[cfg(feature = "peers")]
    for (name, held) in peers::stalled() {
        table.add(row().peer(name, held))?;
    }
    #[cfg(not(feature = "peers"))]
    table.add(row())?;
    table.add(
        Row::new("stalled reader", "most garbage at any time", peak.get() as f64 / 1e6, "MB")
            .peer("the cap", cap)
            .ratio_target(Target::AtMost(1.0)),
    )
}
