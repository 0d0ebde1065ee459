//! Where is the record of a row? The layout of a segment, written and read.

use super::decode::{Scratch, decode_record};
use super::error::{LosslessError, corrupt};
use super::model::{Model, take};
use super::narrow::{Narrow, NarrowBuffer, narrow};
use super::report::{Report, Tally};
use super::{MAX_DIM, max_record_len};

const MAGIC: &[u8; 4] = b"AVL1";
/// The most bytes before the model: the magic, four numbers of up to five bytes, one byte.
pub(super) const HEADER: usize = 4 + 4 * 5 + 1;
/// Records that share an offset.
pub(super) const GROUP: usize = 64;

/// Bytes of the offsets: one for each group but the first.
pub(super) const fn offsets_len(rows: usize) -> usize {
    4 * rows.div_ceil(GROUP).saturating_sub(1)
}

/// Writes a segment into a slice.
///
/// Lengths and records go behind the longest header and index that may be needed; at the end they
/// move up to those that are.
pub(super) struct Writer<'a, 'm> {
    out: &'a mut [u8],
    dim: usize,
    model: &'m [u8],
    at: usize,
    row: usize,
    rows: usize,
    shortest: u32,
    longest: u32,
}

impl<'a, 'm> Writer<'a, 'm> {
    pub(super) fn begin(
        out: &'a mut [u8],
        dim: usize,
        rows: usize,
        model: &'m [u8],
    ) -> Result<Self, LosslessError> {
        let at = HEADER + model.len() + offsets_len(rows) + 4 * rows;
        Ok(Self { out, dim, model, at, row: 0, rows, shortest: u32::MAX, longest: 0 })
    }

    /// Where the lengths are before they move: four bytes each, right before the records.
    fn lengths(&self) -> usize {
        HEADER + self.model.len() + offsets_len(self.rows)
    }

