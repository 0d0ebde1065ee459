//! Slow policies.

use crate::ghost::Ghosts;
use crate::policy::traits::suits;
use crate::sketch::Sketch;

/// An entry, front first in its vector.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub hash: u32,
    pub weight: u64,
    pub mark: u32,
    pub stamp: u32,
}

pub type Queue = Vec<Entry>;

pub fn bytes(queue: &Queue) -> u64 {
    queue.iter().map(|entry| entry.weight).sum()
}

/// Takes an entry out wherever it stands.
pub fn take(queues: &mut [&mut Queue], hash: u32) -> Option<(usize, Entry)> {
    queues.iter_mut().enumerate().find_map(|(number, queue)| {
        let at = queue.iter().position(|entry| entry.hash == hash)?;
        Some((number, queue.remove(at)))
    })
}

pub trait Oracle {
    fn insert(&mut self, entry: Entry);
    fn hit(&mut self, hash: u32);
    /// Who goes.
    fn evict(&mut self) -> Option<u32>;
}

/// A cache with a slow policy.
pub struct Cached<O> {
    oracle: O,
    entries: Vec<(u32, u64)>,
    cap: u64,
}

impl<O: Oracle> Cached<O> {
    pub fn new(oracle: O, cap: u64) -> Self {
        Self { oracle, entries: Vec::new(), cap }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn access(&mut self, hash: u32, weight: u32) -> bool {
        let weight = u64::from(weight);
        if self.entries.iter().any(|entry| entry.0 == hash) {
            self.oracle.hit(hash);
            return true;
        }
        if weight > self.cap {
            return false;
        }
        while self.entries.iter().map(|entry| entry.1).sum::<u64>() + weight > self.cap {
            let gone = self.oracle.evict().unwrap();
            self.entries.retain(|entry| entry.0 != gone);
        }
        self.entries.push((hash, weight));
        self.oracle.insert(Entry { hash, weight, mark: 0, stamp: 0 });
        false
    }
}

#[derive(Default)]
pub struct Fifo(Queue);

impl Oracle for Fifo {
    fn insert(&mut self, entry: Entry) {
        self.0.insert(0, entry);
    }

    fn hit(&mut self, _: u32) {}

    fn evict(&mut self) -> Option<u32> {
        self.0.pop().map(|entry| entry.hash)
    }
}

#[derive(Default)]
pub struct Lru(Queue);

impl Oracle for Lru {
    fn insert(&mut self, entry: Entry) {
        self.0.insert(0, entry);
    }

    fn hit(&mut self, hash: u32) {
        let (_, entry) = take(&mut [&mut self.0], hash).unwrap();
        self.0.insert(0, entry);
    }

    fn evict(&mut self) -> Option<u32> {
        self.0.pop().map(|entry| entry.hash)
    }
}

/// Most recent first, whatever the count.
#[derive(Default)]
pub struct Lfu {
    entries: Queue,
    counted: usize,
}

impl Lfu {
    fn count(&mut self) {
        self.counted += 1;
        if self.counted >= 10 * self.entries.len() {
            self.counted = 0;
            // Queues of counts are emptied from the lowest, each from its back.
            let mut aged: Queue = Vec::new();
            for mark in 0..64 {
                for entry in self.entries.iter().rev().filter(|entry| entry.mark == mark) {
                    aged.insert(0, Entry { mark: mark / 2, ..*entry });
                }
            }
            self.entries = aged;
        }
    }
}

impl Oracle for Lfu {
    fn insert(&mut self, entry: Entry) {
        self.entries.insert(0, entry);
        self.count();
    }

    fn hit(&mut self, hash: u32) {
        let (_, entry) = take(&mut [&mut self.entries], hash).unwrap();
        self.entries.insert(0, Entry { mark: (entry.mark + 1).min(63), ..entry });
        self.count();
    }

    fn evict(&mut self) -> Option<u32> {
        let least = self.entries.iter().map(|entry| entry.mark).min()?;
        let at = self.entries.iter().rposition(|entry| entry.mark == least)?;
        Some(self.entries.remove(at).hash)
    }
}

/// The hand points at an entry by its hash.
#[derive(Default)]
pub struct Sieve {
    queue: Queue,
    hand: Option<u32>,
}

impl Oracle for Sieve {
    fn insert(&mut self, entry: Entry) {
        self.queue.insert(0, entry);
    }

    fn hit(&mut self, hash: u32) {
        self.queue.iter_mut().filter(|entry| entry.hash == hash).for_each(|entry| entry.mark = 1);
    }

