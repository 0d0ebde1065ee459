//! Compaction in bounded steps: some neighbouring segments become one, without their dead rows.
//!
//! A key is live in at most one place, so a merge is the concatenation of live rows, column
//! by column; only the sorted key hashes are merged in earnest. A step copies at most the rows
//! it was allowed and keeps its place; memory is a few copy buffers, whatever the segments'
//! size. Rows that die while a merge runs become kills of the new segment on itself, found in
//! the last step, under the writer's lock. Dropping a job at any point loses only its work.

use ambit_mem::Account;
use roaring::RoaringBitmap;

use super::builder::write_kills;
use super::commit::{Engine, Writer, read_only};
use super::filter::FilterBuilder;
use super::memtable::SealedRow;
use super::sealed::SealedPart;
use super::table::{LoadedPart, Published, TableState};
use crate::bugs::SeededBug;
use crate::error::StoreError;
use crate::limits::MAX_SEGMENT_ROWS;
use crate::log::{CellLayout, Column, Edit, TableId};
use crate::segment::{SegmentWriter, segment_name};
use crate::sync::{Arc, Ordering, lock};

/// Neighbours of like size that are worth one merge.
const FAN_IN: usize = 4;
/// Windows per merged segment, at most: 1 GiB with the standard geometry.
const MERGED_WINDOWS: u64 = 512;

/// What a merge step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MergeProgress {
    /// Rows looked at by this step, once per section copied.
    pub rows: u64,
    /// Segments replaced by this step.
    pub replaced: usize,
    /// Nothing is left to merge.
    pub done: bool,
}

/// A merge under way.
pub(super) struct MergeJob {
    table: TableId,
    sources: Vec<LoadedPart>,
    /// First row of each source in the new segment.
    bases: Vec<u32>,
    rows: u32,
    writer: SegmentWriter,
    account: Account,
    tasks: Vec<Task>,
    task: usize,
    cursor: Cursor,
}

/// One section to be written.
#[derive(Debug, Clone, Copy)]
enum Task {
    KeyOffsets,
    KeyBytes,
    Hashes,
    HashRows,
    Filter,
    FixedCells { column: usize, stride: u32 },
    FixedRows { column: usize },
    VarOffsets { column: usize },
    VarBytes { column: usize },
    VarNulls { column: usize },
}

/// How far the section under way has come.
#[derive(Default)]
struct Cursor {
    begun: bool,
    source: usize,
    row: u64,
    offset: u64,
    /// Position in each source's hash array.
    heads: Vec<u32>,
    filter: Option<FilterBuilder>,
}

impl Engine {
    /// Does a bounded part of a merge: begins one if none runs, copies at most `max_rows`
    /// rows, or commits what is complete.
    pub fn merge_step(&self, max_rows: u32) -> Result<MergeProgress, StoreError> {
        let mut slot = lock(&self.merge);
        let mut job = match slot.take() {
            Some(job) => job,
            None => match self.begin_merge()? {
                Some(job) => job,
                None => {
                    return Ok(MergeProgress { done: true, ..MergeProgress::default() });
                }
            },
        };
        let id = job.writer.id();
        let outcome = job.copy(u64::from(max_rows.max(1)));
        match outcome {
            Ok((rows, false)) => {
                *slot = Some(job);
                Ok(MergeProgress { rows, ..MergeProgress::default() })
            }
            Ok((rows, true)) => {
                let replaced = self.finish_merge(job);
                lock(&self.in_flight).remove(&id);
                Ok(MergeProgress { rows, replaced: replaced?, done: false })
            }
            Err(error) => {
                lock(&self.in_flight).remove(&id);
                Err(error)
            }
        }
    }

    /// May there be something to merge? True after segments were added, until a step found
    /// nothing left to do.
    pub fn merge_due(&self) -> bool {
        self.merge_due.load(Ordering::Relaxed)
    }

    fn begin_merge(&self) -> Result<Option<MergeJob>, StoreError> {
        let published = self.published();
        for table in published.tables.values() {
            let Some(sources) = self.pick(table)? else {
                continue;
            };
            let mut guard = self.writing()?;
            let Some(writer) = guard.as_mut() else {
                return Err(read_only());
            };
            let segment = self.new_segment(&mut writer.journal)?;
            let account = self.account.child("write");
            return Ok(Some(MergeJob::new(table, sources, segment, account)));
        }
        Ok(None)
    }

