//! Entries with their links, close together.
//!
//! Slots 0 to `len` are taken, always: whoever leaves is replaced by the last one, so nothing
//! is kept for entries that are not there, and a chunk without entries goes back at once. Chunks
//! never move: growing copies nothing and holds nothing twice.

use crate::link::{Link, Links, Slot};

/// Entries in a chunk.
pub(crate) const CHUNK: usize = 64;

/// How keys are hashed.
pub(crate) trait KeyHash<K> {
    /// A hash of [`HASH_BITS`](crate::link::HASH_BITS) bits.
    fn hash(&self, key: &K) -> u32;
}

#[derive(Debug)]
pub(crate) struct Node<K, V> {
    pub link: Link,
    pub key: K,
    pub value: V,
}

#[derive(Debug)]
pub(crate) struct Nodes<K, V, H> {
    chunks: Vec<Vec<Node<K, V>>>,
    len: usize,
    pub hasher: H,
}

impl<K, V, H> Nodes<K, V, H> {
    /// Bytes of a chunk and of what leads to it. The list of chunks doubles as it grows, so its
    /// share is counted thrice: the old list, and a new one of which half is empty.
    pub const CHUNK_BYTES: u64 =
        (CHUNK * size_of::<Node<K, V>>() + 3 * size_of::<Vec<Node<K, V>>>()) as u64;
    /// The first chunks' list has room for four.
    pub const BASE_BYTES: u64 = 4 * size_of::<Vec<Node<K, V>>>() as u64;

    pub fn new(hasher: H) -> Self {
        Self { chunks: Vec::new(), len: 0, hasher }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Chunks that are there.
    pub fn chunks(&self) -> u64 {
        self.chunks.len() as u64
    }

    /// Bytes of the chunks that are there.
    pub fn bytes(&self) -> u64 {
        self.chunks.len() as u64 * Self::CHUNK_BYTES + Self::BASE_BYTES
    }

    /// Is no place free in the chunks that are there?
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len == self.chunks.len() * CHUNK
    }

    #[inline]
    pub fn node(&self, slot: Slot) -> &Node<K, V> {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    #[inline]
    pub fn node_mut(&mut self, slot: Slot) -> &mut Node<K, V> {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    /// Takes one more in; its slot.
    #[inline]
    pub fn push(&mut self, node: Node<K, V>) -> Slot {
        if self.is_full() {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let slot = self.len;
        self.chunks[slot / CHUNK].push(node);
        self.len += 1;
        slot as Slot
    }

    /// Takes one out; whoever was last is in its slot now. The slot that is free no
    /// longer leads anywhere.
    pub fn swap_remove(&mut self, slot: Slot) -> Option<Node<K, V>> {
        let last = self.chunks.last_mut()?.pop()?;
        self.len -= 1;
        let node = if slot as usize == self.len {
            last
        } else {
            std::mem::replace(self.node_mut(slot), last)
        };
        if self.chunks.last().is_some_and(Vec::is_empty) {
            self.chunks.pop();
            if self.chunks.len() * 4 <= self.chunks.capacity() {
                self.chunks.shrink_to((self.chunks.len() * 2).max(4));
            }
        }
        Some(node)
    }
}

impl<K, V, H: KeyHash<K>> Links for Nodes<K, V, H> {
    #[inline]
    fn link(&self, slot: Slot) -> &Link {
        &self.node(slot).link
    }

    #[inline]
    fn link_mut(&mut self, slot: Slot) -> &mut Link {
        &mut self.node_mut(slot).link
    }

    #[inline]
    fn hash(&self, slot: Slot) -> u32 {
        self.hasher.hash(&self.node(slot).key)
    }
}
