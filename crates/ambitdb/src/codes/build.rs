//! Making the planes, one segment after the other.
//!
//! A segment's rows are put in order ([`super::order`]), read in that order and coded in chunks, so
//! memory is that of a chunk and some 8 bytes a row; two threads code. The model of another segment of the space is used
//! again where it fits as well as it does there; else one is trained on rows drawn evenly.

use std::sync::Arc;

use ambit_mem::{Account, Bytes, Priority};
use ambit_store::engine::{Derived, TableView};
use ambit_store::segment::SegmentWriter;
use ambit_vector::planes::groups::{self, GROUPS_LEN};
use ambit_vector::planes::{BLOCK_ROWS, Encoder, Layout, Model};

use super::open::{CoarsePlane, HeldModel, SegmentCodes};
use super::order::{Order, THREADS};
use super::{
    COARSE, FINE, GROUPS, INFO, Info, LISTS, MODEL, ORDER, ORDERED, is_worth_coding, position_len,
    rows_in, slots,
};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{Space, vector_column};
use crate::store::Store;

/// Rows that a model is trained on, where the budget has room for them.
const SAMPLE: usize = 4096;
/// Rows that a model of another segment is tried on.
const TRIAL: usize = 256;
/// By how much more it may leave there than it does at home.
const FITS: f64 = 1.1;
/// Rows that are coded between two calls of the progress, at least and at most.
const CHUNK: usize = 64 * BLOCK_ROWS;
const MOST_CHUNK: usize = 64 * CHUNK;
/// The seed of all models.
pub(super) const SEED: u64 = 0x616d_6269_7464_6200;

/// What [`Store::build_codes`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CodesReport {
    /// Segments that got planes, counted for each space.
    pub segments: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of the planes.
    pub bytes: u64,
    /// Models that were trained.
    pub trained: u64,
}

/// One space of one segment.
pub(super) struct Job<'a> {
    store: &'a Store,
    view: &'a TableView,
    part: u32,
    position: usize,
    pub(super) space: &'a Space,
    pub(super) rows: usize,
}

/// The planes of a segment while they are written.
struct Coding<'a> {
    job: &'a Job<'a>,
    model: &'a Model,
    order: Option<Order>,
    stamp: u32,
}

/// What one thread codes with.
struct Coder<'m> {
    encoder: Encoder<'m>,
    coarse: Vec<u8>,
    fine: Vec<u8>,
}

impl Coder<'_> {
    /// Codes `rows`, n x dim, into whole blocks.
    fn code(&mut self, rows: &[f32], layout: &Layout) {
        let n = rows.len() / layout.dim;
        self.coarse.resize(n.div_ceil(BLOCK_ROWS) * layout.coarse_block_len(), 0);
        self.fine.resize(n * layout.fine_len(), 0);
        let blocks = self.coarse.chunks_exact_mut(layout.coarse_block_len());
        let fine = self.fine.chunks_mut(BLOCK_ROWS * layout.fine_len());
        for ((rows, block), fine) in rows.chunks(BLOCK_ROWS * layout.dim).zip(blocks).zip(fine) {
            self.encoder.encode(rows, block, fine);
        }
    }
}

