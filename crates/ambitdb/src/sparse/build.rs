//! Making the indexes, one segment after the other.
//!
//! A segment's rows are read once from front to back. Postings are gathered until the share of
//! the budget is full; then the run is written and the next one begun. Rows that are dead now are indexed,
//! too: an older version may see them alive.

use ambit_mem::{Account, Bytes, Priority};
use ambit_search::sparse::{Area, RunBuilder, RunInfo, RunSink, Values};
use ambit_search::text::Words;
use ambit_store::engine::{Derived, DerivedWriter, RowRef, TableView};

use super::index::{INFO, MAX_RUNS, SegmentIndex, WORDS_VERSION, section_name, slot};
use super::vector::vector_at;
use crate::entity::Body;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{BODY, Space, SpaceKind};
use crate::store::Store;

/// Rows that make an index worth its file.
const LEAST_ROWS: u64 = 64;
/// Rows in the memtable that are sealed before, so that searches need not read them.
const SEALED_FROM: u64 = 512;
/// Rows between two calls of the progress.
const CHUNK: u32 = 256;
/// Bytes of a run under the least budget.
const LEAST_RUN: u64 = 256 << 10;

/// What [`Store::build_indexes`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexReport {
    /// Segments that got an index, counted for each space.
    pub segments: u64,
    /// Rows in them.
    pub rows: u64,
    /// Pairs of row and term.
    pub postings: u64,
    /// Bytes of texts, or of terms and weights, that were read.
    pub read: u64,
    /// Bytes of the indexes.
    pub bytes: u64,
}

/// One space of one segment.
struct Job<'a> {
    store: &'a Store,
    view: &'a TableView,
    part: u32,
    position: usize,
    space: &'a Space,
    rows: u32,
}

impl Store {
    /// Builds the indexes that the sparse and text spaces of a collection lack, so that searches read only
    /// postings. Rows that are not sealed are sealed first where there are 512 of them. `progress` hears rows
    /// done and in all, and stops by returning false; segments that are done stay done.
    ///
    /// # Errors
    /// Not found (collection), over budget, interrupted, I/O, read only. What was built before stays.
    ///
    /// # Cost
    /// Reads every row without an index once. Memory: a sixteenth of the budget, or what one row takes.
    pub fn build_indexes(
        &self,
        collection: &str,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<IndexReport> {
        let mut snapshot = self.collection(collection)?;
        let is_sparse = |space: &Space| !space.is_dense();
        if !snapshot.spaces().iter().any(is_sparse) {
            return Ok(IndexReport::default());
        }
        let memtable = snapshot.view().parts().saturating_sub(1);
        if snapshot.view().rows_in(memtable) >= SEALED_FROM {
            self.seal()?;
            snapshot = self.collection(collection)?;
        }
        let view = snapshot.view();
        let mut jobs = Vec::new();
        for (position, space) in snapshot.spaces().iter().enumerate() {
            for part in (0..view.parts().saturating_sub(1)).filter(|_| is_sparse(space)) {
                let rows = view.rows_in(part);
                let index = SegmentIndex::of(self, view, part, position)?;
                if rows >= LEAST_ROWS && !matches!(index, Derived::Ready(_)) {
                    let rows = rows as u32;
                    jobs.push(Job { store: self, view, part, position, space, rows });
                }
            }
        }
        let total = jobs.iter().map(|job| u64::from(job.rows)).sum();
        let mut report = IndexReport::default();
        for job in jobs {
            let before = report.rows;
            job.run(&mut report, &mut |done| progress(before + done, total))?;
        }
        Ok(report)
    }
}

impl Job<'_> {
    fn run(&self, report: &mut IndexReport, progress: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let limit = self.store.budget().limit();
        let share = (limit.get() / 16).max(LEAST_RUN) as usize;
        let account = self.store.budget().account("build/index", Priority::Write);
        let mut words = match self.space.kind {
            SpaceKind::Text { stem } => Some(Words::new(stem)),
            _ => None,
        };
        let mut file = self.store.engine().derive(self.view, self.part, slot(self.position))?;
        let mut infos: Vec<RunInfo> = Vec::new();
        let mut builder = self.builder(0, &account)?;
        let (mut read, mut postings) = (0, 0);
        for row in 0..self.rows {
            read += match &mut words {
                Some(words) => self.add_text(row, words, &mut builder)?,
                None => self.add_vector(row, &mut builder)?,
            };
            let done = row + 1;
            if builder.bytes() >= share || done == self.rows {
                let run = infos.len();
                if run >= MAX_RUNS {
                    return Err(self.too_many_runs(done));
                }
                let full = std::mem::replace(&mut builder, self.builder(done, &account)?);
                let info = full.finish(&mut Sink { file: &mut file, run, is_open: false })?;
                file.file.end()?;
                postings += info.postings;
                infos.push(info);
            }
            if (done.is_multiple_of(CHUNK) || done == self.rows) && !progress(u64::from(done)) {
                let what =
                    format!("stopped after {done} rows of a segment; what was built before stays");
                return Err(Error::new(ErrorKind::Interrupted, what));
            }
        }
        file.file.begin(INFO, 0)?;
        file.file.write(&WORDS_VERSION.to_le_bytes())?;
        for info in &infos {
            file.file.write(&info.encode())?;
        }
        file.file.end()?;
        let bytes = file.file.position();
        file.finish()?;
        report.segments += 1;
        report.rows += u64::from(self.rows);
        report.postings += postings;
        report.read += read;
        report.bytes += bytes;
        Ok(())
    }

