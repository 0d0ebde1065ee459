//! Queues that can be run any way, so that turning costs nothing.
//!
//! A small queue and a main one. Whichever way they are run, a hit notes its time and a mark in
//! the entry's link, and moves nobody; the rest is done when somebody has to go:
//!
//! - S3-FIFO: new ones are small; the hit move to main; known ghosts come into main.
//! - LRU: all are small; the hit go round again.
//! - LIRS: nearly all is main; new ones are small. Who is asked for again sooner than the
//!   oldest of main was asked for (the floor) takes its place: recency is told by stamps, so
//!   no stack has to hold entries that are not there. Known ghosts are held against the floor.
//! - By value: see [`Values`].
//!
//! Stamps tick eight times while as many come in as there are entries.

use super::values::Values;
use super::way::Way;
use crate::ghost::{self, Ghosts};
use crate::link::{Links, STAMPS, Slot};
use crate::list::List;
use crate::policy::Policy;
use crate::policy::traits::suits;

const SMALL: u32 = 0;
const MAIN: u32 = 1;
const VALUED: u32 = 2;
/// Ticks while as many come in as there are entries.
const TICKS: u32 = 8;
/// Hits that are counted, at most.
const MOST: u32 = 3;
/// The mark of one that was asked for again sooner than the floor.
const SOON: u32 = 2;
/// Ghosts for each entry.
const GHOSTS: usize = 2;
/// A small cache remembers more, since that costs little: so many, or so many for each entry.
const GHOSTS_OF_SMALL: (usize, usize) = (512, 10);

#[derive(Debug)]
pub(crate) struct Queues {
    way: Way,
    small: List,
    main: List,
    values: Option<Values>,
    by_value: bool,
    ghosts: Ghosts,
    now: u32,
    /// Came in since the last tick.
    part: u32,
    /// When the oldest of main was asked for.
    floor: u32,
}

impl Queues {
    pub fn new(way: Way) -> Self {
        Self {
            way,
            small: List::default(),
            main: List::default(),
            values: None,
            by_value: matches!(way, Way::Value),
            ghosts: Ghosts::default(),
            now: 0,
            part: 0,
            floor: 0,
        }
    }

    pub fn len(&self) -> u32 {
        self.small.len() + self.main.len() + self.values.as_ref().map_or(0, Values::len)
    }

    pub fn bytes(&self) -> u64 {
        self.small.bytes() + self.main.bytes() + self.values.as_ref().map_or(0, Values::bytes)
    }

    pub fn way(&self) -> Way {
        self.way
    }

    /// From now on this way.
    pub fn turn(&mut self, links: &mut impl Links, way: Way) {
        self.way = way;
        if way == Way::Lirs {
            self.settle(links);
        }
    }

    /// Is about to go this way: tables are wanted for it.
    pub fn plan(&mut self, way: Way) {
        self.by_value = way == Way::Value;
    }

    /// Bytes of tables for `len` entries.
    pub const fn bytes_of(len: usize, way: Way) -> u64 {
        let values = if matches!(way, Way::Value) { Values::BYTES } else { 0 };
        Ghosts::bytes_of(Self::ghosts_for(len)) + values
    }

    const fn ghosts_for(len: usize) -> usize {
        let (most, each) = GHOSTS_OF_SMALL;
        let of_small = if len * each < most { len * each } else { most };
        if of_small > len * GHOSTS { of_small } else { len * GHOSTS }
    }

    fn tick(&mut self) {
        self.part += 1;
        if self.part * TICKS > self.len() {
            self.part = 0;
            self.now = (self.now + 1) % STAMPS;
        }
    }

    /// Ticks since an entry was asked for last.
    #[inline]
    pub fn age(&self, stamp: u32) -> u32 {
        self.now.wrapping_sub(stamp) % STAMPS
    }

    /// Is one of this stamp so far down the queue that a quarter of the entries came in since?
    #[inline]
    pub fn is_far(&self, stamp: u32) -> bool {
        // While a cache grows by a third, this many ticks pass.
        self.age(stamp) > (TICKS * 9 / 32).min(self.len() / 4)
    }

