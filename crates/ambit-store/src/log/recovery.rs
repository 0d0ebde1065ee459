//! Which state do these files hold?
//!
//! [`recover`] is a function from the bytes of a directory to a state: superblock, manifest,
//! then the log from `replay_from` on. It writes nothing, allocates windows and checked
//! frames only, and may be cut off anywhere. It checks every frame that [`Recovered::replay`]
//! will hand out, so that damage is known before anything is decided.
//!
//! A log file that another follows must hold all frames up to the other's first; in the last
//! one the frames may end in a torn tail. Frames before `replay_from` are never read.
//!
//! A reader needs no lock. A writer may commit meanwhile, and free what was just read about;
//! it cannot do so without a new superblock. So if the generation moved and the logs read
//! are not the ones named now, or something was amiss, the whole is done again.
//!
//! Left out: rows (the engine applies them), locks, deletion (`resume`).

use std::sync::Arc;

use ambit_mem::{Account, Bytes};

use super::chain::{Chain, End, window_len};
use super::creation;
use super::manifest::{self, Extent};
use super::name::FileName;
use super::state::{LogFile, LogPosition, State};
use super::superblock::{self, Superblock};
use crate::bugs::{Bugs, SeededBug};
use crate::error::{ErrorKind, StoreError};
use crate::geometry::Geometry;
use crate::vfs::Vfs;

/// How often recovery begins again because a writer moved on.
const ATTEMPTS: usize = 16;

/// Takes one frame: its number and payload.
pub type EachFrame<'a> = dyn FnMut(u64, &[u8]) -> Result<(), StoreError> + 'a;

/// What the files of a store hold.
pub struct Recovered {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) state: State,
    pub(super) superblock: Superblock,
    pub(super) manifest: Extent,
    pub(super) last_seq: u64,
    pub(super) tail: LogPosition,
    /// Offset in the last log behind the remains of a torn frame; the tail's if there are none.
    pub(super) dirty_until: u64,
    window: usize,
    bugs: Bugs,
}

