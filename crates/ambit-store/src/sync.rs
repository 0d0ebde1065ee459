//! The one place that atomics and locks come from, so that a model checker can stand in.

pub use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, RwLock, Weak};

/// Locks `mutex`, taking over the data of a thread that panicked while holding it.
///
/// Every critical section of this crate leaves its data whole at each step, or poisons the
/// engine by its own flag; a panic elsewhere must not turn into a second one here.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
