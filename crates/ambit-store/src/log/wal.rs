//! The log that acknowledges: one frame per group of writes.
//!
//! A log file has its full length from the start, so that an fsync of a frame writes data
//! only. Frames follow each other without gaps in number or place. At most one of them is not
//! durable: the tail rule of [`chain`](super::chain) rests on that, so [`Wal::append`] refuses
//! a second one before the sync of the first.

use std::io;
use std::sync::Arc;

use super::frame::{self, Slot, frame_len};
use super::name::FileName;
use super::new_file::{self, Failure};
use super::state::{LogFile, LogPosition};
use crate::bugs::{Bugs, SeededBug};
use crate::error::{ErrorKind, StoreError};
use crate::vfs::{OpenMode, Vfs, VfsFile, write_all_at};

/// The log file that takes new frames.
pub(super) struct Wal {
    file: Arc<dyn VfsFile>,
    log: LogFile,
    end: u64,
    appended_seq: u64,
    durable_seq: u64,
}

/// A log file to be written: its id, and the open file.
pub(super) type OpenLog = (u64, Arc<dyn VfsFile>);

/// What a file was found to be when it was to be written again.
pub(super) enum Reopened {
    /// As long as it should be.
    Whole(Arc<dyn VfsFile>),
    /// Missing, or of another length.
    Unusable,
}

impl Wal {
    /// Goes on in `file` at byte `end`, behind frame `last_seq`, which is durable.
    pub fn new(file: Arc<dyn VfsFile>, log: LogFile, end: u64, last_seq: u64) -> Self {
        Self { file, log, end, appended_seq: last_seq, durable_seq: last_seq }
    }

    /// Where the next frame goes, if it fits.
    pub fn position(&self) -> LogPosition {
        LogPosition { file: self.log.id, offset: self.end }
    }

    /// Number of the last frame written.
    pub fn appended_seq(&self) -> u64 {
        self.appended_seq
    }

    /// Number of the last frame made durable.
    pub fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Does a payload of that many bytes fit behind the last frame?
    pub fn fits(&self, payload_len: usize) -> bool {
        frame_len(payload_len) <= self.log.len.saturating_sub(self.end)
    }

    /// Writes a frame that [`Wal::fits`]; durable after [`Wal::sync`].
    pub fn append(&mut self, payload: &[u8]) -> Result<u64, Failure> {
        let seq = self.appended_seq + 1;
        let slot = Slot { offset: self.end, seq, epoch: self.log.epoch };
        self.end = frame::write(&*self.file, slot, payload).map_err(|error| {
            let name = FileName::Log(self.log.id).to_string();
            Failure::in_doubt(StoreError::io("append to", &name, error))
        })?;
        self.appended_seq = seq;
        Ok(seq)
    }

    /// Makes the frame in flight durable.
    pub fn sync(&mut self, bugs: Bugs) -> Result<(), Failure> {
        if self.durable_seq < self.appended_seq && !bugs.has(SeededBug::SkipLogSync) {
            new_file::sync(&*self.file, FileName::Log(self.log.id))?;
        }
        self.durable_seq = self.appended_seq;
        Ok(())
    }
}

/// Makes a log file of `len` zero bytes. Its name is not durable before the directory is
/// synced.
pub(super) fn create(vfs: &dyn Vfs, id: u64, len: u64) -> Result<Arc<dyn VfsFile>, Failure> {
    let name = FileName::Log(id);
    new_file::create(vfs, id, name, &mut |file| {
        let grown = file.preallocate(len);
        grown.map_err(|error| StoreError::io("preallocate", &name.to_string(), error))
    })
}

/// Opens a log file to be written again.
pub(super) fn reopen(vfs: &dyn Vfs, log: &LogFile) -> Result<Reopened, StoreError> {
    let name = FileName::Log(log.id).to_string();
    let file = match vfs.open(&name, OpenMode::Write) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Reopened::Unusable),
        Err(error) => return Err(StoreError::io("open", &name, error)),
    };
    let len = file.len().map_err(|error| StoreError::io("measure", &name, error))?;
    Ok(if len == log.len { Reopened::Whole(file) } else { Reopened::Unusable })
}

/// Zeros the bytes `from..until` of a log file: the remains of a frame that was in flight.
pub(super) fn wipe(
    file: &dyn VfsFile,
    id: u64,
    (from, until): (u64, u64),
) -> Result<(), StoreError> {
    let zeros = vec![0; (64 << 10).min(until.saturating_sub(from)) as usize];
    let mut at = from;
    while at < until {
        let piece = &zeros[..zeros.len().min((until - at) as usize)];
        write_all_at(file, at, piece)
            .map_err(|error| StoreError::io("wipe", &FileName::Log(id).to_string(), error))?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// The refusal of a second frame in flight.
pub(super) fn in_flight(seq: u64) -> StoreError {
    StoreError::new(
        ErrorKind::Invalid,
        format!("frame {seq} of the log is not durable yet: sync before the next append"),
    )
}
