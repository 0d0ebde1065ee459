//! Time as nodes and policies see it.
//!
//! Deadlines, waits between tries and breakers ask a [`Clock`]. The system's is the default; a
//! [`ManualClock`] moves only when it is told to, or when somebody waits, so that tests of
//! what takes time take none.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::CancelToken;

/// Tells the time and waits.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time now. Clocks never go back.
    fn now(&self) -> Instant;

    /// Waits for `duration`, or until `cancel` is cancelled.
    fn wait(&self, duration: Duration, cancel: Option<&CancelToken>);
}

/// The time of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait(&self, duration: Duration, cancel: Option<&CancelToken>) {
        match cancel {
            Some(cancel) => cancel.wait(duration),
            None => std::thread::sleep(duration),
        }
    }
}

/// A clock that moves when it is told to, and past each wait at once.
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    passed_ns: AtomicU64,
}

impl ManualClock {
    /// A clock that stands.
    pub fn new() -> Self {
        Self { start: Instant::now(), passed_ns: AtomicU64::new(0) }
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.passed_ns.fetch_add(by, Ordering::SeqCst);
    }

    /// How far it was moved.
    pub fn passed(&self) -> Duration {
        Duration::from_nanos(self.passed_ns.load(Ordering::SeqCst))
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.start + self.passed()
    }

    fn wait(&self, duration: Duration, cancel: Option<&CancelToken>) {
        if !cancel.is_some_and(CancelToken::is_cancelled) {
            self.advance(duration);
        }
    }
}
