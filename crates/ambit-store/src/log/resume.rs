//! From what was recovered to a store that can be written: the first writes after opening.
//!
//! Recovery has decided what counts. What it read may be in the page cache only: of a process
//! that was killed, or whose fsync failed, after which a kernel may call the lost pages clean,
//! so that no later fsync writes them. Only what the superblock promises is known to be on the
//! disk. In doubt are at most the last log frame and the last manifest record.
//!
//! - Log: the live frames of the last file are copied to a new one, which takes its place. The
//!   old bytes are not written again where they are: the last frame may have been acknowledged,
//!   and a power cut may damage what is in flight. Without space for the file the frame stays
//!   where it is, synced.
//! - Manifest: it is begun anew in another file, likewise.
//! - Superblock: the file is synced, then both slots are written, one after the other.
//!
//! A log that goes on where it is gets zeros behind its last frame. Otherwise a shorter frame
//! could be written over a torn one and be followed by a piece of it. A piece is not taken for
//! a frame anyway (epoch, number, offset and checksum would have to fit), but zeros need no
//! such argument, and make the next opening free of it.
//!
//! Each step leaves what recovery would decide as it is: new files are not named before they
//! are durable, zeros go behind the last frame only, and files that no state names are removed
//! last. So it may be cut off anywhere and begun again.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::chain::FrameCopy;
use super::creation::{self, files};
use super::edit::Edit;
use super::journal::{FREE_LOGS, Journal, check_geometry, open_log};
use super::manifest::{self, Manifest};
use super::name::FileName;
use super::new_file::{self, Failure};
use super::recovery::Recovered;
use super::state::{LogFile, StateError};
use super::wal::{self, Wal};
use crate::bugs::Bugs;
use crate::error::{ErrorKind, StoreError};
use crate::geometry::Geometry;
use crate::vfs::{Vfs, VfsFile};

impl Journal {
    /// Goes on with the store that was recovered from the same `vfs`, under the writer lock.
    /// Removes temporary files and files of the store that its state does not name.
    ///
    /// # Errors
    /// `Invalid` if the store was written to since it was recovered, or the geometry is out of
    /// range; `Io`.
    ///
    /// Cost: six fsyncs, two of them with something to write; after a crash also a new manifest and a copy of at most one log file.
    pub fn resume(
        vfs: Arc<dyn Vfs>,
        geometry: Geometry,
        recovered: &Recovered,
        bugs: Bugs,
    ) -> Result<Self, StoreError> {
        check_geometry(&geometry)?;
        if recovered.is_outdated()? {
            return Err(StoreError::new(
                ErrorKind::Invalid,
                format!(
                    "{} was written to since it was recovered: take the writer lock, then recover",
                    vfs.describe()
                ),
            ));
        }
        let state = recovered.state().clone();
        let Some(&log) = state.current_log() else {
            return Err(StoreError::invalid("the state names no log file"));
        };
        let (present, next_file) = files(&*vfs)?;
        let mut journal = Self {
            next_file: next_file.max(state.next_file),
            wal: Wal::new(open_log(&*vfs, &log)?, log, recovered.tail.offset, recovered.last_seq()),
            super_file: creation::open_super(&*vfs)?,
            manifest: Manifest::open(&*vfs, recovered.manifest)?,
            superblock: recovered.superblock,
            vfs,
            geometry,
            bugs,
            state,
            spare: None,
            poison: None,
        };
        // A creation that was killed at its last step left names that a cut can take, and a
        // commit a superblock. The other slot may be written when this one is durable.
        let named = new_file::sync_dir(&*journal.vfs, bugs)
            .and_then(|()| new_file::sync(&*journal.super_file, FileName::Super));
        journal.settle(named)?;
        let settled = journal.settle_log(recovered, log);
        let edits = journal.settle(settled)?;
        let promised = journal.promise(recovered, &edits);
        journal.settle(promised)?;
        journal.remove_orphans(&present)?;
        Ok(journal)
    }

    /// Makes the log's last frames durable; returns the edits that name a new file for them.
    fn settle_log(&mut self, recovered: &Recovered, log: LogFile) -> Result<Vec<Edit>, Failure> {
        let (offset, first) = recovered.start_of_last();
        let last = recovered.last_seq();
        if last >= first && last > recovered.superblock.log_seq {
            let id = self.allocate_file();
            let copy = LogFile { id, epoch: self.state.next_epoch, first_seq: first, len: log.len };
            match self.carry_over(recovered, log, (offset, copy)) {
                Ok((file, end)) => {
                    self.wal = Wal::new(file, copy, end, last);
                    return Ok(self.replacement(log, copy));
                }
                Err(failure) if failure.in_doubt || !is_full(&failure.error) => {
                    return Err(failure);
                }
                Err(_) => {}
            }
        }
        let file = open_log(&*self.vfs, &log)?;
        wal::wipe(&*file, log.id, (recovered.tail.offset, recovered.dirty_until))?;
        new_file::sync(&*file, FileName::Log(log.id))?;
        Ok(Vec::new())
    }

