//! How do threads share the blocks of a source?
//!
//! Each takes the next block from one counter until none is left; the calling thread is one of
//! them. The first failure stops all at their next block. If the system refuses a thread, the
//! others do its work.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::SearchError;
use crate::query::Options;
use crate::source::{DenseBlock, DenseSource};

/// What one thread does with the blocks that it takes.
pub(crate) trait Worker: Send {
    /// Works on some rows of `block`; their lengths fit each other.
    fn take(&mut self, block: usize, rows: &DenseBlock<'_>) -> Result<(), SearchError>;
}

/// Runs one worker per thread over all blocks and returns the workers.
///
/// # Errors
///
/// The first failure of a worker or of the source, or `Cancelled`.
pub(crate) fn run<S: DenseSource + ?Sized, W: Worker>(
    source: &S,
    options: &Options<'_>,
    mut worker: impl FnMut() -> Result<W, SearchError>,
) -> Result<Vec<W>, SearchError> {
    let threads = options.threads.min(source.blocks()).max(1);
    let mut workers = Vec::with_capacity(threads);
    for _ in 0..threads {
        workers.push(worker()?);
    }
    let next = AtomicUsize::new(0);
    let failure = OnceLock::new();
    let work = |worker: &mut W| {
        while failure.get().is_none() {
            match step(source, options, &next, worker) {
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

/// Takes one block; false if none was left.
fn step<S: DenseSource + ?Sized, W: Worker>(
    source: &S,
    options: &Options<'_>,
    next: &AtomicUsize,
    worker: &mut W,
) -> Result<bool, SearchError> {
    options.check_cancel()?;
    let block = next.fetch_add(1, Ordering::Relaxed);
    if block >= source.blocks() {
        return Ok(false);
    }
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
