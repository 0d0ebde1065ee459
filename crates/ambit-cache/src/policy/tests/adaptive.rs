//! The queues against slow ones, every way; and does the policy learn?

use proptest::prelude::*;

use super::oracles::{Entry, Oracle, Queue, bytes, take};
use super::{agree, requests};
use crate::ghost::Ghosts;
use crate::policy::adaptive::queues::Queues;
use crate::policy::traits::suits;
use crate::policy::{Adaptive, Lru, Objective, Policy, Way};
use crate::{Simulation, SimulationConfig};

/// One way, on vectors. Ticks are counted in full, not modulo anything.
struct Slow {
    way: Way,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
    now: u32,
    part: usize,
    floor: u32,
}

impl Slow {
    fn new(way: Way) -> Self {
        let ghosts = Ghosts::default();
        let (small, main) = (Vec::new(), Vec::new());
        Self { way, small, main, ghosts, now: 0, part: 0, floor: 0 }
    }

    fn quota(&self) -> u64 {
        let total = bytes(&self.small) + bytes(&self.main);
        total - (total * self.way.small_share() / 100).max(1).min(total)
    }

    fn find(&mut self, hash: u32) -> &mut Entry {
        self.small.iter_mut().chain(&mut self.main).find(|entry| entry.hash == hash).unwrap()
    }

    fn settle(&mut self) {
        while self.main.last().is_some_and(|entry| entry.mark > 0) {
            let entry = self.main.pop().unwrap();
            self.main.insert(0, Entry { mark: 0, ..entry });
        }
        if let Some(entry) = self.main.last() {
            self.floor = entry.stamp;
        }
    }

    fn balance(&mut self) {
        while bytes(&self.main) > self.quota() {
            self.settle();
            let entry = self.main.pop().unwrap();
            self.small.insert(0, Entry { mark: 0, ..entry });
        }
        self.settle();
    }

    fn evict_lirs(&mut self) -> Option<Entry> {
        loop {
            let quota = self.quota();
            let Some(entry) = self.small.pop() else {
                self.settle();
                return self.main.pop();
            };
            if bytes(&self.main) + entry.weight <= quota {
                self.main.insert(0, Entry { mark: 0, ..entry });
                self.settle();
                continue;
            }
            match entry.mark {
                0 => return Some(entry),
                1 => self.small.insert(0, Entry { mark: 0, ..entry }),
                _ => {
                    self.main.insert(0, Entry { mark: 0, ..entry });
                    self.balance();
                }
            }
        }
    }

    /// Who goes, and whether of main.
    fn evict_queues(&mut self) -> Option<(Entry, bool)> {
        loop {
            let from_small = !self.small.is_empty() && bytes(&self.main) <= self.quota();
            let is_lru = self.way == Way::Lru;
            if from_small {
                let entry = self.small.pop()?;
                if entry.mark == 0 {
                    return Some((entry, false));
                }
                let queue = if is_lru { &mut self.small } else { &mut self.main };
                queue.insert(0, Entry { mark: 0, ..entry });
            } else {
                let entry = self.main.pop()?;
                if entry.mark == 0 {
                    return Some((entry, true));
                }
                self.main.insert(0, Entry { mark: entry.mark - 1, ..entry });
            }
        }
    }
}

impl Oracle for Slow {
    fn insert(&mut self, mut entry: Entry) {
        self.part += 1;
        if self.part * 8 > self.small.len() + self.main.len() {
            self.part = 0;
            self.now += 1;
        }
        entry.stamp = self.now;
        let ghost = self.ghosts.take(entry.hash);
        let to_main = match (self.way, ghost) {
            (_, None) | (Way::Lru, _) => false,
            (Way::Lirs, Some(stamp)) => self.now.wrapping_sub(stamp) % 256 < self.now - self.floor,
            _ => true,
        };
        let queue = if to_main { &mut self.main } else { &mut self.small };
        queue.insert(0, entry);
        if to_main && self.way == Way::Lirs {
            self.balance();
        }
    }

