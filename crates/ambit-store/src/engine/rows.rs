//! A run of fixed cells as a scan sees it.

/// Row numbers of a block, in ascending order.
#[derive(Debug, Clone, Copy)]
pub enum RowList<'a> {
    /// `first .. first + len`.
    Range {
        /// The first row number.
        first: u32,
        /// How many.
        len: u32,
    },
    /// Any rows.
    List(&'a [u32]),
}

impl RowList<'_> {
    /// How many rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Range { len, .. } => *len as usize,
            Self::List(rows) => rows.len(),
        }
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Row number at `index` of the block. Panics where a slice would.
    pub fn row(&self, index: usize) -> u32 {
        match self {
            Self::Range { first, .. } => first + index as u32,
            Self::List(rows) => rows[index],
        }
    }
}

/// Consecutive cells of one or more fixed columns that are present in the same rows.
#[derive(Debug)]
pub struct FixedBlock<'a> {
    /// Whose cells these are.
    pub rows: RowList<'a>,
    /// Per column asked for: `rows.len()` x stride bytes, aligned to at least 4.
    pub cells: &'a [&'a [u8]],
    /// Bit `i % 64` of word `i / 64` is set where row `i` of the block is not to be seen;
    /// `None` where all are.
    pub dead: Option<&'a [u64]>,
}

impl FixedBlock<'_> {
    /// Is row `index` of the block hidden from the reader?
    pub fn is_dead(&self, index: usize) -> bool {
        self.dead.is_some_and(|words| words[index / 64] >> (index % 64) & 1 == 1)
    }
}

/// Collects dead bits, and gives `None` where there are none.
#[derive(Debug, Default)]
pub(super) struct DeadBits {
    words: Vec<u64>,
}

impl DeadBits {
    pub(super) fn set(&mut self, index: usize, rows: usize) {
        if self.words.is_empty() {
            self.words.resize(rows.div_ceil(64), 0);
        }
        self.words[index / 64] |= 1 << (index % 64);
    }

    pub(super) fn as_option(&self) -> Option<&[u64]> {
        (!self.words.is_empty()).then_some(self.words.as_slice())
    }
}
