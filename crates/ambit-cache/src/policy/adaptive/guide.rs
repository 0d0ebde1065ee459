//! Which way is best here?
//!
//! A few hundred entries' worth of keys, chosen by hash, run through small caches that each go
//! one way: a sample of the keys in a cache as much smaller hits about as often as all of them in
//! the whole (Waldspurger, Park, Garthwaite, Ahmad, FAST 2015). Their hits are counted with
//! decay, and so are the requests on which they differ. The cache turns to another way when
//! that is ahead by more than such differences come to by chance; it turns back to LRU a good deal
//! sooner, and follows it whenever nothing else is clearly better. (Where weights differ, what is
//! promised is better than LRU: hits by value, or bytes as S3-FIFO.) A small cache is its own
//! sample.
//!
//! What is learnt is shared by all parts of a cache: one relaxed load to know the way and
//! another to know whether a key is in the sample; the lock is taken for those only.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::filling::Filling;
use super::policy::Objective;
use super::queues::Queues;
use super::way::Way;
use crate::simulate::{Simulation, SimulationConfig};

/// Entries of a sample, to twice as many.
const SAMPLE: u64 = 256;
/// Votes are worth 1/e after so many requests for each entry of the sample: in the long memory
/// and in the short one.
const MEMORY: [f64; 2] = [10.0, 2.0];
/// How much more than chance is asked of each.
const SURE: [f64; 2] = [1.0, 3.0];
/// Turning needs so many votes more than chance.
const FEW: f64 = 2.0;
/// The part of this that is enough to turn to LRU.
const GUARD: f64 = 0.3;

#[derive(Debug)]
pub(crate) struct Guide {
    objective: Objective,
    way: AtomicU8,
    /// Hashes up to this one are in the sample; 0 while there is none.
    sampled: AtomicU32,
    /// Entries of the whole that the small caches suit, from and to.
    suits: [AtomicU64; 2],
    trial: Mutex<Trial>,
}

/// The small caches and their votes.
#[derive(Debug)]
struct Trial {
    caches: Vec<Simulation<Queues>>,
    /// Of long memory and of short: the one is sure, the other quick.
    votes: [Votes; 2],
    /// What a vote is worth in the mean.
    vote: f64,
    /// Entries that the caches have room for, each.
    entries: usize,
    /// The whole is so many halvings larger than the sample.
    halvings: u32,
    /// Followed whenever nothing else is clearly better.
    home: Way,
}

/// Votes with decay.
#[derive(Debug, Default)]
struct Votes {
    ways: [f64; 4],
    /// Votes on requests for which the ways differ, squared.
    differences: f64,
    decay: f64,
    /// How much more than chance is asked.
    sure: f64,
}

/// The whole cache, as one of its parts sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whole {
    pub entries: u64,
    pub bytes: u64,
}

fn halvings_for(entries: u64) -> u32 {
    (entries / SAMPLE).max(1).ilog2()
}

fn room_for(entries: u64, halvings: u32, ways: usize) -> usize {
    let sample = entries >> halvings;
    // Who looks at value keeps many that are small.
    let more = if ways == 4 { sample } else { sample / 4 };
    (sample + more + 16) as usize
}

impl Guide {
    pub fn new(objective: Objective) -> Self {
        Self {
            objective,
            way: AtomicU8::new(Way::Cautious.code()),
            sampled: AtomicU32::new(0),
            suits: [AtomicU64::new(1), AtomicU64::new(0)],
            trial: Mutex::new(Trial::new()),
        }
    }

    #[inline]
    pub fn way(&self) -> Way {
        Way::from_code(self.way.load(Ordering::Relaxed))
    }

    pub fn objective(&self) -> Objective {
        self.objective
    }

    fn trial(&self) -> std::sync::MutexGuard<'_, Trial> {
        self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cache is full for the first time: where to start?
    pub fn begin(&self, filling: &Filling) {
        let mut trial = self.trial();
        let differ = filling.weights_differ();
        trial.home = match self.objective {
            Objective::Hits if differ => Way::Value,
            Objective::Bytes if differ => Way::S3Fifo,
            _ => Way::Lru,
        };
        let way = match trial.home {
            Way::Value => Way::Value,
            _ if !filling.recency_matters() => Way::Lirs,
            Way::S3Fifo => Way::S3Fifo,
            _ => Way::Cautious,
        };
        self.way.store(way.code(), Ordering::Relaxed);
    }

    /// Bytes of its small caches.
    pub fn table_bytes(&self) -> u64 {
        self.trial().bytes()
    }

    /// Bytes of small caches that suit the whole, where those that there are do not.
    pub fn tables_wanted(&self, whole: Whole) -> Option<u64> {
        let [from, to] = &self.suits;
        let suited = from.load(Ordering::Relaxed)..=to.load(Ordering::Relaxed);
        if suited.contains(&whole.entries) {
            return None;
        }
        let ways = self.trial().ways();
        let entries = room_for(whole.entries, halvings_for(whole.entries), ways);
        Some(Trial::bytes_of(entries, ways))
    }

