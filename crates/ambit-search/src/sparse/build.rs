//! Making a run: rows in, postings by term out.
//!
//! Postings are gathered by term, gaps and values in groups of seven bits, so that one takes about
//! three bytes; when the room that the caller has is full, he finishes the run and begins
//! another one. Nothing is merged: a run is whole as it is, and a search looks into each.

use std::collections::HashMap;

use ambit_mem::{Bytes, OverBudget, Reservation};
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use super::bits::{put_varint, take_varint};
use super::block::{self, BLOCK, Posting, Skip, Values};
use super::dictionary::DictionaryWriter;
use super::run::{Area, RunInfo};

/// Bytes that a term costs beside its own and its postings: key, list, and its share of a table that
/// is at least 7/16 full, and may be doubling.
const TERM_COST: usize = 224;
/// Bytes that are charged at a time.
const STEP: usize = 64 << 10;

/// Where a run is written to.
pub trait RunSink {
    /// What it fails with.
    type Error;

    /// Begins an area; each is begun once, in the order of [`Area::ALL`].
    ///
    /// # Errors
    /// Whatever keeps it from being written; the run is then of no use.
    fn begin(&mut self, area: Area) -> Result<(), Self::Error>;

    /// Appends to the area that was begun last.
    ///
    /// # Errors
    /// As [`RunSink::begin`].
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Gathers the rows of a run.
#[derive(Debug)]
pub struct RunBuilder {
    values: Values,
    first_row: u32,
    lengths: Vec<u32>,
    filled: u32,
    terms: HashMap<Box<[u8]>, List, Xxh3DefaultBuilder>,
    /// Bytes of the keys and lists of `terms`.
    held: usize,
    charge: Reservation,
}

/// The postings of a term: all but the last as bytes.
#[derive(Debug)]
struct List {
    bytes: Vec<u8>,
    count: u32,
    /// The row after the last one in `bytes`.
    next: u32,
    row: u32,
    value: u32,
}

impl RunBuilder {
    /// A run whose rows begin at `first_row`; what it holds is charged to `charge`.
    pub fn new(values: Values, first_row: u32, charge: Reservation) -> Self {
        let terms = HashMap::default();
        Self { values, first_row, lengths: Vec::new(), filled: 0, terms, held: 0, charge }
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.held + self.lengths.capacity() * size_of::<u32>()
    }

    /// The row that [`RunBuilder::add`] adds to.
    pub fn row(&self) -> u32 {
        self.first_row.saturating_add(self.lengths.len() as u32)
    }

    /// Adds a term, at most [`super::MAX_TERM`] bytes, to the row: counts add up, weights come once a term.
    ///
    /// # Errors
    /// Over budget; the run is then of no use.
    pub fn add(&mut self, term: &[u8], value: u32) -> Result<(), OverBudget> {
        let row = self.row();
        let Some(list) = self.terms.get_mut(term) else {
            self.held += TERM_COST + term.len();
            self.pay()?;
            let list = List { bytes: Vec::new(), count: 1, next: self.first_row, row, value };
            self.terms.insert(term.into(), list);
            return Ok(());
        };
        if list.row == row {
            list.value = list.value.saturating_add(value);
            return Ok(());
        }
        let before = list.bytes.capacity();
        put_varint(u64::from(list.row - list.next), &mut list.bytes);
        put_varint(u64::from(list.value), &mut list.bytes);
        (list.next, list.row, list.value) = (list.row + 1, row, value);
        list.count += 1;
        self.held += list.bytes.capacity() - before;
        self.pay()
    }

    /// Ends the row. `length`: its terms, repeated ones as often as they stand; 0 without terms.
    ///
    /// # Errors
    /// As [`RunBuilder::add`].
    pub fn end_row(&mut self, length: u32) -> Result<(), OverBudget> {
        self.lengths.push(length);
        self.filled += u32::from(length > 0);
        self.pay()
    }

    fn pay(&mut self) -> Result<(), OverBudget> {
        let bytes = Bytes::of(self.bytes().next_multiple_of(STEP));
        if bytes > self.charge.bytes() { self.charge.resize(bytes) } else { Ok(()) }
    }

