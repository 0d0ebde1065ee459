//! Who can give bytes back, and at what loss?
//!
//! A holder of bytes that could be had again (a cache, mapped windows, a pool) registers a
//! [`Reclaimer`] with its account. When a request does not fit, the ledger asks them in the
//! order of what a byte is worth to them, cheapest first. No lock of the ledger is held
//! meanwhile, so a reclaimer may drop reservations, and even take others.

use crate::Bytes;

/// Gives bytes back on request.
pub trait Reclaimer: Send + Sync {
    /// Bytes that could be given back now.
    fn reclaimable(&self) -> Bytes;

    /// What a byte is worth to its holder, in any unit that all reclaimers of a budget share;
    /// for a cache, the cost of the misses that losing it would add. Lower goes first.
    fn worth_per_byte(&self) -> f64;

    /// Gives back at least `wanted` bytes if it can, by dropping or shrinking reservations;
    /// returns how many.
    fn shed(&self, wanted: Bytes) -> Bytes;
}
