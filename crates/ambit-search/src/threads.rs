//! How do threads share the work of a search?
//!
//! Each takes the next unit from one counter until none is left; the calling thread is one of
//! them. The first failure stops all at their next unit. If the system refuses a thread, the
//! others do its work.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::SearchError;
use crate::plan::{Plan, Unit};
use crate::query::Options;
use crate::source::{DenseBlock, DenseSource};

/// What one thread does with the work that it takes.
pub(crate) trait Worker: Send {
    /// Works on some rows of `block`; their lengths fit each other.
    fn take(&mut self, block: usize, rows: &DenseBlock<'_>) -> Result<(), SearchError>;

    /// Works on the codes of rows `rows` of coded part `part`.
    fn sift(&mut self, part: usize, rows: std::ops::Range<usize>) -> Result<(), SearchError>;
}

/// Runs one worker per thread over all of `plan` and returns the workers.
///
/// # Errors
///
/// The first failure of a worker or of the source, or `Cancelled`.
pub(crate) fn run<S: DenseSource + ?Sized, W: Worker>(
    source: &S,
    plan: &Plan<'_>,
    options: &Options<'_>,
    mut worker: impl FnMut() -> Result<W, SearchError>,
) -> Result<Vec<W>, SearchError> {
    let threads = options.threads.min(plan.units()).max(1);
    let mut workers = Vec::with_capacity(threads);
    for _ in 0..threads {
        workers.push(worker()?);
    }
    let next = AtomicUsize::new(0);
    let failure = OnceLock::new();
    let work = |worker: &mut W| {
        while failure.get().is_none() {
            match step(source, plan, options, &next, worker) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // A second failure at the same time says no more than the first.
                    let _ = failure.set(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let Some((own, others)) = workers.split_first_mut() else {
            return;
        };
        for other in others {
            let thread = std::thread::Builder::new().name("ambit-search".into());
            if thread.spawn_scoped(scope, || work(other)).is_err() {
                break;
            }
        }
        work(own);
    });
    match failure.into_inner() {
        Some(error) => Err(error),
        None => Ok(workers),
    }
}

/// Takes one unit; false if none was left.
fn step<S: DenseSource + ?Sized>(
    source: &S,
    plan: &Plan<'_>,
    options: &Options<'_>,
    next: &AtomicUsize,
    worker: &mut impl Worker,
) -> Result<bool, SearchError> {
    options.check_cancel()?;
    let block = match plan.unit(next.fetch_add(1, Ordering::Relaxed)) {
        None => return Ok(false),
        Some(Unit::Codes { part, rows }) => return worker.sift(part, rows).map(|()| true),
        Some(Unit::Block(block)) => block,
    };
    let mut outcome = Ok(());
    let mut take = |rows: DenseBlock<'_>| {
        if outcome.is_ok() {
            outcome = check(source.dim(), block, &rows).and_then(|()| worker.take(block, &rows));
        }
    };
    source
        .visit(block, &mut take)
        .map_err(|source| SearchError::Source { block: Some(block), source })?;
    outcome.map(|()| true)
}

fn check(dim: usize, block: usize, rows: &DenseBlock<'_>) -> Result<(), SearchError> {
    let n = rows.rows.len();
    if n.checked_mul(dim) == Some(rows.vectors.len()) && rows.norms.len() == n {
        return Ok(());
    }
    Err(SearchError::MalformedBlock {
        block,
        rows: n,
        dim,
        vectors: rows.vectors.len(),
        norms: rows.norms.len(),
    })
}
