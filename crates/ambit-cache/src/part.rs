//! One part of a cache: a table, and the bytes that it has in hand.
//!
//! Everything here runs under the part's lock, so nothing here calls the account, drops a key or a
//! value, or takes another lock of a part. Who leaves is handed out, to be dropped by the caller
//! when the lock is gone.
//!
//! Bytes in hand plus what tables and entries take is what the part has of the allowance. Room is
//! made first: an entry is put in place only when its bytes are in hand.

use std::borrow::Borrow;
use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::RandomState;

use crate::allowance::{Allowance, Charged};
use crate::link::Slot;
use crate::nodes::KeyHash;
use crate::policy::Policy;
use crate::table::{Ordered, Table};
use crate::times::{Endings, NEVER};

/// The queue of entries that no policy knows, since they must not go.
const PINNED: u32 = 3;

/// How a cache hashes its keys.
#[derive(Debug, Clone)]
pub(crate) struct Hasher(pub RandomState);

impl Hasher {
    #[inline]
    pub fn hash_one<Q: Hash + ?Sized>(&self, key: &Q) -> u64 {
        self.0.hash_one(key)
    }
}

/// The part of a hash that tables see; parts are chosen by the rest.
#[inline]
pub(crate) const fn table_hash(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl<K: Hash> KeyHash<K> for Hasher {
    #[inline]
    fn hash(&self, key: &K) -> u32 {
        table_hash(self.hash_one(key))
    }
}

/// What happened in a part.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub hits: u64,
    pub misses: u64,
    pub inserted: u64,
    pub replaced: u64,
    pub removed: u64,
    pub expired: u64,
    pub evicted_for_room: u64,
    pub evicted_on_request: u64,
}

/// Keys and values that left, dropped when the lock is gone. There is room for two, and none that
/// would have to be allocated: whoever fills it lets the lock go and comes again.
pub(crate) struct Gone<K, V> {
    first: Option<(K, V)>,
    second: Option<(K, V)>,
    /// What they hold elsewhere, free when they are dropped.
    pub bytes: u64,
}

impl<K, V> Gone<K, V> {
    #[inline]
    pub fn new() -> Self {
        Self { first: None, second: None, bytes: 0 }
    }

    #[inline]
    pub fn is_full(&self) -> bool {
        self.second.is_some()
    }

    #[inline]
    fn push(&mut self, entry: (K, V)) {
        debug_assert!(!self.is_full(), "who fills it comes again");
        if self.first.is_none() {
            self.first = Some(entry);
        } else {
            self.second = Some(entry);
        }
    }
}

/// An entry that is to come in.
pub(crate) struct Entry<K, V> {
    pub hash: u32,
    pub key: K,
    pub value: V,
    /// Bytes that key and value hold elsewhere.
    pub heap: u32,
    /// Now, and when it ends.
    pub times: (u32, u32),
}

/// What became of it.
pub(crate) enum Put<K, V> {
    Done,
    /// Those who left have to be dropped before more can go.
    Again(Entry<K, V>),
    /// So many bytes are missing, and the account may have them.
    Grow(Entry<K, V>, u64),
    /// So many bytes are missing, and nobody is left here who could go.
    Short(Entry<K, V>, u64),
}

/// When may the bytes of who leaves be used?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freed {
    /// At once: the new value has been the caller's, and the old one is now.
    AtOnce,
    /// When it is dropped: not even for a moment are there more bytes than the cap.
    WhenDropped,
}

/// May entries be evicted rather than asking the account for more?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Grow,
    Evict,
}

pub(crate) struct Part<K, V, P> {
    pub table: Table<K, V, P, Hasher>,
    /// Bytes in hand.
    pub credit: u64,
    pub counts: Counts,
    pub pinned: u64,
    pub endings: Option<Endings>,
    /// Bytes more that the policy would like for its tables.
    pub wanted: u64,
    /// With less than this another part gives, rather than that it evicts.
    pub least: u64,
}

type Purse = Allowance<Charged>;

impl<K: Hash + Eq, V, P: Policy> Part<K, V, P> {
    /// Bytes of an entry that holds nothing elsewhere.
    pub const NODE_BYTES: u32 = Table::<K, V, P, Hasher>::NODE_BYTES;

    pub fn new(policy: P, hasher: Hasher, idle: Option<u32>) -> Self {
        Self {
            table: Table::new(policy, hasher),
            credit: 0,
            counts: Counts::default(),
            pinned: 0,
            endings: idle.map(Endings::new),
            wanted: 0,
            least: 0,
        }
    }

