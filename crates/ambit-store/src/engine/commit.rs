//! The engine, and how a batch gets into it.
//!
//! Writers queue their batches and then wait for the writer's lock. Who gets it finds either
//! that the holder before took his batch along, or leads: he takes what is queued, reserves
//! the bytes that the memtable will need, finds the segment rows that die, writes one log
//! frame for all, syncs it, applies, and publishes by storing one number. So nothing can fail
//! between the sync and the acknowledgement, and at most one frame is ever unsynced.

use std::collections::{BTreeSet, VecDeque};

use ambit_mem::{Account, Bytes, Reservation};

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
    /// Pays for the capacity of `pending`.
    pub pending_room: Reservation,
    pub flushed_micros: u64,
}

impl Writer {
    /// Makes room for `bytes` more in `pending`; `false` where the budget has none.
    fn make_room(&mut self, bytes: usize) -> bool {
        let len = self.pending.len();
        if self.pending.capacity() - len >= bytes {
            return true;
        }
        let capacity = (len + bytes).next_power_of_two();
        if self.pending_room.resize(Bytes::of(capacity)).is_err() {
            return false;
        }
        self.pending.reserve_exact(capacity - len);
        true
    }
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

/// For each operation of a batch the segment row that it replaces; what the batch costs.
type Price = (Vec<Option<SealedRow>>, usize);

/// Batches that go into one frame.
struct Group {
    admitted: Vec<Admitted>,
    /// Pays for the frame: the sum of the batches' lengths.
    frame: Reservation,
}

/// What became of a batch that asked to be admitted.
enum Admission {
    In,
    Later,
}

impl Group {
    fn byte_len(&self) -> usize {
        self.admitted.iter().map(|admitted| admitted.ticket.batch.byte_len()).sum()
    }
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
        let frame = match self.account.child("log").reserve(Bytes::ZERO) {
            Ok(frame) => frame,
            Err(refusal) => return self.fail_first(refusal.into()),
        };
        let mut group = Group { admitted: Vec::new(), frame };
        let limit = self.options.geometry.group.min(writer.journal.max_payload());
        loop {
            let Some(ticket) = lock(&self.queue).pop_front() else {
                break;
            };
            let is_first = group.admitted.is_empty();
            if !is_first && group.byte_len() + ticket.batch.byte_len() > limit {
                lock(&self.queue).push_front(ticket);
                break;
            }
            match self.admit(writer, &ticket, &mut group) {
                Ok(Admission::In) => {}
                // Its turn comes again, when what is admitted is committed.
                Ok(Admission::Later) => {
                    lock(&self.queue).push_front(ticket);
                    break;
                }
                Err(error) => *lock(&ticket.outcome) = Some(Err(error)),
            }
        }
        if !group.admitted.is_empty() {
            self.commit(writer, group);
        }
    }

    fn fail_first(&self, error: StoreError) {
        if let Some(ticket) = lock(&self.queue).pop_front() {
            *lock(&ticket.outcome) = Some(Err(error));
        }
    }

    /// Checks a batch, reserves its bytes in memtable and frame, and finds the segment rows that
    /// it replaces. A batch that the memtable or the budget has no room for first has the memtable
    /// sealed; not while others are admitted, whose bytes and victims are those of this memtable.
    fn admit(
        &self,
        writer: &mut Writer,
        ticket: &Arc<Ticket>,
        group: &mut Group,
    ) -> Result<Admission, StoreError> {
        let most = writer.journal.max_payload();
        if ticket.batch.byte_len() > most {
            return Err(StoreError::invalid(format!(
                "a batch of {} bytes; a log frame holds at most {most}: write it in parts",
                ticket.batch.byte_len()
            )));
        }
        loop {
            let is_first = group.admitted.is_empty();
            match self.try_admit(&ticket.batch, &mut group.frame) {
                Ok(Some((kills, cost))) => {
                    group.admitted.push(Admitted { ticket: Arc::clone(ticket), kills, cost });
                    return Ok(Admission::In);
                }
                Err(error) if error.kind() != ErrorKind::OverBudget || !self.is_dirty() => {
                    return Err(error);
                }
                Ok(None) | Err(_) if !is_first => return Ok(Admission::Later),
                // Once: after the seal the memtable is empty.
                Ok(None) | Err(_) => self.seal_locked(writer)?,
            }
        }
    }

    fn is_dirty(&self) -> bool {
        !self.published().memtable.tables().is_empty()
    }

    /// Victims of a batch and its cost, both reserved; `None` where the memtable would pass its
    /// size. An empty one takes any batch.
    fn try_admit(
        &self,
        batch: &Batch,
        frame: &mut Reservation,
    ) -> Result<Option<Price>, StoreError> {
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
        let is_empty = frame.bytes() == Bytes::ZERO && !self.is_dirty();
        let charged = published.memtable.charged() + cost as u64;
        if !is_empty && charged > self.options.geometry.memtable as u64 {
            return Ok(None);
        }
        published.memtable.reserve(cost)?;
        if let Err(refusal) = frame.grow(Bytes::of(batch.byte_len())) {
            published.memtable.unreserve(cost);
            return Err(refusal.into());
        }
        Ok(Some((kills, cost)))
    }

