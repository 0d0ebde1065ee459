//! What a run of an index is, and where its parts lie.

use super::block::Values;

/// The parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// Postings, term after term.
    Postings,
    /// The terms, sorted, front-coded in blocks.
    Terms,
    /// Where each block of terms lies, and the postings of its first term.
    Index,
    /// The length of each row, [`RunInfo::length_width`] bytes; empty under weights.
    Lengths,
}

impl Area {
    /// All, in the order in which they are written.
    pub const ALL: [Self; 4] = [Self::Postings, Self::Terms, Self::Index, Self::Lengths];
}

/// What a run holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunInfo {
    /// What its values are.
    pub values: Values,
    /// Its first row.
    pub first_row: u32,
    /// Its rows, those without terms included.
    pub rows: u32,
    /// Rows that have terms.
    pub filled: u32,
    /// Distinct terms.
    pub terms: u32,
    /// Pairs of row and term.
    pub postings: u64,
    /// Sum of the lengths of its rows.
    pub length: u64,
    /// Least length of a row that has terms.
    pub least_length: u32,
    /// Bytes of a length: 1, 2 or 4; 0 under weights.
    pub length_width: u8,
}

impl RunInfo {
    /// Bytes of one.
    pub const LEN: usize = 40;

    /// As bytes: numbers little-endian, in the order of the fields, the two bytes last.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let numbers = [self.first_row, self.rows, self.filled, self.terms];
        for (chunk, number) in bytes.chunks_exact_mut(4).zip(numbers) {
            chunk.copy_from_slice(&number.to_le_bytes());
        }
        bytes[16..24].copy_from_slice(&self.postings.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.length.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.least_length.to_le_bytes());
        bytes[36] = self.length_width;
        bytes[37] = u8::from(self.values == Values::Weights);
        bytes
    }

    /// From bytes; none where a field cannot be.
    pub fn decode(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let u32_at = |at: usize| {
            bytes
                .get(at..)
                .and_then(|rest| rest.first_chunk())
                .map(|word| u32::from_le_bytes(*word))
        };
        let u64_at = |at: usize| Some(u64::from(u32_at(at)?) | u64::from(u32_at(at + 4)?) << 32);
        let info = Self {
            values: if bytes[37] == 0 { Values::Counts } else { Values::Weights },
            first_row: u32_at(0)?,
            rows: u32_at(4)?,
            filled: u32_at(8)?,
            terms: u32_at(12)?,
            postings: u64_at(16)?,
            length: u64_at(24)?,
            least_length: u32_at(32)?,
            length_width: bytes[36],
        };
        let widths: &[u8] = if info.values == Values::Counts { &[1, 2, 4] } else { &[0] };
        let fits = info.first_row.checked_add(info.rows).is_some()
            && info.filled <= info.rows
            && widths.contains(&info.length_width);
        fits.then_some(info)
    }

    /// The row after its last.
    pub fn end(&self) -> u32 {
        self.first_row.saturating_add(self.rows)
    }

    /// Bytes of its lengths.
    pub fn lengths_len(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.length_width)
    }
}
