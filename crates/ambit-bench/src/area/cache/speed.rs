//! What does a hit cost, and a put that pushes somebody out?
//!
//! Keys and values are u64, keys asked for at random. Puts bring a new key each time into a cache
//! that is full. Rounds of all contenders take turns; the least of each counts, in processor
//! time of the slower thread.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Barrier;

use ambit_cache::policy::{Adaptive, Lru, Policy, S3Fifo};
use ambit_cache::{Cache, CacheConfig};
use ambit_mem::{Budget, Bytes, Priority};

use crate::error::BenchError;
use crate::row::{Row, Table, Target};
use crate::timing::time;

const ROUNDS: usize = 15;
const CALLS: u64 = 400_000;
/// Bytes of an entry in our cache, and some to spare.
const ENTRY: u64 = 56;

/// A cache from u64 to u64.
pub trait Contender: Sync {
    fn name(&self) -> &'static str;
    fn get(&self, key: u64) -> Option<u64>;
    fn put(&self, key: u64);
}

/// Numbers that look random, a stream for each thread and round.
#[derive(Clone, Copy)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0 >> 33
    }
}

struct Ours<P>(&'static str, Cache<u64, u64, P>);

impl<P: Policy + Sync + 'static> Contender for Ours<P> {
    fn name(&self) -> &'static str {
        self.0
    }

    fn get(&self, key: u64) -> Option<u64> {
        self.1.get(&key)
    }

    fn put(&self, key: u64) {
        // A refusal would show in the stats, which are looked at.
        let _ = self.1.insert(key, key);
    }
}

fn ours<P: Policy + Default + Sync + 'static>(
    name: &'static str,
    budget: &Budget,
    cap: u64,
) -> Result<Ours<P>, BenchError> {
    let account = budget.account(&format!("bench/{name}/{cap}"), Priority::Cache);
    let cache = Cache::new(CacheConfig::new(Bytes::new(cap)), &account)
        .map_err(|error| BenchError::new(error.to_string()))?;
    Ok(Ours(name, cache))
}

/// What a map costs that is no cache.
struct Floor(HashMap<u64, u64, foldhash::fast::FixedState>);

impl Contender for Floor {
    fn name(&self) -> &'static str {
        "hash map"
    }

    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key).copied()
    }

    fn put(&self, _: u64) {}
}

/// Nanoseconds of a call, on so many threads at once.
fn race(
    contenders: &[Box<dyn Contender>],
    threads: u64,
    call: impl Fn(&dyn Contender, u64, &mut u64) + Sync,
) -> Result<Vec<f64>, BenchError> {
    let mut least = vec![f64::INFINITY; contenders.len()];
    for round in 0..ROUNDS {
        for (contender, least) in contenders.iter().zip(&mut least) {
            let start = Barrier::new(threads as usize);
            let timed = |thread: u64| {
                let mut random = Random(round as u64 * 977 + thread);
                let mut serial = (round as u64 * threads + thread + 1) << 32;
                start.wait();
                time(|| {
                    for _ in 0..CALLS {
                        call(&**contender, random.next(), &mut serial);
                    }
                })
            };
            let slowest = std::thread::scope(|scope| {
                let timed = &timed;
                let others: Vec<_> =
                    (1..threads).map(|thread| scope.spawn(move || timed(thread))).collect();
                let own = timed(0).map(|((), took)| took.cpu);
                others
                    .into_iter()
                    .filter_map(|other| other.join().ok())
                    .fold(own, |most, other| Ok(most?.max(other.map(|((), took)| took.cpu)?)))
            })?;
            *least = least.min(slowest * 1e9 / CALLS as f64);
        }
    }
    Ok(least)
}

fn contenders(budget: &Budget, entries: u64) -> Result<Vec<Box<dyn Contender>>, BenchError> {
    let floor = Floor((0..entries).map(|key| (key, key)).collect());
    #[allow(unused_mut, reason = "peers come where they are built in")]
    let mut all: Vec<Box<dyn Contender>> = vec![
        Box::new(ours::<Adaptive>("adaptive", budget, entries * ENTRY + (64 << 10))?),
        Box::new(ours::<S3Fifo>("s3-fifo", budget, entries * ENTRY + (64 << 10))?),
        Box::new(ours::<Lru>("lru", budget, entries * ENTRY + (64 << 10))?),
        Box::new(floor),
    ];
    #[cfg(feature = "peers")]
    all.extend(super::peers::contenders(entries));
    for contender in &all {
        (0..entries).for_each(|key| contender.put(key));
    }
    Ok(all)
}

fn rows(
    table: &mut Table,
    (case, metric): (&str, &str),
    (contenders, least): (&[Box<dyn Contender>], &[f64]),
    target: Option<Target>,
) -> Result<(), BenchError> {
    for (at, (contender, theirs)) in contenders.iter().zip(least).enumerate().skip(1) {
        let row = Row::new(case, metric, least[0], "ns").peer(contender.name(), *theirs);
        let row = match target.filter(|_| at == 1) {
            Some(target) => row.target(target),
            None => row,
        };
        table.add(row)?;
    }
    Ok(())
}

pub fn run(table: &mut Table) -> Result<(), BenchError> {
    let budget = Budget::new(Bytes::gib(4));
    for (entries, at_most) in [(10_000_u64, 15.0), (1_000_000, 70.0)] {
        let all = contenders(&budget, entries)?;
        let case = format!("cache of {entries} entries");
        let hits = race(&all, 1, |cache, random, _| {
            black_box(cache.get(random % entries));
        })?;
        rows(table, (&case, "hit"), (&all, &hits), Some(Target::AtMost(at_most)))?;
        if entries == 10_000 {
            let mixed = race(&all, 2, |cache, random, serial| {
                if random % 8 == 0 {
                    *serial += 1;
                    cache.put(*serial);
                } else {
                    black_box(cache.get(random % entries));
                }
            })?;
            rows(table, (&case, "two threads, one put in eight"), (&all, &mixed), None)?;
            let puts = race(&all, 1, |cache, _, serial| {
                *serial += 1;
                cache.put(*serial);
            })?;
            rows(table, (&case, "put with eviction"), (&all, &puts), Some(Target::AtMost(35.0)))?;
        }
    }
    metadata(&budget, table)
}

fn metadata(budget: &Budget, table: &mut Table) -> Result<(), BenchError> {
    for entries in [10_000_u64, 1_000_000] {
        let cache = ours::<Adaptive>("metadata", budget, entries * 46)?.1;
        for key in 0..3 * entries {
            cache.insert(key, key).map_err(|error| BenchError::new(error.to_string()))?;
        }
        let stats = cache.stats();
        let case = format!("cache of {} entries, full", stats.entries);
        let each = stats.metadata.get() as f64 / stats.entries.max(1) as f64;
        table.add(
            Row::new(&case, "metadata for each", each, "B")
                .target(Target::AtMost(32.0))
                .note("links, index, ghosts, samples, curve, locks; counted in the cap"),
        )?;
        let over = stats.granted.get() as f64 - stats.cap.get() as f64;
        table.add(
            Row::new(&case, "bytes charged above the cap", over.max(0.0), "B")
                .target(Target::AtMost(0.0))
                .note("real bytes at every moment: tests/cap.rs of ambit-cache"),
        )?;
    }
    Ok(())
}
