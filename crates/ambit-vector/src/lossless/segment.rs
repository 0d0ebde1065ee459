//! Where is the record of a row? The layout of a segment, written and read.

use super::decode::{Scratch, decode_record};
use super::error::{LosslessError, corrupt};
use super::model::{Model, take};
use super::narrow::{Narrow, NarrowBuffer, narrow};
use super::report::{Report, Tally};
use super::{MAX_DIM, max_record_len};

const MAGIC: &[u8; 4] = b"AVL1";
/// Bytes before the model.
pub(super) const HEADER: usize = 24;
/// Records that share an offset.
pub(super) const GROUP: usize = 64;

/// Writes a segment into a slice.
///
/// Records go behind the longest index that may be needed; at the end they move up to the index
/// that is.
pub(super) struct Writer<'a> {
    out: &'a mut [u8],
    dim: usize,
    model: usize,
    index: usize,
    at: usize,
    row: usize,
    rows: usize,
    shortest: u32,
    longest: u32,
}

impl<'a> Writer<'a> {
    pub(super) fn begin(
        out: &'a mut [u8],
        dim: usize,
        rows: usize,
        model: &[u8],
    ) -> Result<Self, LosslessError> {
        let index = HEADER + model.len();
        let at = index + 4 * rows;
        let full = LosslessError::OutputFull { offered: out.len() };
        if out.len() < at {
            return Err(full);
        }
        out.get_mut(HEADER..index).ok_or(full)?.copy_from_slice(model);
        let (model, shortest) = (model.len(), u32::MAX);
        Ok(Self { out, dim, model, index, at, row: 0, rows, shortest, longest: 0 })
    }

    pub(super) fn push(&mut self, record: &[u8]) -> Result<(), LosslessError> {
        let full = LosslessError::OutputFull { offered: self.out.len() };
        let len = record.len() as u32;
        let entry = self.index + 4 * self.row;
        self.out.get_mut(entry..entry + 4).ok_or(full)?.copy_from_slice(&len.to_le_bytes());
        let end = self.at + record.len();
        self.out.get_mut(self.at..end).ok_or(full)?.copy_from_slice(record);
        self.shortest = self.shortest.min(len);
        self.longest = self.longest.max(len);
        self.at = end;
        self.row += 1;
        Ok(())
    }

    pub(super) fn finish(self) -> Result<usize, LosslessError> {
        let Self { out, rows, index, .. } = self;
        let shortest = if rows == 0 { 0 } else { self.shortest };
        let width = match self.longest - shortest {
            0 => 0,
            1..=0xFF => 1,
            0x100..=0xFFFF => 2,
            _ => 4,
        };
        let records = index + 4 * rows;
        let offsets = 4 * rows.div_ceil(GROUP);
        let start = index + offsets + width * rows;
        let end = start + (self.at - records);
        if end > out.len() {
            return Err(LosslessError::OutputFull { offered: out.len() });
        }
        let excess = |out: &[u8], row: usize| {
            let at = index + 4 * row;
            let len = out[at..].first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
            len - shortest
        };
        // Lengths shrink in place; then records make room for the offsets, or move up.
        for row in 0..rows {
            let excess = excess(out, row).to_le_bytes();
            out[index + width * row..][..width].copy_from_slice(&excess[..width]);
        }
        out.copy_within(records..self.at, start);
        out.copy_within(index..index + width * rows, index + offsets);
        let mut offset = 0u32;
        for row in 0..rows {
            if row % GROUP == 0 {
                out[index + 4 * (row / GROUP)..][..4].copy_from_slice(&offset.to_le_bytes());
            }
            let lengths = &out[index + offsets..][..width * rows];
            offset += shortest + read_excess(lengths, width, row);
        }
        let fields = [self.dim as u32, rows as u32, self.model as u32, shortest, width as u32];
        out[..4].copy_from_slice(MAGIC);
        for (place, field) in out[4..HEADER].chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        Ok(end)
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
    shortest: u32,
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
        let mut field = || {
            let bytes = take(&mut rest, 4)?.first_chunk::<4>().copied();
            Ok(bytes.map_or(0, u32::from_le_bytes) as usize)
        };
        let (dim, rows, model_len) = (field()?, field()?, field()?);
        let (shortest, width) = (field()? as u32, field()?);
        if dim == 0 || dim > MAX_DIM {
            return Err(corrupt("dimension"));
        }
        if !matches!(width, 0 | 1 | 2 | 4) || shortest as usize > max_record_len(dim) {
            return Err(corrupt("index"));
        }
        let model = Model::read(take(&mut rest, model_len)?, dim)?;
        let (offsets, _) = take(&mut rest, 4 * rows.div_ceil(GROUP))?.as_chunks::<4>();
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
        self.shortest as usize + read_excess(self.lengths, self.width, row) as usize
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
        let offset = self.offsets.get(group).ok_or(corrupt("index"))?;
        let before: usize = (group * GROUP..row).map(|row| self.len_of(row)).sum();
        let start = u32::from_le_bytes(*offset) as usize + before;
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
