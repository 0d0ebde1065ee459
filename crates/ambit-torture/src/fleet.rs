//! Many independent runs on all cores.
//!
//! Runs are numbered; a number is all that a run depends on. Of the failures seen, the one
//! with the smallest number is reported. A panic is a failure like any other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A run that failed: its number and what it saw.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Number of the run.
    pub run: u64,
    /// What went wrong, with all that is needed to see it again.
    pub what: String,
}

/// What came of all runs: the sum of what they did, and the failure if there was one.
pub type Outcome<T> = (T, Option<Failure>);

/// Does `work` for the runs `first..` until `enough` says so or one fails, on all cores.
///
/// `work` returns what it did and what failed; `enough` is asked with the sum before each run.
pub fn run<T, W, E>(first: u64, work: W, enough: E) -> Outcome<T>
where
    T: Send + Default + std::ops::AddAssign,
    W: Fn(u64) -> (T, Result<(), String>) + Sync,
    E: Fn(&T) -> bool + Sync,
{
    let next = AtomicU64::new(first);
    let outcome: Mutex<Outcome<T>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let run = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = {
                        let (sum, failed) = &*lock(&outcome);
                        failed.is_some() || enough(sum)
                    };
                    if is_over {
                        break;
                    }
                    let did = catch_unwind(AssertUnwindSafe(|| work(run)));
                    let (part, result) =
                        did.unwrap_or_else(|_| (T::default(), Err(format!("run {run} panicked"))));
                    let (sum, failed) = &mut *lock(&outcome);
                    *sum += part;
                    if let Err(what) = result
                        && failed.as_ref().is_none_or(|earlier| earlier.run > run)
                    {
                        *failed = Some(Failure { run, what });
                    }
                }
            });
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_go_on_until_there_are_enough() {
        let (sum, failed): Outcome<u64> = run(0, |_| (3, Ok(())), |sum| *sum >= 100);
        assert!(failed.is_none());
        assert!((100..200).contains(&sum), "{sum}");
    }

    #[test]
    fn a_failure_and_a_panic_end_the_runs() {
        let failing = |run| (1, if run == 20 { Err("wrong".to_owned()) } else { Ok(()) });
        let (_, failed): Outcome<u64> = run(0, failing, |_| false);
        assert_eq!(failed.map(|failure| (failure.run, failure.what)), Some((20, "wrong".into())));
        let panicking = |run: u64| {
            assert_ne!(run, 7);
            (1, Ok(()))
        };
        let (_, failed): Outcome<u64> = run(0, panicking, |_| false);
        assert_eq!(failed.map(|failure| failure.run), Some(7));
    }
}
