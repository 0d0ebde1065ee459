//! A pointer that readers follow while writers replace what it leads to.
//!
//! It owns the object that it leads to, alone: nothing but a load through a guard gives others a
//! reference, and that one lives no longer than the guard and the pointer. So dropping a pointer
//! frees its object at once; only what was replaced waits for readers. Why a load is safe is
//! shown in `protocol`.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::garbage::{Node, Object};
use super::{Collector, Guard, Owned, Refused, Rejected};
use crate::sync::modelled::{AtomicPtr, Ordering};

/// A pointer to an object that readers see without a lock, and writers replace.
///
/// Objects may have such pointers inside them, of the same collector or of others.
pub struct Shared<T> {
    pointer: AtomicPtr<Node<T>>,
    /// Which collector.
    collector: u64,
    owns: PhantomData<Owned<T>>,
}

impl<T: Send + Sync + 'static> Shared<T> {
    /// A pointer to `object`.
    ///
    /// # Errors
    /// [`Rejected`] where the object is larger than the collector's cap.
    pub fn new(collector: &Collector, object: Owned<T>) -> Result<Self, Rejected<T>> {
        if let Err(full) = collector.inner.check(object.weight().get()) {
            return Err(Rejected { value: object, reason: Refused::Full(full) });
        }
        let node = object.into_node();
        // SAFETY: the node is alive, and still ours alone.
        collector.inner.publish(unsafe { Object::of(node) });
        let pointer = AtomicPtr::new(node.as_ptr());
        Ok(Self { pointer, collector: collector.inner.id, owns: PhantomData })
    }

    /// The object, as long as the guard.
    ///
    /// # Panics
    /// If the guard is of another collector: a bug of the caller.
    ///
    /// # Cost
    /// Three loads; another store where a collection ran since the last load.
    #[inline]
    pub fn load<'g>(&'g self, guard: &'g Guard<'_>) -> &'g T {
        assert!(self.collector == guard.inner.id, "the guard is of another collector");
        loop {
            let node = self.pointer.load(Ordering::Acquire);
            if guard.inner.covers(guard.slot) {
                // SAFETY: the pointer is never null. The node was published, and stays until the
                // guard is dropped or, which takes a mutable borrow of it, moves on: see `protocol`.
                // If it is not replaced, it stays until `self` is dropped. Both are borrowed. Only
                // the value is referred to, and nobody changes it.
                return unsafe { &(*node).value };
            }
        }
    }

    /// Makes the pointer lead to `new`, and retires what it led to.
    ///
    /// # Errors
    /// [`Rejected`] with `new`, where the old object does not fit into the garbage (say, because a
    /// reader holds too much of it), or `new` never would. The pointer leads where it did.
    ///
    /// # Cost
    /// The collector's lock; every 64 objects or every sixteenth of the cap a collection.
    pub fn replace(&self, collector: &Collector, new: Owned<T>) -> Result<(), Rejected<T>> {
        self.exchange(collector, None, new)
    }

    /// As [`Shared::replace`], if the pointer still leads to `expected`, which was loaded
    /// from it under a guard that is still alive.
    ///
    /// # Errors
    /// As there, and [`Refused::Changed`].
    pub fn replace_if(
        &self,
        collector: &Collector,
        expected: &T,
        new: Owned<T>,
    ) -> Result<(), Rejected<T>> {
        self.exchange(collector, Some(expected), new)
    }

    fn exchange(
        &self,
        collector: &Collector,
        expected: Option<&T>,
        new: Owned<T>,
    ) -> Result<(), Rejected<T>> {
        if self.collector != collector.inner.id {
            return Err(Rejected { value: new, reason: Refused::Foreign });
        }
        let node = new.into_node();
        // SAFETY: the node is alive; it is ours until it is published, under the lock.
        let object = unsafe { Object::of(node) };
        let current = || {
            let current = self.pointer.load(Ordering::Relaxed);
            // SAFETY: never null, and not retired while the lock is held, so alive.
            let value = unsafe { &(*current).value };
            if expected.is_some_and(|expected| !std::ptr::eq(expected, value)) {
                return Err(Refused::Changed);
            }
            // SAFETY: alive until it is freed by the collector, which touches it under the lock.
            Ok(unsafe { Object::of(NonNull::new_unchecked(current)) })
        };
        let swap = || self.pointer.store(node.as_ptr(), Ordering::Release);
        // SAFETY: the pointer owns what it leads to, so no other one does; `swap` makes it lead to
        // the new node. Both run under the lock, so it is what `current` said.
        unsafe { collector.inner.replace(object, current, swap) }
            // SAFETY: it was refused, so the node is where it was: ours.
            .map_err(|reason| Rejected { value: unsafe { Owned::from_node(node) }, reason })
    }

    /// The object, to be changed in place.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: never null; we are borrowed mutably, so nobody has loaded it and kept it.
        unsafe { &mut (*self.pointer.load(Ordering::Relaxed)).value }
    }

    /// The object, taken back.
    pub fn into_owned(self) -> Owned<T> {
        let this = std::mem::ManuallyDrop::new(self);
        this.take()
    }
}

impl<T> Shared<T> {
    /// The object, of a pointer that is not used again.
    fn take(&self) -> Owned<T> {
        let node = self.pointer.load(Ordering::Acquire);
        // SAFETY: never null. Who calls this owns the pointer and gives it up, so nobody has
        // loaded the object and kept it, and nobody will own it twice.
        unsafe { Owned::from_node(NonNull::new_unchecked(node)) }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("collector", &self.collector).finish_non_exhaustive()
    }
}
