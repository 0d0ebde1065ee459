//! A queue of entries through their links, that knows its bytes.
//!
//! New entries come in at the front; the back is next to go. Entries are taken out anywhere in
//! constant time. An entry stands in one list at a time.

use crate::link::{Links, NONE, Slot};

/// A queue of entries.
#[derive(Debug, Clone)]
pub(crate) struct List {
    front: Slot,
    back: Slot,
    len: u32,
    bytes: u64,
}

impl Default for List {
    fn default() -> Self {
        Self { front: NONE, back: NONE, len: 0, bytes: 0 }
    }
}

impl List {
    #[inline]
    pub fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    #[inline]
    pub fn back(&self) -> Option<Slot> {
        (self.back != NONE).then_some(self.back)
    }

    #[inline]
    pub fn push_front(&mut self, links: &mut impl Links, slot: Slot) {
        let front = self.front;
        let link = links.link_mut(slot);
        (link.prev, link.next) = (NONE, front);
        self.bytes += u64::from(link.weight());
        if front == NONE {
            self.back = slot;
        } else {
            links.link_mut(front).prev = slot;
        }
        self.front = slot;
        self.len += 1;
    }

    #[inline]
    pub fn remove(&mut self, links: &mut impl Links, slot: Slot) {
        let &mut link = links.link_mut(slot);
        match link.prev {
            NONE => self.front = link.next,
            prev => links.link_mut(prev).next = link.next,
        }
        match link.next {
            NONE => self.back = link.prev,
            next => links.link_mut(next).prev = link.prev,
        }
        self.len -= 1;
        self.bytes -= u64::from(link.weight());
    }

    #[inline]
    pub fn pop_back(&mut self, links: &mut impl Links) -> Option<Slot> {
        let slot = self.back()?;
        self.remove(links, slot);
        Some(slot)
    }

    #[inline]
    pub fn move_to_front(&mut self, links: &mut impl Links, slot: Slot) {
        if self.front != slot {
            self.remove(links, slot);
            self.push_front(links, slot);
        }
    }

    /// One of its entries is in slot `to` now, with its link: those beside it are told.
    pub fn relocate(&mut self, links: &mut impl Links, to: Slot) {
        let &mut link = links.link_mut(to);
        match link.prev {
            NONE => self.front = to,
            prev => links.link_mut(prev).next = to,
        }
        match link.next {
            NONE => self.back = to,
            next => links.link_mut(next).prev = to,
        }
    }
}
