//! Where do rows come from? One snapshot of one space, in blocks that threads can take.
//!
//! A source gives out rows in blocks of about 1 MiB, so that a block fits a second-level cache
//! and a thread has enough to do between two looks at the shared counter. Keys are asked for
//! only to break ties. What a row belongs to, and whether it is mapped, decoded or in a
//! memtable, is the source's matter. Parts that have code planes beside their rows offer them as
//! [`CodedPart`]s; then their blocks are read only if the planes cannot be.

use std::cmp::Ordering;
use std::ops::Range;

use ambit_vector::planes::{Lists, Model};

/// What a source failed with; boxed, because sources are many.
pub type SourceError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A row of a source: the part that it lies in, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowRef {
    /// The part, as [`DenseBlock::part`] names it.
    pub part: u32,
    /// The row number in the part.
    pub row: u32,
}

/// Which rows of a part a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows<'a> {
    /// `len` rows from `first` on; `first + len` does not exceed 2^32.
    Range {
        /// The row number of the first row.
        first: u32,
        /// The number of rows.
        len: usize,
    },
    /// The row number of each row, for blocks with rows left out.
    List(&'a [u32]),
}

impl Rows<'_> {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Range { len, .. } => *len,
            Self::List(numbers) => numbers.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row number of the row at `position` < `len` in the block.
    ///
    /// # Panics
    ///
    /// For a list, if `position` is not below its length.
    pub fn number(&self, position: usize) -> u32 {
        match self {
            Self::Range { first, .. } => first.wrapping_add(position as u32),
            Self::List(numbers) => numbers[position],
        }
    }
}

/// Some rows of one part, n = `rows.len()`.
#[derive(Clone, Copy)]
pub struct DenseBlock<'a> {
    /// The part that the rows lie in.
    pub part: u32,
    /// The row number of each row.
    pub rows: Rows<'a>,
    /// n x dim, row-major f32, any alignment and values.
    pub vectors: &'a [f32],
    /// The euclidean norm of each row as [`ambit_vector::Kernels::norm`] gives it.
    pub norms: &'a [f32],
    /// Whether the row of this number is deleted; asked only for rows that could be in the
    /// answer.
    pub dead: Option<&'a dyn Fn(u32) -> bool>,
}

impl std::fmt::Debug for DenseBlock<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DenseBlock")
            .field("part", &self.part)
            .field("rows", &self.rows.len())
            .field("floats", &self.vectors.len())
            .finish_non_exhaustive()
    }
}

/// One snapshot of one dense space: the same rows, in the same blocks, at every visit.
pub trait DenseSource: Sync {
    /// Elements of a row, at least 1.
    fn dim(&self) -> usize;

    /// The number of blocks; each is about 1 MiB of vectors.
    fn blocks(&self) -> usize;

    /// Gives the rows of `block` < `blocks()` to `take`, in one call or several; rows without
    /// a vector in this space are left out.
    ///
    /// Several threads visit different blocks at once, and `take` may call
    /// [`DenseSource::compare_keys`], so no lock that either needs may be held around it.
    ///
    /// # Errors
    ///
    /// Whatever keeps the rows from being read; the search ends with it.
    fn visit(&self, block: usize, take: &mut dyn FnMut(DenseBlock<'_>)) -> Result<(), SourceError>;

    /// The parts that have code planes, each covering blocks that no other covers.
    fn coded(&self) -> Vec<&dyn CodedPart> {
        Vec::new()
    }

    /// Whether there are code planes that [`DenseSource::coded`] leaves out because they are
    /// damaged; answers say so.
    fn has_damaged_codes(&self) -> bool {
        false
    }

    /// The rows that can be in an answer, live ones, where they are known and few: then they are scored one by one,
    /// and no block is visited.
    fn few(&self) -> Option<&[RowRef]> {
        None
    }

    /// Gives the vector of one of [`DenseSource::few`], dim f32, to `take`; nothing where it has none in this
    /// space.
    ///
    /// # Errors
    /// Whatever keeps it from being read; the search ends with it.
    fn vector(&self, row: RowRef, take: &mut dyn FnMut(&[f32])) -> Result<(), SourceError> {
        let _ = (row, take);
        Ok(())
    }

    /// Compares the keys of two rows; asked only when their scores are equal.
    ///
    /// # Errors
    ///
    /// Whatever keeps the keys from being read; the search ends with it.
    fn compare_keys(&self, a: RowRef, b: RowRef) -> Result<Ordering, SourceError>;
}

/// The code planes ([`ambit_vector::planes`]) of one part's rows, in the order of its blocks.
///
/// Rows are counted by their place in the planes: in any order, but leaders before followers
/// ([`ambit_vector::planes::groups`]). The same threads and locks as for [`DenseSource::visit`].
pub trait CodedPart: Sync {
    /// The part, as [`DenseBlock::part`] names it.
    fn part(&self) -> u32;

    /// The blocks of the source whose rows these are.
    fn blocks(&self) -> Range<usize>;

    /// The model that the rows are coded with, of the source's dimension and metric.
    fn model(&self) -> &Model;

    /// The number of rows.
    fn rows(&self) -> usize;

    /// Rows that lead, which come first; the others follow one of them. All, where none follows.
    fn leaders(&self) -> usize {
        self.rows()
    }

    /// The lists that the leaders stand in; none where they stand in no order.
    fn lists(&self) -> Option<&Lists> {
        None
    }

    /// Gives the groups of some blocks of leaders to `take`; asked only where rows follow.
    ///
    /// # Errors
    /// As [`CodedPart::coarse`].
    fn groups(&self, blocks: Range<usize>, take: &mut dyn FnMut(&[u8])) -> Result<(), SourceError> {
        let _ = (blocks, take);
        Err("a part without lists has no groups".into())
    }

    /// Gives the coarse plane of `rows`, which begin at a multiple of
    /// [`ambit_vector::planes::BLOCK_ROWS`] and end at one or at the last row, to `take`.
    ///
    /// # Errors
    /// Whatever keeps it from being read; the search then goes without codes.
    fn coarse(&self, rows: Range<usize>, take: &mut dyn FnMut(&[u8])) -> Result<(), SourceError>;

    /// Gives the fine plane of `rows` to `take`.
    ///
    /// # Errors
    /// As [`CodedPart::coarse`].
    fn fine(&self, rows: Range<usize>, take: &mut dyn FnMut(&[u8])) -> Result<(), SourceError>;

    /// The row number in the part of the row at place `position`.
    ///
    /// # Errors
    /// As [`CodedPart::coarse`].
    fn number(&self, position: usize) -> Result<u32, SourceError>;

    /// Whether the row of this number is deleted.
    fn is_dead(&self, number: u32) -> bool;

    /// Gives the vector at place `position`, dim f32, to `take`.
    ///
    /// # Errors
    /// As [`CodedPart::coarse`].
    fn vector(&self, position: usize, take: &mut dyn FnMut(&[f32])) -> Result<(), SourceError>;
}
