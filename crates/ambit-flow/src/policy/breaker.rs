//! A node that keeps failing is given a rest.
//!
//! Closed, the breaker lets every run through and counts failures in a row. At the limit it
//! opens: runs fail at once, without the node. When it has rested, it lets one run try; if that
//! succeeds the breaker closes, else it rests again. Executors of the same graph share it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// When a failing node is given a rest.
///
/// | field | default |
/// |---|---|
/// | `failures` | 5 |
/// | `rest_ms` | 1,000 |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerPolicy {
    /// Failures in a row that open it, at least 1.
    pub failures: u32,
    /// Milliseconds of its rest.
    pub rest_ms: u64,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 5, rest_ms: 1_000 }
    }
}

/// The breaker of one node.
#[derive(Debug)]
pub(crate) struct Breaker {
    policy: BreakerPolicy,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        since: Instant,
    },
    /// One run is trying.
    Trying,
}

impl Breaker {
    pub(crate) fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: Mutex::new(State::Closed { failures: 0 }) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a run may go through; else how long the rest lasts. Who may reports back.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Duration> {
        let rest = Duration::from_millis(self.policy.rest_ms);
        let mut state = self.state();
        match *state {
            State::Closed { .. } => Ok(()),
            State::Open { since } => match rest.checked_sub(now.duration_since(since)) {
                Some(left) if !left.is_zero() => Err(left),
                _ => {
                    *state = State::Trying;
                    Ok(())
                }
            },
            State::Trying => Err(rest),
        }
    }

    /// The run that was let through succeeded.
    pub(crate) fn succeeded(&self) {
        *self.state() = State::Closed { failures: 0 };
    }

    /// The run that was let through failed.
    pub(crate) fn failed(&self, now: Instant) {
        let mut state = self.state();
        *state = match *state {
            State::Closed { failures } if failures + 1 < self.policy.failures => {
                State::Closed { failures: failures + 1 }
            }
            _ => State::Open { since: now },
        };
    }

    /// The run that was let through was called off: it says nothing about the node.
    pub(crate) fn called_off(&self, now: Instant) {
        let mut state = self.state();
        if let State::Trying = *state {
            // The next run may try at once.
            let rest = Duration::from_millis(self.policy.rest_ms);
            *state = State::Open { since: now.checked_sub(rest).unwrap_or(now) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        assert_eq!(BreakerPolicy::default(), BreakerPolicy { failures: 5, rest_ms: 1_000 });
    }

    #[test]
    fn it_opens_at_the_limit_rests_and_lets_one_run_try() {
        let breaker = Breaker::new(BreakerPolicy { failures: 3, rest_ms: 100 });
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for _ in 0..2 {
            assert!(breaker.admit(start).is_ok());
            breaker.failed(start);
        }
        assert!(breaker.admit(start).is_ok(), "two failures of three leave it closed");
        breaker.failed(start);
        assert_eq!(breaker.admit(at(99)), Err(Duration::from_millis(1)));
        assert!(breaker.admit(at(100)).is_ok());
        assert!(breaker.admit(at(100)).is_err(), "only one run tries");
        breaker.failed(at(100));
        assert!(breaker.admit(at(199)).is_err());
        assert!(breaker.admit(at(200)).is_ok());
        breaker.succeeded();
        assert!(breaker.admit(at(200)).is_ok() && breaker.admit(at(200)).is_ok());
    }

    #[test]
    fn a_try_that_was_called_off_leaves_the_next_one_free() {
        let breaker = Breaker::new(BreakerPolicy { failures: 1, rest_ms: 100 });
        let start = Instant::now();
        breaker.failed(start);
        let later = start + Duration::from_millis(100);
        assert!(breaker.admit(later).is_ok());
        breaker.called_off(later);
        assert!(breaker.admit(later).is_ok());
    }
}