    /// Neighbouring segments of a table that should become one, if any.
    fn pick(&self, table: &TableState) -> Result<Option<Vec<LoadedPart>>, StoreError> {
        let loaded = table.load(&self.shelf)?;
        let geometry = &self.options.geometry;
        let tier = |len: u64| (len / geometry.block as u64).max(1).ilog2() / 2;
        let most = geometry.window as u64 * MERGED_WINDOWS;
        let segments = &table.segments;
        for start in 0..segments.len() {
            let mut end = start;
            let (mut bytes, mut rows) = (0, 0);
            while end < segments.len() && tier(segments[end].len) <= tier(segments[start].len) {
                bytes += segments[end].len;
                rows += u64::from(segments[end].rows);
                if bytes > most || rows > u64::from(MAX_SEGMENT_ROWS) {
                    break;
                }
                end += 1;
            }
            if end - start >= FAN_IN {
                return Ok(Some(loaded.parts[start..end].to_vec()));
            }
        }
        for part in &loaded.parts {
            let rows = u64::from(part.part.rows());
            let is_idle =
                rows == 0 && !part.part.kills()?.iter().any(|kill| names(segments, kill.segment));
            if is_idle || (rows > 0 && part.dead.len() * 4 >= rows) {
                return Ok(Some(vec![part.clone()]));
            }
        }
        Ok(None)
    }

    /// Adds the kills, and commits the new segment in the place of its sources.
    fn finish_merge(&self, mut job: MergeJob) -> Result<usize, StoreError> {
        let mut guard = self.writing()?;
        let Some(writer) = guard.as_mut() else {
            return Err(read_only());
        };
        let remove: Vec<u64> = job.sources.iter().map(|source| source.part.id()).collect();
        if self.published().memtable.kills_any(job.table, &remove) {
            self.seal_locked(writer)?;
        }
        let published = self.published();
        let Some(kills) = self.late_kills(&published, &job, &remove)? else {
            return Ok(0);
        };
        if self.options.bugs.has(SeededBug::DeleteBeforeCommit) {
            for &id in &remove {
                let name = segment_name(id);
                let vfs = &self.shelf.vfs;
                vfs.unlink(&name).map_err(|error| StoreError::io("delete", &name, error))?;
            }
        }
        let add = if job.rows == 0 && kills.is_empty() {
            Vec::new()
        } else {
            write_kills(&mut job.writer, &kills)?;
            vec![job.writer.finish(job.rows)?]
        };
        let replaced = remove.len();
        let edit = Edit::ReplaceSegments { table: job.table, remove, add };
        self.commit_edits(&mut writer.journal, &[edit])?;
        self.after_merge(writer, &published);
        Ok(replaced)
    }

    fn after_merge(&self, writer: &mut Writer, published: &Published) {
        let memtable = Arc::clone(&published.memtable);
        self.publish_state(writer.journal.state(), published, memtable);
    }

    /// Kills that the new segment carries: those of its sources on segments that stay, and
    /// the rows of its own that died while it was written. `None` where a rollback or a drop
    /// took the ground from under the merge.
    fn late_kills(
        &self,
        published: &Published,
        job: &MergeJob,
        remove: &[u64],
    ) -> Result<Option<Vec<SealedRow>>, StoreError> {
        let Some(table) = published.tables.get(&job.table) else {
            return Ok(None);
        };
        if !remove.iter().all(|&id| names(&table.segments, id)) {
            return Ok(None);
        }
        let mut kills = Vec::new();
        for source in &job.sources {
            kills.extend(source.part.kills()?.into_iter().filter(|kill| {
                names(&table.segments, kill.segment) && !remove.contains(&kill.segment)
            }));
        }
        if self.options.bugs.has(SeededBug::MergeLosesLateDeletes) {
            return Ok(Some(kills));
        }
        let loaded = table.load(&self.shelf)?;
        for (source, &base) in job.sources.iter().zip(&job.bases) {
            let now = loaded.parts.iter().find(|part| part.part.id() == source.part.id());
            let Some(now) = now else { return Ok(None) };
            // After a rollback, rows that this merge left out may be alive again.
            if !source.dead.is_subset(&now.dead) {
                return Ok(None);
            }
            kills.extend((&*now.dead - &*source.dead).into_iter().map(|row| SealedRow {
                segment: job.writer.id(),
                row: base + live_rank(&source.dead, row),
            }));
        }
        Ok(Some(kills))
    }
}

fn names(segments: &[crate::log::SegmentMeta], id: u64) -> bool {
    segments.iter().any(|segment| segment.id == id)
}

/// Position of the live row `row` among the live rows.
fn live_rank(dead: &RoaringBitmap, row: u32) -> u32 {
    row - dead.rank(row) as u32
}