    /// Copies the live frames of `log`, from `offset` on, to the new file of `copy`. Returns
    /// it and the offset behind the last frame.
    fn carry_over(
        &self,
        recovered: &Recovered,
        log: LogFile,
        (offset, copy): (u64, LogFile),
    ) -> Result<(Arc<dyn VfsFile>, u64), Failure> {
        let name = FileName::Log(copy.id);
        let mut end = 0;
        let file = new_file::create(&*self.vfs, copy.id, name, &mut |file| {
            let grown = file.preallocate(copy.len);
            grown.map_err(|error| StoreError::io("preallocate", &name.to_string(), error))?;
            let mut chain = recovered.chain(&log)?;
            let (name, epoch) = (name.to_string(), copy.epoch);
            let mut out = FrameCopy { file, name, epoch, offset: 0, buffer: Vec::new() };
            let mut offset = offset;
            for seq in copy.first_seq..=recovered.last_seq() {
                offset = chain.copy_frame((offset, seq), &mut out)?;
            }
            end = out.offset;
            out.flush()
        })?;
        new_file::sync_dir(&*self.vfs, self.bugs)?;
        Ok((file, end))
    }

    /// The edits that put `copy` in the place of `log`. `log` stays, as a free file: what was
    /// recovered may be replayed from it yet.
    fn replacement(&self, log: LogFile, copy: LogFile) -> Vec<Edit> {
        let free = &self.state.free_logs;
        let surplus = (free.len() + 1).saturating_sub(FREE_LOGS);
        let mut edits = vec![Edit::OpenLog { log: copy }, Edit::FreeLog { id: log.id }];
        edits.extend(free.iter().take(surplus).map(|free| Edit::DropLog { id: free.id }));
        edits
    }

    /// Commits `edits` and brings both superblocks up to what was found.
    fn promise(&mut self, recovered: &Recovered, edits: &[Edit]) -> Result<(), Failure> {
        let mut next = self.state.clone();
        next.apply_all(edits).map_err(|error: StateError| {
            StoreError::invalid(format!("the log cannot be moved: {error}"))
        })?;
        let found = recovered.manifest;
        let in_doubt = found.last_seq > recovered.superblock.manifest_seq;
        match (found.has_tail || in_doubt).then(|| self.rewrite(&mut next)) {
            Some(Err(failure))
                if !found.has_tail && !failure.in_doubt && is_full(&failure.error) =>
            {
                self.promise_in_place(edits)?;
            }
            Some(rewritten) => rewritten?,
            None => self.promise_in_place(edits)?,
        }
        self.state = next;
        Ok(())
    }

    fn promise_in_place(&mut self, edits: &[Edit]) -> Result<(), Failure> {
        self.manifest.sync()?;
        if !edits.is_empty() {
            self.manifest.append(&manifest::record(edits), self.bugs)?;
        }
        self.publish()?;
        self.publish()
    }

    fn remove_orphans(&mut self, present: &[FileName]) -> Result<(), StoreError> {
        let logs = self.state.logs.iter().chain(&self.state.free_logs);
        let named: BTreeSet<FileName> = (logs.map(|log| FileName::Log(log.id)))
            .chain(self.state.segment_ids().into_iter().map(FileName::Segment))
            .chain([FileName::Manifest(self.manifest.extent().id)])
            .collect();
        let is_named = |file: &FileName| match *file {
            FileName::Derived { segment, .. } => named.contains(&FileName::Segment(segment)),
            file => named.contains(&file),
        };
        let mut removed = false;
        for file in present.iter().filter(|file| file.id().is_some() && !is_named(file)) {
            let name = file.to_string();
            match self.vfs.unlink(&name) {
                Ok(()) => removed = true,
                // The manifest that was just begun anew took its predecessor away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("remove", &name, error)),
            }
        }
        if removed {
            let synced = new_file::sync_dir(&*self.vfs, self.bugs);
            self.settle(synced)?;
        }
        Ok(())
    }
}

/// Is there no space for a file?
fn is_full(error: &StoreError) -> bool {
    let kind = error.io_error().map(io::Error::kind);
    matches!(
        kind,
        Some(
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
        )
    )
}
