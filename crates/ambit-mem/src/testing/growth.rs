//! Does a piece of work leave more behind each time it runs?
//!
//! Memory grows while a program warms up: tables reach their size, pools and caches fill. A leak
//! goes on. So the work runs `n` times, the readings after each run are cut into three, and it grows
//! where every reading of the last third is above every reading of the first. The first third must
//! be long enough for the warm-up; a leak of one byte a run shows after three.

use std::fmt;

use super::Meter;
use crate::Bytes;

/// Work that leaves more behind each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    /// Runs.
    pub runs: usize,
    /// The most that was in use after a run of the first third.
    pub early: Bytes,
    /// The least that was in use after a run of the last third.
    pub late: Bytes,
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, early, late } = self;
        let each = (late.get() - early.get()) as f64 / (*runs as f64 / 3.0).max(1.0);
        write!(
            f,
            "memory grows: at most {early} in use after the first third of {runs} runs, at least \
             {late} after the last; about {each:.1} B a run"
        )
    }
}

/// Runs `work` `runs` times, at least three, and says whether what `meter` counts grows.
pub fn growth(meter: &impl Meter, runs: usize, mut work: impl FnMut()) -> Option<Growth> {
    let runs = runs.max(3);
    // Made before the first run, so that it is no growth itself.
    let mut readings = Vec::with_capacity(runs);
    for _ in 0..runs {
        work();
        readings.push(meter.current());
    }
    let third = runs / 3;
    let early = readings.iter().take(third).max().copied()?;
    let late = readings.iter().skip(runs - third).min().copied()?;
    (late > early).then_some(Growth { runs, early, late })
}

/// Runs `work` `runs` times, at least three, and panics if what `meter` counts grows from the
/// first third of the runs to the last.
///
/// # Panics
/// Where it grows, with the figures.
#[track_caller]
pub fn assert_no_growth(meter: &impl Meter, runs: usize, work: impl FnMut()) {
    let growth = growth(meter, runs, work);
    assert!(growth.is_none(), "{}", growth.map(|growth| growth.to_string()).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budget, Priority, Reservation};

    fn grows(runs: usize, mut keep: impl FnMut(usize) -> u64) -> Option<Growth> {
        let budget = Budget::new(Bytes::mib(64));
        let account = budget.account("kept", Priority::Write);
        let mut kept: Vec<Reservation> = Vec::new();
        let mut run = 0;
        growth(&budget, runs, || {
            kept.push(account.reserve(Bytes::new(keep(run))).unwrap());
            run += 1;
        })
    }

    #[test]
    fn one_byte_a_run_is_growth_and_a_warm_up_is_not() {
        assert_eq!(
            grows(9, |_| 1),
            Some(Growth { runs: 9, early: Bytes::new(3), late: Bytes::new(7) })
        );
        assert!(grows(0, |_| 1).is_some(), "three runs at least");
        assert_eq!(grows(30, |_| 0), None);
        assert_eq!(grows(30, |run| if run < 10 { 1000 } else { 0 }), None);
    }

    #[test]
    fn a_slow_leak_under_noise_is_found() {
        let budget = Budget::new(Bytes::mib(64));
        let account = budget.account("kept", Priority::Write);
        let mut kept = account.reserve(Bytes::ZERO).unwrap();
        let mut noise = account.reserve(Bytes::ZERO).unwrap();
        let mut run = 0;
        let found = growth(&budget, 60, || {
            run += 1;
            kept.grow(Bytes::new(10)).unwrap();
            noise.resize(Bytes::new(run * 7919 % 100)).unwrap();
        });
        assert!(found.is_some());
    }

    #[test]
    #[should_panic(expected = "memory grows: at most 30 B in use after the first third of 9 runs")]
    fn the_assertion_says_by_how_much() {
        let budget = Budget::new(Bytes::mib(1));
        let account = budget.account("kept", Priority::Write);
        let mut kept = account.reserve(Bytes::ZERO).unwrap();
        assert_no_growth(&budget, 9, || kept.grow(Bytes::new(10)).unwrap());
    }
}
