//! Rows in, a segment out.
//!
//! The segment's layout is in `docs/format.md`. Lengths of records are stored as their excess
//! over the shortest one, in 0, 1, 2 or 4 bytes, with the offset of every 64th record, so that
//! finding a row adds up at most 63 numbers.

use super::encode::RowEncoder;
use super::error::LosslessError;
use super::model::{Mode, Model};
use super::train::{COUNTED_VALUES, train};
use super::{MAX_DIM, segment};

/// How hard the encoder tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// One code for all dimensions: about 0.15 bits a value more, decoded faster.
    Fast,
    /// Codes for classes of dimensions, signs included.
    #[default]
    Compact,
}

/// The longest record of a vector of `dim` numbers: one byte more than its floats.
pub const fn max_record_len(dim: usize) -> usize {
    1 + 4 * dim
}

/// The longest segment of `rows` vectors of `dim` numbers; None if that exceeds 4 GiB.
pub const fn max_encoded_len(rows: usize, dim: usize) -> Option<usize> {
    let Some(records) = rows.checked_mul(max_record_len(dim)) else { return None };
    if rows > u32::MAX as usize || records > u32::MAX as usize {
        return None;
    }
    // A model is in a segment only where it makes it shorter than one without.
    let index = 4 * rows + segment::offsets_len(rows);
    (records + index).checked_add(segment::HEADER + 1)
}

/// Encodes segments of vectors of one dimension, and single vectors with the last segment's model.
#[derive(Debug)]
pub struct Encoder {
    dim: usize,
    level: Level,
    modes: Vec<Mode>,
    rows: RowEncoder,
}

impl Encoder {
    /// An encoder for vectors of `dim` numbers.
    ///
    /// # Errors
    /// A dimension that is 0 or above [`MAX_DIM`].
    pub fn new(dim: usize, level: Level) -> Result<Self, LosslessError> {
        if dim == 0 || dim > MAX_DIM {
            return Err(LosslessError::Dimension { dim });
        }
        Ok(Self { dim, level, modes: Vec::new(), rows: RowEncoder::new([].iter()) })
    }

    /// Bytes that encoding segments holds at most beside input and output: while a model is
    /// chosen, a sample of 2^20 values and its symbols, codes; counts of each dimension, rows.
    pub const fn bytes(dim: usize) -> usize {
        let counted = if dim > COUNTED_VALUES { dim } else { COUNTED_VALUES };
        // Numbers (vectors grow by doubling), symbols and a copy of them; codes of all modes.
        counted * (2 * 8 + 2 + 2) + (6 << 20) + dim * (32 * 8 + 128)
    }

    /// Encodes `rows` (n x dim, row-major) into `out`; the segment's length.
    ///
    /// # Errors
    /// A shape that does not fit, an `out` that is full, more than 4 GiB.
    ///
    /// # Cost
    /// Reads a sample of the rows several times and all rows once; [`Encoder::bytes`] of memory.
    pub fn encode_segment(&mut self, rows: &[f32], out: &mut [u8]) -> Result<usize, LosslessError> {
        let count = rows.len() / self.dim;
        if count * self.dim != rows.len() {
            let expected = (count + 1) * self.dim;
            return Err(LosslessError::Shape { expected, found: rows.len() });
        }
        max_encoded_len(count, self.dim).ok_or(LosslessError::TooLarge)?;
        self.modes = train(rows, self.dim, self.level);
        let len = self.encode_with_modes(rows, out);
        // What the sample promised may not hold for all rows.
        let plain = segment::HEADER
            + 1
            + 4 * count.div_ceil(segment::GROUP)
            + count * max_record_len(self.dim);
        if !self.modes.is_empty() && len.is_ok_and(|len| len > plain)
            || len.is_err() && out.len() >= plain
        {
            self.modes.clear();
            return self.encode_with_modes(rows, out);
        }
        len
    }

    fn encode_with_modes(&mut self, rows: &[f32], out: &mut [u8]) -> Result<usize, LosslessError> {
        self.rows = RowEncoder::new(self.modes.iter());
        let model = Model::write(self.modes.iter());
        let mut writer = segment::Writer::begin(out, self.dim, rows.len() / self.dim, &model)?;
        for row in rows.chunks_exact(self.dim) {
            writer.push(self.rows.record(self.modes.iter(), row, None))?;
        }
        writer.finish()
    }

    /// Encodes one `row` with the model of the last segment into `out`; the record's length.
    ///
    /// With `previous`, the record may be the difference to it, and then decodes only with it.
    ///
    /// # Errors
    /// A shape that does not fit, an `out` that is full.
    pub fn encode_row(
        &mut self,
        row: &[f32],
        previous: Option<&[f32]>,
        out: &mut [u8],
    ) -> Result<usize, LosslessError> {
        for given in [Some(row), previous].into_iter().flatten() {
            if given.len() != self.dim {
                return Err(LosslessError::Shape { expected: self.dim, found: given.len() });
            }
        }
        let record = self.rows.record(self.modes.iter(), row, previous);
        let full = LosslessError::OutputFull { offered: out.len() };
        out.get_mut(..record.len()).ok_or(full)?.copy_from_slice(record);
        Ok(record.len())
    }
}
