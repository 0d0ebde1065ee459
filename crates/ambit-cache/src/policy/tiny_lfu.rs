//! A window for what is new, and a door to the rest.
//!
//! W-TinyLFU (Einziger, Friedman, Manes, 2017): new entries stand in a window, a least recently
//! used queue of a fifth of the bytes. Who falls out of it is held against who would go next
//! from the main part, and the one that a sketch of the recent past has seen more often stays.
//! The main part is two queues: who is hit on probation is protected, up to four fifths. A window
//! of a fifth, where the authors take a hundredth: loops lose a little by it, everything
//! else gains more.

use super::Policy;
use super::traits::suits;
use crate::link::{Links, Slot};
use crate::list::List;
use crate::sketch::Sketch;

const WINDOW: usize = 0;
const PROBATION: usize = 1;
const PROTECTED: usize = 2;

/// A window for what is new, and a door to the rest.
#[derive(Debug, Default)]
pub struct TinyLfu {
    queues: [List; 3],
    sketch: Sketch,
}

impl TinyLfu {
    fn len(&self) -> u32 {
        self.queues.iter().map(List::len).sum()
    }

    /// Bytes that the window may have.
    fn window(&self) -> u64 {
        (self.queues.iter().map(List::bytes).sum::<u64>() / 5).max(1)
    }

    fn put(&mut self, links: &mut impl Links, slot: Slot, queue: usize) {
        links.link_mut(slot).set_queue(queue as u32);
        self.queues[queue].push_front(links, slot);
    }

    fn queue(&mut self, links: &impl Links, slot: Slot) -> &mut List {
        &mut self.queues[links.link(slot).queue() as usize % 3]
    }

    /// The window's oldest come in as they are while there is no main part to speak of.
    fn fill_main(&mut self, links: &mut impl Links) {
        let main = self.queues[PROBATION].len() + self.queues[PROTECTED].len();
        while main == 0 && self.queues[WINDOW].bytes() > self.window() {
            let Some(slot) = self.queues[WINDOW].pop_back(links) else { return };
            self.put(links, slot, PROBATION);
        }
    }

    fn victim(&self) -> Option<Slot> {
        self.queues[PROBATION].back().or_else(|| self.queues[PROTECTED].back())
    }
}

impl Policy for TinyLfu {
    fn insert(&mut self, links: &mut impl Links, slot: Slot, hash: u32) {
        self.sketch.count(hash);
        self.put(links, slot, WINDOW);
    }

    fn hit(&mut self, links: &mut impl Links, slot: Slot, hash: u32) {
        self.sketch.count(hash);
        if links.link(slot).queue() as usize != PROBATION {
            self.queue(links, slot).move_to_front(links, slot);
            return;
        }
        self.queues[PROBATION].remove(links, slot);
        self.put(links, slot, PROTECTED);
        let main = self.queues[PROBATION].bytes() + self.queues[PROTECTED].bytes();
        while self.queues[PROTECTED].bytes() > main / 5 * 4 {
            let Some(slot) = self.queues[PROTECTED].pop_back(links) else { break };
            self.put(links, slot, PROBATION);
        }
    }

    fn evict(&mut self, links: &mut impl Links) -> Option<Slot> {
        self.fill_main(links);
        let candidate = self.queues[WINDOW].back();
        let candidate = candidate.filter(|_| self.queues[WINDOW].bytes() >= self.window());
        let (loser, winner) = match (candidate, self.victim()) {
            (None, None) => return self.queues[WINDOW].pop_back(links),
            (Some(one), None) | (None, Some(one)) => (one, None),
            (Some(candidate), Some(victim)) => {
                let seen = |slot| self.sketch.estimate(links.hash(slot));
                if seen(candidate) > seen(victim) {
                    (victim, Some(candidate))
                } else {
                    (candidate, None)
                }
            }
        };
        if let Some(winner) = winner {
            self.queues[WINDOW].remove(links, winner);
            self.put(links, winner, PROBATION);
        }
        self.queue(links, loser).remove(links, loser);
        Some(loser)
    }

    fn remove(&mut self, links: &mut impl Links, slot: Slot) {
        self.queue(links, slot).remove(links, slot);
    }

    fn relocate(&mut self, links: &mut impl Links, _: Slot, to: Slot) {
        self.queue(links, to).relocate(links, to);
    }

    fn sibling(&self) -> Self {
        Self::default()
    }

    fn fresh(&self) -> Self {
        Self::default()
    }

    fn table_bytes(&self) -> u64 {
        self.sketch.bytes()
    }

    fn tables_wanted(&mut self) -> Option<u64> {
        let suited = suits(self.sketch.entries() as usize, self.len() as usize);
        (!suited).then(|| Sketch::bytes_of(self.len()))
    }

    fn fit_tables(&mut self) {
        self.sketch = Sketch::default();
        self.sketch = Sketch::for_entries(self.len());
    }
}
