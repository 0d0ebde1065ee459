//! What a node's definition says about trying again.

use serde::{Deserialize, Serialize};

/// How often and how soon a failed node is tried again.
///
/// | field | default |
/// |---|---|
/// | `attempts` | 3 |
/// | `backoff_ms` | 10 |
/// | `factor` | 2.0 |
/// | `max_backoff_ms` | 1,000 |
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Tries in all, 1 to 100.
    pub attempts: u32,
    /// Milliseconds before the second try.
    pub backoff_ms: u64,
    /// By what each wait is longer than the one before, 1 to 100.
    pub factor: f64,
    /// Milliseconds of a wait, at most.
    pub max_backoff_ms: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 3, backoff_ms: 10, factor: 2.0, max_backoff_ms: 1_000 }
    }
}

impl Retry {
    /// Milliseconds before try `attempt`, which counts from 2.
    pub fn wait_ms(&self, attempt: u32) -> u64 {
        let power = i32::try_from(attempt.saturating_sub(2)).unwrap_or(i32::MAX);
        let wait = self.backoff_ms as f64 * self.factor.powi(power);
        (wait.min(self.max_backoff_ms as f64)) as u64
    }

    pub(crate) fn fault(&self) -> Option<String> {
        if !(1..=100).contains(&self.attempts) {
            return Some(format!("retry.attempts is {}; it may be 1 to 100", self.attempts));
        }
        if !(1.0..=100.0).contains(&self.factor) {
            return Some(format!("retry.factor is {}; it may be 1 to 100", self.factor));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let Retry { attempts, backoff_ms, factor, max_backoff_ms } = Retry::default();
        assert_eq!((attempts, backoff_ms, factor, max_backoff_ms), (3, 10, 2.0, 1_000));
    }

    #[test]
    fn waits_grow_by_the_factor_up_to_the_longest() {
        let retry = Retry { backoff_ms: 100, max_backoff_ms: 350, ..Retry::default() };
        assert_eq!([2, 3, 4, 99].map(|attempt| retry.wait_ms(attempt)), [100, 200, 350, 350]);
    }

    #[test]
    fn attempts_and_factor_have_limits() {
        for (attempts, is_fault) in [(0, true), (1, false), (100, false), (101, true)] {
            let retry = Retry { attempts, ..Retry::default() };
            assert_eq!(retry.fault().is_some(), is_fault, "{attempts}");
        }
        for (factor, is_fault) in [(0.99, true), (1.0, false), (100.0, false), (f64::NAN, true)] {
            let retry = Retry { factor, ..Retry::default() };
            assert_eq!(retry.fault().is_some(), is_fault, "{factor}");
        }
    }
}
