//! The least frequently used one goes, and counts age.
//!
//! A queue for each count up to 63; within a queue the least recently used goes first. Counts
//! are halved each time that ten times as many requests came as there are entries, so that
//! what was popular once does not stay for ever.

use super::Policy;
use crate::link::{Links, MAX_MARK, Slot};
use crate::list::List;

const QUEUES: usize = MAX_MARK as usize + 1;
/// Requests before ageing, for each entry.
const PERIOD: u64 = 10;

/// The least frequently used one goes, and counts age.
#[derive(Debug)]
pub struct Lfu {
    queues: Box<[List; QUEUES]>,
    len: u64,
    counted: u64,
}

impl Default for Lfu {
    fn default() -> Self {
        Self { queues: Box::new(std::array::from_fn(|_| List::default())), len: 0, counted: 0 }
    }
}

impl Lfu {
    fn queue(&mut self, links: &impl Links, slot: Slot) -> &mut List {
        &mut self.queues[links.link(slot).mark() as usize]
    }

    fn count(&mut self, links: &mut impl Links) {
        self.counted += 1;
        if self.counted < PERIOD * self.len {
            return;
        }
        self.counted = 0;
        for from in 1..QUEUES {
            let mut old = std::mem::take(&mut self.queues[from]);
            while let Some(slot) = old.pop_back(links) {
                links.link_mut(slot).set_mark(from as u32 / 2);
                self.queues[from / 2].push_front(links, slot);
            }
        }
    }
}

impl Policy for Lfu {
    fn insert(&mut self, links: &mut impl Links, slot: Slot, _: u32) {
        links.link_mut(slot).set_mark(0);
        self.queues[0].push_front(links, slot);
        self.len += 1;
        self.count(links);
    }

    fn hit(&mut self, links: &mut impl Links, slot: Slot, _: u32) {
        self.queue(links, slot).remove(links, slot);
        let mark = links.link(slot).mark() + 1;
        links.link_mut(slot).set_mark(mark);
        self.queue(links, slot).push_front(links, slot);
        self.count(links);
    }

    fn evict(&mut self, links: &mut impl Links) -> Option<Slot> {
        let slot = self.queues.iter_mut().find_map(|queue| queue.pop_back(links))?;
        self.len -= 1;
        Some(slot)
    }

    fn remove(&mut self, links: &mut impl Links, slot: Slot) {
        self.queue(links, slot).remove(links, slot);
        self.len -= 1;
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
}
