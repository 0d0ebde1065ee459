//! The terms of a run, sorted, and how many bytes of postings each has.
//!
//! ```text
//! terms : blocks of 16 terms; a term is
//!         varint bytes shared with the term before (0 for the first of a block),
//!         varint bytes that follow, these bytes, varint bytes of its postings
//! index : per block, u64 offset in terms, u64 offset in postings
//! ```
//!
//! A look-up reads the first term of about log2(terms / 16) blocks, and one block. Nothing of it is kept
//! in memory.

use std::cmp::Ordering;
use std::ops::Range;

use super::MAX_TERM;
use super::bits::{MAX_VARINT, put_varint, take_varint};
use super::run::Area;
use super::source::{IndexedRun, bytes_of, damaged};
use crate::source::SourceError;

/// Terms of a block.
const BLOCK: usize = 16;
/// Bytes of an entry of the index.
const ENTRY: u64 = 16;

/// Collects the terms of a run in their order.
#[derive(Debug, Default)]
pub(super) struct DictionaryWriter {
    pub(super) terms: Vec<u8>,
    pub(super) index: Vec<u8>,
    last: Vec<u8>,
    count: usize,
    postings: u64,
}

impl DictionaryWriter {
    /// Adds a term, greater than all before, with `len` bytes of postings.
    pub(super) fn add(&mut self, term: &[u8], len: u64) {
        let shared = if self.count.is_multiple_of(BLOCK) {
            self.index.extend_from_slice(&(self.terms.len() as u64).to_le_bytes());
            self.index.extend_from_slice(&self.postings.to_le_bytes());
            0
        } else {
            term.iter().zip(&self.last).take_while(|(a, b)| a == b).count()
        };
        put_varint(shared as u64, &mut self.terms);
        put_varint((term.len() - shared) as u64, &mut self.terms);
        self.terms.extend_from_slice(&term[shared..]);
        put_varint(len, &mut self.terms);
        self.last.clear();
        self.last.extend_from_slice(term);
        self.count += 1;
        self.postings += len;
    }
}

/// Where the postings of `term` lie in the run; none where it does not have the term.
///
/// # Errors
/// What the run says, and damage.
pub(super) fn find(run: &dyn IndexedRun, term: &[u8]) -> Result<Option<Range<u64>>, SourceError> {
    let blocks = run.len(Area::Index) / ENTRY;
    let (mut low, mut high) = (0, blocks);
    // The last block whose first term is not above the one that is looked for.
    while low < high {
        let middle = low.midpoint(high);
        let (offset, _) = entry(run, middle)?;
        match first_of(run, offset, term)? {
            Ordering::Greater => high = middle,
            _ => low = middle + 1,
        }
    }
    let Some(block) = low.checked_sub(1) else {
        return Ok(None);
    };
    let (offset, mut at) = entry(run, block)?;
    let end = if block + 1 < blocks { entry(run, block + 1)?.0 } else { run.len(Area::Terms) };
    let mut found = None;
    let mut whole = false;
    bytes_of(run, Area::Terms, offset..end, &mut |mut bytes| {
        let mut current = Vec::with_capacity(64);
        while !bytes.is_empty() {
            let Some(len) = take_term(&mut bytes, &mut current) else {
                return;
            };
            if current == term {
                found = Some(at..at.saturating_add(len));
                break;
            }
            at = at.saturating_add(len);
        }
        whole = true;
    })?;
    if !whole || found.as_ref().is_some_and(|found| found.end > run.len(Area::Postings)) {
        return Err(damaged("a block of terms"));
    }
    Ok(found)
}

/// Reads one term over the one before it; gives the bytes of its postings.
fn take_term(bytes: &mut &[u8], current: &mut Vec<u8>) -> Option<u64> {
    let shared = usize::try_from(take_varint(bytes)?).ok()?;
    let fresh = usize::try_from(take_varint(bytes)?).ok()?;
    if shared > current.len() || fresh > MAX_TERM {
        return None;
    }
    current.truncate(shared);
    current.extend_from_slice(bytes.get(..fresh)?);
    *bytes = bytes.get(fresh..)?;
    take_varint(bytes)
}

/// How the first term at `offset` compares with `term`.
fn first_of(run: &dyn IndexedRun, offset: u64, term: &[u8]) -> Result<Ordering, SourceError> {
    let most = (2 * MAX_VARINT + MAX_TERM) as u64;
    let end = run.len(Area::Terms).min(offset.saturating_add(most));
    let mut order = None;
    bytes_of(run, Area::Terms, offset..end, &mut |bytes| {
        order = whole_term(bytes).map(|first| first.cmp(term));
    })?;
    order.ok_or_else(|| damaged("the first term of a block"))
}

/// The term that `bytes` begin with, which shares nothing with the one before.
fn whole_term(mut bytes: &[u8]) -> Option<&[u8]> {
    take_varint(&mut bytes)?;
    let len = usize::try_from(take_varint(&mut bytes)?).ok()?;
    bytes.get(..len)
}

fn entry(run: &dyn IndexedRun, block: u64) -> Result<(u64, u64), SourceError> {
    let mut entry = (0, 0);
    let range = block * ENTRY..(block + 1) * ENTRY;
    bytes_of(run, Area::Index, range, &mut |bytes| {
        if let (Some(offset), Some(postings)) = (bytes.first_chunk(), bytes.last_chunk()) {
            entry = (u64::from_le_bytes(*offset), u64::from_le_bytes(*postings));
        }
    })?;
    if entry.0 > run.len(Area::Terms) || entry.1 > run.len(Area::Postings) {
        return Err(damaged("the index of terms"));
    }
    Ok(entry)
}