    pub(super) fn push(&mut self, record: &[u8]) -> Result<(), LosslessError> {
        let full = LosslessError::OutputFull { offered: self.out.len() };
        let len = record.len() as u32;
        let (entry, end) = (self.lengths() + 4 * self.row, self.at + record.len());
        self.out.get_mut(self.at..end).ok_or(full)?.copy_from_slice(record);
        self.out[entry..entry + 4].copy_from_slice(&len.to_le_bytes());
        self.shortest = self.shortest.min(len);
        self.longest = self.longest.max(len);
        self.at = end;
        self.row += 1;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<usize, LosslessError> {
        let (rows, lengths) = (self.rows, self.lengths());
        let Self { out, at, .. } = self;
        let shortest = if rows == 0 { 0 } else { self.shortest };
        let width = match self.longest - shortest {
            _ if rows == 0 => 0,
            0 => 0,
            1..=0xFF => 1,
            0x100..=0xFFFF => 2,
            _ => 4,
        };
        let mut head = MAGIC.to_vec();
        for number in [self.dim, rows, self.model.len(), shortest as usize] {
            write_number(number as u32, &mut head);
        }
        head.push(width as u8);
        head.extend_from_slice(self.model);
        if out.len() < at {
            return Err(LosslessError::OutputFull { offered: out.len() });
        }
        // From the front to the back, each part to a place that is not behind where it was.
        let index = head.len();
        let excesses = index + offsets_len(rows);
        let mut offset = 0u32;
        for row in 0..rows {
            let entry = out[lengths + 4 * row..].first_chunk::<4>();
            let len = entry.map_or(0, |bytes| u32::from_le_bytes(*bytes));
            if row > 0 && row % GROUP == 0 {
                out[index + 4 * (row / GROUP - 1)..][..4].copy_from_slice(&offset.to_le_bytes());
            }
            out[excesses + width * row..][..width]
                .copy_from_slice(&(len - shortest).to_le_bytes()[..width]);
            offset += len;
        }
        let start = excesses + width * rows;
        out.copy_within(lengths + 4 * rows..at, start);
        out[..index].copy_from_slice(&head);
        Ok(start + offset as usize)
    }
}

/// Appends a number, seven bits a byte, lowest first; all bytes but the last have the high bit.
fn write_number(mut number: u32, out: &mut Vec<u8>) {
    while number >= 128 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Result<usize, LosslessError> {
    let (mut number, mut shift) = (0u64, 0);
    loop {
        let byte = take(bytes, 1)?.first().copied().unwrap_or(0);
        number |= u64::from(byte & 127) << shift;
        shift += 7;
        if byte < 128 {
            let number = u32::try_from(number).map_err(|_| corrupt("header"))?;
            return Ok(number as usize);
        }
        if shift > 28 {
            return Err(corrupt("header"));
        }
    }
}

/// The excess of record `row` in lengths of `width` bytes.
#[inline(always)]
fn read_excess(lengths: &[u8], width: usize, row: usize) -> u32 {
    let bytes = lengths.get(width * row..).unwrap_or_default();
    bytes.iter().take(width).rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

/// An encoded segment, ready to decode.
///
/// The bytes stay the caller's; the tables of the model are built at opening.
#[derive(Debug)]
pub struct Segment<'a> {
    model: Model,
    model_len: usize,
    rows: usize,
    shortest: usize,
    width: usize,
    offsets: &'a [[u8; 4]],
    lengths: &'a [u8],
    records: &'a [u8],
    total: usize,
}

impl<'a> Segment<'a> {
    /// Opens the bytes of a whole segment.
    ///
    /// # Errors
    /// Bytes that are no segment. Records are checked when they are decoded.
    ///
    /// # Cost
    /// [`Segment::held_bytes`] of memory, 10 us for each code of the model (1 to 30).
    pub fn open(bytes: &'a [u8]) -> Result<Self, LosslessError> {
        let total = bytes.len();
        let mut rest = bytes;
        if take(&mut rest, 4)? != MAGIC {
            return Err(corrupt("magic"));
        }
        let mut numbers = [0; 4];
        for number in &mut numbers {
            *number = read_number(&mut rest)?;
        }
        let [dim, rows, model_len, shortest] = numbers;
        let width = usize::from(take(&mut rest, 1)?.first().copied().unwrap_or(0));
        if dim == 0 || dim > MAX_DIM {
            return Err(corrupt("dimension"));
        }
        if !matches!(width, 0 | 1 | 2 | 4) || shortest > max_record_len(dim) {
            return Err(corrupt("index"));
        }
        let model = Model::read(take(&mut rest, model_len)?, dim)?;
        let (offsets, _) = take(&mut rest, offsets_len(rows))?.as_chunks::<4>();
        let lengths = take(&mut rest, width * rows)?;
        Ok(Self { model, model_len, rows, shortest, width, offsets, lengths, records: rest, total })
    }

    /// Numbers of a vector.
    pub fn dim(&self) -> usize {
        self.model.dim
    }

    /// Vectors.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes that the opened segment holds beside the caller's.
    pub fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.model.held_bytes()
    }

    /// The most that opening `len` bytes of vectors of `dim` numbers can hold, whatever they are.
    pub const fn max_held_bytes(len: usize, dim: usize) -> usize {
        size_of::<Self>() + Model::max_held_bytes(len, dim)
    }

    #[cfg(test)]
    pub(super) fn model(&self) -> &Model {
        &self.model
    }

    fn len_of(&self, row: usize) -> usize {
        self.shortest + read_excess(self.lengths, self.width, row) as usize
    }

    /// The record of a row, for [`Segment::decode_record`].
    ///
    /// # Errors
    /// No such row, or a damaged index.
    pub fn record(&self, row: usize) -> Result<&'a [u8], LosslessError> {
        if row >= self.rows {
            return Err(LosslessError::NoSuchRow { row, rows: self.rows });
        }
        let group = row / GROUP;
        let offset = match group {
            0 => [0; 4],
            _ => *self.offsets.get(group - 1).ok_or(corrupt("index"))?,
        };
        let before: usize = (group * GROUP..row).map(|row| self.len_of(row)).sum();
        let start = u32::from_le_bytes(offset) as usize + before;
        let end = start + self.len_of(row);
        self.records.get(start..end).ok_or(corrupt("place of a record"))
    }