    /// Writes the run.
    ///
    /// # Errors
    /// The sink's; over budget, as its error.
    pub fn finish<S: RunSink>(mut self, sink: &mut S) -> Result<RunInfo, S::Error>
    where
        S::Error: From<OverBudget>,
    {
        // The sorted terms, and the dictionary of them.
        let keys: usize = self.terms.keys().map(|term| term.len() + 24).sum();
        self.charge.grow(Bytes::of(self.terms.len() * size_of::<(&[u8], &List)>() + keys))?;
        let mut terms: Vec<(&[u8], &List)> =
            self.terms.iter().map(|(term, list)| (&**term, list)).collect();
        terms.sort_unstable_by_key(|(term, _)| *term);
        let mut dictionary = DictionaryWriter::default();
        sink.begin(Area::Postings)?;
        let mut scratch = Scratch::default();
        for (term, list) in &terms {
            let len = self.write_term(list, &mut scratch, sink)?;
            dictionary.add(term, len);
        }
        sink.begin(Area::Terms)?;
        sink.write(&dictionary.terms)?;
        sink.begin(Area::Index)?;
        sink.write(&dictionary.index)?;
        sink.begin(Area::Lengths)?;
        let length_width = self.write_lengths(sink)?;
        let least = self.lengths.iter().copied().filter(|&length| length > 0).min();
        Ok(RunInfo {
            values: self.values,
            first_row: self.first_row,
            rows: self.lengths.len() as u32,
            filled: self.filled,
            terms: terms.len() as u32,
            postings: terms.iter().map(|(_, list)| u64::from(list.count)).sum(),
            length: self.lengths.iter().map(|&length| u64::from(length)).sum(),
            least_length: least.unwrap_or(0),
            length_width,
        })
    }

    /// Writes the record of a term; gives its bytes.
    ///
    /// ```text
    /// record = varint postings, where there are more than 128: a skip per block, the blocks
    /// ```
    fn write_term<S: RunSink>(
        &self,
        list: &List,
        scratch: &mut Scratch,
        sink: &mut S,
    ) -> Result<u64, S::Error> {
        let Scratch { head, blocks, postings } = scratch;
        head.clear();
        blocks.clear();
        postings.clear();
        put_varint(u64::from(list.count), head);
        let (mut first, mut len) = (self.first_row, 0);
        let mut end_block = |postings: &mut Vec<Posting>, blocks: &mut Vec<u8>| {
            if list.count as usize > BLOCK {
                Skip::of(self.values, postings, blocks.len() as u32).encode(head);
            }
            block::encode(self.values, first, postings, blocks);
            first = postings.last().map_or(first, |posting| posting.row + 1);
            postings.clear();
        };
        list.each(self.first_row, &mut |row, value| {
            let length = self.lengths.get((row - self.first_row) as usize).copied().unwrap_or(0);
            postings.push(Posting { row, value, length });
            if postings.len() == BLOCK {
                end_block(postings, blocks);
            }
        });
        if !postings.is_empty() {
            end_block(postings, blocks);
        }
        for bytes in [&*head, &*blocks] {
            len += bytes.len() as u64;
            sink.write(bytes)?;
        }
        Ok(len)
    }

    fn write_lengths<S: RunSink>(&self, sink: &mut S) -> Result<u8, S::Error> {
        if self.values == Values::Weights {
            return Ok(0);
        }
        let most = self.lengths.iter().copied().max().unwrap_or(0);
        let width = match most {
            0..=0xff => 1,
            0x100..=0xffff => 2,
            _ => 4,
        };
        let mut bytes = Vec::with_capacity(4096);
        for some in self.lengths.chunks(1024) {
            bytes.clear();
            for length in some {
                bytes.extend_from_slice(&length.to_le_bytes()[..width]);
            }
            sink.write(&bytes)?;
        }
        Ok(width as u8)
    }
}

/// What writing a term works in; as large as the largest record.
#[derive(Default)]
struct Scratch {
    head: Vec<u8>,
    blocks: Vec<u8>,
    postings: Vec<Posting>,
}

impl List {
    fn each(&self, first: u32, take: &mut dyn FnMut(u32, u32)) {
        let (mut bytes, mut next) = (&self.bytes[..], first);
        while let (Some(gap), Some(value)) = (take_varint(&mut bytes), take_varint(&mut bytes)) {
            let row = next + gap as u32;
            take(row, value as u32);
            next = row + 1;
        }
        take(self.row, self.value);
    }
}
