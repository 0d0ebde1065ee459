//! The engine, and how a batch gets into it.
//!
//! Writers queue their batches and then wait for the writer's lock. Who gets it finds either
//! that the holder before took his batch along, or leads: he takes what is queued, reserves
//! the bytes that the memtable will need, finds the segment rows that die, writes one log
//! frame for all, syncs it, applies, and publishes by storing one number. So nothing can fail
//! between the sync and the acknowledgement, and at most one frame is ever unsynced.

use std::collections::{BTreeSet, VecDeque};

use ambit_mem::{Account, Bytes};

use super::batch::{Batch, DecodeError, Op, decode};
use super::memtable::{Memtable, SealedRow};
use super::merge::MergeJob;
use super::options::{Durability, EngineOptions};
use super::snapshot::{Snapshot, sealed_row_of};
use super::table::{Published, Shelf};
use crate::bugs::SeededBug;
use crate::error::{ErrorKind, StoreError};
use crate::host::Host;
use crate::log::Journal;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, RwLock, Weak, lock};
use crate::vfs::FileLock;

/// A store that is open.
///
/// All methods take `&self` and may be called from any number of threads.
pub struct Engine {
    pub(super) options: EngineOptions,
    pub(super) host: Arc<dyn Host>,
    pub(super) account: Account,
    pub(super) shelf: Arc<Shelf>,
    pub(super) published: RwLock<Arc<Published>>,
    pub(super) visible: AtomicU64,
    pub(super) writer: Mutex<Option<Writer>>,
    pub(super) queue: Mutex<VecDeque<Arc<Ticket>>>,
    pub(super) merge: Mutex<Option<MergeJob>>,
    /// Were segments added since the last look for something to merge?
    pub(super) merge_due: AtomicBool,
    /// Pictures that somebody may still look at; their segments stay.
    pub(super) pictures: Mutex<Vec<Weak<Published>>>,
    /// Segments being written that no manifest names yet.
    pub(super) in_flight: Mutex<BTreeSet<u64>>,
    pub(super) _lock: Option<Box<dyn FileLock>>,
}

/// What only the holder of the writer's lock may touch.
pub(super) struct Writer {
    pub journal: Journal,
    /// Applied batches that no frame holds yet (`Group`, `Async`).
    pub pending: Vec<u8>,
    pub flushed_micros: u64,
}

/// A write that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Sequence number of the log frame that holds it, or will.
    pub seq: u64,
    /// Is it on disk already?
    pub durable: bool,
}

/// A batch in the queue, and what became of it.
pub(super) struct Ticket {
    batch: Batch,
    outcome: Mutex<Option<Result<Ack, StoreError>>>,
}

/// A batch whose bytes are reserved and whose victims are known.
struct Admitted {
    ticket: Arc<Ticket>,
    kills: Vec<Option<SealedRow>>,
    cost: usize,
}

impl Engine {
    /// Writes a batch: all of it or nothing. With [`Durability::Sync`] it is on disk when
    /// this returns.
    ///
    /// # Errors
    /// Invalid (a key, cell or table that cannot be; a batch too large for a frame),
    /// over budget, I/O. After a failed fsync the engine is poisoned: whether the batch is on
    /// disk is told by the next opening.
    ///
    /// # Cost
    /// One fsync for all batches that wait at the same time; a look-up per key.
    pub fn write(&self, batch: Batch) -> Result<Ack, StoreError> {
        if batch.is_empty() {
            return Ok(Ack { seq: 0, durable: true });
        }
        let ticket = Arc::new(Ticket { batch, outcome: Mutex::default() });
        lock(&self.queue).push_back(Arc::clone(&ticket));
        let mut guard = lock(&self.writer);
        loop {
            if let Some(outcome) = lock(&ticket.outcome).take() {
                return outcome;
            }
            let Some(writer) = guard.as_mut() else {
                lock(&self.queue).retain(|queued| !Arc::ptr_eq(queued, &ticket));
                return Err(read_only());
            };
            self.lead(writer);
        }
    }

    /// Makes every acknowledged write durable.
    pub fn flush(&self) -> Result<(), StoreError> {
        let mut guard = self.writing()?;
        match guard.as_mut() {
            Some(writer) => self.flush_pending(writer),
            None => Ok(()),
        }
    }

    /// The newest picture of the store.
    pub fn snapshot(&self) -> Snapshot {
        let published = self.published();
        // Read after the pointer: what is visible at this tick is in this picture.
        let tick = self.visible.load(Ordering::Acquire);
        Snapshot { shelf: Arc::clone(&self.shelf), published, tick }
    }

    pub(super) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub(super) fn publish(&self, published: Published) {
        let published = self.picture(published);
        *self.published.write().unwrap_or_else(std::sync::PoisonError::into_inner) = published;
    }

    /// Remembers a picture for as long as somebody holds it.
    pub(super) fn picture(&self, published: Published) -> Arc<Published> {
        let published = Arc::new(published);
        let mut pictures = lock(&self.pictures);
        pictures.retain(|picture| picture.strong_count() > 0);
        pictures.push(Arc::downgrade(&published));
        published
    }

