//! How does a row become a record? Every mode that fits is tried, the shortest record stays.
//!
//! Modes are in the order of what they usually take, so the first one that has a number for
//! nearly every value ends the trying. A row that no mode shortens is stored as it is, one byte
//! longer than its floats.

use super::bits::{BitWriter, join, joined_len};
use super::decode::{CONSTANT, DIFFERENCE, MANY, STORED, write_scale};
use super::delta;
use super::model::Mode;
use super::numbers::{ABSENT, Numbers};
use super::planes::{pack, packed_len};
use super::prefix::{ESCAPE, PrefixCode};

/// The codes of one prefix code by symbol.
#[derive(Debug)]
struct CodeBook {
    /// Code, and its length above bit 16; 0 where there is none. The symbol is `first` + index.
    codes: Vec<u32>,
    first: u16,
    escape: u32,
}

impl CodeBook {
    fn new(code: &PrefixCode) -> Self {
        let ordinary = || code.codes().filter(|(symbol, _, _)| *symbol != ESCAPE);
        let first = ordinary().map(|(symbol, _, _)| symbol).min().unwrap_or(0);
        let last = ordinary().map(|(symbol, _, _)| symbol).max().unwrap_or(0);
        let mut book = Self { codes: vec![0; usize::from(last - first) + 1], first, escape: 0 };
        for (symbol, bits, len) in code.codes() {
            let entry = u32::from(bits) | u32::from(len) << 16;
            match book.codes.get_mut(usize::from(symbol.wrapping_sub(first))) {
                Some(place) if symbol != ESCAPE => *place = entry,
                _ => book.escape = entry,
            }
        }
        book
    }

    /// The entry of a symbol; None if it has no code.
    #[inline(always)]
    fn entry(&self, symbol: u16) -> Option<u32> {
        let entry = self.codes.get(usize::from(symbol.wrapping_sub(self.first)))?;
        (*entry != 0).then_some(*entry)
    }
}

/// What encoding a row works in, and the codes by symbol.
#[derive(Debug)]
pub(super) struct RowEncoder {
    books: Vec<Vec<CodeBook>>,
    numbers: Numbers,
    entries: Vec<u32>,
    fields: Vec<u32>,
    literals: Vec<u8>,
    front: BitWriter,
    back: BitWriter,
    candidate: Vec<u8>,
    best: Vec<u8>,
}

impl RowEncoder {
    /// An encoder for the codes of `modes`.
    pub(super) fn new<'m>(modes: impl Iterator<Item = &'m Mode>) -> Self {
        Self {
            books: modes.map(|mode| mode.codes.iter().map(CodeBook::new).collect()).collect(),
            numbers: Numbers::default(),
            entries: Vec::new(),
            fields: Vec::new(),
            literals: Vec::new(),
            front: BitWriter::default(),
            back: BitWriter::default(),
            candidate: Vec::new(),
            best: Vec::new(),
        }
    }

    /// The shortest record of `row`, at most one byte longer than its floats.
    pub(super) fn record<'m>(
        &mut self,
        modes: impl Iterator<Item = &'m Mode>,
        row: &[f32],
        previous: Option<&[f32]>,
    ) -> &[u8] {
        self.best.clear();
        let first = row.first().map_or(0, |value| value.to_bits());
        if row.iter().all(|value| value.to_bits() == first) {
            self.best.push(CONSTANT);
            self.best.extend_from_slice(&first.to_le_bytes());
            return &self.best;
        }
        for (number, mode) in modes.enumerate() {
            if !self.numbers.find(mode.origin, row) {
                continue;
            }
            if !self.try_mode(number, mode, row) {
                continue;
            }
            self.keep_shorter();
            if self.literals.len() * 16 <= row.len() {
                break;
            }
        }
        if let Some(previous) = previous {
            self.candidate.clear();
            self.candidate.push(DIFFERENCE);
            delta::encode(row, previous, &mut self.candidate);
            self.keep_shorter();
        }
        if self.best.is_empty() || self.best.len() > 1 + size_of_val(row) {
            self.best.clear();
            self.best.push(STORED);
            self.best.extend(row.iter().flat_map(|value| value.to_le_bytes()));
        }
        &self.best
    }

    fn keep_shorter(&mut self) {
        if self.best.is_empty() || self.candidate.len() < self.best.len() {
            std::mem::swap(&mut self.best, &mut self.candidate);
        }
    }

    /// Encodes the numbers that were found into `candidate`; false where that cannot be shorter
    /// than the row itself.
    fn try_mode(&mut self, number: usize, mode: &Mode, row: &[f32]) -> bool {
        self.look_up(number, mode, row);
        if self.literals.len() >= size_of_val(row) {
            return false;
        }
        let (front, back) = (&mut self.front, &mut self.back);
        front.clear();
        back.clear();
        push_halves(&self.entries, front, back);
        if let [residuals] = &self.books[number][mode.class_count()..] {
            self.entries.clear();
            let entries = self.numbers.residuals.iter().map(|symbol| residuals.entry(*symbol));
            self.entries.extend(entries.map(|entry| entry.unwrap_or(residuals.escape)));
            push_halves(&self.entries, front, back);
        }
        let out = &mut self.candidate;
        out.clear();
        let count = self.literals.len() / 4;
        match u8::try_from(count) {
            Ok(few) if few < MANY => out.push(number as u8 | few << 4),
            _ => {
                out.push(number as u8 | MANY << 4);
                out.extend_from_slice(&(count as u16).to_le_bytes());
            }
        }
        if let Some(scale) = self.numbers.scale {
            write_scale(mode, scale, out);
        }
        out.extend_from_slice(&self.literals);
        let (at, width) = (out.len(), mode.shape.width());
        let fields_end = at + packed_len(row.len(), width);
        out.resize(fields_end + joined_len(front, back), 0);
        pack(&self.fields, width, &mut out[at..fields_end]);
        join(front, back, &mut out[fields_end..]);
        true
    }

    /// Fills entries, fields and values in full from the numbers.
    fn look_up(&mut self, number: usize, mode: &Mode, row: &[f32]) {
        self.entries.clear();
        self.fields.clear();
        self.literals.clear();
        let books = &self.books[number];
        for (dim, (value, number)) in row.iter().zip(&self.numbers.numbers).enumerate() {
            let book = &books[mode.class(dim)];
            let (entry, field) = if *number == ABSENT {
                (None, 0)
            } else {
                let (symbol, field) = mode.shape.cut(*number as u32, mode.flip(dim));
                (book.entry(symbol), field)
            };
            match entry {
                Some(entry) => {
                    self.entries.push(entry);
                    self.fields.push(field);
                }
                None => {
                    self.entries.push(book.escape);
                    self.fields.push(0);
                    self.literals.extend_from_slice(&value.to_le_bytes());
                }
            }
        }
    }
}

/// The first half of the codes to the front stream, the rest to the back stream.
fn push_halves(entries: &[u32], front: &mut BitWriter, back: &mut BitWriter) {
    let (first, rest) = entries.split_at(entries.len() / 2);
    for (entries, stream) in [(first, front), (rest, back)] {
        for entry in entries {
            stream.push(entry & 0xFFFF, entry >> 16);
        }
    }
}
