//! Three queues of first in, first out.
//!
//! FIFO queues are all you need for cache eviction (Yang, Zhang, Qiu, Yue, Vigfusson, SOSP
//! 2023): new entries stand in a small queue of a tenth of the bytes; who was hit there moves to
//! the main queue, in which the hit go round again; who was not leaves a ghost, and comes back
//! straight into the main queue. A hit sets a few bits and moves nobody.

use super::Policy;
use super::traits::suits;
use crate::ghost::Ghosts;
use crate::link::{Links, Slot};
use crate::list::List;

const SMALL: u32 = 0;
const MAIN: u32 = 1;
/// Hits that are counted, at most.
const MOST: u32 = 3;
/// The small queue's part of the bytes.
const SHARE: u64 = 10;

/// Three queues of first in, first out.
#[derive(Debug, Default)]
pub struct S3Fifo {
    small: List,
    main: List,
    ghosts: Ghosts,
}

impl S3Fifo {
    fn len(&self) -> usize {
        (self.small.len() + self.main.len()) as usize
    }

    fn evict_from_main(&mut self, links: &mut impl Links) -> Option<Slot> {
        loop {
            let slot = self.main.pop_back(links)?;
            let link = links.link_mut(slot);
            if link.mark() == 0 {
                return Some(slot);
            }
            link.set_mark(link.mark() - 1);
            self.main.push_front(links, slot);
        }
    }
}

impl Policy for S3Fifo {
    fn insert(&mut self, links: &mut impl Links, slot: Slot, hash: u32) {
        let queue = if self.ghosts.take(hash).is_some() { MAIN } else { SMALL };
        let link = links.link_mut(slot);
        link.set_queue(queue);
        link.set_mark(0);
        let queue = if queue == MAIN { &mut self.main } else { &mut self.small };
        queue.push_front(links, slot);
    }

    #[inline]
    fn hit(&mut self, links: &mut impl Links, slot: Slot, _: u32) {
        let link = links.link_mut(slot);
        if link.mark() < MOST {
            link.set_mark(link.mark() + 1);
        }
    }

    fn evict(&mut self, links: &mut impl Links) -> Option<Slot> {
        loop {
            let total = self.small.bytes() + self.main.bytes();
            if self.main.len() > 0 && self.small.bytes() < total / SHARE {
                return self.evict_from_main(links);
            }
            let Some(slot) = self.small.pop_back(links) else {
                return self.evict_from_main(links);
            };
            let link = links.link_mut(slot);
            if link.mark() == 0 {
                self.ghosts.insert(links.hash(slot), 0);
                return Some(slot);
            }
            link.set_queue(MAIN);
            link.set_mark(0);
            self.main.push_front(links, slot);
        }
    }

    fn remove(&mut self, links: &mut impl Links, slot: Slot) {
        match links.link(slot).queue() {
            MAIN => self.main.remove(links, slot),
            _ => self.small.remove(links, slot),
        }
    }

    fn relocate(&mut self, links: &mut impl Links, _: Slot, to: Slot) {
        match links.link(to).queue() {
            MAIN => self.main.relocate(links, to),
            _ => self.small.relocate(links, to),
        }
    }

    fn sibling(&self) -> Self {
        Self::default()
    }

    fn fresh(&self) -> Self {
        Self::default()
    }

    fn table_bytes(&self) -> u64 {
        self.ghosts.bytes()
    }

    fn tables_wanted(&mut self) -> Option<u64> {
        let suited = suits(self.ghosts.capacity(), self.len());
        (!suited).then(|| Ghosts::bytes_of(self.len()))
    }

    fn fit_tables(&mut self) {
        self.ghosts = Ghosts::default();
        self.ghosts = Ghosts::with_len(self.len());
    }
}
