//! The least recently used one goes.

use super::Policy;
use crate::link::{Links, Slot};
use crate::list::List;

/// The least recently used one goes.
#[derive(Debug, Default)]
pub struct Lru {
    queue: List,
}

impl Policy for Lru {
    fn insert(&mut self, links: &mut impl Links, slot: Slot, _: u32) {
        self.queue.push_front(links, slot);
    }

    #[inline]
    fn hit(&mut self, links: &mut impl Links, slot: Slot, _: u32) {
        self.queue.move_to_front(links, slot);
    }

    fn evict(&mut self, links: &mut impl Links) -> Option<Slot> {
        self.queue.pop_back(links)
    }

    fn remove(&mut self, links: &mut impl Links, slot: Slot) {
        self.queue.remove(links, slot);
    }

    fn relocate(&mut self, links: &mut impl Links, _: Slot, to: Slot) {
        self.queue.relocate(links, to);
    }

    fn sibling(&self) -> Self {
        Self::default()
    }

    fn fresh(&self) -> Self {
        Self::default()
    }
}
