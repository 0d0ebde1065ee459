//! A queue in which the hit stay where they are.
//!
//! SIEVE is simpler than LRU (Zhang, Yang, Yue, Vigfusson, Rashmi, NSDI 2024): a hand moves from
//! the back to the front, spares who was hit since it last came by, and takes the first who was
//! not. Nobody moves.

use super::Policy;
use crate::link::{Links, NONE, Slot};
use crate::list::List;

/// A queue in which the hit stay where they are.
#[derive(Debug)]
pub struct Sieve {
    queue: List,
    hand: Slot,
}

impl Default for Sieve {
    fn default() -> Self {
        Self { queue: List::default(), hand: NONE }
    }
}

impl Policy for Sieve {
    fn insert(&mut self, links: &mut impl Links, slot: Slot, _: u32) {
        links.link_mut(slot).set_mark(0);
        self.queue.push_front(links, slot);
    }

    #[inline]
    fn hit(&mut self, links: &mut impl Links, slot: Slot, _: u32) {
        links.link_mut(slot).set_mark(1);
    }

    fn evict(&mut self, links: &mut impl Links) -> Option<Slot> {
        let mut slot = if self.hand == NONE { self.queue.back()? } else { self.hand };
        while links.link(slot).mark() > 0 {
            links.link_mut(slot).set_mark(0);
            slot = match links.link(slot).prev {
                NONE => self.queue.back()?,
                prev => prev,
            };
        }
        self.hand = links.link(slot).prev;
        self.queue.remove(links, slot);
        Some(slot)
    }

    fn remove(&mut self, links: &mut impl Links, slot: Slot) {
        if self.hand == slot {
            self.hand = links.link(slot).prev;
        }
        self.queue.remove(links, slot);
    }

    fn relocate(&mut self, links: &mut impl Links, from: Slot, to: Slot) {
        if self.hand == from {
            self.hand = to;
        }
        self.queue.relocate(links, to);
    }

    fn sibling(&self) -> Self {
        Self::default()
    }

    fn fresh(&self) -> Self {
        Self::default()
    }
}
