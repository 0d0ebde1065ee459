//! The postings of one term in one run, block by block.

use std::ops::Range;

use ambit_mem::{Bytes, Reservation};

use super::bits::{MAX_VARINT, take_varint};
use super::block::{self, BLOCK, Posting, Skip, Values};
use super::dictionary;
use super::run::Area;
use super::score::Score;
use super::source::{IndexedRun, bytes_of, damaged};
use crate::error::SearchError;
use crate::source::SourceError;

/// The postings of one term in one run.
#[derive(Debug)]
pub(super) struct Cursor {
    /// Number of the term in the query.
    pub(super) term: usize,
    count: u32,
    /// Where its blocks lie.
    blocks: Range<u64>,
    skips: Vec<Skip>,
    /// What each block can give; see [`Cursor::set`].
    bests: Vec<f64>,
    /// The largest amount by which it can change a score.
    pub(super) most: f64,
}

/// The block of a cursor that was read last.
#[derive(Debug)]
pub(super) struct Decoded {
    block: usize,
    pub(super) rows: Vec<u32>,
    pub(super) values: Vec<u32>,
    /// Blocks that were read.
    pub(super) reads: u64,
}

impl Decoded {
    /// Bytes of one.
    pub(super) const BYTES: usize = 2 * BLOCK * size_of::<u32>() + 64;

    pub(super) fn none() -> Self {
        let [rows, values] = [(); 2].map(|()| Vec::with_capacity(BLOCK));
        Self { block: usize::MAX, rows, values, reads: 0 }
    }

    /// Forgets the block: the next one is of another cursor.
    pub(super) fn forget(&mut self) {
        self.block = usize::MAX;
    }
}

impl Cursor {
    /// The postings of `term`, number `number` of the query; none where the run has none.
    ///
    /// # Errors
    /// Over budget; the run's, and damage.
    pub(super) fn open(
        run: &dyn IndexedRun,
        number: usize,
        term: &[u8],
        scratch: &mut Reservation,
    ) -> Result<Option<Self>, OpenError> {
        let Some(record) = dictionary::find(run, term)? else {
            return Ok(None);
        };
        let head = record.start..record.end.min(record.start + MAX_VARINT as u64);
        let (mut count, mut past) = (0, 0);
        bytes_of(run, Area::Postings, head, &mut |bytes| {
            let mut rest = bytes;
            count = take_varint(&mut rest).unwrap_or(0);
            past = (bytes.len() - rest.len()) as u64;
        })?;
        let count = u32::try_from(count).ok().filter(|&count| {
            count > 0 && count <= run.info().rows && u64::from(count) <= run.info().postings
        });
        let Some(count) = count else {
            return Err(damaged("a count of postings").into());
        };
        let blocks = (count as usize).div_ceil(BLOCK);
        scratch.grow(Bytes::of(blocks * (size_of::<Skip>() + size_of::<f64>())))?;
        let start = record.start + past;
        let mut cursor = Self {
            term: number,
            count,
            blocks: start..record.end,
            skips: Vec::with_capacity(blocks),
            bests: Vec::new(),
            most: 0.0,
        };
        if blocks == 1 {
            cursor.skips.push(cursor.only_skip(run)?);
            return Ok(Some(cursor));
        }
        let end = start + (blocks * Skip::LEN) as u64;
        let values = run.info().values;
        bytes_of(run, Area::Postings, start..end.min(record.end), &mut |bytes| {
            let (skips, _) = bytes.as_chunks::<{ Skip::LEN }>();
            cursor.skips.extend(skips.iter().map(|skip| Skip::decode(values, skip)));
        })?;
        let ascends = cursor
            .skips
            .windows(2)
            .all(|pair| pair[0].last < pair[1].last && pair[0].offset < pair[1].offset);
        if cursor.skips.len() != blocks || !ascends {
            return Err(damaged("the skips of a term").into());
        }
        cursor.blocks.start = end;
        Ok(Some(cursor))
    }

    /// The skip of a term with one block, which has none: the block is read. Lengths are taken as
    /// the least one of the run.
    fn only_skip(&self, run: &dyn IndexedRun) -> Result<Skip, SourceError> {
        let mut decoded = Decoded::none();
        let mut skip = Skip::of(run.info().values, &[], 0);
        skip.last = u32::MAX;
        let only = Self { skips: vec![skip], blocks: self.blocks.clone(), bests: vec![], ..*self };
        only.read(run, 0, &mut decoded)?;
        let postings = decoded.rows.iter().zip(&decoded.values);
        let length = run.info().least_length;
        let postings: Vec<Posting> =
            postings.map(|(&row, &value)| Posting { row, value, length }).collect();
        Ok(Skip::of(run.info().values, &postings, 0))
    }

