//! How does a thread say that it reads, and that it has finished?

use std::fmt;
use std::marker::PhantomData;

use super::protocol::Inner;
use super::readers::Slot;
use crate::OverBudget;
use crate::sync::Arc;

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
        let slot = self.inner.readers.own(self.inner.id, &self.inner.account)?;
        if slot.is_idle() {
            self.inner.begin(slot, self.name);
        } else {
            slot.nest();
        }
        Ok(Guard { inner: &self.inner, slot, name: self.name, here: PhantomData })
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
    /// Only its thread writes to the slot.
    here: PhantomData<*const ()>,
}

impl Guard<'_> {
    /// Moves on: what was loaded before is let go of. Says whether it is: not while the thread
    /// has another guard of this collector.
    #[inline]
    pub fn repin(&mut self) -> bool {
        let is_only = self.slot.is_single();
        if is_only {
            self.inner.begin(self.slot, self.name);
        }
        is_only
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.slot.end();
    }
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("eras", &self.slot.interval()).finish_non_exhaustive()
    }
}
