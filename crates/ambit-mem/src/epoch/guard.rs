//! How does a thread say that it reads, and that it has finished?

use std::fmt;
use std::marker::PhantomData;

use super::protocol::Inner;
use super::readers::{Claim, IDLE, Slot};
use super::thread::{self, Identity};
use crate::OverBudget;
use crate::sync::Arc;
use crate::sync::modelled::Ordering;

/// A role in which threads pin a collector; see [`Collector::reader`](super::Collector::reader).
#[derive(Clone)]
pub struct Reader {
    pub(super) inner: Arc<Inner>,
    name: u32,
}

impl Reader {
    pub(super) fn new(inner: Arc<Inner>, name: u32) -> Self {
        Self { inner, name }
    }

    /// Pins the collector: what this thread loads through the guard stays until it is dropped.
    /// Guards nest, and then all count from the oldest.
    ///
    /// # Errors
    /// [`OverBudget`] at a thread's first pin of this collector, where the bytes of its slot
    /// do not fit.
    ///
    /// # Cost
    /// A few plain loads and stores where the kernel offers `membarrier`, else also a full fence.
    /// At a thread's first pin a reservation and an allocation, now and then.
    #[inline]
    pub fn pin(&self) -> Result<Guard<'_>, OverBudget> {
        let Claim { slot, transient } = match self.inner.readers.own() {
            Some(slot) => Claim { slot, transient: None },
            None => self.inner.readers.claim(&self.inner.account)?,
        };
        // Constants are stored, so that no pin waits for what the last one stored.
        if slot.depth.load(Ordering::Relaxed) == 0 {
            self.inner.begin(slot, self.name);
            slot.depth.store(1, Ordering::Relaxed);
        } else {
            slot.nest();
        }
        Ok(Guard { inner: &self.inner, slot, name: self.name, transient, here: PhantomData })
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Keeps what this thread loads through it.
pub struct Guard<'r> {
    pub(super) inner: &'r Inner,
    pub(super) slot: &'r Slot,
    name: u32,
    transient: Option<Identity>,
    /// Only its thread writes to the slot.
    here: PhantomData<*const ()>,
}

impl Guard<'_> {
    /// Moves on: what was loaded before is let go of. Says whether it is: not while the thread
    /// has another guard of this collector.
    #[inline]
    pub fn repin(&mut self) -> bool {
        let is_only = self.slot.depth.load(Ordering::Relaxed) == 1;
        if is_only {
            self.inner.begin(self.slot, self.name);
        }
        is_only
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.slot.depth.load(Ordering::Relaxed) == 1 {
            self.slot.lower.store(IDLE, Ordering::Release);
            // Releasing: another thread may take the slot over from here on.
            self.slot.depth.store(0, Ordering::Release);
        } else {
            self.slot.unnest();
        }
        if let Some(identity) = self.transient {
            thread::give_back(identity);
        }
    }
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("eras", &self.slot.interval()).finish_non_exhaustive()
    }
}