impl Coding<'_> {
    /// Codes all rows in their order and writes them; returns what the coarse plane left of a row.
    fn write(
        &mut self,
        account: &Account,
        coarse: &mut SegmentWriter,
        fine: &mut SegmentWriter,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<f64> {
        let (job, model) = (self.job, self.model);
        let layout = *model.layout();
        let dim = layout.dim;
        let of_row = 4 * dim + 16 + layout.coarse_block_len() / BLOCK_ROWS + layout.fine_len();
        let chunk = (job.room(16) / of_row).clamp(CHUNK, MOST_CHUNK) / (THREADS * BLOCK_ROWS)
            * (THREADS * BLOCK_ROWS);
        let bytes = THREADS * (Encoder::footprint(&layout) + layout.coarse_block_len())
            + chunk * of_row
            + model.footprint()
            + Order::measuring_bytes(CHUNK, dim);
        let _scratch = account.reserve(Bytes::of(bytes))?;
        let coder = || Coder { encoder: Encoder::new(model), coarse: Vec::new(), fine: Vec::new() };
        let mut coders: [Coder<'_>; THREADS] = std::array::from_fn(|_| coder());
        let mut rows = Vec::with_capacity(chunk * dim);
        for first in (0..job.rows).step_by(chunk) {
            let end = job.rows.min(first + chunk);
            match &self.order {
                Some(order) => job.gather(&order.positions[first..end], &mut rows)?,
                None => {
                    rows.clear();
                    job.visit(first..end, &mut |some| rows.extend_from_slice(some))?;
                }
            }
            let share = (end - first).div_ceil(THREADS).next_multiple_of(BLOCK_ROWS);
            std::thread::scope(|scope| {
                for (coder, rows) in coders.iter_mut().zip(rows.chunks(share * dim)) {
                    scope.spawn(move || coder.code(rows, &layout));
                }
            });
            for coder in coders.iter().take((end - first).div_ceil(share)) {
                self.stamp = crc32c::crc32c_append(self.stamp, &coder.coarse);
                coarse.write(&coder.coarse)?;
                fine.write(&coder.fine)?;
            }
            if let Some(order) = &mut self.order {
                for (number, rows) in rows.chunks_mut(CHUNK * dim).enumerate() {
                    order.measure(first + number * CHUNK, rows, job.space.metric);
                }
            }
            if !progress(end) {
                let what =
                    format!("stopped after {end} rows of a segment; what was built before stays");
                return Err(Error::new(ErrorKind::Interrupted, what));
            }
        }
        let left = coders.iter().map(|coder| coder.encoder.mean_left());
        let left: Vec<f64> = left.filter(|left| *left > 0.0).collect();
        Ok(left.iter().sum::<f64>() / left.len().max(1) as f64)
    }
}

impl Store {
    /// Builds the code planes that the segments of a collection lack, so that searches read a twelfth
    /// of the bytes. Small segments are left as they are: reading them is quick. `progress` hears rows
    /// done and in all, and stops by returning false; segments that are done stay done.
    ///
    /// # Errors
    /// Not found (collection), over budget, interrupted, I/O, read only. What was built before stays.
    ///
    /// # Cost
    /// Reads every vector without planes three times, four where near duplicates are many; about 20 us of both
    /// processors for 384 dimensions and a thousand lists. Memory: at most an eighth of the budget and 20
    /// bytes a row, or what one row's model takes. Where the order does not fit the budget, the rows stay
    /// as they came.
    pub fn build_codes(
        &self,
        collection: &str,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<CodesReport> {
        let collection = self.collection(collection)?;
        let view = collection.view();
        let mut jobs = Vec::new();
        for (position, space) in collection.spaces().iter().enumerate() {
            for part in 0..view.parts().saturating_sub(1) {
                let rows = rows_in(view, part, position);
                let codes = SegmentCodes::of(view, part, position, 0..0, self.models(), None)?;
                if is_worth_coding(rows, space.dim) && !matches!(codes, Derived::Ready(_)) {
                    let rows = rows as usize;
                    jobs.push(Job { store: self, view, part, position, space, rows });
                }
            }
        }
        let total = jobs.iter().map(|job| job.rows as u64).sum();
        let mut report = CodesReport::default();
        for job in jobs {
            let before = report.rows;
            job.run(&mut report, &mut |done| progress(before + done, total))?;
        }
        Ok(report)
    }
}

impl Job<'_> {
    fn run(&self, report: &mut CodesReport, progress: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let account = self.store.budget().account("store/codes", Priority::Cache);
        let fitting = self.fitting(&account)?;
        let trained;
        let model = match &fitting {
            Some(held) => &held.model,
            None => {
                report.trained += 1;
                trained = self.train(&account)?;
                &trained
            }
        };
        let layout = *model.layout();
        let half = self.rows as u64 / 2;
        let order = match Order::find(self, &account, &mut |done| progress(done / 2)) {
            Ok(order) => Some(order),
            // Then they stay in the order in which they came.
            Err(error) if error.is_over_budget() => None,
            Err(error) => return Err(error),
        };
        let mut progress = |done: usize| progress(half + done as u64 - done as u64 / 2);
        let [coarse_slot, fine_slot] = slots(self.position);
        let engine = self.store.engine();
        let mut coarse = engine.derive(self.view, self.part, coarse_slot)?;
        let mut fine = engine.derive(self.view, self.part, fine_slot)?;
        coarse.file.begin(MODEL, 0)?;
        coarse.file.write(&model.encode())?;
        coarse.file.end()?;
        let name = if order.is_some() { ORDERED } else { COARSE };
        coarse.file.begin(name, layout.coarse_block_len() as u32)?;
        fine.file.begin(FINE, layout.fine_len() as u32)?;
        let mut coding = Coding { job: self, model, order, stamp: 0 };
        let left = coding.write(&account, &mut coarse.file, &mut fine.file, &mut progress)?;
        let Coding { order, stamp, .. } = coding;
        fine.file.end()?;
        coarse.file.end()?;
        let mut bytes = layout.footprint(self.rows);
        if let Some(order) = order {
            bytes += self.write_order(order, &mut coarse.file)?;
        }
        let info = Info { stamp, left }.encode();
        for file in [&mut coarse.file, &mut fine.file] {
            file.begin(INFO, 0)?;
            file.write(&info)?;
            file.end()?;
        }
        // The coarse plane last: without it there are no planes.
        fine.finish()?;
        coarse.finish()?;
        report.segments += 1;
        report.rows += self.rows as u64;
        report.bytes += bytes as u64;
        Ok(())
    }

    /// Writes what tells where which row stands; returns its bytes.
    fn write_order(&self, order: Order, file: &mut SegmentWriter) -> Result<usize> {
        let len = position_len(self.rows);
        file.begin(ORDER, len as u32)?;
        for positions in order.positions.chunks(CHUNK) {
            let bytes: Vec<u8> = positions
                .iter()
                .flat_map(|position| position.to_le_bytes().into_iter().take(len))
                .collect();
            file.write(&bytes)?;
        }
        file.end()?;
        let mut bytes = self.rows * len;
        let groups = order.groups.clone();
        let lists = order.into_lists(self.space.metric)?;
        if lists.leaders() < self.rows {
            file.begin(GROUPS, GROUPS_LEN as u32)?;
            let mut outcome = Ok(());
            groups::encode(&groups, lists.group_unit(), &mut |block| {
                bytes += block.len();
                if outcome.is_ok() {
                    outcome = file.write(block);
                }
            });
            outcome?;
            file.end()?;
        }
        let lists = lists.encode();
        file.begin(LISTS, 0)?;
        file.write(&lists)?;
        file.end()?;
        Ok(bytes + lists.len())
    }

    /// The model of another segment that fits this one's rows, too.
    fn fitting(&self, account: &Account) -> Result<Option<Arc<HeldModel>>> {
        for part in (0..self.view.parts().saturating_sub(1)).rev() {
            let plane = CoarsePlane::of(self.view, part, self.position, self.store.models())?;
            let Derived::Ready(plane) = plane else {
                continue;
            };
            let model = &plane.model.model;
            let layout = *model.layout();
            if layout.dim != self.space.dim || model.metric() != self.space.metric {
                continue;
            }
            let bytes = Encoder::footprint(&layout) + TRIAL * self.space.dim * 4;
            let _scratch = account.reserve(Bytes::of(bytes))?;
            let sample = self.sample(TRIAL)?;
            let mut encoder = Encoder::new(model);
            let mut block = vec![0; layout.coarse_block_len()];
            let mut fine = vec![0; BLOCK_ROWS * layout.fine_len()];
            for rows in sample.chunks(BLOCK_ROWS * layout.dim) {
                let len = rows.len() / layout.dim * layout.fine_len();
                encoder.encode(rows, &mut block, &mut fine[..len]);
            }
            let fits = encoder.mean_left() <= FITS * plane.info.left;
            return Ok(fits.then(|| Arc::clone(&plane.model)));
        }
        Ok(None)
    }

    fn train(&self, account: &Account) -> Result<Model> {
        let dim = self.space.dim;
        let share = self.store.budget().limit().get() as usize / 16;
        let of_row = (Model::training_bytes(1, dim) - Model::training_bytes(0, dim)) + 4 * dim;
        let room = share.saturating_sub(Model::training_bytes(0, dim)) / of_row;
        let rows = room.clamp(TRIAL, SAMPLE).min(self.rows);
        let bytes = Model::training_bytes(rows, dim) + 4 * rows * dim;
        let _scratch = account.reserve(Bytes::of(bytes))?;
        let sample = self.sample(rows)?;
        Model::train(&sample, dim, self.space.metric, SEED)
            .map_err(|error| Error::invalid(format!("space {}: {error}", self.space.name)))
    }

    /// Bytes of a `share`-th of the budget.
    pub(super) fn room(&self, share: u64) -> usize {
        usize::try_from(self.store.budget().limit().get() / share).unwrap_or(usize::MAX)
    }

    /// The rows at `positions`, in that order, into `rows`; read in the order in which they lie.
    pub(super) fn gather(&self, positions: &[u32], rows: &mut Vec<f32>) -> Result<()> {
        let dim = self.space.dim;
        let mut order: Vec<(u32, u32)> = positions.iter().copied().zip(0..).collect();
        order.sort_unstable();
        rows.clear();
        rows.resize(positions.len() * dim, 0.0);
        for (position, slot) in order {
            let (position, slot) = (position as usize, slot as usize);
            let to = &mut rows[slot * dim..(slot + 1) * dim];
            self.visit(position..position + 1, &mut |row| to.copy_from_slice(row))?;
        }
        Ok(())
    }

    /// About `wanted` rows, drawn evenly in runs of 16.
    pub(super) fn sample(&self, wanted: usize) -> Result<Vec<f32>> {
        let runs = (wanted / BLOCK_ROWS).max(1);
        let step = (self.rows / runs).max(BLOCK_ROWS);
        let mut sample = Vec::with_capacity(wanted * self.space.dim);
        for first in (0..self.rows).step_by(step).take(runs) {
            let end = self.rows.min(first + BLOCK_ROWS);
            self.visit(first..end, &mut |rows| sample.extend_from_slice(rows))?;
        }
        Ok(sample)
    }

    pub(super) fn visit(
        &self,
        rows: std::ops::Range<usize>,
        take: &mut dyn FnMut(&[f32]),
    ) -> Result<()> {
        let range = rows.start as u64..rows.end as u64;
        let mut outcome = Ok(());
        self.view.cells(self.part, vector_column(self.position), range, &mut |cells| {
            outcome = bytemuck::try_cast_slice(cells).map(&mut *take);
        })?;
        outcome.map_err(|error| Error::new(ErrorKind::Corrupt, format!("vectors: {error}")))
    }
}
