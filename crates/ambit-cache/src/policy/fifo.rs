//! First in, first out.

use super::Policy;
use crate::link::{Links, Slot};
use crate::list::List;

/// First in, first out; hits do not matter.
#[derive(Debug, Default)]
pub struct Fifo {
    queue: List,
}

impl Policy for Fifo {
    fn insert(&mut self, links: &mut impl Links, slot: Slot, _: u32) {
        self.queue.push_front(links, slot);
    }

    #[inline]
    fn hit(&mut self, _: &mut impl Links, _: Slot, _: u32) {}

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
