//! What is read, in which portions: codes where there are any, exact rows elsewhere.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use ambit_vector::Metric;
use ambit_vector::planes::BLOCK_ROWS;

use crate::source::{CodedPart, DenseSource};

/// Bytes of the coarse plane that are read at a time: they stay in the second-level cache while
/// the queries of a batch meet them.
const CHUNK_BYTES: usize = 448 << 10;

/// Rows of a chunk at most.
const CHUNK_ROWS: usize = 4096;

/// How codes are divided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portions {
    /// Rows of a unit at most, but at least one chunk.
    pub(crate) rows: usize,
    /// Threads that should all find work in a part.
    pub(crate) threads: usize,
}

/// A portion of the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Codes of some rows of a coded part.
    Codes { part: usize, rows: Range<usize> },
    /// A block of the source.
    Block(usize),
}

/// The work of one search.
pub(crate) struct Plan<'a> {
    parts: Vec<&'a dyn CodedPart>,
    /// Rows of a unit of each coded part.
    portions: Vec<usize>,
    /// The first unit of each coded part, and at last that of the blocks.
    starts: Vec<usize>,
    /// Blocks that no coded part covers.
    blocks: Vec<Range<usize>>,
    units: usize,
    is_unreadable: AtomicBool,
}

impl<'a> Plan<'a> {
    /// Reads codes where the source has them for this metric.
    pub(crate) fn with_codes<S: DenseSource + ?Sized>(
        source: &'a S,
        metric: Metric,
        portions: Portions,
    ) -> Self {
        let mut parts = source.coded();
        let dim = source.dim();
        parts.retain(|part| part.model().metric() == metric && part.model().layout().dim == dim);
        parts.sort_by_key(|part| part.blocks().start);
        Self::of(parts, source.blocks(), portions)
    }

    /// Reads every block.
    pub(crate) fn without_codes<S: DenseSource + ?Sized>(source: &'a S) -> Self {
        Self::of(Vec::new(), source.blocks(), Portions { rows: 0, threads: 1 })
    }

    fn of(parts: Vec<&'a dyn CodedPart>, all: usize, portions: Portions) -> Self {
        let of_part = |part: &&dyn CodedPart| {
            let share = part.rows().div_ceil(portions.threads.max(1));
            share.min(portions.rows).max(1).next_multiple_of(chunk_rows(*part))
        };
        let portions: Vec<usize> = parts.iter().map(of_part).collect();
        let (mut starts, mut blocks) = (Vec::with_capacity(parts.len() + 1), Vec::new());
        let (mut units, mut covered) = (0, 0);
        for (part, &rows) in parts.iter().zip(&portions) {
            starts.push(units);
            units += part.rows().div_ceil(rows);
            let own = part.blocks();
            blocks.push(covered..own.start.max(covered));
            covered = own.end.max(covered);
        }
        starts.push(units);
        blocks.push(covered..all.max(covered));
        blocks.retain(|range| !range.is_empty());
        units += blocks.iter().map(Range::len).sum::<usize>();
        Self { parts, portions, starts, blocks, units, is_unreadable: AtomicBool::new(false) }
    }

    /// The parts whose codes are read, as [`Unit::Codes`] numbers them.
    pub(crate) fn parts(&self) -> &[&'a dyn CodedPart] {
        &self.parts
    }

    /// Rows of the largest unit of codes, whole blocks.
    pub(crate) fn most_rows(&self) -> usize {
        let whole = |(part, &rows): (&&dyn CodedPart, &usize)| {
            part.rows().next_multiple_of(BLOCK_ROWS).min(rows)
        };
        self.parts.iter().zip(&self.portions).map(whole).max().unwrap_or(0)
    }

    /// Rows of the largest chunk.
    pub(crate) fn most_chunk_rows(&self) -> usize {
        self.parts.iter().map(|part| chunk_rows(*part).min(part.rows())).max().unwrap_or(0)
    }

    /// The chunks of some rows of a coded part: what is read at a time.
    pub(crate) fn chunks(
        &self,
        part: usize,
        rows: Range<usize>,
    ) -> impl Iterator<Item = Range<usize>> + use<> {
        let (end, chunk) = (rows.end, chunk_rows(self.parts[part]));
        rows.step_by(chunk).map(move |first| first..end.min(first + chunk))
    }

    /// The number of portions.
    pub(crate) fn units(&self) -> usize {
        self.units
    }

    /// The portion of this number, codes first; none from [`Plan::units`] on.
    pub(crate) fn unit(&self, number: usize) -> Option<Unit> {
        let after = self.starts.partition_point(|&start| start <= number);
        if let Some(part) = self.parts.get(after.wrapping_sub(1)) {
            let rows = self.portions[after - 1];
            let first = (number - self.starts[after - 1]) * rows;
            let rows = first..part.rows().min(first + rows);
            return Some(Unit::Codes { part: after - 1, rows });
        }
        let mut left = number - self.starts.last()?;
        for range in &self.blocks {
            if left < range.len() {
                return Some(Unit::Block(range.start + left));
            }
            left -= range.len();
        }
        None
    }

    /// Remembers that codes could not be read.
    pub(crate) fn codes_failed(&self) {
        self.is_unreadable.store(true, Ordering::Relaxed);
    }

    /// Could codes not be read?
    pub(crate) fn has_unreadable_codes(&self) -> bool {
        self.is_unreadable.load(Ordering::Relaxed)
    }
}

/// Rows of a chunk of this part, whole blocks.
fn chunk_rows(part: &dyn CodedPart) -> usize {
    let block = part.model().layout().coarse_block_len();
    (CHUNK_BYTES / block).max(1).saturating_mul(BLOCK_ROWS).min(CHUNK_ROWS)
}