    fn builder(&self, first_row: u32, account: &Account) -> Result<RunBuilder> {
        let values = match self.space.kind {
            SpaceKind::Text { .. } => Values::Counts,
            _ => Values::Weights,
        };
        Ok(RunBuilder::new(values, first_row, account.reserve(Bytes::ZERO)?))
    }

    /// Adds the words of a row; gives the bytes of its text.
    fn add_text(&self, row: u32, words: &mut Words, builder: &mut RunBuilder) -> Result<u64> {
        let body = self.view.cell(RowRef { part: self.part, row }, BODY)?.unwrap_or_default();
        let text = Body::text_of(&body)?.unwrap_or_default();
        let (mut length, mut outcome) = (0u32, Ok(()));
        words.each(text, &mut |word| {
            length = length.saturating_add(1);
            outcome = builder.add(word.as_bytes(), 1);
            outcome.is_ok()
        });
        outcome?;
        builder.end_row(length)?;
        Ok(text.len() as u64)
    }

    /// Adds the terms of a row; gives their bytes.
    fn add_vector(&self, row: u32, builder: &mut RunBuilder) -> Result<u64> {
        let row = RowRef { part: self.part, row };
        let vector = vector_at(self.view, row, self.position)?.unwrap_or_default();
        for (id, weight) in vector.ids.iter().zip(&vector.weights) {
            builder.add(&id.to_be_bytes(), weight.to_bits())?;
        }
        builder.end_row(u32::from(!vector.ids.is_empty()))?;
        Ok(8 * vector.ids.len() as u64)
    }

    fn too_many_runs(&self, rows: u32) -> Error {
        let what = format!(
            "space {}: {MAX_RUNS} runs hold {rows} of the {} rows of a segment; a larger budget \
             makes longer runs",
            self.space.name, self.rows
        );
        Error::new(ErrorKind::OverBudget, what)
    }
}

/// Writes a run as sections.
struct Sink<'a> {
    file: &'a mut DerivedWriter,
    run: usize,
    is_open: bool,
}

impl RunSink for Sink<'_> {
    type Error = Error;

    fn begin(&mut self, area: Area) -> Result<()> {
        if std::mem::replace(&mut self.is_open, true) {
            self.file.file.end()?;
        }
        Ok(self.file.file.begin(&section_name(self.run, area), 0)?)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.file.file.write(bytes)?)
    }
}
