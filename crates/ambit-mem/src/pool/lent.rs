//! The guards of objects that are out.
//!
//! A guard owns its object. Forgetting a guard leaks the object and nothing else: the pool
//! counts on no return.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

use super::chain::Entry;
use super::core::Core;
use crate::sync::Arc;

/// An object that is out, borrowed from a pool; goes back on drop.
pub struct Pooled<'pool, T: Send + 'static> {
    /// Taken out once: by `drop`, or by `detach`, after which `drop` does not run.
    entry: ManuallyDrop<Box<Entry<T>>>,
    core: &'pool Core<T>,
}

impl<'pool, T: Send + 'static> Pooled<'pool, T> {
    #[inline]
    pub(super) fn new(core: &'pool Core<T>) -> Self {
        Self { entry: ManuallyDrop::new(core.acquire()), core }
    }

    /// Takes the object out of the pool for good; its bytes go back to the budget.
    ///
    /// A function, not a method, so that it hides no method of the object.
    pub fn detach(guard: Self) -> T {
        let mut guard = ManuallyDrop::new(guard);
        // SAFETY: the guard will not be dropped, so its object is taken only here.
        unsafe { ManuallyDrop::take(&mut guard.entry) }.value
    }
}

impl<T: Send + 'static> Deref for Pooled<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.entry.value
    }
}

impl<T: Send + 'static> DerefMut for Pooled<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.entry.value
    }
}

impl<T: Send + 'static> Drop for Pooled<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: a guard is dropped once, and not after `detach`.
        self.core.release(unsafe { ManuallyDrop::take(&mut self.entry) });
    }
}

impl<T: Send + fmt::Debug + 'static> fmt::Debug for Pooled<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// An object that is out, with the pool kept alive; goes back on drop.
pub struct OwnedPooled<T: Send + 'static> {
    /// As in [`Pooled`].
    entry: ManuallyDrop<Box<Entry<T>>>,
    core: Arc<Core<T>>,
}

impl<T: Send + 'static> OwnedPooled<T> {
    pub(super) fn new(core: Arc<Core<T>>) -> Self {
        Self { entry: ManuallyDrop::new(core.acquire()), core }
    }

    /// Takes the object out of the pool for good; its bytes go back to the budget.
    ///
    /// A function, not a method, so that it hides no method of the object.
    pub fn detach(guard: Self) -> T {
        let mut guard = ManuallyDrop::new(guard);
        // SAFETY: the guard will not be dropped, so each of its fields is taken only here.
        let (entry, core) =
            unsafe { (ManuallyDrop::take(&mut guard.entry), std::ptr::read(&guard.core)) };
        drop(core);
        entry.value
    }
}

impl<T: Send + 'static> Deref for OwnedPooled<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.entry.value
    }
}

impl<T: Send + 'static> DerefMut for OwnedPooled<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.entry.value
    }
}

impl<T: Send + 'static> Drop for OwnedPooled<T> {
    fn drop(&mut self) {
        // SAFETY: a guard is dropped once, and not after `detach`.
        self.core.release(unsafe { ManuallyDrop::take(&mut self.entry) });
    }
}

impl<T: Send + fmt::Debug + 'static> fmt::Debug for OwnedPooled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
