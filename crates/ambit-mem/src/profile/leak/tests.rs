//! The judgement on histories of known programs.
//!
//! The programs run on a heap that exists only in the recorder: addresses are numbers and time
//! is counted in ticks, so each run is the same for its seed.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use super::planted::{Heap, LEAKS, Program, SITES};
use super::*;
use crate::profile::ProfileConfig;
use crate::profile::recorder::{Allocation, Recorder};
use crate::profile::sampling::{SplitMix, mix};
use crate::profile::snapshot::Scan;
use crate::{Budget, Priority};

const TICK_US: u64 = 100_000;

struct Simulated {
    recorder: Recorder,
    random: SplitMix,
    left: u64,
    now_us: u64,
    next: usize,
}

#[derive(Clone)]
struct SimulatedHeap(Rc<RefCell<Simulated>>);

/// Freed when dropped, if it was sampled.
struct SimulatedBlock(SimulatedHeap, Option<usize>);

impl SimulatedHeap {
    fn new(interval: Bytes, seed: u64) -> Self {
        let config = ProfileConfig { interval, ..ProfileConfig::default() };
        let (recorder, mut random) = (Recorder::new(&config).unwrap(), SplitMix::new(mix(seed)));
        let left = recorder.rate.draw(&mut random);
        Self(Rc::new(RefCell::new(Simulated { recorder, random, left, now_us: 0, next: 4096 })))
    }
}

impl Heap for SimulatedHeap {
    type Block = SimulatedBlock;

    fn take(&mut self, site: usize, size: usize) -> SimulatedBlock {
        let heap = &mut *self.0.borrow_mut();
        heap.now_us += 1;
        if (size as u64) < heap.left {
            heap.left -= size as u64;
            return SimulatedBlock(self.clone(), None);
        }
        heap.left = heap.recorder.rate.draw(&mut heap.random);
        heap.next += 16;
        let (address, at_us) = (heap.next, heap.now_us);
        let frames = &[site + 1];
        let sample = Allocation { address, size, at_us, tag: 0, thread: 0, frames };
        assert!(heap.recorder.allocate(&sample));
        SimulatedBlock(self.clone(), Some(address))
    }
}

impl Drop for SimulatedBlock {
    fn drop(&mut self) {
        if let Some(address) = self.1 {
            self.0.0.borrow().recorder.free(address);
        }
    }
}

/// How long a program runs, and how it is looked at.
#[derive(Debug, Clone, Copy)]
struct Plan {
    ticks: u64,
    /// Ticks from one snapshot to the next.
    every: u64,
    interval: Bytes,
}

/// The confidence in each of the program's sites.
fn confidences(seed: u64, plan: Plan) -> [f64; SITES.len()] {
    let mut heap = SimulatedHeap::new(plan.interval, seed);
    let mut program = Program::new(seed, plan.ticks, 1);
    let account = Budget::new(Bytes::mib(64)).account("history", Priority::Write);
    let mut history = History::new(&account).unwrap();
    for tick in 0..plan.ticks {
        heap.0.borrow_mut().now_us = tick * TICK_US;
        program.tick(&mut heap);
        if tick % plan.every == plan.every - 1 {
            let now_us = (tick + 1) * TICK_US - 1;
            let scan = Scan::of(&heap.0.borrow().recorder, now_us, history.times_us());
            history.push(&scan).unwrap();
        }
    }
    let mut confidences = [0.0; SITES.len()];
    for (number, triangle) in history.triangles() {
        let mut frames = Vec::new();
        heap.0.borrow().recorder.stacks.read(number, &mut frames);
        let judgement = Judgement::new(history.counts(), triangle);
        let evidence = judgement.and_then(|one| one.evidence()).unwrap_or_default();
        confidences[frames[0] - 1] = evidence.confidence();
    }
    confidences
}

