//! Policies that a trace is run through.

use ambit_cache::policy::{Adaptive, Fifo, Lfu, Lru, Objective, Policy, S3Fifo, Sieve, TinyLfu};
use ambit_cache::{Simulation, SimulationConfig};

use super::traces::Trace;
use super::yardsticks;

/// Hits of requests and bytes.
#[derive(Debug, Default, Clone, Copy)]
pub struct Score {
    pub hits: u64,
    requests: u64,
    hit_bytes: u64,
    bytes: u64,
}

impl Score {
    pub fn count(&mut self, is_hit: bool, size: u32) {
        self.requests += 1;
        self.bytes += u64::from(size);
        self.hits += u64::from(is_hit);
        self.hit_bytes += if is_hit { u64::from(size) } else { 0 };
    }

    /// Hits of all requests, in percent.
    pub fn hit_ratio(&self) -> f64 {
        self.hits as f64 * 100.0 / self.requests.max(1) as f64
    }

    /// Bytes hit of all that were asked for, in percent.
    pub fn byte_hit_ratio(&self) -> f64 {
        self.hit_bytes as f64 * 100.0 / self.bytes.max(1) as f64
    }
}

/// A cell: a trace in a cache of a size, and whether objects have sizes.
pub struct Cell<'a> {
    pub trace: &'a Trace,
    pub cap: u64,
    pub sized: bool,
}

/// A policy's name, and how to run it.
pub struct Simulator {
    pub name: &'static str,
    pub run: fn(&Cell<'_>) -> Option<Score>,
    pub kind: Kind,
}

/// Whose a policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Looks into the future.
    Clairvoyant,
    /// Could run in a cache, and does in ours.
    Ours,
    /// Could run in a cache.
    Online,
    /// Another crate's cache, as it is.
    #[cfg_attr(not(feature = "peers"), allow(dead_code, reason = "peers come where they are"))]
    Crate,
}

/// Spreads keys that are close together.
fn spread(key: u32) -> u32 {
    let mixed = u64::from(key).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 32) as u32
}

fn simulate<P: Policy>(cell: &Cell<'_>, policy: P) -> Option<Score> {
    let config = SimulationConfig { cap: cell.cap, entries: usize::MAX };
    let (mut cache, mut score) = (Simulation::new(policy, config), Score::default());
    for (key, size) in cell.trace.requests(cell.sized) {
        score.count(cache.access(spread(key), size), size);
    }
    Some(score)
}

const fn ours(name: &'static str, run: fn(&Cell<'_>) -> Option<Score>) -> Simulator {
    Simulator { name, run, kind: Kind::Ours }
}

const fn online(name: &'static str, run: fn(&Cell<'_>) -> Option<Score>) -> Simulator {
    Simulator { name, run, kind: Kind::Online }
}

fn of_one_size(cell: &Cell<'_>, run: fn(&[u32], usize, usize) -> Score) -> Option<Score> {
    (!cell.sized).then(|| run(&cell.trace.keys, cell.trace.unique, cell.cap as usize))
}

/// Everybody, in the order of the table.
pub const ALL: &[Simulator] = &[
    Simulator {
        name: "belady",
        run: |cell| of_one_size(cell, |keys, _, cap| yardsticks::belady(keys, cap)),
        kind: Kind::Clairvoyant,
    },
    ours("adaptive", |cell| simulate(cell, Adaptive::default())),
    ours("adaptive-bytes", |cell| simulate(cell, Adaptive::new(Objective::Bytes))),
    ours("lru", |cell| simulate(cell, Lru::default())),
    ours("lfu", |cell| simulate(cell, Lfu::default())),
    ours("fifo", |cell| simulate(cell, Fifo::default())),
    ours("sieve", |cell| simulate(cell, Sieve::default())),
    ours("s3-fifo", |cell| simulate(cell, S3Fifo::default())),
    ours("tiny-lfu", |cell| simulate(cell, TinyLfu::default())),
    online("arc", |cell| of_one_size(cell, yardsticks::arc)),
    online("lirs", |cell| of_one_size(cell, yardsticks::lirs)),
    online("gdsf", |cell| {
        cell.sized.then(|| yardsticks::gdsf(cell.trace.requests(true), cell.cap))
    }),
];