    fn main_quota(&self) -> u64 {
        let total = self.small.bytes() + self.main.bytes();
        total - (total * self.way.small_share() / 100).max(1).min(total)
    }

    fn put(&mut self, links: &mut impl Links, slot: Slot, queue: u32) {
        let link = links.link_mut(slot);
        link.set_queue(queue);
        link.set_mark(0);
        match queue {
            MAIN => self.main.push_front(links, slot),
            _ => self.small.push_front(links, slot),
        }
    }

    fn evict_s3_fifo(&mut self, links: &mut impl Links) -> Option<Slot> {
        loop {
            if self.small.len() > 0 && self.main.bytes() <= self.main_quota() {
                let slot = self.small.pop_back(links)?;
                if links.link(slot).mark() == 0 {
                    return Some(slot);
                }
                self.put(links, slot, MAIN);
            } else {
                let slot = self.main.pop_back(links)?;
                let mark = links.link(slot).mark();
                if mark == 0 {
                    return Some(slot);
                }
                self.put(links, slot, MAIN);
                links.link_mut(slot).set_mark(mark.min(MOST) - 1);
            }
        }
    }

    fn evict_lru(&mut self, links: &mut impl Links) -> Option<Slot> {
        loop {
            let slot = self.main.pop_back(links).or_else(|| self.small.pop_back(links))?;
            if links.link(slot).mark() == 0 {
                return Some(slot);
            }
            self.put(links, slot, SMALL);
        }
    }

    /// The back of main is one that was not hit since it stands there, and the floor is its stamp.
    fn settle(&mut self, links: &mut impl Links) {
        while let Some(slot) = self.main.back() {
            let link = links.link_mut(slot);
            if link.mark() == 0 {
                self.floor = link.stamp();
                return;
            }
            link.set_mark(0);
            self.main.move_to_front(links, slot);
        }
    }

    /// The oldest leave main until it is no larger than it may be.
    fn balance(&mut self, links: &mut impl Links) {
        while self.main.bytes() > self.main_quota() {
            self.settle(links);
            let Some(slot) = self.main.pop_back(links) else { return };
            self.put(links, slot, SMALL);
        }
        self.settle(links);
    }

    fn evict_lirs(&mut self, links: &mut impl Links) -> Option<Slot> {
        loop {
            let Some(slot) = self.small.back() else {
                self.settle(links);
                return self.main.pop_back(links);
            };
            let quota = self.main_quota();
            self.small.remove(links, slot);
            let link = links.link(slot);
            if self.main.bytes() + u64::from(link.weight()) <= quota {
                self.put(links, slot, MAIN);
                self.settle(links);
                continue;
            }
            match link.mark() {
                0 => return Some(slot),
                1 => self.put(links, slot, SMALL),
                _ => {
                    self.put(links, slot, MAIN);
                    self.balance(links);
                }
            }
        }
    }

    fn push_value(&mut self, links: &mut impl Links, slot: Slot) {
        let Some(values) = &mut self.values else {
            // Until there is a table for it, in the order of LRU.
            self.put(links, slot, SMALL);
            return;
        };
        links.link_mut(slot).set_queue(VALUED);
        values.push(links, slot);
    }

    fn evict_by_value(&mut self, links: &mut impl Links) -> Option<Slot> {
        if self.values.is_none() {
            return self.evict_lru(links);
        }
        // Those who stand in queues come over a few at a time.
        for _ in 0..4 {
            let next = self.small.pop_back(links).or_else(|| self.main.pop_back(links));
            let Some(slot) = next else { break };
            self.push_value(links, slot);
        }
        self.values.as_mut()?.pop(links)
    }

    /// Is one whose ghost had this stamp asked for again sooner than the floor?
    fn is_soon(&self, ghost: u32) -> bool {
        let age = self.now.wrapping_sub(ghost) % ghost::STAMPS;
        age < self.age(self.floor)
    }
}

