//! How does a store go on: appending frames, committing states.
//!
//! The one writer's handle on everything that commits. Two acts: [`Journal::append`] and
//! [`Journal::sync`] make a group of writes durable; [`Journal::commit`] makes a new state
//! durable: manifest record, fsync, superblock, fsync. The state in memory changes only after
//! that, so it is always one that recovery could return.
//!
//! A sync that fails, or a write whose effect is unknown, poisons the journal: what is on the
//! disk is not known until it is read again, so nothing more is written and nothing deleted.
//! A failure before anything could count (no space for a new file, an edit that does not fit)
//! leaves the journal as it was.
//!
//! Files are unlinked only after the commit that stops naming them is durable, and left to the
//! next opening if that fails.

use std::sync::Arc;

use super::creation::{self, Created};
use super::edit::Edit;
use super::frame::HEADER;
use super::manifest::{self, Manifest};
use super::name::FileName;
use super::new_file::{self, Failure};
use super::state::{LogFile, LogPosition, State, StateError, check_log_len};
use super::superblock::Superblock;
use super::wal::{self, OpenLog, Reopened, Wal};
use crate::bugs::{Bugs, SeededBug};
use crate::error::{ErrorKind, StoreError};
use crate::geometry::Geometry;
use crate::vfs::{OpenMode, Vfs, VfsFile, write_all_at};

/// Log files kept to be written again.
pub(super) const FREE_LOGS: usize = 2;

/// The writer's handle on log and manifest. One at a time: the caller holds the writer lock.
pub struct Journal {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) geometry: Geometry,
    pub(super) bugs: Bugs,
    pub(super) state: State,
    pub(super) next_file: u64,
    pub(super) superblock: Superblock,
    pub(super) super_file: Arc<dyn VfsFile>,
    pub(super) manifest: Manifest,
    pub(super) wal: Wal,
    /// A new log file whose OpenLog could not be committed, for the next attempt.
    pub(super) spare: Option<(u64, u64, Arc<dyn VfsFile>)>,
    pub(super) poison: Option<String>,
}

impl Journal {
    /// Makes an empty store in `vfs`.
    ///
    /// # Errors
    /// `Invalid` if there is a store already, or the geometry is out of range; `Corrupt` if
    /// there was one that lost its superblocks; `Io`. What an attempt leaves behind does not
    /// hinder the next.
    pub fn create(
        vfs: Arc<dyn Vfs>,
        geometry: Geometry,
        store_id: u128,
        bugs: Bugs,
    ) -> Result<Self, StoreError> {
        let created = creation::create(&*vfs, &geometry, store_id, bugs)?;
        let Created { state, superblock, manifest, log, next_file } = created;
        let super_file = creation::open_super(&*vfs)?;
        let wal = Wal::new(log, state.logs[0], 0, 0);
        Ok(Self {
            vfs,
            geometry,
            bugs,
            state,
            next_file,
            superblock,
            super_file,
            manifest,
            wal,
            spare: None,
            poison: None,
        })
    }

    /// Writes a frame; durable after [`Journal::sync`], which must come before the next one.
    /// Returns its number.
    ///
    /// Cost: one to three writes; beginning a new log file adds a manifest commit, and makes
    /// the file unless a free one can be written again.
    ///
    /// # Errors
    /// `Invalid` if the payload exceeds [`Journal::max_payload`] or a frame is in flight;
    /// `Poisoned`; `Io`.
    pub fn append(&mut self, payload: &[u8]) -> Result<u64, StoreError> {
        self.usable()?;
        if self.wal.durable_seq() < self.wal.appended_seq() {
            return Err(wal::in_flight(self.wal.appended_seq()));
        }
        if payload.len() > self.max_payload() {
            return Err(StoreError::invalid(format!(
                "a frame of {} bytes is larger than a log file holds ({}): write smaller batches",
                payload.len(),
                self.max_payload()
            )));
        }
        if !self.wal.fits(payload.len()) {
            self.rotate()?;
        }
        let appended = self.wal.append(payload);
        self.settle(appended)
    }

