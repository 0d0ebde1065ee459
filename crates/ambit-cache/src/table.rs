//! Entries, how they are found, and who goes next: one part of a cache, without a lock.
//!
//! The table knows what it takes, and nothing of where the bytes come from: whoever puts an
//! entry in asks first what that will take ([`Table::growth`]), finds the bytes, and tells the
//! table to grow. Weights and table bytes are counted here, so that both agree.

use std::borrow::Borrow;

use crate::index::{self, Index};
use crate::link::{Link, Links, Slot};
use crate::nodes::{KeyHash, Node, Nodes};
use crate::policy::Policy;

#[derive(Debug)]
pub(crate) struct Table<K, V, P, H> {
    nodes: Nodes<K, V, H>,
    index: Index,
    pub policy: P,
    weight: u64,
}

impl<K, V, P, H> Table<K, V, P, H>
where
    K: Eq,
    P: Policy,
    H: KeyHash<K>,
{
    /// Bytes of an entry whose key and value hold nothing elsewhere.
    pub const NODE_BYTES: u32 = size_of::<Node<K, V>>() as u32;

    pub fn new(policy: P, hasher: H) -> Self {
        Self { nodes: Nodes::new(hasher), index: Index::default(), policy, weight: 0 }
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes of nodes, index and policy.
    pub fn table_bytes(&self) -> u64 {
        self.nodes.bytes() + Index::bytes_of(self.index.capacity()) + self.policy.table_bytes()
    }

    /// Sum of the weights of all entries.
    pub fn weight(&self) -> u64 {
        self.weight
    }

    pub fn node(&self, slot: Slot) -> &Node<K, V> {
        self.nodes.node(slot)
    }

    pub fn node_mut(&mut self, slot: Slot) -> &mut Node<K, V> {
        self.nodes.node_mut(slot)
    }

    #[inline]
    pub fn find<Q: Eq + ?Sized>(&self, hash: u32, key: &Q) -> Option<Slot>
    where
        K: Borrow<Q>,
    {
        self.index.find(hash, |slot| self.nodes.node(slot).key.borrow() == key)
    }

    #[inline]
    pub fn hit(&mut self, slot: Slot, hash: u32) {
        self.policy.hit(&mut self.nodes, slot, hash);
    }

    /// Can one more entry come in as things stand?
    #[inline]
    pub fn has_place(&self) -> bool {
        !self.nodes.is_full() && !self.index.is_full()
    }

    fn next_index(&self) -> usize {
        let len = self.nodes.len() + 1;
        Index::capacity_for((len + len / 8 + 16).min(index::MAX_LEN))
    }

    /// Bytes that must be had before one more entry comes in. `None` where the table holds as many
    /// entries as it can.
    pub fn growth(&self) -> Option<u64> {
        if self.nodes.len() >= index::MAX_LEN {
            return None;
        }
        let chunk = if self.nodes.is_full() { Nodes::<K, V, H>::CHUNK_BYTES } else { 0 };
        if !self.index.is_full() {
            return Some(chunk);
        }
        let (new, old) = (self.next_index(), self.index.capacity());
        Some(chunk + Index::bytes_of(new) - Index::bytes_of(old))
    }

    /// Makes the index fit for one more entry.
    pub fn grow_index(&mut self) {
        if self.index.is_full() {
            self.rebuild_index(self.next_index());
        }
    }

    fn rebuild_index(&mut self, capacity: usize) {
        let nodes = &self.nodes;
        let slots = (0..nodes.len() as Slot).map(|slot| (nodes.hash(slot), slot));
        self.index.rebuild(capacity, slots);
    }

    /// Bytes of the nodes.
    pub fn node_bytes(&self) -> u64 {
        self.nodes.bytes()
    }

    /// Chunks of the nodes.
    pub fn node_chunks(&self) -> u64 {
        self.nodes.chunks()
    }

    /// Is a chunk needed for one more entry?
    pub fn needs_chunk(&self) -> bool {
        self.nodes.is_full()
    }

    /// Gives back what the index has too much of; how many bytes that is.
    pub fn shrink_index(&mut self) -> u64 {
        let before = self.index.capacity();
        if before > 64 && before > 2 * self.next_index() {
            self.rebuild_index(self.next_index());
        }
        Index::bytes_of(before) - Index::bytes_of(self.index.capacity())
    }

    /// Lets an entry in that is not there; the owner has made room.
    #[inline]
    pub fn insert(&mut self, hash: u32, weight: u32, key: K, value: V) -> Slot {
        self.grow_index();
        let slot = self.nodes.push(Node { link: Link::new(weight), key, value });
        self.index.insert(hash, slot);
        self.weight += u64::from(weight);
        self.policy.insert(&mut self.nodes, slot, hash);
        slot
    }

    /// Who goes next: out of policy and index, but still in its slot, until
    /// [`Self::replace`] or [`Self::take`].
    #[inline]
    pub fn choose(&mut self) -> Option<Slot> {
        let slot = self.policy.evict(&mut self.nodes)?;
        self.unindex(slot);
        Some(slot)
    }

    fn unindex(&mut self, slot: Slot) {
        let nodes = &self.nodes;
        self.weight -= u64::from(nodes.link(slot).weight());
        self.index.remove(nodes.hash(slot), slot, |slot| nodes.hash(slot));
    }

    /// Puts a new entry into the slot of one that was chosen; the latter.
    #[inline]
    pub fn replace(&mut self, slot: Slot, hash: u32, weight: u32, key: K, value: V) -> (K, V) {
        let new = Node { link: Link::new(weight), key, value };
        let old = std::mem::replace(self.nodes.node_mut(slot), new);
        self.index.insert(hash, slot);
        self.weight += u64::from(weight);
        self.policy.insert(&mut self.nodes, slot, hash);
        (old.key, old.value)
    }

    /// Takes one that was chosen out of its slot. The last entry moves there; `standing` says
    /// whether its policy knows it.
    pub fn take(&mut self, slot: Slot, is_ordered: impl Fn(&Link) -> bool) -> Option<(K, V)> {
        let node = self.nodes.swap_remove(slot)?;
        let last = self.nodes.len() as Slot;
        if slot != last {
            self.index.relocate(self.nodes.hash(slot), last, slot);
            if is_ordered(self.nodes.link(slot)) {
                self.policy.relocate(&mut self.nodes, last, slot);
            }
        }
        Some((node.key, node.value))
    }

    /// Takes an entry out of the policy's order, or puts it back in.
    pub fn set_ordered(&mut self, slot: Slot, is_ordered: Ordered) {
        let hash = self.nodes.hash(slot);
        match is_ordered {
            Ordered::Yes => self.policy.insert(&mut self.nodes, slot, hash),
            Ordered::No => self.policy.remove(&mut self.nodes, slot),
        }
    }

    /// Takes an entry out of index and, where it stands there, policy: as after
    /// [`Self::choose`].
    pub fn unlink(&mut self, slot: Slot, is_ordered: bool) {
        if is_ordered {
            self.policy.remove(&mut self.nodes, slot);
        }
        self.unindex(slot);
    }
}

/// Does a policy know an entry?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ordered {
    Yes,
    No,
}