    fn hit(&mut self, hash: u32) {
        let (now, floor, way) = (self.now, self.floor, self.way);
        let is_small = self.small.iter().any(|entry| entry.hash == hash);
        let entry = self.find(hash);
        entry.mark = match (way, is_small) {
            (Way::Lirs, true) if entry.stamp > floor => 2,
            (Way::Lirs, true) => entry.mark.max(1),
            _ => (entry.mark + 1).min(3),
        };
        entry.stamp = now;
    }

    fn evict(&mut self) -> Option<u32> {
        let len = self.small.len() + self.main.len();
        let ghosts = (2 * len).max((10 * len).min(512));
        if !suits(self.ghosts.capacity(), ghosts) {
            self.ghosts = Ghosts::with_len(ghosts);
        }
        let (entry, leaves_ghost) = match self.way {
            Way::Lirs => (self.evict_lirs()?, true),
            Way::Lru => (self.evict_queues()?.0, true),
            _ => self.evict_queues().map(|(entry, of_main)| (entry, !of_main))?,
        };
        if leaves_ghost {
            self.ghosts.insert(entry.hash, entry.stamp);
        }
        Some(entry.hash)
    }
}

/// Hits by bytes above the level, exactly.
#[derive(Default)]
struct SlowValue {
    entries: Queue,
    levels: Vec<(u32, f64)>,
    level: f64,
}

impl Oracle for SlowValue {
    fn insert(&mut self, entry: Entry) {
        self.levels.push((entry.hash, self.level));
        self.entries.push(entry);
    }

    fn hit(&mut self, hash: u32) {
        let (_, mut entry) = take(&mut [&mut self.entries], hash).unwrap();
        entry.mark = (entry.mark + 1).min(63);
        self.entries.push(entry);
        self.levels.iter_mut().filter(|it| it.0 == hash).for_each(|it| it.1 = self.level);
    }

    fn evict(&mut self) -> Option<u32> {
        let level = |hash| self.levels.iter().find(|it| it.0 == hash).map_or(0.0, |it| it.1);
        let worth = |it: &Entry| level(it.hash) + f64::from(it.mark + 1) / it.weight as f64;
        let least = self.entries.iter().map(worth).min_by(f64::total_cmp)?;
        let at = self.entries.iter().position(|it| worth(it) == least)?;
        let gone = self.entries.remove(at).hash;
        self.levels.retain(|it| it.0 != gone);
        self.level = least;
        Some(gone)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 128 }))]

    #[test]
    fn queues_do_what_their_oracles_do(requests in requests(), cap in 1_u64..40) {
        for way in [Way::S3Fifo, Way::Cautious, Way::Lirs, Way::Lru] {
            agree(Queues::new(way), Slow::new(way), &requests, cap)?;
        }
    }

    #[test]
    fn turning_loses_nobody(
        requests in requests(),
        cap in 1_u64..40,
        turns in prop::collection::vec((0..100_usize, 0..5_u8), 0..20),
    ) {
        let config = SimulationConfig { cap, entries: usize::MAX };
        let mut cache = Simulation::new(Turning::new(turns), config);
        for (hash, weight) in requests {
            cache.access(hash, weight);
            prop_assert_eq!(cache.policy().queues.len() as usize, cache.len());
            prop_assert!(cache.policy().queues.bytes() <= cap);
        }
    }
}

/// Queues that turn at given requests.
struct Turning {
    queues: Queues,
    turns: Vec<(usize, u8)>,
    requests: usize,
}

impl Turning {
    fn new(turns: Vec<(usize, u8)>) -> Self {
        Self { queues: Queues::new(Way::Lru), turns, requests: 0 }
    }
}

impl Policy for Turning {
    fn insert(&mut self, links: &mut impl crate::link::Links, slot: u32, hash: u32) {
        self.requests += 1;
        if let Some(turn) = self.turns.iter().find(|turn| turn.0 == self.requests) {
            self.queues.turn(links, Way::from_code(turn.1));
        }
        self.queues.insert(links, slot, hash);
    }

    fn hit(&mut self, links: &mut impl crate::link::Links, slot: u32, hash: u32) {
        self.queues.hit(links, slot, hash);
    }

    fn evict(&mut self, links: &mut impl crate::link::Links) -> Option<u32> {
        self.queues.evict(links)
    }

