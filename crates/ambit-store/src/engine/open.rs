//! Opening, sealing, closing: how an engine begins, turns over, and ends.

use std::collections::{BTreeSet, VecDeque};

use ambit_mem::{Account, Budget, Bytes, Priority};

use super::builder::{AliveRows, KeyIndex, RowSource, write_rows};
use super::commit::{Engine, Writer};
use super::filter::Filters;
use super::memtable::{Memtable, SealedRow};
use super::options::{Access, EngineOptions};
use super::table::{Published, Shelf, TableState};
use crate::bugs::SeededBug;
use crate::error::{ErrorKind, StoreError};
use crate::host::Host;
use crate::log::{Edit, Journal, Recovered, SegmentMeta, State, TableId, recover};
use crate::segment::{Io, SegmentWriter, Windows, segment_name, temporary_name};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, RwLock, lock};
use crate::vfs::{FileLock, LockKind, OpenMode, Vfs, read_exact_at, write_all_at};

const LOCK_FILE: &str = "LOCK";
/// Bytes of the holder's line in the lock file.
const HOLDER_LEN: usize = 64;
/// Memtable bytes from which closing seals, so that the next opening need not replay.
const SEAL_AT_CLOSE: u64 = 1 << 20;

impl Engine {
    /// Opens the store in `vfs`, or makes one where there is none and `options.create` says
    /// so. Everything that it keeps is charged to accounts of `budget` below `store` and
    /// `map`.
    ///
    /// # Errors
    /// Locked (by whom), not found, corrupt, newer format, over budget, I/O.
    ///
    /// # Cost
    /// Reads the manifest and replays the log since the last seal; tables open at first touch.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        host: Arc<dyn Host>,
        budget: &Budget,
        options: EngineOptions,
    ) -> Result<Self, StoreError> {
        let lock = match options.access {
            Access::Write => Some(take_lock(&*vfs, &*host)?),
            Access::Read => None,
        };
        let recovered = match recover(&vfs, &options.geometry, options.bugs) {
            Ok(recovered) => Some(recovered),
            Err(error) if error.kind() == ErrorKind::NotFound && options.create => None,
            Err(error) => return Err(error),
        };
        let account = budget.account("store", Priority::Write);
        let journal = match (&recovered, options.access) {
            (Some(recovered), Access::Write) => {
                Some(Journal::resume(Arc::clone(&vfs), options.geometry, recovered, options.bugs)?)
            }
            (None, Access::Write) => {
                let id = u128::from(host.random_u64()) << 64 | u128::from(host.random_u64());
                Some(Journal::create(Arc::clone(&vfs), options.geometry, id, options.bugs)?)
            }
            (Some(_), Access::Read) => None,
            (None, Access::Read) => {
                return Err(StoreError::new(
                    ErrorKind::NotFound,
                    format!("there is no store in {}", vfs.describe()),
                ));
            }
        };
        let engine = Self::assemble(vfs, host, budget, account, options, journal, lock)?;
        if let Some(recovered) = &recovered {
            engine.take_over(recovered)?;
        }
        Ok(engine)
    }

    fn assemble(
        vfs: Arc<dyn Vfs>,
        host: Arc<dyn Host>,
        budget: &Budget,
        account: Account,
        options: EngineOptions,
        journal: Option<Journal>,
        lock: Option<Box<dyn FileLock>>,
    ) -> Result<Self, StoreError> {
        let map = budget.account("map", Priority::Cache);
        if options.io == Io::Map {
            map.set_mapped();
        }
        let windows = Windows::new(&map, &options.geometry, budget.limit());
        let shelf = Shelf {
            vfs,
            io: options.io,
            windows,
            filters: Filters::new(budget),
            account: account.child("segments"),
            bugs: options.bugs,
            open: Mutex::default(),
        };
        let memtable = Arc::new(Memtable::new(&account.child("memtable"))?);
        let tables = journal.as_ref().map(|journal| journal.state().tables.clone());
        let published = Published::new(&tables.unwrap_or_default(), memtable, 0);
        let flushed_micros = host.unix_micros();
        let pending_room = account.child("log").reserve(Bytes::ZERO)?;
        Ok(Self {
            options,
            host,
            account,
            shelf: Arc::new(shelf),
            published: RwLock::new(Arc::new(published)),
            visible: AtomicU64::new(1),
            writer: Mutex::new(journal.map(|journal| Writer {
                journal,
                pending: Vec::new(),
                pending_room,
                flushed_micros,
            })),
            queue: Mutex::new(VecDeque::new()),
            merge: Mutex::default(),
            merge_due: AtomicBool::new(true),
            pictures: Mutex::default(),
            in_flight: Mutex::new(BTreeSet::new()),
            _lock: lock,
        })
    }

    /// Publishes the recovered tables and replays the log's tail.
    fn take_over(&self, recovered: &Recovered) -> Result<(), StoreError> {
        let state = recovered.state();
        let memtable = Arc::clone(&self.published().memtable);
        self.publish(Published::new(&state.tables, memtable, state.sealed_seq));
        if self.options.access == Access::Read {
            // A writer may delete replaced segments at any time; opened ones stay readable.
            for table in self.published().tables.values() {
                table.load(&self.shelf)?;
            }
        }
        recovered.replay(&self.account.child("replay"), &mut |_, payload| {
            self.replay(payload, state.next_table)
        })
    }

    /// Seals the memtable into segments; afterwards the log before this point is free.
    ///
    /// # Cost
    /// Writes the unsealed rows once, three fsyncs per table, two for the manifest.
    pub fn seal(&self) -> Result<(), StoreError> {
        let mut guard = self.writing()?;
        match guard.as_mut() {
            Some(writer) => self.seal_locked(writer),
            None => Ok(()),
        }
    }

    pub(super) fn seal_locked(&self, writer: &mut Writer) -> Result<(), StoreError> {
        self.flush_pending(writer)?;
        let published = self.published();
        if published.memtable.tables().is_empty() {
            return Ok(());
        }
        let fresh = Arc::new(Memtable::new(&self.account.child("memtable"))?);
        let mut edits = Vec::new();
        for id in published.memtable.tables() {
            let Some(table) = published.tables.get(&id) else {
                continue;
            };
            if let Some(segment) = self.seal_table(&mut writer.journal, &published, table)? {
                edits.push(Edit::AddSegment { table: id, segment });
            }
        }
        let seq = writer.journal.durable_seq();
        self.commit_sealed(writer, edits, seq)?;
        self.publish_state(writer.journal.state(), &published, fresh);
        Ok(())
    }

    /// Commits `edits`, and that frames up to `seq` are in segments.
    fn commit_sealed(
        &self,
        writer: &mut Writer,
        mut edits: Vec<Edit>,
        seq: u64,
    ) -> Result<(), StoreError> {
        let replay_from = writer.journal.position();
        edits.push(Edit::Sealed { seq, replay_from });
        self.commit_edits(&mut writer.journal, &edits)
    }

    /// One manifest record; its segments are no longer in flight.
    pub(super) fn commit_edits(
        &self,
        journal: &mut Journal,
        edits: &[Edit],
    ) -> Result<(), StoreError> {
        let added: Vec<u64> = edits.iter().flat_map(added_segments).collect();
        if self.options.bugs.has(SeededBug::ManifestBeforeRename) {
            self.commit_unnamed(journal, edits, &added)?;
        } else {
            journal.commit(edits)?;
        }
        if !added.is_empty() {
            self.merge_due.store(true, Ordering::Relaxed);
        }
        let mut in_flight = lock(&self.in_flight);
        for id in added {
            in_flight.remove(&id);
        }
        Ok(())
    }

    /// The planted fault: the segments get their names after the manifest has named them.
    fn commit_unnamed(
        &self,
        journal: &mut Journal,
        edits: &[Edit],
        added: &[u64],
    ) -> Result<(), StoreError> {
        let vfs = &self.shelf.vfs;
        let failed = |error| StoreError::io("rename", "a segment", error);
        for &id in added {
            vfs.rename(&segment_name(id), &temporary_name(id)).map_err(failed)?;
        }
        journal.commit(edits)?;
        for &id in added {
            vfs.rename(&temporary_name(id), &segment_name(id)).map_err(failed)?;
        }
        vfs.sync_dir().map_err(failed)
    }

    /// A writer for a new segment, its id marked as in flight.
    pub(super) fn new_segment(&self, journal: &mut Journal) -> Result<SegmentWriter, StoreError> {
        let id = journal.allocate_file();
        lock(&self.in_flight).insert(id);
        SegmentWriter::create(
            &self.shelf.vfs,
            id,
            &self.options.geometry,
            &self.account.child("write"),
            self.options.bugs,
        )
        .inspect_err(|_| {
            lock(&self.in_flight).remove(&id);
        })
    }

    fn seal_table(
        &self,
        journal: &mut Journal,
        published: &Published,
        table: &TableState,
    ) -> Result<Option<SegmentMeta>, StoreError> {
        let sealed = published.memtable.with_rows(table.id, |rows| {
            let mut alive = AliveRows::new(rows);
            if self.options.bugs.has(SeededBug::SealCoversTooMuch) {
                alive.forget_last();
            }
            let mut kills: Vec<SealedRow> = rows.kills().collect();
            if alive.len() == 0 && kills.is_empty() {
                return Ok(None);
            }
            if self.options.bugs.has(SeededBug::SealLosesTombstones) {
                kills.clear();
            }
            let mut writer = self.new_segment(journal)?;
            let id = writer.id();
            KeyIndex::new(&alive, &self.account.child("write"))
                .and_then(|index| {
                    write_rows(&mut writer, &alive, &table.columns, None, &kills, &index)
                })
                .and_then(|()| writer.finish(alive.len() as u32))
                .inspect_err(|_| {
                    lock(&self.in_flight).remove(&id);
                })
                .map(Some)
        });
        sealed.unwrap_or(Ok(None))
    }

    /// Publishes the committed tables over `memtable`, keeping what is loaded of the old ones.
    pub(super) fn publish_state(&self, state: &State, old: &Published, memtable: Arc<Memtable>) {
        let tables = state
            .tables
            .iter()
            .map(|(&id, table)| {
                let next = match old.tables.get(&id) {
                    Some(before) if is_same(before, table) => Arc::clone(before),
                    Some(before) if is_extended(&before.segments, &table.segments) => {
                        Arc::new(before.with_segment(table, &self.shelf))
                    }
                    _ => Arc::new(TableState::new(id, table)),
                };
                (id, next)
            })
            .collect();
        self.publish(Published { tables, memtable, sealed_seq: state.sealed_seq });
    }

    /// Ends the store in good order: everything acknowledged is durable, a large memtable is
    /// sealed, and the superblock says how far the log goes. Later writes are refused.
    pub fn close(&self) -> Result<(), StoreError> {
        let mut guard = lock(&self.writer);
        let Some(writer) = guard.as_mut() else {
            return Ok(());
        };
        self.flush_pending(writer)?;
        if self.published().memtable.charged() >= SEAL_AT_CLOSE {
            self.seal_locked(writer)?;
        }
        writer.journal.close()?;
        *guard = None;
        Ok(())
    }

    /// Times that a window of a mapped segment was charged because it was not resident, since the
    /// opening.
    pub fn windows_charged(&self) -> u64 {
        self.shelf.windows.misses()
    }

    /// Sequence number of the newest frame that is on disk.
    pub fn durable_seq(&self) -> Option<u64> {
        lock(&self.writer).as_ref().map(|writer| writer.journal.durable_seq())
    }

    /// The tick that a snapshot taken now looks up to.
    pub(super) fn tick(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }
}

