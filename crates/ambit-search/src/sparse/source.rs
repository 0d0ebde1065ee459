//! Where do postings come from? The runs of some segments, and rows that no run covers yet.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

use super::run::{Area, RunInfo};
use crate::source::{RowRef, SourceError};

/// A row without an index that shares a term with the query.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'a> {
    /// The row.
    pub row: RowRef,
    /// Its length in terms; 0 under weights.
    pub length: u32,
    /// (number of the query's term, value), ascending.
    pub values: &'a [(u32, u32)],
}

/// What a source tells of rows without an index.
#[derive(Debug, Clone, Copy)]
pub enum Note<'a> {
    /// A live row with terms, of this length, that shares none with the query.
    Other {
        /// Its length in terms; 0 under weights.
        length: u32,
    },
    /// A live row that shares some.
    Matched(Matched<'a>),
}

/// One run of an index: see [`super::RunBuilder`].
pub trait IndexedRun: Sync {
    /// The part that its rows lie in, as [`RowRef::part`] names it.
    fn part(&self) -> u32;

    /// What it holds.
    fn info(&self) -> &RunInfo;

    /// The bytes of one of its areas.
    fn len(&self, area: Area) -> u64;

    /// Gives `range`, which lies inside the area, to `take`, in one call.
    ///
    /// # Errors
    /// Whatever keeps it from being read; the search ends with it.
    fn read(
        &self,
        area: Area,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), SourceError>;

    /// Calls `each` with its deleted rows, ascending, until it returns false.
    fn deleted(&self, each: &mut dyn FnMut(u32) -> bool);

    /// How many of its rows are deleted.
    fn deleted_len(&self) -> u64;

    /// Is a row deleted?
    fn is_deleted(&self, row: u32) -> bool;
}

/// One snapshot of one sparse space.
pub trait SparseSource: Sync {
    /// The runs of its index; no two share a row.
    fn runs(&self) -> Vec<&dyn IndexedRun>;

    /// Tells `take` of each live row that no run covers and that has terms, until it returns
    /// false. `terms` are the query's, ascending.
    ///
    /// # Errors
    /// Whatever keeps them from being read; the search ends with it.
    fn loose(
        &self,
        terms: &[&[u8]],
        take: &mut dyn FnMut(Note<'_>) -> bool,
    ) -> Result<(), SourceError>;

    /// May this row, which is not deleted, be in the answer? Asked only of rows that could be.
    fn meets(&self, row: RowRef) -> bool;

    /// Compares the keys of two rows; asked only when their scores are equal.
    ///
    /// # Errors
    /// Whatever keeps the keys from being read; the search ends with it.
    fn compare_keys(&self, a: RowRef, b: RowRef) -> Result<Ordering, SourceError>;
}

/// Gives `range` of an area to `take`.
///
/// # Errors
/// Damage where the range does not lie in the area; what the run says.
pub(super) fn bytes_of(
    run: &dyn IndexedRun,
    area: Area,
    range: Range<u64>,
    take: &mut dyn FnMut(&[u8]),
) -> Result<(), SourceError> {
    if range.start > range.end || range.end > run.len(area) {
        return Err(damaged("a place in a run"));
    }
    run.read(area, range, take)
}

/// Bytes of a run that cannot be, though their checksums may be right.
#[derive(Debug)]
pub struct DamagedRun(String);

impl fmt::Display for DamagedRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not what was written; build the index again", self.0)
    }
}

impl std::error::Error for DamagedRun {}

/// A run whose bytes cannot be.
pub(super) fn damaged(what: &str) -> SourceError {
    Box::new(DamagedRun(what.to_owned()))
}
