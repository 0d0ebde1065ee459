//! What a cache asks of a policy.
//!
//! A policy orders entries that somebody else holds; it has no clock, does no I/O, and calls
//! nobody back. It is told what came in, what was hit, what was taken out, and is asked who
//! goes next. Room is made first: [`Policy::evict`] comes before the [`Policy::insert`] that
//! needs it, so a policy never sees more entries than fit. Tables of its own (ghosts, sketches)
//! grow and shrink with the number of entries only when their owner, who has to find the bytes
//! for them, says so.

use crate::link::{Links, Slot};

/// Chooses who goes next.
pub trait Policy: Send + Sized {
    /// An entry came in that was not there; its link is new.
    fn insert(&mut self, links: &mut impl Links, slot: Slot, hash: u32);

    /// An entry was asked for, and was there.
    fn hit(&mut self, links: &mut impl Links, slot: Slot, hash: u32);

    /// Chooses an entry to go, and forgets it but for ghosts; `None` where it has none.
    fn evict(&mut self, links: &mut impl Links) -> Option<Slot>;

    /// An entry is taken out for another reason than room; it leaves no ghost.
    fn remove(&mut self, links: &mut impl Links, slot: Slot);

    /// The entry of slot `from` is in slot `to` now, with its link.
    fn relocate(&mut self, links: &mut impl Links, from: Slot, to: Slot);

    /// A policy for another part of the same cache: what one of them learns, all know.
    fn sibling(&self) -> Self;

    /// A policy for another cache, that knows nothing yet.
    fn fresh(&self) -> Self;

    /// Bytes of its tables.
    fn table_bytes(&self) -> u64 {
        0
    }

    /// Bytes of the tables that suit the present number of entries, where those that it has do
    /// not. Asked before each [`Self::evict`], and not before the cache is full.
    fn tables_wanted(&mut self) -> Option<u64> {
        None
    }

    /// Makes the tables that [`Self::tables_wanted`] told of.
    fn fit_tables(&mut self) {}
}

/// Do tables for `had` entries suit `len` entries? They may be a quarter too small, or half
/// empty.
pub(crate) const fn suits(had: usize, len: usize) -> bool {
    len <= had + had / 4 && had <= 2 * len + 64
}
