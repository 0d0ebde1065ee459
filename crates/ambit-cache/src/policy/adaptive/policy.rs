//! The policy: queues, and a guide that says how to run them.
//!
//! While the cache fills nobody has to go, and what is seen then chooses where to start. From
//! then on the guide watches a sample of the keys, and the queues turn when it does. Parts of
//! one cache share the guide; the first of them finds the bytes for its tables.

use std::sync::Arc;

use super::filling::Filling;
use super::guide::{Guide, Whole};
use super::queues::Queues;
use super::way::Way;
use crate::link::{Links, Slot};
use crate::policy::Policy;

/// What a hit is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Objective {
    /// The same, whatever was hit: most requests answered.
    #[default]
    Hits,
    /// The bytes of what was hit: fewest bytes read again.
    Bytes,
}

/// A policy that learns which way to follow.
///
/// It runs the ways of [`Way`] on a small sample of the keys, and follows the one that would
/// have done best lately; when the pattern turns, so does it.
#[derive(Debug)]
pub struct Adaptive {
    queues: Queues,
    guide: Arc<Guide>,
    /// Until the first had to go.
    filling: Option<Filling>,
    is_first: bool,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self::new(Objective::default())
    }
}

impl Adaptive {
    /// A policy that works for this objective.
    pub fn new(objective: Objective) -> Self {
        Self {
            queues: Queues::new(Way::Cautious),
            guide: Arc::new(Guide::new(objective)),
            filling: Some(Filling::default()),
            is_first: true,
        }
    }

    /// The way that it follows at present.
    pub fn way(&self) -> Way {
        self.guide.way()
    }

    /// What a hit is worth to it.
    pub fn objective(&self) -> Objective {
        self.guide.objective()
    }

    fn whole(&self) -> Whole {
        // All parts look alike: keys are spread by their hashes.
        let parts = Arc::strong_count(&self.guide) as u64;
        Whole { entries: u64::from(self.queues.len()) * parts, bytes: self.queues.bytes() * parts }
    }

    #[cold]
    fn begin(&mut self) {
        if let Some(filling) = self.filling.take().filter(|_| self.is_first) {
            self.guide.begin(&filling);
        }
    }
}

impl Policy for Adaptive {
    fn insert(&mut self, links: &mut impl Links, slot: Slot, hash: u32) {
        let weight = links.link(slot).weight();
        self.queues.insert(links, slot, hash);
        if let Some(filling) = &mut self.filling {
            filling.insert(self.queues.len(), weight);
        }
        self.guide.observe(hash, weight);
    }

    #[inline]
    fn hit(&mut self, links: &mut impl Links, slot: Slot, hash: u32) {
        if let Some(filling) = &mut self.filling {
            filling.hit(self.queues.is_far(links.link(slot).stamp()));
        }
        self.queues.hit(links, slot, hash);
        self.guide.observe(hash, links.link(slot).weight());
    }

    fn evict(&mut self, links: &mut impl Links) -> Option<Slot> {
        let way = self.guide.way();
        if way != self.queues.way() {
            self.queues.turn(links, way);
        }
        self.queues.evict(links)
    }

    fn remove(&mut self, links: &mut impl Links, slot: Slot) {
        self.queues.remove(links, slot);
    }

    fn relocate(&mut self, links: &mut impl Links, from: Slot, to: Slot) {
        self.queues.relocate(links, from, to);
    }

    fn sibling(&self) -> Self {
        Self {
            queues: self.queues.sibling(),
            guide: Arc::clone(&self.guide),
            filling: Some(Filling::default()),
            is_first: false,
        }
    }

    fn fresh(&self) -> Self {
        Self::new(self.objective())
    }

    fn table_bytes(&self) -> u64 {
        let guide = if self.is_first { self.guide.table_bytes() } else { 0 };
        self.queues.table_bytes() + guide
    }

    fn tables_wanted(&mut self) -> Option<u64> {
        if self.filling.is_some() {
            self.begin();
        }
        self.queues.plan(self.guide.way());
        let queues = self.queues.tables_wanted();
        let guide = if self.is_first { self.guide.tables_wanted(self.whole()) } else { None };
        if queues.is_none() && guide.is_none() {
            return None;
        }
        let kept = || if self.is_first { self.guide.table_bytes() } else { 0 };
        Some(queues.unwrap_or_else(|| self.queues.table_bytes()) + guide.unwrap_or_else(kept))
    }

    fn fit_tables(&mut self) {
        if self.queues.tables_wanted().is_some() {
            self.queues.fit_tables();
        }
        if self.is_first && self.guide.tables_wanted(self.whole()).is_some() {
            self.guide.fit_tables(self.whole());
        }
    }
}