    fn heap(&self, slot: Slot) -> u64 {
        u64::from(self.table.node(slot).link.weight() - Self::NODE_BYTES)
    }

    pub fn is_pinned(&self, slot: Slot) -> bool {
        self.table.node(slot).link.queue() == PINNED
    }

    /// The entry of a key, if it has not ended; one that has is handed out.
    #[inline]
    pub fn find<Q>(&mut self, hash: u32, key: &Q, now: u32, gone: &mut Gone<K, V>) -> Option<Slot>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let slot = self.table.find(hash, key)?;
        if let Some(endings) = &mut self.endings
            && endings.ask(slot, now)
        {
            self.counts.expired += 1;
            self.take(slot, gone);
            return None;
        }
        Some(slot)
    }

    /// The value of a slot that is asked for.
    #[inline]
    pub fn hit(&mut self, slot: Slot, hash: u32) -> &V {
        if !self.is_pinned(slot) {
            self.table.hit(slot, hash);
        }
        &self.table.node(slot).value
    }

    /// Takes an entry out that is in its place.
    pub fn take(&mut self, slot: Slot, gone: &mut Gone<K, V>) {
        self.unlink(slot, gone);
        self.clear_slot(slot, gone);
    }

    fn unlink(&mut self, slot: Slot, gone: &mut Gone<K, V>) {
        let pinned = self.is_pinned(slot);
        if pinned {
            self.pinned -= u64::from(self.table.node(slot).link.weight());
        }
        gone.bytes += self.heap(slot);
        self.table.unlink(slot, !pinned);
    }

    /// Empties the slot of an entry that index and policy know no more.
    fn clear_slot(&mut self, slot: Slot, gone: &mut Gone<K, V>) {
        let (len, before) = (self.table.len(), self.table.node_bytes());
        if let Some(endings) = &mut self.endings {
            endings.swap_remove(slot, len);
        }
        if let Some(entry) = self.table.take(slot, |link| link.queue() != PINNED) {
            gone.push(entry);
        }
        if self.table.node_bytes() < before {
            self.credit += before - self.table.node_bytes() + self.ending_chunk();
            self.credit += self.table.shrink_index();
        }
    }

    fn ending_chunk(&self) -> u64 {
        if self.endings.is_some() { Endings::CHUNK_BYTES } else { 0 }
    }

    /// Evicts one; is there none left that could go?
    pub fn evict(&mut self, gone: &mut Gone<K, V>) -> bool {
        let Some(slot) = self.table.choose() else { return false };
        gone.bytes += self.heap(slot);
        self.clear_slot(slot, gone);
        true
    }

    /// Bytes more that the policy would like for its tables, where they are worth it.
    fn ask_policy(&mut self) {
        let Some(wanted) = self.table.policy.tables_wanted() else { return };
        let more = wanted.saturating_sub(self.table.policy.table_bytes()).max(1);
        self.wanted = if more <= self.table.weight() / 3 { more } else { 0 };
    }

    /// Gives the policy smaller tables, where there are far fewer entries than those it has are for.
    pub fn shrink_tables(&mut self) {
        let had = self.table.policy.table_bytes();
        if self.table.policy.tables_wanted().is_some_and(|wanted| wanted < had) {
            self.fit_tables();
        }
    }

    /// Gives the policy the tables that it wants, if their bytes are in hand.
    pub fn fit_tables(&mut self) {
        let Some(wanted) = self.table.policy.tables_wanted() else { return };
        let had = self.table.policy.table_bytes();
        if self.credit + had >= wanted {
            self.table.policy.fit_tables();
            self.credit = (self.credit + had).saturating_sub(self.table.policy.table_bytes());
        }
    }

    /// Takes what is missing to `bytes` in hand from what is free.
    #[inline]
    fn top_up(&mut self, bytes: u64, purse: &Purse) -> bool {
        let enough = purse.take(bytes - self.credit);
        self.credit = if enough { bytes } else { self.credit };
        enough
    }

    /// Bytes that one more node takes.
    fn growth(&self) -> Option<u64> {
        if self.table.has_place() {
            return Some(0);
        }
        let chunk = if self.table.needs_chunk() { self.ending_chunk() } else { 0 };
        self.table.growth().map(|bytes| bytes + chunk)
    }

    /// Puts an entry in, over one of the same key if there is one.
    pub fn put(
        &mut self,
        entry: Entry<K, V>,
        (room, freed): (Room, Freed),
        purse: &Purse,
        gone: &mut Gone<K, V>,
    ) -> Put<K, V> {
        let mut pin = false;
        let mut hole = self.table.find(entry.hash, &entry.key);
        if let Some(slot) = hole {
            pin = self.is_pinned(slot);
            self.counts.replaced += 1;
            self.unlink(slot, gone);
        }
        loop {
            let growth = if hole.is_some() { Some(0) } else { self.growth() };
            // A table that is as large as it gets has room where somebody goes.
            let needed = u64::from(entry.heap) + growth.unwrap_or(u64::MAX / 2);
            if freed == Freed::AtOnce && self.credit < needed {
                let used = gone.bytes.min(needed - self.credit);
                gone.bytes -= used;
                self.credit += used;
            }
            if self.credit >= needed || self.top_up(needed, purse) {
                self.credit -= needed;
                self.place(hole, entry, pin, gone);
                return Put::Done;
            }
            let missing = needed - self.credit;
            if gone.bytes >= missing {
                // Enough, when they are dropped.
                if let Some(slot) = hole {
                    self.clear_slot(slot, gone);
                }
                return Put::Again(entry);
            }
            if room == Room::Grow && purse.could_grow(missing) {
                if let Some(slot) = hole {
                    self.clear_slot(slot, gone);
                }
                return Put::Grow(entry, missing);
            }
            if let Some(slot) = hole.take() {
                self.clear_slot(slot, gone);
            }
            if self.table.weight() < self.least {
                return Put::Short(entry, missing);
            }
            if gone.is_full() {
                return Put::Again(entry);
            }
            self.ask_policy();
            hole = self.table.choose();
            let Some(slot) = hole else { return Put::Short(entry, missing) };
            gone.bytes += self.heap(slot);
            self.counts.evicted_for_room += 1;
        }
    }

    fn place(&mut self, hole: Option<Slot>, entry: Entry<K, V>, pin: bool, gone: &mut Gone<K, V>) {
        let Entry { hash, key, value, heap, times } = entry;
        let weight = Self::NODE_BYTES + heap;
        let slot = match hole {
            Some(slot) => {
                gone.push(self.table.replace(slot, hash, weight, key, value));
                slot
            }
            None => self.table.insert(hash, weight, key, value),
        };
        if let Some(endings) = &mut self.endings {
            endings.set(slot, times.0, times.1);
        }
        self.counts.inserted += 1;
        if pin {
            self.pin(slot);
        }
    }

    /// Takes an entry out of the order in which entries go.
    pub fn pin(&mut self, slot: Slot) {
        if !self.is_pinned(slot) {
            self.table.set_ordered(slot, Ordered::No);
            self.table.node_mut(slot).link.set_queue(PINNED);
            self.pinned += u64::from(self.table.node(slot).link.weight());
        }
    }

    /// Puts it back.
    pub fn unpin(&mut self, slot: Slot) {
        if self.is_pinned(slot) {
            self.pinned -= u64::from(self.table.node(slot).link.weight());
            self.table.node_mut(slot).link.set_queue(0);
            self.table.set_ordered(slot, Ordered::Yes);
        }
    }

    /// Takes out who has ended, of at most `most` entries from `slot` on; where to go on.
    pub fn sweep(
        &mut self,
        slot: Slot,
        most: u32,
        now: u32,
        gone: &mut Gone<K, V>,
    ) -> Option<Slot> {
        let mut at = slot;
        for _ in 0..most {
            if at as usize >= self.table.len() {
                return None;
            }
            if gone.is_full() {
                break;
            }
            let ended = self.endings.as_mut()?.has_ended(at, now);
            if ended {
                self.counts.expired += 1;
                self.take(at, gone);
            } else {
                at += 1;
            }
        }
        Some(at)
    }

    /// Everything that it has of the allowance.
    pub fn bytes(&self) -> u64 {
        let node = u64::from(Self::NODE_BYTES);
        let heap = self.table.weight() - node * self.table.len() as u64;
        let chunks = self.table.node_chunks() * self.ending_chunk();
        self.credit + heap + self.table.table_bytes() + chunks
    }

    /// An end that never comes.
    pub const NEVER: u32 = NEVER;
}
