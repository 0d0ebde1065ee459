//! The one place that atomics and locks come from, so that a model checker can stand in.

pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

/// Locks `mutex`, taking over the data of a thread that panicked while holding it.
///
/// No foreign code runs under a lock of this crate, and every critical section leaves its data
/// whole at each step; a panic elsewhere must not turn into a second one here.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