impl Policy for Queues {
    fn insert(&mut self, links: &mut impl Links, slot: Slot, hash: u32) {
        self.tick();
        let ghost = self.ghosts.take(hash);
        let now = self.now;
        let link = links.link_mut(slot);
        link.set_stamp(now);
        match (self.way, ghost) {
            (Way::Value, _) => {
                link.set_mark(0);
                self.push_value(links, slot);
            }
            (Way::S3Fifo | Way::Cautious, Some(_)) => self.put(links, slot, MAIN),
            (Way::Lirs, Some(stamp)) if self.is_soon(stamp) => {
                self.put(links, slot, MAIN);
                self.balance(links);
            }
            _ => self.put(links, slot, SMALL),
        }
    }

    #[inline]
    fn hit(&mut self, links: &mut impl Links, slot: Slot, _: u32) {
        let now = self.now;
        let link = links.link_mut(slot);
        let queue = link.queue();
        if queue == VALUED {
            self.hit_value(links, slot);
            return;
        }
        let soon = if queue == SMALL && self.way == Way::Lirs {
            if self.age(link.stamp()) < self.age(self.floor) { SOON } else { 1 }.max(link.mark())
        } else {
            (link.mark() + 1).min(MOST)
        };
        link.set_mark(soon);
        link.set_stamp(now);
    }

    fn evict(&mut self, links: &mut impl Links) -> Option<Slot> {
        let left_over = self.values.as_mut().filter(|_| self.way != Way::Value);
        let slot = match left_over.and_then(|values| values.pop(links)) {
            Some(slot) => slot,
            None => match self.way {
                Way::S3Fifo | Way::Cautious => self.evict_s3_fifo(links),
                Way::Lirs => self.evict_lirs(links),
                Way::Lru => self.evict_lru(links),
                Way::Value => self.evict_by_value(links),
            }?,
        };
        let link = links.link(slot);
        let stamp = if link.queue() == VALUED { self.now } else { link.stamp() };
        let is_s3_fifo = matches!(self.way, Way::S3Fifo | Way::Cautious);
        if !(is_s3_fifo && link.queue() == MAIN) {
            self.ghosts.insert(links.hash(slot), stamp);
        }
        Some(slot)
    }

    fn remove(&mut self, links: &mut impl Links, slot: Slot) {
        match (links.link(slot).queue(), &mut self.values) {
            (VALUED, Some(values)) => values.remove(links, slot),
            (MAIN, _) => self.main.remove(links, slot),
            _ => self.small.remove(links, slot),
        }
    }

    fn relocate(&mut self, links: &mut impl Links, _: Slot, to: Slot) {
        match (links.link(to).queue(), &mut self.values) {
            (VALUED, Some(values)) => values.relocate(links, to),
            (MAIN, _) => self.main.relocate(links, to),
            _ => self.small.relocate(links, to),
        }
    }

    fn sibling(&self) -> Self {
        self.fresh()
    }

    fn fresh(&self) -> Self {
        Self::new(self.way)
    }

    fn table_bytes(&self) -> u64 {
        self.ghosts.bytes() + if self.values.is_some() { Values::BYTES } else { 0 }
    }

    fn tables_wanted(&mut self) -> Option<u64> {
        let ghosts = Self::ghosts_for(self.len() as usize);
        let suited = suits(self.ghosts.capacity(), ghosts);
        let lacks_values = self.by_value && self.values.is_none();
        if suited && !lacks_values {
            return None;
        }
        let values = self.by_value || self.values.is_some();
        let ghosts = if suited { self.ghosts.bytes() } else { Ghosts::bytes_of(ghosts) };
        Some(ghosts + if values { Values::BYTES } else { 0 })
    }

    fn fit_tables(&mut self) {
        if self.by_value && self.values.is_none() {
            self.values = Some(Values::default());
        }
        let ghosts = Self::ghosts_for(self.len() as usize);
        if !suits(self.ghosts.capacity(), ghosts) {
            self.ghosts = Ghosts::default();
            self.ghosts = Ghosts::with_len(ghosts);
        }
    }
}

impl Queues {
    #[cold]
    fn hit_value(&mut self, links: &mut impl Links, slot: Slot) {
        let Some(values) = &mut self.values else { return };
        if self.way == Way::Value {
            values.hit(links, slot);
            return;
        }
        values.remove(links, slot);
        let now = self.now;
        links.link_mut(slot).set_stamp(now);
        let queue = if self.way == Way::Lru { SMALL } else { MAIN };
        self.put(links, slot, queue);
    }
}