    fn remove(&mut self, links: &mut impl crate::link::Links, slot: u32) {
        self.queues.remove(links, slot);
    }

    fn relocate(&mut self, links: &mut impl crate::link::Links, from: u32, to: u32) {
        self.queues.relocate(links, from, to);
    }

    fn sibling(&self) -> Self {
        self.fresh()
    }

    fn fresh(&self) -> Self {
        Self::new(self.turns.clone())
    }

    fn tables_wanted(&mut self) -> Option<u64> {
        self.queues.tables_wanted()
    }

    fn fit_tables(&mut self) {
        self.queues.fit_tables();
    }
}

fn spread(key: u32) -> u32 {
    key.wrapping_mul(2_654_435_761)
}

/// The same numbers each time.
fn random() -> impl FnMut() -> u32 {
    let mut state = 7_u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as u32
    }
}

fn cache<P: Policy>(policy: P, cap: u64) -> Simulation<P> {
    Simulation::new(policy, SimulationConfig { cap, entries: usize::MAX })
}

fn hits<P: Policy>(cache: &mut Simulation<P>, keys: impl Iterator<Item = u32>) -> usize {
    keys.filter(|&key| cache.access(spread(key), 1)).count()
}

/// Each key comes once more after `distance` others came in, and then never again.
fn bursts(distance: u32, len: u32) -> impl Iterator<Item = u32> {
    (0..len).flat_map(move |at| (0..2).map(move |back| at.saturating_sub(back * distance)))
}

#[test]
fn by_value_hits_about_as_often_as_the_exact_order() {
    let mut random = random();
    let (mut fast, mut slow) =
        (cache(Queues::new(Way::Value), 3_000), super::Cached::new(SlowValue::default(), 3_000));
    let (mut ours, mut theirs) = (0, 0);
    for _ in 0..20_000 {
        let key = random() % (1 + random() % 400);
        let weight = 1 + key * key % 97;
        ours += usize::from(fast.access(spread(key), weight));
        theirs += usize::from(slow.access(spread(key), weight));
    }
    assert!(ours * 100 >= theirs * 99, "{ours} against {theirs}");
}

#[test]
fn a_loop_larger_than_the_cache_is_learnt() {
    let mut cache = cache(Adaptive::default(), 500);
    hits(&mut cache, bursts(300, 3_000));
    let looped = hits(&mut cache, (0..20).flat_map(|_| 10_000..11_000));
    assert_eq!(cache.policy().way(), Way::Lirs);
    assert!(looped > 20_000 * 4 / 10, "{looped} of 20,000, half of which could be hit");
}

#[test]
fn bursts_after_a_loop_are_learnt() {
    let mut cache = cache(Adaptive::default(), 500);
    hits(&mut cache, (0..20).flat_map(|_| 10_000..11_000));
    assert_eq!(cache.policy().way(), Way::Lirs);
    let ours = hits(&mut cache, bursts(150, 10_000));
    assert_ne!(cache.policy().way(), Way::Lirs);
    let theirs = hits(&mut self::cache(Lru::default(), 500), bursts(150, 10_000));
    // What is lost is lost while it is learnt.
    assert!(ours * 100 >= theirs * 80, "{ours} against {theirs} of LRU");
}

#[test]
fn where_weights_differ_hits_are_had_by_value_and_bytes_are_not() {
    // Small ones are asked for less often each, and more often by byte.
    let mut random = random();
    let requests: Vec<(u32, u32)> = (0..40_000)
        .map(|at| if at % 2 == 0 { (random() % 60, 400) } else { (1_000 + random() % 600, 10) })
        .collect();
    for (objective, by_value) in [(Objective::Hits, true), (Objective::Bytes, false)] {
        let mut cache = cache(Adaptive::new(objective), 9_000);
        for &(key, weight) in &requests {
            cache.access(spread(key), weight);
        }
        assert_eq!(cache.policy().way() == Way::Value, by_value, "{:?}", cache.policy().way());
    }
}

#[test]
fn siblings_share_what_they_learn() {
    let one = Adaptive::default();
    let mut other = cache(one.sibling(), 500);
    hits(&mut other, (0..4).flat_map(|_| 0..1_000));
    assert_eq!(one.way(), other.policy().way());
}
