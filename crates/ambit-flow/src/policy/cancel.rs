//! A run that is called off.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Calls runs off. Clones are the same token; a cancelled one stays cancelled.
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_cancelled: Mutex<bool>,
    changed: Condvar,
    /// The same, to be read without the lock.
    flag: std::sync::atomic::AtomicBool,
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls off every run that looks at it: before its next node, and wherever a node checks.
    pub fn cancel(&self) {
        *self.shared.is_cancelled.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.flag.store(true, std::sync::atomic::Ordering::SeqCst);
        self.shared.changed.notify_all();
    }

    /// Whether it was cancelled.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.shared.flag.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Waits for `duration`, or until it is cancelled.
    pub fn wait(&self, duration: Duration) {
        let guard = self.shared.is_cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        // Poisoned or not, waited enough or cancelled: the caller looks again.
        let _ = self.shared.changed.wait_timeout_while(guard, duration, |cancelled| !*cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancelling_ends_a_wait_of_an_hour() {
        let token = CancelToken::new();
        std::thread::scope(|scope| {
            scope.spawn(|| token.wait(Duration::from_secs(3600)));
            token.cancel();
        });
        assert!(token.is_cancelled());
    }
}