#[test]
fn planted_leaks_are_found_and_caches_are_not_taken_for_them() {
    let interval = Bytes::kib(16);
    // Seeds that the numbers of the judgement were not chosen on.
    let seeds = 10_000..10_000 + if cfg!(miri) { 0 } else { 40 };
    for (ticks, every) in [(400, 20), (400, 50), (400, 11), (800, 43)] {
        let plan = Plan { ticks, every, interval };
        let (mut found, mut mistaken, mut missed) = (0, 0, Vec::new());
        for seed in seeds.clone() {
            for (site, confidence) in confidences(seed, plan).into_iter().enumerate() {
                match (site < LEAKS, confidence >= LeakReport::LIKELY) {
                    (true, true) => found += 1,
                    (false, true) => mistaken += 1,
                    (true, false) => missed.push((seed, SITES[site], confidence)),
                    (false, false) => {}
                }
            }
        }
        let all = found + missed.len();
        assert!(found * 100 >= all * 95, "{plan:?}: {found} of {all}; missed {missed:?}");
        assert!(mistaken * 100 <= all * 5, "{plan:?}: {mistaken} caches for leaks");
    }
}

#[test]
fn too_few_snapshots_say_nothing_and_just_enough_do() {
    for (snapshots, says) in [(5, false), (6, true), (7, true)] {
        let counts: Vec<u64> = (1..=snapshots).collect();
        let mut triangle = Triangle::new();
        for row in 0..snapshots as usize {
            for column in 0..=row {
                let cohort = Cohort { samples: 30, count: 30.0, bytes: 3000.0 };
                triangle.set(row, column, cohort);
            }
        }
        let evidence = Judgement::new(&counts, &triangle).and_then(|one| one.evidence());
        assert_eq!(evidence.is_some(), says, "{snapshots}");
        let confidence = evidence.unwrap_or_default().confidence();
        assert_eq!(confidence > 0.9, says, "{evidence:?}");
    }
}

#[test]
fn a_suspect_is_described_by_its_last_snapshot() {
    let times: Vec<u64> = (1..=8).map(|n| n * 60_000_000).collect();
    let mut triangle = Triangle::new();
    for row in 0..8 {
        for column in 0..=row {
            triangle.set(row, column, Cohort { samples: 4, count: 8.0, bytes: 1000.0 });
        }
    }
    triangle.oldest_us = 15_000_000;
    let place = Site { tag: crate::Tag::UNTAGGED, frames: [1].into() };
    let site = SuspectSite::new(place, &times, &triangle, Evidence::default());
    assert_eq!(site.live, Estimate { samples: 32, count: 64, bytes: Bytes::new(8000) });
    assert_eq!(site.oldest, Duration::from_secs(8 * 60 - 15));
    assert_eq!(site.median_age, Duration::from_secs(3 * 60 + 30));
    assert!((site.growth_per_minute - 1000.0).abs() < 1e-6);
}

#[test]
fn the_trend_by_chance_is_that_of_all_orders() {
    fn orders(n: u64) -> Vec<Vec<u64>> {
        if n == 0 {
            return vec![Vec::new()];
        }
        let shorter = orders(n - 1);
        let with = |order: &Vec<u64>| {
            let order = order.clone();
            (0..n as usize).map(move |at| {
                let mut longer = order.clone();
                longer.insert(at, n);
                longer
            })
        };
        shorter.iter().flat_map(with).collect()
    }
    fn excess(series: &[u64]) -> i64 {
        let pairs = (0..series.len()).flat_map(|late| (0..late).map(move |early| (early, late)));
        pairs.map(|(early, late)| (series[late] as i64 - series[early] as i64).signum()).sum()
    }
    let orders = orders(5);
    for series in [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [2, 2, 2, 2, 2], [1, 3, 2, 5, 5]] {
        let as_much = orders.iter().filter(|order| excess(order) >= excess(&series)).count();
        let expected = as_much as f64 / orders.len() as f64;
        assert!((trend_by_chance(&series) - expected).abs() < 1e-12, "{series:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 64 }))]
    #[test]
    fn coins_are_those_of_all_outcomes(tosses in 0u64..12, heads in 0u64..13) {
        let outcomes = 0u64..1 << tosses;
        let as_many = outcomes.filter(|outcome| u64::from(outcome.count_ones()) >= heads).count();
        let expected = as_many as f64 / (1u64 << tosses) as f64;
        prop_assert!((heads_at_least(heads, tosses) - expected).abs() < 1e-9);
    }
}