    /// Rows that have the term, deleted ones included.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Makes the bounds ready for scores of this term.
    pub(super) fn set(&mut self, score: &Score) {
        self.bests.clear();
        self.most = 0.0;
        for skip in &self.skips {
            let (best, most) = skip.best(score);
            self.bests.push(best);
            self.most = self.most.max(most);
        }
    }

    /// The blocks that may have rows in `rows`.
    pub(super) fn blocks_in(&self, rows: &Range<u32>) -> Range<usize> {
        let start = self.skips.partition_point(|skip| skip.last < rows.start);
        let inside = self.skips.get(start..).unwrap_or_default();
        // The first that ends at or after the last row is the last that can have one.
        let len = inside.iter().take_while(|skip| skip.last < rows.end - 1).count();
        start..(start + len + 1).min(self.skips.len())
    }

    /// The most that a row of these blocks can gain, at least 0.
    pub(super) fn best_of(&self, blocks: Range<usize>) -> f64 {
        self.bests.get(blocks).unwrap_or_default().iter().copied().fold(0.0, f64::max)
    }

    /// Reads a block, unless it is the one that was read last.
    ///
    /// # Errors
    /// The run's, and damage.
    pub(super) fn read(
        &self,
        run: &dyn IndexedRun,
        block: usize,
        decoded: &mut Decoded,
    ) -> Result<(), SourceError> {
        if decoded.block == block {
            return Ok(());
        }
        let Some(skip) = self.skips.get(block) else {
            return Err(damaged("a block of postings"));
        };
        let before = block.checked_sub(1).and_then(|before| self.skips.get(before));
        let first = before.map_or(run.info().first_row, |before| before.last.saturating_add(1));
        let count = (self.count as usize - block * BLOCK).min(BLOCK);
        let start = self.blocks.start.saturating_add(u64::from(skip.offset));
        let end = match self.skips.get(block + 1) {
            Some(next) => self.blocks.start.saturating_add(u64::from(next.offset)),
            None => self.blocks.end,
        };
        decoded.block = usize::MAX;
        decoded.rows.resize(count, 0);
        decoded.values.resize(count, 0);
        let (rows, values) = (&mut decoded.rows[..], &mut decoded.values[..]);
        let mut whole = None;
        bytes_of(run, Area::Postings, start..end, &mut |bytes| {
            let kind: Values = run.info().values;
            whole = block::decode(kind, first, run.info().end(), bytes, rows, values);
        })?;
        let ends = skip.last == u32::MAX || decoded.rows.last() == Some(&skip.last);
        if whole.is_none() || !ends {
            return Err(damaged("a block of postings"));
        }
        decoded.block = block;
        decoded.reads += 1;
        Ok(())
    }

    /// The value of a row; none where it does not have the term.
    ///
    /// # Errors
    /// The run's, and damage.
    pub(super) fn value_of(
        &self,
        run: &dyn IndexedRun,
        row: u32,
        decoded: &mut Decoded,
    ) -> Result<Option<u32>, SourceError> {
        let block = self.skips.partition_point(|skip| skip.last < row);
        if block == self.skips.len() {
            return Ok(None);
        }
        self.read(run, block, decoded)?;
        Ok(decoded.rows.binary_search(&row).ok().map(|at| decoded.values[at]))
    }

    /// How many rows that are not deleted have the term.
    ///
    /// # Errors
    /// The run's, and damage.
    pub(super) fn live(&self, run: &dyn IndexedRun) -> Result<u64, SourceError> {
        let count = u64::from(self.count);
        let deleted = run.deleted_len();
        if deleted == 0 {
            return Ok(count);
        }
        let mut decoded = Decoded::none();
        let mut dead = 0;
        if deleted < count {
            let mut outcome = Ok(());
            run.deleted(&mut |row| {
                match self.value_of(run, row, &mut decoded) {
                    Ok(value) => dead += u64::from(value.is_some()),
                    Err(error) => outcome = Err(error),
                }
                outcome.is_ok()
            });
            outcome?;
        } else {
            for block in 0..self.skips.len() {
                self.read(run, block, &mut decoded)?;
                dead += decoded.rows.iter().filter(|&&row| run.is_deleted(row)).count() as u64;
            }
        }
        Ok(count - dead.min(count))
    }
}

/// Why a cursor could not be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    OverBudget(ambit_mem::OverBudget),
    Source(SourceError),
}

impl OpenError {
    /// The error of a search in run `run`.
    pub(super) fn in_run(self, run: usize) -> SearchError {
        match self {
            Self::OverBudget(error) => SearchError::OverBudget(error),
            Self::Source(source) => SearchError::Source { block: Some(run), source },
        }
    }
}

impl From<ambit_mem::OverBudget> for OpenError {
    fn from(error: ambit_mem::OverBudget) -> Self {
        Self::OverBudget(error)
    }
}

impl From<SourceError> for OpenError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}
