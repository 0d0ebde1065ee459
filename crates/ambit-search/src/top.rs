//! Which k rows are best so far? A heap whose comparison may fail, and the shared threshold.
//!
//! The worst of the k stands at the root, so a row that does not enter costs one comparison.
//! Keys are compared only between equal scores and may need a read, so every operation can
//! fail; the standard heap cannot. Memory is k entries at most, however many rows are equal,
//! and is charged before it is taken.
//!
//! [`Threshold`] publishes the k-th best goodness among threads. Each thread's k-th best is
//! that of k real rows, so the largest of them still excludes only rows outside the answer.

use std::cmp::Ordering;
use std::sync::atomic::{AtomicU64, Ordering as Memory};

use ambit_mem::{Bytes, Reservation};

use crate::error::SearchError;
use crate::scorer::Goodness;
use crate::source::{DenseSource, RowRef, SourceError};

/// Entries that are taken at once; more are taken as they are needed.
const FIRST_ENTRIES: usize = 1024;

/// Whose keys break ties.
pub(crate) trait KeyOrder {
    /// Compares the keys of two rows.
    ///
    /// # Errors
    /// Whatever keeps them from being read.
    fn compare_keys(&self, a: RowRef, b: RowRef) -> Result<Ordering, SourceError>;
}

impl<S: DenseSource + ?Sized> KeyOrder for S {
    fn compare_keys(&self, a: RowRef, b: RowRef) -> Result<Ordering, SourceError> {
        DenseSource::compare_keys(self, a, b)
    }
}

/// A scored row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) goodness: Goodness,
    pub(crate) row: RowRef,
}

/// Greater is better: by goodness, then the smaller key.
fn compare<S: KeyOrder + ?Sized>(
    source: &S,
    a: &Entry,
    b: &Entry,
) -> Result<Ordering, SourceError> {
    match a.goodness.compare(b.goodness) {
        Ordering::Equal => source.compare_keys(b.row, a.row),
        unequal => Ok(unequal),
    }
}

/// The best `k` entries so far, the worst of them at the root.
#[derive(Debug)]
pub(crate) struct Top {
    k: usize,
    heap: Vec<Entry>,
}

impl Top {
    /// The bytes that [`Top::new`] takes.
    pub(crate) fn initial_bytes(k: usize) -> usize {
        k.min(FIRST_ENTRIES) * size_of::<Entry>()
    }

    /// Room for `k` entries, or the first of them; the caller has reserved
    /// [`Top::initial_bytes`].
    pub(crate) fn new(k: usize) -> Self {
        Self { k, heap: Vec::with_capacity(k.min(FIRST_ENTRIES)) }
    }

    /// Entries wanted.
    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// The k-th best goodness; none before there are k.
    pub(crate) fn kth(&self) -> Option<Goodness> {
        if self.heap.len() < self.k { None } else { self.heap.first().map(|entry| entry.goodness) }
    }

    /// Takes `entry` if it is among the best k; says whether it was taken.
    ///
    /// # Errors
    ///
    /// `OverBudget` if the heap must grow and cannot, or what the source says to a comparison.
    pub(crate) fn offer<S: KeyOrder + ?Sized>(
        &mut self,
        entry: Entry,
        source: &S,
        scratch: &mut Reservation,
    ) -> Result<bool, OfferError> {
        if self.heap.len() < self.k {
            self.make_room(scratch)?;
            self.heap.push(entry);
            self.sift_up(source)?;
            return Ok(true);
        }
        if compare(source, &entry, &self.heap[0])? != Ordering::Greater {
            return Ok(false);
        }
        self.heap[0] = entry;
        self.sift_down(source, self.k)?;
        Ok(true)
    }

    /// All entries, best first, in place.
    ///
    /// # Errors
    ///
    /// What the source says to a comparison.
    pub(crate) fn into_sorted<S: KeyOrder + ?Sized>(
        mut self,
        source: &S,
    ) -> Result<Vec<Entry>, SourceError> {
        for len in (1..self.heap.len()).rev() {
            self.heap.swap(0, len);
            self.sift_down(source, len)?;
        }
        Ok(self.heap)
    }

    /// The entries in no particular order.
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.heap
    }

    /// Doubles the heap when it is full, reserving the new room before the old is given back.
    fn make_room(&mut self, scratch: &mut Reservation) -> Result<(), OfferError> {
        let old = self.heap.capacity();
        if self.heap.len() < old {
            return Ok(());
        }
        let new = old.saturating_mul(2).clamp(1, self.k);
        scratch.grow(Bytes::of(new.saturating_mul(size_of::<Entry>())))?;
        self.heap.reserve_exact(new - self.heap.len());
        scratch.shrink(Bytes::of(old * size_of::<Entry>()));
        Ok(())
    }

    /// Moves the last entry up to its place.
    fn sift_up<S: KeyOrder + ?Sized>(&mut self, source: &S) -> Result<(), SourceError> {
        let mut at = self.heap.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if compare(source, &self.heap[at], &self.heap[parent])? != Ordering::Less {
                break;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
        Ok(())
    }

    /// Moves the root down to its place in the heap of the first `len` entries.
    fn sift_down<S: KeyOrder + ?Sized>(
        &mut self,
        source: &S,
        len: usize,
    ) -> Result<(), SourceError> {
        let heap = &mut self.heap[..len];
        let mut at = 0;
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            if left >= len {
                return Ok(());
            }
            let mut worst = left;
            if right < len && compare(source, &heap[right], &heap[left])? == Ordering::Less {
                worst = right;
            }
            if compare(source, &heap[worst], &heap[at])? != Ordering::Less {
                return Ok(());
            }
            heap.swap(at, worst);
            at = worst;
        }
    }
}

/// Why an entry could not be offered.
#[derive(Debug)]
pub(crate) enum OfferError {
    OverBudget(ambit_mem::OverBudget),
    Source(SourceError),
}

impl OfferError {
    /// The error of a search that was scanning `block`, or merging.
    pub(crate) fn while_scanning(self, block: Option<usize>) -> SearchError {
        match self {
            Self::OverBudget(error) => SearchError::OverBudget(error),
            Self::Source(source) => SearchError::Source { block, source },
        }
    }
}

impl From<ambit_mem::OverBudget> for OfferError {
    fn from(error: ambit_mem::OverBudget) -> Self {
        Self::OverBudget(error)
    }
}

impl From<SourceError> for OfferError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// The best threshold that any thread has proved; only rises.
#[derive(Debug)]
pub(crate) struct Threshold(AtomicU64);

impl Threshold {
    /// No threshold: nothing is excluded.
    pub(crate) fn none() -> Self {
        Self::of(f64::NEG_INFINITY)
    }

    /// A goodness below which nothing is in the answer; not NaN.
    pub(crate) fn of(floor: f64) -> Self {
        Self(AtomicU64::new(ordered_bits(floor)))
    }

    /// The threshold, a goodness. Relaxed: an old value excludes less, never more.
    pub(crate) fn get(&self) -> f64 {
        from_ordered_bits(self.0.load(Memory::Relaxed))
    }

    /// Raises the threshold to the k-th best of one thread.
    pub(crate) fn raise(&self, kth: Goodness) {
        self.0.fetch_max(ordered_bits(kth.threshold()), Memory::Relaxed);
    }
}

/// Bits whose unsigned order is the order of the numbers; not for NaN.
fn ordered_bits(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn from_ordered_bits(ordered: u64) -> f64 {
    f64::from_bits(if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered })
}