    /// Logs, syncs, applies and answers the admitted batches.
    fn commit(&self, writer: &mut Writer, group: Group) {
        let logged = self.log(writer, &group);
        let Group { admitted, .. } = group;
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

    /// Writes the group as a frame, or keeps it for a later one where the durability allows that
    /// and there is room to keep it.
    fn log(&self, writer: &mut Writer, group: &Group) -> Result<Ack, StoreError> {
        let batches = group.admitted.iter().map(|admitted| admitted.ticket.batch.as_bytes());
        let bytes = group.byte_len();
        if writer.pending.len() + bytes > writer.journal.max_payload() {
            self.flush_pending(writer)?;
        }
        let is_kept = self.options.durability != Durability::Sync && writer.make_room(bytes);
        if !is_kept {
            self.flush_pending(writer)?;
            let mut payload = Vec::with_capacity(bytes);
            batches.for_each(|batch| payload.extend_from_slice(batch));
            let seq = self.append_synced(&mut writer.journal, &payload)?;
            return Ok(Ack { seq, durable: true });
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
        writer.pending = Vec::new();
        writer.pending_room.shrink(writer.pending_room.bytes());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Access;
    use crate::geometry::Geometry;
    use crate::log::{CellLayout, Column, TableId};
    use crate::vfs::SimFs;
    use ambit_mem::Budget;

    struct TestHost;

    impl Host for TestHost {
        fn unix_micros(&self) -> u64 {
            1_000_000
        }
        fn random_u64(&self) -> u64 {
            7
        }
        fn pid(&self) -> u32 {
            1
        }
        fn started_micros(&self) -> u64 {
            0
        }
    }

    fn open(durability: Durability) -> (Budget, Engine, TableId) {
        let options = EngineOptions {
            geometry: Geometry::SMALL,
            access: Access::Write,
            create: true,
            durability,
            ..EngineOptions::default()
        };
        let budget = Budget::new(Bytes::mib(16));
        let engine =
            Engine::open(Arc::new(SimFs::new()), Arc::new(TestHost), &budget, options).unwrap();
        let body = Column { name: "body".into(), layout: CellLayout::Var };
        let table = engine.create_table("t", &[], vec![body]).unwrap();
        (budget, engine, table)
    }

    fn put(table: TableId, key: &[u8], len: usize) -> Batch {
        let mut batch = Batch::new();
        batch.put(table, key, &[Some(&vec![1; len])]);
        batch
    }

    fn live(engine: &Engine, table: TableId) -> u64 {
        engine.snapshot().table(table).unwrap().unwrap().len()
    }

    fn held(budget: &Budget, account: &str) -> u64 {
        budget.account(account, ambit_mem::Priority::Write).used().get()
    }

    #[test]
    fn the_memtable_is_sealed_before_a_batch_that_would_overfill_it() {
        let (budget, engine, table) = open(Durability::Sync);
        let most = Geometry::SMALL.memtable as u64;
        for number in 0..40_u8 {
            engine.write(put(table, &[number], 1200)).unwrap();
            let charged = held(&budget, "store/memtable");
            assert!(charged > 0 && charged <= most, "{charged} after batch {number}");
        }
        // One that is larger than the memtable has it for itself.
        engine.write(put(table, b"large", 6000)).unwrap();
        assert!(held(&budget, "store/memtable") > most);
        assert_eq!(live(&engine, table), 41);
    }

    #[test]
    fn a_group_is_committed_before_the_seal_that_its_next_batch_needs() {
        let (_, engine, table) = open(Durability::Sync);
        engine.write(put(table, b"twice", 100)).unwrap();
        engine.write(put(table, b"filler", 2000)).unwrap();
        // The first replaces a row of the memtable, the second needs the memtable sealed.
        let batches = [put(table, b"twice", 300), put(table, b"other", 1500)];
        let tickets = batches.map(|batch| Arc::new(Ticket { batch, outcome: Mutex::default() }));
        lock(&engine.queue).extend(tickets.iter().cloned());
        {
            let mut guard = engine.writing().unwrap();
            let writer = guard.as_mut().unwrap();
            while !lock(&engine.queue).is_empty() {
                engine.lead(writer);
            }
        }
        for ticket in &tickets {
            assert!(lock(&ticket.outcome).take().unwrap().unwrap().durable);
        }
        assert_eq!(live(&engine, table), 3, "no key is live twice");
        assert_eq!(engine.verify(&mut |_, _| true).unwrap().problems, Vec::<String>::new());
    }

    #[test]
    fn a_refused_frame_leaves_nothing_charged_and_the_next_write_succeeds() {
        for durability in [Durability::Sync, Durability::Async] {
            let (budget, engine, table) = open(durability);
            engine.write(put(table, b"a", 100)).unwrap();
            let before = budget.used();
            budget.plant_refusal(None);
            engine.write(put(table, b"b", 100)).unwrap();
            let requests = budget.requests();
            assert!(requests > 0 && budget.used() > before);
            for refused in 0..requests {
                let before = (held(&budget, "store/memtable"), live(&engine, table));
                budget.plant_refusal(Some(ambit_mem::Refusal::Once(refused)));
                let outcome = engine.write(put(table, format!("c{refused}").as_bytes(), 100));
                budget.plant_refusal(None);
                if outcome.is_err() {
                    let after = (held(&budget, "store/memtable"), live(&engine, table));
                    assert_eq!(after, before, "{durability:?}");
                }
                engine.write(put(table, format!("d{refused}").as_bytes(), 100)).unwrap();
            }
            engine.close().unwrap();
            drop(engine);
            assert_eq!(budget.outstanding(), Vec::new(), "{durability:?}");
        }
    }
}