    /// The writer's lock; refused where the store was opened for reading.
    pub(super) fn writing(&self) -> Result<MutexGuard<'_, Option<Writer>>, StoreError> {
        let guard = lock(&self.writer);
        if guard.is_none() {
            return Err(read_only());
        }
        Ok(guard)
    }

    /// Takes what is queued, as far as it fits one frame, and commits it.
    fn lead(&self, writer: &mut Writer) {
        let memtable = Arc::clone(&self.published().memtable);
        if memtable.charged() >= self.options.geometry.memtable as u64
            && let Err(error) = self.seal_locked(writer)
        {
            self.fail_first(error);
            return;
        }
        let mut admitted: Vec<Admitted> = Vec::new();
        let mut bytes = 0;
        let limit = self.options.geometry.group.min(writer.journal.max_payload());
        loop {
            let Some(ticket) = lock(&self.queue).pop_front() else {
                break;
            };
            let len = ticket.batch.byte_len();
            if !admitted.is_empty() && bytes + len > limit {
                lock(&self.queue).push_front(ticket);
                break;
            }
            match self.admit(writer, &ticket) {
                Ok((kills, cost)) => {
                    bytes += len;
                    admitted.push(Admitted { ticket, kills, cost });
                }
                // Make room with nothing half done: commit what is admitted, come again.
                Err(error) if error.kind() == ErrorKind::OverBudget && !admitted.is_empty() => {
                    lock(&self.queue).push_front(ticket);
                    break;
                }
                Err(error) => *lock(&ticket.outcome) = Some(Err(error)),
            }
        }
        if !admitted.is_empty() {
            self.commit(writer, admitted, bytes);
        }
    }

    fn fail_first(&self, error: StoreError) {
        if let Some(ticket) = lock(&self.queue).pop_front() {
            *lock(&ticket.outcome) = Some(Err(error));
        }
    }

    /// Checks a batch, reserves its bytes and finds the segment rows that it replaces. Where
    /// the budget refuses, a seal makes room once.
    fn admit(
        &self,
        writer: &mut Writer,
        ticket: &Ticket,
    ) -> Result<(Vec<Option<SealedRow>>, usize), StoreError> {
        let most = writer.journal.max_payload();
        if ticket.batch.byte_len() > most {
            return Err(StoreError::invalid(format!(
                "a batch of {} bytes; a log frame holds at most {most}: write it in parts",
                ticket.batch.byte_len()
            )));
        }
        match self.try_admit(&ticket.batch) {
            Err(error) if error.kind() == ErrorKind::OverBudget && self.is_dirty() => {
                self.seal_locked(writer)?;
                self.try_admit(&ticket.batch)
            }
            outcome => outcome,
        }
    }

    fn is_dirty(&self) -> bool {
        !self.published().memtable.tables().is_empty()
    }

    fn try_admit(&self, batch: &Batch) -> Result<(Vec<Option<SealedRow>>, usize), StoreError> {
        let published = self.published();
        let mut kills = Vec::with_capacity(batch.len());
        let mut cost = 0;
        each_op(batch.as_bytes(), &mut |op| {
            let table = published.tables.get(&op.table()).ok_or_else(|| {
                StoreError::new(ErrorKind::NotFound, format!("there is no table {}", op.table()))
            })?;
            op.check(&table.name, &table.columns)?;
            cost += Memtable::cost(&op);
            let loaded = table.load(&self.shelf)?;
            kills.push(sealed_row_of(&loaded, &published.memtable, table.id, op.key())?);
            Ok(())
        })?;
        published.memtable.reserve(cost)?;
        Ok((kills, cost))
    }

    /// Logs, syncs, applies and answers the admitted batches.
    fn commit(&self, writer: &mut Writer, admitted: Vec<Admitted>, bytes: usize) {
        let logged = self.log(writer, &admitted, bytes);
        let memtable = &self.published().memtable;
        match logged {
            Ok(ack) => {
                let tick = self.visible.load(Ordering::Relaxed) + 1;
                for batch in &admitted {
                    self.apply(tick, batch.ticket.batch.as_bytes(), &batch.kills);
                }
                self.visible.store(tick, Ordering::Release);
                for batch in admitted {
                    *lock(&batch.ticket.outcome) = Some(Ok(ack));
                }
            }
            Err(error) => {
                let (kind, message) = (error.kind(), error.to_string());
                let mut first = Some(error);
                for batch in admitted {
                    memtable.unreserve(batch.cost);
                    let error =
                        first.take().unwrap_or_else(|| StoreError::new(kind, message.clone()));
                    *lock(&batch.ticket.outcome) = Some(Err(error));
                }
            }
        }
    }

    fn log(
        &self,
        writer: &mut Writer,
        admitted: &[Admitted],
        bytes: usize,
    ) -> Result<Ack, StoreError> {
        let batches = admitted.iter().map(|batch| batch.ticket.batch.as_bytes());
        if self.options.durability == Durability::Sync {
            let _buffer = self.account.child("log").reserve(Bytes::of(bytes))?;
            let mut payload = Vec::with_capacity(bytes);
            batches.for_each(|batch| payload.extend_from_slice(batch));
            let seq = self.append_synced(&mut writer.journal, &payload)?;
            return Ok(Ack { seq, durable: true });
        }
        if writer.pending.len() + bytes > writer.journal.max_payload() {
            self.flush_pending(writer)?;
        }
        batches.for_each(|batch| writer.pending.extend_from_slice(batch));
        let now = self.host.unix_micros();
        let is_due = match self.options.durability {
            Durability::Group { max_delay_ms } => {
                now.saturating_sub(writer.flushed_micros) >= u64::from(max_delay_ms) * 1000
            }
            Durability::Sync | Durability::Async => false,
        };
        let seq = writer.journal.durable_seq() + 1;
        if is_due || writer.pending.len() >= self.options.geometry.group {
            self.flush_pending(writer)?;
            return Ok(Ack { seq, durable: true });
        }
        Ok(Ack { seq, durable: false })
    }

    fn append_synced(&self, journal: &mut Journal, payload: &[u8]) -> Result<u64, StoreError> {
        if self.options.bugs.has(SeededBug::SplitBatch) && split_in_two(journal, payload)? {
            return Ok(journal.durable_seq());
        }
        if self.options.bugs.has(SeededBug::AckBeforeSync) {
            // What the acknowledgement before this one promised is synced only now.
            journal.sync()?;
            return journal.append(payload);
        }
        let seq = journal.append(payload)?;
        journal.sync()?;
        Ok(seq)
    }

    pub(super) fn flush_pending(&self, writer: &mut Writer) -> Result<(), StoreError> {
        writer.flushed_micros = self.host.unix_micros();
        if writer.pending.is_empty() {
            return Ok(());
        }
        self.append_synced(&mut writer.journal, &writer.pending)?;
        writer.pending.clear();
        Ok(())
    }

    /// Applies checked batches at `tick`; `kills` has an entry per operation.
    fn apply(&self, tick: u64, batches: &[u8], kills: &[Option<SealedRow>]) {
        let published = self.published();
        let mut kills = kills.iter();
        // The bytes were decoded when the batch was admitted.
        let _ = each_op(batches, &mut |op| {
            let kill = kills.next().copied().flatten();
            if let Some(table) = published.tables.get(&op.table()) {
                published.memtable.apply(tick, &table.columns, &op, kill);
            }
            Ok(())
        });
    }

    /// Applies one frame of the log at opening. Operations on tables that are gone are void.
    pub(super) fn replay(&self, payload: &[u8], next_table: u32) -> Result<(), StoreError> {
        let published = self.published();
        let tick = self.visible.load(Ordering::Relaxed) + 1;
        each_op(payload, &mut |op| {
            let Some(table) = published.tables.get(&op.table()) else {
                if op.table().0 < next_table {
                    return Ok(());
                }
                let what = format!("a frame names table {}, which never was", op.table());
                return Err(StoreError::new(ErrorKind::Corrupt, format!("log: {what}")));
            };
            op.check(&table.name, &table.columns)?;
            published.memtable.reserve(Memtable::cost(&op))?;
            let loaded = table.load(&self.shelf)?;
            let kill = sealed_row_of(&loaded, &published.memtable, table.id, op.key())?;
            published.memtable.apply(tick, &table.columns, &op, kill);
            Ok(())
        })?;
        self.visible.store(tick, Ordering::Release);
        Ok(())
    }
}

