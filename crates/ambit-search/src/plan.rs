//! What is read, in which portions: codes where there are any, exact rows elsewhere.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use ambit_mem::Bytes;
use ambit_vector::Metric;
use ambit_vector::planes::{BLOCK_ROWS, Lists};

use crate::error::SearchError;
use crate::probes::{Probed, Probes};
use crate::query::Options;
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
    /// Leaders of coded parts, in the order in which they are looked at.
    codes: Vec<(usize, Range<usize>)>,
    /// Blocks that no coded part covers.
    blocks: Vec<Range<usize>>,
    units: usize,
    probed: Option<Probed>,
    is_unreadable: AtomicBool,
}

impl<'a> Plan<'a> {
    /// Reads codes where the source has them for this metric.
    pub(crate) fn with_codes<S: DenseSource + ?Sized>(
        source: &'a S,
        metric: Metric,
        portions: Portions,
    ) -> Self {
        Self::of(coded_parts(source, metric), source.blocks(), portions)
    }

    /// Reads the codes of the lists that look most promising, and all blocks that have none.
    ///
    /// # Errors
    /// `Source` for lists of another dimension.
    pub(crate) fn with_probes<S: DenseSource + ?Sized>(
        source: &'a S,
        metric: Metric,
        vector: &[f32],
        probes: Probes,
        portions: Portions,
        options: &Options<'_>,
    ) -> Result<Self, SearchError> {
        let mut plan = Self::of(coded_parts(source, metric), source.blocks(), portions);
        plan.codes.clear();
        let ranked = plan.parts.iter().filter_map(|part| part.lists());
        let most = ranked.map(Lists::ranking_bytes).max().unwrap_or(0);
        let _scratch = options.account.reserve(Bytes::of(most))?;
        let mut probed = Probed::default();
        for (number, part) in plan.parts.iter().enumerate() {
            let spans = probed.probe(*part, metric, vector, probes)?;
            for span in spans {
                let portion = portion_rows(*part, portions);
                let starts = span.clone().step_by(portion);
                plan.codes
                    .extend(starts.map(|first| (number, first..span.end.min(first + portion))));
            }
        }
        plan.units = plan.codes.len() + plan.blocks.iter().map(Range::len).sum::<usize>();
        plan.probed = Some(probed);
        Ok(plan)
    }

    /// Reads every block.
    pub(crate) fn without_codes<S: DenseSource + ?Sized>(source: &'a S) -> Self {
        Self::of(Vec::new(), source.blocks(), Portions { rows: 0, threads: 1 })
    }

    fn of(parts: Vec<&'a dyn CodedPart>, all: usize, portions: Portions) -> Self {
        let (mut codes, mut blocks, mut covered) = (Vec::new(), Vec::new(), 0);
        for (number, part) in parts.iter().enumerate() {
            let (rows, portion) = (part.leaders(), portion_rows(*part, portions));
            let starts = (0..rows).step_by(portion);
            codes.extend(starts.map(|first| (number, first..rows.min(first + portion))));
            let own = part.blocks();
            blocks.push(covered..own.start.max(covered));
            covered = own.end.max(covered);
        }
        blocks.push(covered..all.max(covered));
        blocks.retain(|range| !range.is_empty());
        let units = codes.len() + blocks.iter().map(Range::len).sum::<usize>();
        let is_unreadable = AtomicBool::new(false);
        Self { parts, codes, blocks, units, probed: None, is_unreadable }
    }

    /// What was probed, where not all lists are.
    pub(crate) fn probed(&self) -> Option<&Probed> {
        self.probed.as_ref()
    }

    /// The parts whose codes are read, as [`Unit::Codes`] numbers them.
    pub(crate) fn parts(&self) -> &[&'a dyn CodedPart] {
        &self.parts
    }

    /// Rows of the largest unit of codes, whole blocks.
    pub(crate) fn most_rows(&self) -> usize {
        let whole = |(_, rows): &(usize, Range<usize>)| rows.len().next_multiple_of(BLOCK_ROWS);
        self.codes.iter().map(whole).max().unwrap_or(0)
    }

    /// Rows of the largest chunk, whole blocks.
    pub(crate) fn most_chunk_rows(&self) -> usize {
        let whole =
            |part: &&dyn CodedPart| chunk_rows(*part).min(part.rows().next_multiple_of(BLOCK_ROWS));
        self.parts.iter().map(whole).max().unwrap_or(0)
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
        if let Some((part, rows)) = self.codes.get(number) {
            return Some(Unit::Codes { part: *part, rows: rows.clone() });
        }
        let mut left = number - self.codes.len();
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

/// The coded parts of a source that serve a metric, in the order of their blocks.
fn coded_parts<S: DenseSource + ?Sized>(source: &S, metric: Metric) -> Vec<&dyn CodedPart> {
    let mut parts = source.coded();
    let dim = source.dim();
    parts.retain(|part| part.model().metric() == metric && part.model().layout().dim == dim);
    parts.sort_by_key(|part| part.blocks().start);
    parts
}

/// Leaders of a unit of this part, whole chunks.
fn portion_rows(part: &dyn CodedPart, portions: Portions) -> usize {
    let share = part.leaders().div_ceil(portions.threads.max(1));
    share.min(portions.rows).max(1).next_multiple_of(chunk_rows(part))
}

/// Rows of a chunk of this part, whole blocks.
fn chunk_rows(part: &dyn CodedPart) -> usize {
    let block = part.model().layout().coarse_block_len();
    (CHUNK_BYTES / block).max(1).saturating_mul(BLOCK_ROWS).min(CHUNK_ROWS)
}
