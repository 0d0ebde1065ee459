//! Time of the wall and of the processor, and the middle of many.

use std::sync::Barrier;
use std::time::Instant;

use nix::time::{ClockId, clock_gettime};

use crate::error::BenchError;

/// What one call took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// Seconds of wall time.
    pub wall: f64,
    /// Seconds of this thread's processor time.
    pub cpu: f64,
}

/// Processor time of this thread, in seconds.
pub fn thread_cpu() -> Result<f64, BenchError> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(time.tv_sec() as f64 + time.tv_nsec() as f64 * 1e-9)
}

/// Runs `work` and says what it took.
pub fn time<T>(work: impl FnOnce() -> T) -> Result<(T, Took), BenchError> {
    let (cpu, wall) = (thread_cpu()?, Instant::now());
    let result = work();
    let took = Took { wall: wall.elapsed().as_secs_f64(), cpu: thread_cpu()? - cpu };
    Ok((result, took))
}

/// The middle value; 0 of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Nanoseconds of processor time of one `call` on each of `threads` threads, when all run at once
/// and each calls `repeats` times: those of the slowest thread. Processor time counts the waiting
/// for each other's cache lines, and not the waiting for a processor that something else runs on.
pub fn nanoseconds(
    threads: usize,
    repeats: u32,
    call: &(impl Fn(usize) + Sync),
) -> Result<f64, BenchError> {
    let start = Barrier::new(threads);
    let timed = &|thread| {
        start.wait();
        time(|| (0..repeats).for_each(|_| call(thread))).map(|((), took)| took.cpu)
    };
    let slowest = std::thread::scope(|scope| {
        let others: Vec<_> =
            (1..threads).map(|thread| scope.spawn(move || timed(thread))).collect();
        let own = timed(0);
        others
            .into_iter()
            .filter_map(|other| other.join().ok())
            .fold(own, |slowest, other| Ok(slowest?.max(other?)))
    })?;
    Ok(slowest * 1e9 / f64::from(repeats))
}