/// Calls `each` with every operation of some batches.
fn each_op<'a>(
    batches: &'a [u8],
    each: &mut dyn FnMut(Op<'a>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    decode(batches, each).map_err(|error| match error {
        DecodeError::Each(error) => error,
        DecodeError::Wire(error) => {
            StoreError::new(ErrorKind::Corrupt, format!("a batch in the log: {error}"))
        }
    })
}

/// Appends each half of the operations as a frame of its own: a planted fault.
fn split_in_two(journal: &mut Journal, payload: &[u8]) -> Result<bool, StoreError> {
    let mut halves = [Batch::new(), Batch::new()];
    let mut count = 0;
    each_op(payload, &mut |_| {
        count += 1;
        Ok(())
    })?;
    if count < 2 {
        return Ok(false);
    }
    let mut index = 0;
    each_op(payload, &mut |op| {
        let half = &mut halves[usize::from(index >= count / 2)];
        index += 1;
        match op {
            Op::Put { table, key, cells } => half.put(table, key, &cells),
            Op::Delete { table, key } => half.delete(table, key),
        }
        Ok(())
    })?;
    for half in halves {
        journal.append(half.as_bytes())?;
        journal.sync()?;
    }
    Ok(true)
}

pub(super) fn read_only() -> StoreError {
    StoreError::invalid("the store was opened for reading; open it for writing to change it")
}
