//! What is asked, and with which means? Checked here once, before any row is read.

use std::sync::atomic::{AtomicBool, Ordering};

use ambit_mem::Account;
use ambit_vector::Metric;

use crate::error::SearchError;

/// The `k` rows nearest to one vector.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The query: dim f32, all finite; not all zeros under cosine.
    pub vector: &'a [f32],
    /// Results wanted, at least 1; more than there are rows gives all rows.
    pub k: usize,
    /// What nearest means.
    pub metric: Metric,
}

/// The `k` rows nearest to each of several vectors.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The queries: m x dim, row-major f32, all finite; none all zeros under cosine.
    pub vectors: &'a [f32],
    /// Results wanted for each query, at least 1.
    pub k: usize,
    /// What nearest means.
    pub metric: Metric,
}

/// How a search runs.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Threads that scan, the calling one included; 0 means 1.
    pub threads: usize,
    /// What the scratch is charged to.
    pub account: &'a Account,
    /// Ends the search at the next block when it becomes true.
    pub cancel: Option<&'a AtomicBool>,
}

/// Whether the queries of a batch read the rows together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Every block is read once for all queries.
    #[default]
    Shared,
    /// Every query reads all blocks, as if it were asked alone.
    OneAtATime,
}

/// How a batch runs.
#[derive(Debug, Clone, Copy)]
pub struct BatchOptions<'a> {
    /// As for one query.
    pub options: Options<'a>,
    /// Whether the queries read the rows together.
    pub sharing: Sharing,
}

impl Options<'_> {
    /// # Errors
    ///
    /// `Cancelled` once the caller said so.
    pub(crate) fn check_cancel(&self) -> Result<(), SearchError> {
        match self.cancel {
            Some(cancel) if cancel.load(Ordering::Relaxed) => Err(SearchError::Cancelled),
            _ => Ok(()),
        }
    }
}

/// Checks a query, or a batch of them, against the dimension of the rows.
///
/// # Errors
///
/// `ZeroDimension`, `Dimension`, `ZeroK` and `NotFinite`, the first that applies.
pub(crate) fn check(
    vectors: &[f32],
    count: usize,
    k: usize,
    dim: usize,
) -> Result<(), SearchError> {
    if dim == 0 {
        return Err(SearchError::ZeroDimension);
    }
    if count.checked_mul(dim) != Some(vectors.len()) {
        return Err(SearchError::Dimension { expected: dim, found: vectors.len() });
    }
    if k == 0 {
        return Err(SearchError::ZeroK);
    }
    match vectors.iter().position(|element| !element.is_finite()) {
        Some(at) => {
            Err(SearchError::NotFinite { query: at / dim, position: at % dim, value: vectors[at] })
        }
        None => Ok(()),
    }
}