/// Ids of the segments that an edit adds.
fn added_segments(edit: &Edit) -> Vec<u64> {
    match edit {
        Edit::AddSegment { segment, .. } => vec![segment.id],
        Edit::ReplaceSegments { add, .. } => add.iter().map(|segment| segment.id).collect(),
        _ => Vec::new(),
    }
}

fn is_same(before: &TableState, table: &crate::log::Table) -> bool {
    before.segments == table.segments
        && before.columns == table.columns
        && before.schema == table.schema
        && before.name == table.name
}

fn is_extended(before: &[SegmentMeta], after: &[SegmentMeta]) -> bool {
    after.len() == before.len() + 1 && after.starts_with(before)
}

/// Takes the writer's lock and writes down who holds it.
fn take_lock(vfs: &dyn Vfs, host: &dyn Host) -> Result<Box<dyn FileLock>, StoreError> {
    let taken = vfs
        .lock(LOCK_FILE, 0..1, LockKind::Exclusive)
        .map_err(|error| StoreError::io("lock", LOCK_FILE, error))?;
    let Some(taken) = taken else {
        let holder = read_holder(vfs).unwrap_or_else(|| "an unknown process".into());
        return Err(StoreError::new(
            ErrorKind::Locked,
            format!(
                "{} is being written by {holder}; wait for it to end, or open for reading",
                vfs.describe()
            ),
        ));
    };
    let line = format!("pid {} started {}", host.pid(), host.started_micros());
    let line = format!("{line:<width$}\n", width = HOLDER_LEN - 1);
    vfs.open(LOCK_FILE, OpenMode::Write)
        .and_then(|file| write_all_at(&*file, 0, line.as_bytes()))
        .map_err(|error| StoreError::io("write", LOCK_FILE, error))?;
    Ok(taken)
}

fn read_holder(vfs: &dyn Vfs) -> Option<String> {
    let file = vfs.open(LOCK_FILE, OpenMode::Read).ok()?;
    let mut line = [0; HOLDER_LEN];
    read_exact_at(&*file, 0, &mut line).ok()?;
    let line = std::str::from_utf8(&line).ok()?.trim_end();
    let (pid, micros) = line.strip_prefix("pid ")?.split_once(" started ")?;
    let seconds = micros.parse::<u64>().ok()? / 1_000_000;
    Some(format!("process {pid} (started {seconds} s after 1970-01-01 UTC)"))
}

/// Names a table among the live ones.
pub(super) fn table_of(published: &Published, id: TableId) -> Result<&TableState, StoreError> {
    published
        .tables
        .get(&id)
        .map(|table| &**table)
        .ok_or_else(|| StoreError::new(ErrorKind::NotFound, format!("there is no table {id}")))
}