impl MergeJob {
    fn new(
        table: &TableState,
        sources: Vec<LoadedPart>,
        writer: SegmentWriter,
        account: Account,
    ) -> Self {
        let mut rows = 0;
        let mut bases = Vec::with_capacity(sources.len());
        for source in &sources {
            bases.push(rows);
            rows += source.part.rows() - source.dead.len() as u32;
        }
        let tasks = tasks(&table.columns, &sources);
        Self {
            table: table.id,
            sources,
            bases,
            rows,
            writer,
            account,
            tasks,
            task: 0,
            cursor: Cursor::default(),
        }
    }

    /// Copies up to `budget` rows; says how many, and whether all sections are written.
    fn copy(&mut self, budget: u64) -> Result<(u64, bool), StoreError> {
        let mut left = budget;
        while let Some(&task) = self.tasks.get(self.task) {
            if !self.cursor.begun {
                self.begin(task)?;
            }
            let done = match task {
                Task::Hashes | Task::HashRows | Task::Filter => {
                    self.copy_hashes(task, &mut left)?
                }
                Task::FixedCells { column, .. } => self.copy_fixed(column, true, &mut left)?,
                Task::FixedRows { column } => self.copy_fixed(column, false, &mut left)?,
                _ => self.copy_rows(task, &mut left)?,
            };
            if !done {
                return Ok((budget - left, false));
            }
            match (task, self.cursor.filter.take()) {
                (Task::Filter, None) => {}
                (_, None) => self.writer.end()?,
                (_, Some(filter)) => filter.finish(&mut self.writer)?,
            }
            self.task += 1;
            self.cursor = Cursor::default();
        }
        Ok((budget - left, true))
    }

    fn begin(&mut self, task: Task) -> Result<(), StoreError> {
        self.cursor.heads = vec![0; self.sources.len()];
        self.cursor.begun = true;
        let (name, stride) = match task {
            Task::KeyOffsets => ("key.off".into(), 8),
            Task::KeyBytes => ("key.bytes".into(), 1),
            Task::Hashes => ("key.hash".into(), 8),
            Task::HashRows => ("key.row".into(), 4),
            Task::Filter => {
                self.cursor.filter =
                    FilterBuilder::begin(self.rows, &mut self.writer, &self.account)?;
                return Ok(());
            }
            Task::FixedCells { column, stride } => (format!("c{column}.data"), stride),
            Task::FixedRows { column } => (format!("c{column}.rows"), 4),
            Task::VarOffsets { column } => (format!("c{column}.off"), 8),
            Task::VarBytes { column } => (format!("c{column}.bytes"), 1),
            Task::VarNulls { column } => (format!("c{column}.null"), 4),
        };
        self.writer.begin(&name, stride)?;
        if matches!(task, Task::KeyOffsets | Task::VarOffsets { .. }) {
            self.writer.write(&0u64.to_le_bytes())?;
        }
        Ok(())
    }

    /// Writes what `task` wants of each live row; true when all rows are through.
    fn copy_rows(&mut self, task: Task, left: &mut u64) -> Result<bool, StoreError> {
        while let Some(source) = self.sources.get(self.cursor.source) {
            let part = &source.part;
            while self.cursor.row < u64::from(part.rows()) {
                if *left == 0 {
                    return Ok(false);
                }
                *left -= 1;
                let row = self.cursor.row as u32;
                self.cursor.row += 1;
                if source.dead.contains(row) {
                    continue;
                }
                match task {
                    Task::KeyOffsets => {
                        self.cursor.offset += part.key_len(row)?;
                        self.writer.write(&self.cursor.offset.to_le_bytes())?;
                    }
                    Task::KeyBytes => self.writer.write(&part.key(row)?)?,
                    Task::VarOffsets { column } => {
                        self.cursor.offset += part.var_len(row, column)?.unwrap_or(0);
                        self.writer.write(&self.cursor.offset.to_le_bytes())?;
                    }
                    Task::VarBytes { column } => {
                        if let Some(cell) = part.cell(row, column)? {
                            self.writer.write(&cell)?;
                        }
                    }
                    Task::VarNulls { column } if part.var_len(row, column)?.is_none() => {
                        let base = self.bases[self.cursor.source];
                        let row = base + live_rank(&source.dead, row);
                        self.writer.write(&row.to_le_bytes())?;
                    }
                    _ => {}
                }
            }
            self.cursor.source += 1;
            self.cursor.row = 0;
        }
        Ok(true)
    }