    /// Decodes row `row` into `out`, dim numbers.
    ///
    /// # Errors
    /// No such row, an `out` or scratch of another dimension, damaged bytes.
    ///
    /// # Cost
    /// About 0.5 us for 384 numbers; allocates nothing.
    pub fn decode_row(
        &self,
        row: usize,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<(), LosslessError> {
        self.decode_record(self.record(row)?, None, scratch, out)
    }

    /// Decodes rows from `first` on into `out` (n x dim, row-major), as many as it holds.
    ///
    /// # Errors
    /// No such rows, an `out` that is no whole number of rows, damaged bytes.
    pub fn decode_rows(
        &self,
        first: usize,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<(), LosslessError> {
        let count = out.len() / self.dim();
        if count * self.dim() != out.len() {
            let expected = (count + 1) * self.dim();
            return Err(LosslessError::Shape { expected, found: out.len() });
        }
        let mut rows = self.rows_from(first)?;
        for out in out.chunks_exact_mut(self.model.dim) {
            if !rows.next_into(scratch, out)? {
                return Err(LosslessError::NoSuchRow { row: first + count - 1, rows: self.rows });
            }
        }
        Ok(())
    }

    /// Streams rows from `first` on.
    ///
    /// # Errors
    /// No such row; `first` may be the number of rows.
    pub fn rows_from(&self, first: usize) -> Result<Rows<'_, 'a>, LosslessError> {
        let at = match self.record(first) {
            Ok(record) => record.as_ptr().addr() - self.records.as_ptr().addr(),
            Err(LosslessError::NoSuchRow { .. }) if first == self.rows => self.records.len(),
            Err(error) => return Err(error),
        };
        Ok(Rows { segment: self, row: first, at })
    }

    /// Decodes one record: of this segment, or made by
    /// [`Encoder::encode_row`](super::Encoder::encode_row) with this segment's model.
    ///
    /// # Errors
    /// Shapes that do not fit, damaged bytes, a difference without the vector before.
    pub fn decode_record(
        &self,
        record: &[u8],
        previous: Option<&[f32]>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<(), LosslessError> {
        self.check(scratch, out.len())?;
        decode_record(&self.model, record, previous, scratch, out)
    }

    /// The short numbers that row `row` comes from, where it is made of some, for searching
    /// without the floats: vector = values times scale, rounded to f32.
    ///
    /// # Errors
    /// As [`Segment::decode_row`].
    pub fn narrow_row<'b>(
        &self,
        row: usize,
        scratch: &mut Scratch,
        buffer: &'b mut NarrowBuffer,
    ) -> Result<Option<Narrow<'b>>, LosslessError> {
        self.check(scratch, buffer.dim())?;
        narrow(&self.model, self.record(row)?, scratch, buffer)
    }

    fn check(&self, scratch: &Scratch, found: usize) -> Result<(), LosslessError> {
        let expected = self.dim();
        if found != expected || !scratch.fits(expected) {
            return Err(LosslessError::Shape { expected, found });
        }
        Ok(())
    }

    /// What the rows are made of and how many bytes they take.
    ///
    /// # Errors
    /// A damaged index or record head.
    pub fn report(&self) -> Result<Report, LosslessError> {
        let mut tally = Tally::default();
        for row in 0..self.rows {
            tally.count(&self.model, self.record(row)?)?;
        }
        Ok(tally.finish(self.dim(), self.total, self.model_len))
    }
}

/// Rows of a segment, one after the other.
#[derive(Debug)]
pub struct Rows<'s, 'a> {
    segment: &'s Segment<'a>,
    row: usize,
    at: usize,
}

impl Rows<'_, '_> {
    /// Decodes the next row into `out`; false at the end.
    ///
    /// # Errors
    /// An `out` or scratch of another dimension, damaged bytes.
    pub fn next_into(
        &mut self,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<bool, LosslessError> {
        if self.row >= self.segment.rows {
            return Ok(false);
        }
        let end = self.at + self.segment.len_of(self.row);
        let record = self.segment.records.get(self.at..end).ok_or(corrupt("place of a record"))?;
        self.segment.decode_record(record, None, scratch, out)?;
        (self.at, self.row) = (end, self.row + 1);
        Ok(true)
    }
}