    fn evict(&mut self) -> Option<u32> {
        let last = self.queue.len().checked_sub(1)?;
        let hand = self.hand.and_then(|hash| self.queue.iter().position(|it| it.hash == hash));
        let mut at = hand.unwrap_or(last);
        while self.queue[at].mark > 0 {
            self.queue[at].mark = 0;
            at = at.checked_sub(1).unwrap_or(last);
        }
        self.hand = at.checked_sub(1).map(|before| self.queue[before].hash);
        Some(self.queue.remove(at).hash)
    }
}

#[derive(Default)]
pub struct S3Fifo {
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
}

impl Oracle for S3Fifo {
    fn insert(&mut self, entry: Entry) {
        let is_known = self.ghosts.take(entry.hash).is_some();
        let queue = if is_known { &mut self.main } else { &mut self.small };
        queue.insert(0, entry);
    }

    fn hit(&mut self, hash: u32) {
        let all = self.small.iter_mut().chain(&mut self.main);
        all.filter(|it| it.hash == hash).for_each(|it| it.mark = (it.mark + 1).min(3));
    }

    fn evict(&mut self) -> Option<u32> {
        let len = self.small.len() + self.main.len();
        if !suits(self.ghosts.capacity(), len) {
            self.ghosts = Ghosts::with_len(len);
        }
        loop {
            let (small, main) = (bytes(&self.small), bytes(&self.main));
            let from_main = !self.main.is_empty() && small < (small + main) / 10;
            if self.small.is_empty() || from_main {
                let mut entry = self.main.pop()?;
                if entry.mark == 0 {
                    return Some(entry.hash);
                }
                entry.mark -= 1;
                self.main.insert(0, entry);
                if from_main {
                    // Once main is chosen, somebody of main goes.
                    while self.main.last()?.mark > 0 {
                        let mut entry = self.main.pop()?;
                        entry.mark -= 1;
                        self.main.insert(0, entry);
                    }
                    return self.main.pop().map(|entry| entry.hash);
                }
            } else {
                let mut entry = self.small.pop()?;
                if entry.mark == 0 {
                    self.ghosts.insert(entry.hash, 0);
                    return Some(entry.hash);
                }
                entry.mark = 0;
                self.main.insert(0, entry);
            }
        }
    }
}

#[derive(Default)]
pub struct TinyLfu {
    window: Queue,
    probation: Queue,
    protected: Queue,
    sketch: Sketch,
}

impl Oracle for TinyLfu {
    fn insert(&mut self, entry: Entry) {
        self.sketch.count(entry.hash);
        self.window.insert(0, entry);
    }

    fn hit(&mut self, hash: u32) {
        self.sketch.count(hash);
        let queues = &mut [&mut self.window, &mut self.probation, &mut self.protected];
        match take(queues, hash).unwrap() {
            (0, entry) => self.window.insert(0, entry),
            (1, entry) => {
                self.protected.insert(0, entry);
                let main = bytes(&self.probation) + bytes(&self.protected);
                while bytes(&self.protected) > main / 5 * 4 {
                    let entry = self.protected.pop().unwrap();
                    self.probation.insert(0, entry);
                }
            }
            (_, entry) => self.protected.insert(0, entry),
        }
    }

    fn evict(&mut self) -> Option<u32> {
        let queues = [&self.window, &self.probation, &self.protected];
        let len = queues.iter().map(|queue| queue.len()).sum();
        let total: u64 = queues.into_iter().map(bytes).sum();
        if !suits(self.sketch.entries() as usize, len) {
            self.sketch = Sketch::for_entries(len as u32);
        }
        let quota = (total / 5).max(1);
        if self.probation.is_empty() && self.protected.is_empty() {
            while bytes(&self.window) > quota {
                let entry = self.window.pop()?;
                self.probation.insert(0, entry);
            }
        }
        let main =
            if self.probation.is_empty() { &mut self.protected } else { &mut self.probation };
        let is_over = bytes(&self.window) >= quota;
        match (self.window.last().copied().filter(|_| is_over), main.last().copied()) {
            (Some(candidate), Some(victim)) => {
                self.window.pop();
                if self.sketch.estimate(candidate.hash) > self.sketch.estimate(victim.hash) {
                    main.pop();
                    self.probation.insert(0, candidate);
                    Some(victim.hash)
                } else {
                    Some(candidate.hash)
                }
            }
            (None, Some(_)) => main.pop().map(|entry| entry.hash),
            _ => self.window.pop().map(|entry| entry.hash),
        }
    }
}