    /// Copies the live cells of a fixed column, or the rows they belong to.
    fn copy_fixed(
        &mut self,
        column: usize,
        cells: bool,
        left: &mut u64,
    ) -> Result<bool, StoreError> {
        while let Some(source) = self.sources.get(self.cursor.source) {
            let len = source.part.fixed_len(column);
            while self.cursor.row < len {
                if *left == 0 {
                    return Ok(false);
                }
                let stop = self.cursor.row + (*left).min(256).min(len - self.cursor.row);
                let range = self.cursor.row..stop;
                *left -= stop - self.cursor.row;
                if cells {
                    copy_live_cells(&mut self.writer, &source.part, column, range, &source.dead)?;
                } else {
                    let base = self.bases[self.cursor.source];
                    for row in source.part.fixed_rows(column, range)? {
                        if !source.dead.contains(row) {
                            let row = base + live_rank(&source.dead, row);
                            self.writer.write(&row.to_le_bytes())?;
                        }
                    }
                }
                self.cursor.row = stop;
            }
            self.cursor.source += 1;
            self.cursor.row = 0;
        }
        Ok(true)
    }

    /// Merges the sources' sorted hashes; writes the hashes, or the new rows they stand for.
    fn copy_hashes(&mut self, task: Task, left: &mut u64) -> Result<bool, StoreError> {
        let mut heads: Vec<Option<(u64, u32)>> = Vec::with_capacity(self.sources.len());
        for index in 0..self.sources.len() {
            heads.push(self.head(index)?);
        }
        loop {
            let smallest = (0..heads.len())
                .filter_map(|index| heads[index].map(|head| (head, index)))
                .min_by_key(|&((hash, row), index)| (hash, index, row));
            let Some(((hash, row), index)) = smallest else {
                return Ok(true);
            };
            if *left == 0 {
                return Ok(false);
            }
            *left -= 1;
            let source = &self.sources[index];
            if !source.dead.contains(row) {
                match (task, &mut self.cursor.filter) {
                    (_, Some(filter)) => filter.push(hash, &mut self.writer)?,
                    (Task::Hashes, None) => self.writer.write(&hash.to_le_bytes())?,
                    (_, None) => {
                        let row = self.bases[index] + live_rank(&source.dead, row);
                        self.writer.write(&row.to_le_bytes())?;
                    }
                }
            }
            self.cursor.heads[index] += 1;
            heads[index] = self.head(index)?;
        }
    }

    fn head(&self, index: usize) -> Result<Option<(u64, u32)>, StoreError> {
        let mut head = None;
        let at = self.cursor.heads[index];
        self.sources[index].part.hashes(at, 1, &mut |hash, row| head = Some((hash, row)))?;
        Ok(head)
    }
}

fn tasks(columns: &[Column], sources: &[LoadedPart]) -> Vec<Task> {
    let mut tasks =
        vec![Task::KeyOffsets, Task::KeyBytes, Task::Hashes, Task::HashRows, Task::Filter];
    for (column, layout) in columns.iter().map(|column| column.layout).enumerate() {
        if sources.iter().all(|source| source.part.is_absent(column)) {
            continue;
        }
        match layout {
            CellLayout::Fixed(stride) => {
                tasks.push(Task::FixedCells { column, stride });
                if !sources.iter().all(|source| source.part.is_full(column)) {
                    tasks.push(Task::FixedRows { column });
                }
            }
            CellLayout::Var => {
                tasks.push(Task::VarOffsets { column });
                tasks.push(Task::VarBytes { column });
                if !sources.iter().all(|source| source.part.is_full(column)) {
                    tasks.push(Task::VarNulls { column });
                }
            }
        }
    }
    tasks
}

/// Writes runs of live cells as they lie.
fn copy_live_cells(
    writer: &mut SegmentWriter,
    part: &SealedPart,
    column: usize,
    range: std::ops::Range<u64>,
    dead: &RoaringBitmap,
) -> Result<(), StoreError> {
    let mut outcome = Ok(());
    part.visit_fixed(&[column], range, dead, &mut |block| {
        let len = block.rows.len();
        let Some(&cells) = block.cells.first() else {
            return;
        };
        let stride = cells.len() / len.max(1);
        let mut start = 0;
        while start < len && outcome.is_ok() {
            if block.is_dead(start) {
                start += 1;
                continue;
            }
            let mut end = start + 1;
            while end < len && !block.is_dead(end) {
                end += 1;
            }
            outcome = writer.write(&cells[start * stride..end * stride]);
            start = end;
        }
    })?;
    outcome
}