/// Reads the store in `vfs`; changes nothing.
///
/// # Errors
/// `NotFound` if there is no store (an unfinished creation is none); `Corrupt` with file,
/// offset and numbers; `NewerFormat`; `Io`.
///
/// Cost: reads the manifest and the log files from `replay_from` on; buffers of at most
/// 256 KiB and the manifest's largest record.
pub fn recover(
    vfs: &Arc<dyn Vfs>,
    geometry: &Geometry,
    bugs: Bugs,
) -> Result<Recovered, StoreError> {
    let mut failure = StoreError::new(ErrorKind::Interrupted, moved_on(&**vfs));
    for _ in 0..ATTEMPTS {
        let Some(superblock) = superblock::read(&**vfs)? else {
            return Err(creation::absence(&**vfs)?);
        };
        let generation = superblock.generation;
        let read = read(vfs, superblock, geometry, bugs);
        let alone = generation_now(&**vfs)? == Some(generation);
        match read {
            Ok(recovered) if alone || recovered.logs_are_still_named()? => return Ok(recovered),
            Ok(_) => failure = StoreError::new(ErrorKind::Interrupted, moved_on(&**vfs)),
            Err(error) if alone => return Err(error),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn moved_on(vfs: &dyn Vfs) -> String {
    format!(
        "the writer of {} wrote its log over {ATTEMPTS} times while it was read; open it again",
        vfs.describe()
    )
}

fn generation_now(vfs: &dyn Vfs) -> Result<Option<u64>, StoreError> {
    Ok(superblock::read(vfs)?.map(|superblock| superblock.generation))
}

fn read(
    vfs: &Arc<dyn Vfs>,
    superblock: Superblock,
    geometry: &Geometry,
    bugs: Bugs,
) -> Result<Recovered, StoreError> {
    let window = window_len(geometry);
    let (state, manifest) = manifest::read(&**vfs, &superblock, window, bugs)?;
    let mut recovered = Recovered {
        vfs: Arc::clone(vfs),
        last_seq: state.sealed_seq,
        tail: state.replay_from,
        dirty_until: 0,
        state,
        superblock,
        manifest,
        window,
        bugs,
    };
    recovered.walk_logs()?;
    let promised = superblock.log_seq;
    if recovered.last_seq < promised && !bugs.has(SeededBug::WrongTailRule) {
        return Err(StoreError::corrupt(
            &FileName::Log(recovered.tail.file).to_string(),
            recovered.tail.offset,
            format!(
                "the frames end with {}, promised is {promised}; restore the store from a copy",
                recovered.last_seq
            ),
        ));
    }
    Ok(recovered)
}

impl Recovered {
    /// The state by the manifest; the log's frames are not in it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Number of the last frame of the log.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Has a writer committed since? Then files named by [`Recovered::state`] may be gone, and
    /// an error met on the way to them means no more than that: recover again.
    ///
    /// # Errors
    /// As [`recover`].
    pub fn is_outdated(&self) -> Result<bool, StoreError> {
        let generation = self.superblock.generation;
        Ok(generation_now(&*self.vfs)? != Some(generation))
    }

    /// Where the live frames of the last log begin: offset and number.
    pub(super) fn start_of_last(&self) -> (u64, u64) {
        let LogPosition { file, offset } = self.state.replay_from;
        match self.state.current_log() {
            Some(log) if log.id != file => (0, log.first_seq),
            _ => (offset, self.state.sealed_seq + 1),
        }
    }

    /// Hands out the frames after `sealed_seq` in order: number and payload. May be called
    /// after [`Journal::resume`](super::Journal::resume), until the first append.
    ///
    /// Cost: reads the log once more; one window and the largest payload, both charged to
    /// `account`.
    ///
    /// # Errors
    /// What `each` returns; `OverBudget`; `Io`; `Corrupt` if a frame is no longer what it was
    /// (for a reader beside a writer see [`Recovered::is_outdated`]).
    pub fn replay(&self, account: &Account, each: &mut EachFrame<'_>) -> Result<(), StoreError> {
        let window = self.window as u64;
        let mut charge = account.reserve(Bytes::new(window))?;
        let mut payload = Vec::new();
        let mut seq = self.state.sealed_seq + 1;
        for (log, mut offset, until) in self.stretches() {
            let mut chain = self.chain(&log)?;
            while seq <= until.min(self.last_seq) {
                let read = chain.read_frame((offset, seq), &mut payload, &mut |into, len| {
                    if len > into.capacity() {
                        charge.resize(Bytes::new(window + len as u64))?;
                        into.reserve_exact(len);
                    }
                    Ok(())
                })?;
                let header = read.map_err(|flaw| {
                    let what = format!("frame {seq} was whole a moment ago: {flaw}");
                    StoreError::corrupt(chain.name(), offset, what)
                })?;
                each(seq, &payload)?;
                offset += header.frame_len();
                seq += 1;
            }
        }
        Ok(())
    }

    /// The live logs from `replay_from` on: file, first offset, last frame that it must hold
    /// (none for the last file).
    fn stretches(&self) -> impl Iterator<Item = (LogFile, u64, u64)> + '_ {
        let LogPosition { file, offset } = self.state.replay_from;
        let logs = &self.state.logs;
        let start = logs.iter().position(|log| log.id == file).unwrap_or(logs.len());
        (start..logs.len()).map(move |index| {
            let until = logs.get(index + 1).map_or(u64::MAX - 1, |next| next.first_seq - 1);
            (logs[index], if index == start { offset } else { 0 }, until)
        })
    }

    pub(super) fn chain(&self, log: &LogFile) -> Result<Chain, StoreError> {
        let named = (FileName::Log(log.id), "the manifest");
        Chain::open(&*self.vfs, named, log.epoch, self.window, self.bugs)
    }

    fn walk_logs(&mut self) -> Result<(), StoreError> {
        let mut next = self.state.sealed_seq + 1;
        let stretches: Vec<_> = self.stretches().collect();
        for (index, &(log, offset, until)) in stretches.iter().enumerate() {
            let mut chain = self.chain(&log)?;
            if chain.file_len() != log.len {
                return Err(StoreError::corrupt(
                    chain.name(),
                    chain.file_len().min(log.len),
                    format!(
                        "the file has {} bytes, the manifest says {}; restore it from a copy",
                        chain.file_len(),
                        log.len
                    ),
                ));
            }
            let is_last = index + 1 == stretches.len();
            let end = match is_last {
                true => chain.walk_to_tail(offset, next)?,
                false => chain.walk(offset, next, until)?,
            };
            self.last_seq = end.last_seq;
            self.tail = LogPosition { file: log.id, offset: end.offset };
            self.dirty_until = end.dirty_until;
            if let (false, Some(flaw)) = (is_last, end.flaw) {
                if self.bugs.has(SeededBug::WrongTailRule) {
                    return Ok(());
                }
                return Err(incomplete(&chain, &end, flaw, until));
            }
            next = end.last_seq + 1;
        }
        Ok(())
    }

    /// Does the manifest of now still name the logs that were read, in the same lives? If not,
    /// they may have been written over while we read.
    fn logs_are_still_named(&self) -> Result<bool, StoreError> {
        let Some(superblock) = superblock::read(&*self.vfs)? else {
            return Ok(false);
        };
        let now = match manifest::read(&*self.vfs, &superblock, self.window, self.bugs) {
            Ok((now, _)) => now,
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(self.stretches().all(|(log, ..)| now.logs.contains(&log)))
    }
}

fn incomplete(chain: &Chain, end: &End, flaw: impl std::fmt::Display, until: u64) -> StoreError {
    StoreError::corrupt(
        chain.name(),
        end.offset,
        format!(
            "frame {} is damaged ({flaw}), but the next log file was begun after frame {until} \
             was durable; restore the store from a copy",
            end.last_seq + 1
        ),
    )
}
