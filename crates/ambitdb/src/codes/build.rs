//! Making the planes, one segment after the other.
//!
//! A segment's rows are read once from front to back and coded in chunks, so memory is that of
//! a chunk, whatever the segment's size. The model of another segment of the space is used
//! again where it fits as well as it does there; else one is trained on rows drawn evenly.

use std::sync::Arc;

use ambit_mem::{Account, Bytes, Priority};
use ambit_store::engine::{Derived, TableView};
use ambit_vector::planes::{BLOCK_ROWS, Encoder, Model};

use super::open::{CoarsePlane, HeldModel, SegmentCodes};
use super::{COARSE, FINE, INFO, Info, MODEL, is_worth_coding, rows_in, slots};
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{Space, vector_column};
use crate::store::Store;

/// Rows that a model is trained on, where the budget has room for them.
const SAMPLE: usize = 4096;
/// Rows that a model of another segment is tried on.
const TRIAL: usize = 256;
/// By how much more it may leave there than it does at home.
const FITS: f64 = 1.1;
/// Rows that are coded between two calls of the progress.
const CHUNK: usize = 64 * BLOCK_ROWS;
/// The seed of all models.
const SEED: u64 = 0x616d_6269_7464_6200;

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
struct Job<'a> {
    store: &'a Store,
    view: &'a TableView,
    part: u32,
    position: usize,
    space: &'a Space,
    rows: usize,
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
    /// Reads every vector without planes once; about 10 us for 384 dimensions, more for more. Memory: at most
    /// a sixteenth of the budget, or what one row's model takes.
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
        let dim = self.space.dim;
        let chunk_bytes = CHUNK * layout.fine_len() + layout.coarse_block_len();
        let _scratch = account
            .reserve(Bytes::of(Encoder::footprint(&layout) + chunk_bytes + model.footprint()))?;
        let [coarse_slot, fine_slot] = slots(self.position);
        let engine = self.store.engine();
        let mut coarse = engine.derive(self.view, self.part, coarse_slot)?;
        let mut fine = engine.derive(self.view, self.part, fine_slot)?;
        coarse.file.begin(MODEL, 0)?;
        coarse.file.write(&model.encode())?;
        coarse.file.end()?;
        coarse.file.begin(COARSE, layout.coarse_block_len() as u32)?;
        fine.file.begin(FINE, layout.fine_len() as u32)?;
        let mut encoder = Encoder::new(model);
        let mut block = vec![0; layout.coarse_block_len()];
        let mut rows_of_fine = vec![0; BLOCK_ROWS * layout.fine_len()];
        let mut stamp = 0;
        for first in (0..self.rows).step_by(CHUNK) {
            let end = self.rows.min(first + CHUNK);
            let mut outcome = Ok(());
            self.visit(first..end, &mut |rows| {
                outcome = rows.chunks(BLOCK_ROWS * dim).try_for_each(|rows| {
                    let fine_bytes = &mut rows_of_fine[..rows.len() / dim * layout.fine_len()];
                    encoder.encode(rows, &mut block, fine_bytes);
                    stamp = crc32c::crc32c_append(stamp, &block);
                    coarse.file.write(&block)?;
                    fine.file.write(fine_bytes)
                });
            })?;
            outcome?;
            if !progress(end as u64) {
                let what =
                    format!("stopped after {end} rows of a segment; what was built before stays");
                return Err(Error::new(ErrorKind::Interrupted, what));
            }
        }
        let info = Info { stamp, left: encoder.mean_left() }.encode();
        for file in [&mut coarse.file, &mut fine.file] {
            file.end()?;
            file.begin(INFO, 0)?;
            file.write(&info)?;
            file.end()?;
        }
        // The coarse plane last: without it there are no planes.
        fine.finish()?;
        coarse.finish()?;
        report.segments += 1;
        report.rows += self.rows as u64;
        report.bytes += layout.footprint(self.rows) as u64;
        Ok(())
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

    /// About `wanted` rows, drawn evenly in runs of 16.
    fn sample(&self, wanted: usize) -> Result<Vec<f32>> {
        let runs = (wanted / BLOCK_ROWS).max(1);
        let step = (self.rows / runs).max(BLOCK_ROWS);
        let mut sample = Vec::with_capacity(wanted * self.space.dim);
        for first in (0..self.rows).step_by(step).take(runs) {
            let end = self.rows.min(first + BLOCK_ROWS);
            self.visit(first..end, &mut |rows| sample.extend_from_slice(rows))?;
        }
        Ok(sample)
    }

    fn visit(&self, rows: std::ops::Range<usize>, take: &mut dyn FnMut(&[f32])) -> Result<()> {
        let range = rows.start as u64..rows.end as u64;
        let mut outcome = Ok(());
        self.view.cells(self.part, vector_column(self.position), range, &mut |cells| {
            outcome = bytemuck::try_cast_slice(cells).map(&mut *take);
        })?;
        outcome.map_err(|error| Error::new(ErrorKind::Corrupt, format!("vectors: {error}")))
    }
}
