//! What a policy sees of an entry: where it stands in a queue, what it weighs, what was noted.
//!
//! Sixteen bytes per entry, whatever the policy, so that a policy can take over the entries of
//! another one as they stand. The policy knows entries by their slot, and reaches their links
//! through [`Links`]: in a cache a link lies beside key and value, in a simulation alone.
//!
//! ```text
//! word:  bits 8..32  stamp: when the entry was asked for last, in the policy's own count
//!        bits 6..8   queue: which queue of its policy it stands in
//!        bits 0..6   mark: what the policy notes of it, such as how often it was hit
//! ```

/// Number of an entry's place.
pub type Slot = u32;

/// No slot.
pub(crate) const NONE: Slot = u32::MAX;
/// Bits of a hash as policies see it.
pub const HASH_BITS: u32 = 32;
/// The largest mark.
pub(crate) const MAX_MARK: u32 = 63;
/// Stamps are counted modulo this.
pub(crate) const STAMPS: u32 = 1 << 24;

/// What a policy keeps of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub(crate) prev: Slot,
    pub(crate) next: Slot,
    weight: u32,
    word: u32,
}

impl Link {
    /// Of an entry of `weight` bytes that stands in no queue yet.
    pub const fn new(weight: u32) -> Self {
        Self { prev: NONE, next: NONE, weight, word: 0 }
    }

    /// Bytes that the entry takes.
    #[inline]
    pub const fn weight(&self) -> u32 {
        self.weight
    }

    #[inline]
    pub(crate) const fn stamp(&self) -> u32 {
        self.word >> 8
    }

    #[inline]
    pub(crate) const fn queue(&self) -> u32 {
        self.word >> 6 & 3
    }

    #[inline]
    pub(crate) const fn mark(&self) -> u32 {
        self.word & MAX_MARK
    }

    #[inline]
    pub(crate) fn set_stamp(&mut self, stamp: u32) {
        self.word = self.word & 0xff | stamp << 8;
    }

    #[inline]
    pub(crate) fn set_queue(&mut self, queue: u32) {
        self.word = self.word & !(3 << 6) | (queue & 3) << 6;
    }

    #[inline]
    pub(crate) fn set_mark(&mut self, mark: u32) {
        self.word = self.word & !MAX_MARK | mark.min(MAX_MARK);
    }
}

/// The links of all entries, by slot.
pub trait Links {
    /// The link of an entry that is there.
    fn link(&self, slot: Slot) -> &Link;
    /// The same, to be changed.
    fn link_mut(&mut self, slot: Slot) -> &mut Link;
    /// The hash of an entry that is there, of [`HASH_BITS`] bits: ghosts and sketches know
    /// it again by this.
    fn hash(&self, slot: Slot) -> u32;
}

impl<L: Links> LinksExt for L {}

/// Walks along queues.
pub(crate) trait LinksExt: Links {
    /// Who stands before this one, nearer to the front.
    fn before(&self, slot: Slot) -> Option<Slot> {
        let before = self.link(slot).prev;
        (before != NONE).then_some(before)
    }
}