    /// Makes small caches that suit the whole; they start empty.
    pub fn fit_tables(&self, whole: Whole) {
        let mut trial = self.trial();
        trial.halvings = halvings_for(whole.entries);
        trial.entries = room_for(whole.entries, trial.halvings, trial.ways());
        let cap = (whole.bytes >> trial.halvings).max(1);
        let config = SimulationConfig { cap, entries: trial.entries };
        trial.caches = Vec::new();
        let ways = &Way::TRIED[..trial.ways()];
        trial.caches = ways.iter().map(|&way| Simulation::new(Queues::new(way), config)).collect();
        let sample = (whole.entries >> trial.halvings) as f64;
        for (votes, memory) in trial.votes.iter_mut().zip(MEMORY) {
            votes.decay = 1.0 - 1.0 / (memory * sample).max(30.0);
        }
        // A fifth more or less than it was made for, and never more than there is room for.
        let nominal = SAMPLE << trial.halvings;
        let room = ((trial.entries as u64 + 1) << trial.halvings) - 1;
        let from = if trial.halvings == 0 { whole.entries / 2 } else { nominal * 4 / 5 };
        self.suits[0].store(from.min(whole.entries), Ordering::Relaxed);
        self.suits[1].store(room.min(nominal * 11 / 5).max(whole.entries), Ordering::Relaxed);
        self.sampled.store(u32::MAX >> trial.halvings, Ordering::Relaxed);
    }

    /// A key was asked for.
    #[inline]
    pub fn observe(&self, hash: u32, weight: u32) {
        let mixed = hash.wrapping_mul(0x9e37_79b1);
        if mixed <= self.sampled.load(Ordering::Relaxed) {
            self.vote(hash, weight);
        }
    }

    #[cold]
    fn vote(&self, hash: u32, weight: u32) {
        let vote = match self.objective {
            Objective::Hits => 1.0,
            Objective::Bytes => f64::from(weight),
        };
        let mut trial = self.trial();
        trial.count(hash, weight, vote);
        let way = self.way();
        if let Some(better) = trial.better_than(way) {
            self.way.store(better.code(), Ordering::Relaxed);
        }
    }
}

impl Trial {
    fn new() -> Self {
        Self {
            caches: Vec::new(),
            votes: SURE.map(|sure| Votes { sure, ..Votes::default() }),
            vote: 1.0,
            entries: 0,
            halvings: 0,
            home: Way::Lru,
        }
    }

    fn ways(&self) -> usize {
        if self.home == Way::Value { 4 } else { 3 }
    }

    fn bytes_of(entries: usize, ways: usize) -> u64 {
        let cache = size_of::<Simulation<Queues>>() as u64;
        let tables = |way: &Way| {
            cache + Simulation::<Queues>::bytes_of(entries) + Queues::bytes_of(entries, *way)
        };
        Way::TRIED[..ways].iter().map(tables).sum()
    }

    fn bytes(&self) -> u64 {
        match self.caches.len() {
            0 => 0,
            ways => Self::bytes_of(self.entries, ways),
        }
    }

    fn count(&mut self, hash: u32, weight: u32, vote: f64) {
        let mut hits = [false; 4];
        for (cache, hit) in self.caches.iter_mut().zip(&mut hits) {
            *hit = cache.access(hash, weight);
        }
        let hits = &hits[..self.caches.len()];
        self.votes.iter_mut().for_each(|votes| votes.count(hits, vote));
        self.vote += (vote - self.vote) / 256.0;
    }

    /// A way that is better by more than chance.
    fn better_than(&self, way: Way) -> Option<Way> {
        let tried = &Way::TRIED[..self.ways()];
        let few = FEW * self.vote.max(1.0);
        self.votes.iter().find_map(|votes| votes.better_than(way, self.home, few, tried))
    }
}

impl Votes {
    fn count(&mut self, hits: &[bool], vote: f64) {
        self.ways.iter_mut().for_each(|votes| *votes *= self.decay);
        for (votes, hit) in self.ways.iter_mut().zip(hits) {
            *votes += if *hit { vote } else { 0.0 };
        }
        self.differences *= self.decay;
        if hits.iter().any(|hit| *hit != hits[0]) {
            self.differences += vote * vote;
        }
    }

    fn better_than(&self, way: Way, home: Way, few: f64, tried: &[Way]) -> Option<Way> {
        let noise = (self.differences.sqrt() + few) * self.sure;
        let votes = |way: Way| self.ways[way.vote()];
        let mut best = home;
        for &tried in tried {
            if votes(tried) > votes(best) {
                best = tried;
            }
        }
        if votes(best) - votes(home) < noise {
            best = home;
        }
        if way == Way::Cautious && votes(Way::S3Fifo) - votes(Way::Lru) > noise {
            return Some(if votes(best) - votes(Way::S3Fifo) > noise { best } else { Way::S3Fifo });
        }
        let is_quick = self.sure > SURE[0];
        let enough = if best == home && !is_quick { noise * GUARD } else { noise };
        (votes(best) - votes(way) > enough).then_some(best)
    }
}