    /// Makes the frame in flight durable, if there is one.
    ///
    /// # Errors
    /// `Poisoned`; `Io`, which poisons.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.usable()?;
        let synced = self.wal.sync(self.bugs);
        self.settle(synced)
    }

    /// Number of the last durable frame.
    pub fn durable_seq(&self) -> u64 {
        self.wal.durable_seq()
    }

    /// Where the next frame goes, unless it begins a new file.
    pub fn position(&self) -> LogPosition {
        self.wal.position()
    }

    /// Makes `edits` durable, all or none, and the state follows. With them go the edits that
    /// free log files whose frames are all sealed, and drop free ones beyond two.
    ///
    /// Cost: two fsyncs; five or more, with one new file, when the manifest is begun anew.
    ///
    /// # Errors
    /// `Invalid` if an edit does not fit; `Poisoned`; `Io`, which may poison.
    pub fn commit(&mut self, edits: &[Edit]) -> Result<(), StoreError> {
        self.usable()?;
        self.check_sealed(edits)?;
        let refused = |error: StateError| StoreError::invalid(format!("the commit: {error}"));
        let mut next = self.state.clone();
        next.apply_all(edits).map_err(refused)?;
        let retired = self.retire(&next);
        next.apply_all(&retired).map_err(refused)?;
        let edits = [edits, &retired].concat();
        if self.bugs.has(SeededBug::RecycleBeforeManifest) {
            self.recycle_early(&edits)?;
        }
        let written = self.write(&mut next, &edits);
        self.settle(written)?;
        self.state = next;
        for edit in &edits {
            if let Edit::DropLog { id } = edit {
                self.discard(FileName::Log(*id));
            }
        }
        Ok(())
    }

    /// The state after the last commit.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// An id that no file of the store has or had.
    pub fn allocate_file(&mut self) -> u64 {
        let id = self.next_file;
        if !(self.bugs.has(SeededBug::ReuseFileId) && id % 8 == 7) {
            self.next_file += 1;
        }
        id
    }

    /// Bytes of the largest payload of a frame.
    pub fn max_payload(&self) -> usize {
        (self.geometry.log_file as usize).saturating_sub(HEADER)
    }

    /// Did a failure leave what is durable unknown? Then only reopening the store helps.
    pub fn poisoned(&self) -> bool {
        self.poison.is_some()
    }

    /// Makes the frame in flight durable and promises all frames in the superblock. The
    /// journal can still be used.
    ///
    /// # Errors
    /// `Poisoned`; `Io`, which poisons.
    pub fn close(&mut self) -> Result<(), StoreError> {
        self.sync()?;
        if self.superblock.log_seq < self.wal.durable_seq() {
            let published = self.publish();
            self.settle(published)?;
        }
        Ok(())
    }

    pub(super) fn settle<T>(&mut self, step: Result<T, Failure>) -> Result<T, StoreError> {
        step.map_err(|Failure { error, in_doubt }| {
            if in_doubt {
                self.poison = Some(error.to_string());
            }
            error
        })
    }

    fn usable(&self) -> Result<(), StoreError> {
        match &self.poison {
            None => Ok(()),
            Some(cause) => Err(StoreError::new(
                ErrorKind::Poisoned,
                format!(
                    "an earlier failure left unknown what is on the disk ({cause}): the store is \
                     read-only; reopen the store"
                ),
            )),
        }
    }

    fn check_sealed(&self, edits: &[Edit]) -> Result<(), StoreError> {
        for edit in edits {
            if let Edit::Sealed { seq, .. } | Edit::Rollback { sealed_seq: seq, .. } = edit
                && *seq > self.wal.appended_seq()
            {
                return Err(StoreError::invalid(format!(
                    "frame {seq} cannot be sealed: the last one written is {}",
                    self.wal.appended_seq()
                )));
            }
        }
        Ok(())
    }

    /// What the log files of `next` ask for: the fully sealed ones become free, and of the
    /// free ones those stay that the next rotations can use.
    fn retire(&self, next: &State) -> Vec<Edit> {
        let sealed =
            next.logs.windows(2).take_while(|pair| pair[1].first_seq <= next.sealed_seq + 1);
        let freed: Vec<LogFile> = sealed.map(|pair| pair[0]).collect();
        let mut edits: Vec<_> = freed.iter().map(|log| Edit::FreeLog { id: log.id }).collect();
        let mut kept = 0;
        for log in next.free_logs.iter().chain(&freed) {
            kept += usize::from(log.len == self.geometry.log_file);
            if log.len != self.geometry.log_file || kept > FREE_LOGS {
                edits.push(Edit::DropLog { id: log.id });
            }
        }
        edits
    }

    /// The planted fault: prepares a log file for its next life before the record that frees
    /// it is durable.
    fn recycle_early(&self, edits: &[Edit]) -> Result<(), StoreError> {
        for edit in edits {
            if let Edit::FreeLog { id } = edit
                && let Some(log) = self.state.logs.iter().find(|log| log.id == *id)
                && let Reopened::Whole(file) = wal::reopen(&*self.vfs, log)?
            {
                wal::wipe(&*file, *id, (0, log.len))?;
            }
        }
        Ok(())
    }

    fn write(&mut self, next: &mut State, edits: &[Edit]) -> Result<(), Failure> {
        let record = manifest::record(edits);
        if self.manifest.is_full(record.len(), self.geometry.manifest) {
            return self.rewrite(next);
        }
        self.manifest.append(&record, self.bugs)?;
        self.publish()
    }

    /// Begins a new manifest with a snapshot of `next`. It counts from the first superblock
    /// that names it; the old one goes when both do.
    pub(super) fn rewrite(&mut self, next: &mut State) -> Result<(), Failure> {
        let id = self.allocate_file();
        next.next_file = next.next_file.max(self.next_file);
        let old = self.manifest.extent();
        let manifest = Manifest::create(&*self.vfs, id, old.last_seq + 1, next)?;
        new_file::sync_dir(&*self.vfs, self.bugs)?;
        self.manifest = manifest;
        self.publish()?;
        self.publish()?;
        self.discard(FileName::Manifest(old.id));
        Ok(())
    }

    /// Writes the next superblock. What it promises is durable already.
    pub(super) fn publish(&mut self) -> Result<(), Failure> {
        let extent = self.manifest.extent();
        let superblock = Superblock {
            store_id: self.state.store_id,
            generation: self.superblock.generation + 1,
            manifest: extent.id,
            manifest_seq: extent.last_seq,
            log_seq: self.wal.durable_seq(),
        };
        write_all_at(&*self.super_file, superblock.offset(), &superblock.encode()).map_err(
            |error| Failure::in_doubt(StoreError::io("write", &FileName::Super.to_string(), error)),
        )?;
        if !self.bugs.has(SeededBug::SkipSuperblockSync) {
            new_file::sync(&*self.super_file, FileName::Super)?;
        }
        self.superblock = superblock;
        Ok(())
    }

    /// Begins the next log file: a free one in a new life, or a new one. All frames before it
    /// are durable by then, which is what lets recovery ask for all of them.
    fn rotate(&mut self) -> Result<(), StoreError> {
        let mut edits = Vec::new();
        let (id, file) = match self.reuse(&mut edits)? {
            Some(free) => free,
            None => self.new_log()?,
        };
        let log = LogFile {
            id,
            epoch: self.state.next_epoch,
            first_seq: self.wal.appended_seq() + 1,
            len: self.geometry.log_file,
        };
        edits.push(Edit::OpenLog { log });
        if let Err(error) = self.commit(&edits) {
            let is_free = self.state.free_logs.iter().any(|free| free.id == id);
            if !is_free && !self.poisoned() {
                self.spare = Some((id, log.len, file));
            }
            return Err(error);
        }
        self.wal = Wal::new(file, log, 0, self.wal.appended_seq());
        Ok(())
    }

    /// A free log file that is as it should be; the others are dropped.
    fn reuse(&self, edits: &mut Vec<Edit>) -> Result<Option<OpenLog>, StoreError> {
        for log in &self.state.free_logs {
            if log.len == self.geometry.log_file
                && let Reopened::Whole(file) = wal::reopen(&*self.vfs, log)?
            {
                return Ok(Some((log.id, file)));
            }
            edits.push(Edit::DropLog { id: log.id });
        }
        Ok(None)
    }

    fn new_log(&mut self) -> Result<OpenLog, StoreError> {
        if let Some((id, len, file)) = self.spare.take()
            && len == self.geometry.log_file
        {
            return Ok((id, file));
        }
        let id = self.allocate_file();
        let made = wal::create(&*self.vfs, id, self.geometry.log_file)
            .and_then(|file| new_file::sync_dir(&*self.vfs, self.bugs).map(|()| file));
        self.settle(made).map(|file| (id, file))
    }

    /// Unlinks a file that no durable state names; the next opening does if this fails.
    fn discard(&self, file: FileName) {
        let _ = self.vfs.unlink(&file.to_string());
    }
}

/// Is the geometry one that a journal can write with?
pub(super) fn check_geometry(geometry: &Geometry) -> Result<(), StoreError> {
    check_log_len(geometry.log_file)
        .map_err(|error| StoreError::invalid(format!("the geometry does not fit: {error}")))
}

/// Opens the log file that takes new frames.
pub(super) fn open_log(vfs: &dyn Vfs, log: &LogFile) -> Result<Arc<dyn VfsFile>, StoreError> {
    let name = FileName::Log(log.id).to_string();
    vfs.open(&name, OpenMode::Write).map_err(|error| StoreError::io("open", &name, error))
}
