//! The log of states: one snapshot, then the edits since.
//!
//! A manifest file is a chain of frames whose epoch is the file's id. The first payload is a
//! snapshot of the state (tag 0), each later one a list of edits (tag 1) that hold together.
//! Frame numbers go on from file to file. The file grows by appending; when it is long, a new
//! one begins with a snapshot.
//!
//! A write that fails is undone by taking the frame's header back; only if that fails too,
//! or a sync does, is the commit in doubt.

use std::sync::Arc;

use super::chain::Chain;
use super::codec::{decode_edits, encode_edits};
use super::edit::Edit;
use super::frame::{self, ALIGN, Slot, frame_len};
use super::name::FileName;
use super::new_file::{self, Failure};
use super::state::State;
use super::superblock::Superblock;
use crate::bugs::{Bugs, SeededBug};
use crate::error::StoreError;
use crate::vfs::{OpenMode, Vfs, VfsFile, write_all_at};

const SNAPSHOT: u8 = 0;
const EDITS: u8 = 1;
/// Bytes of the largest manifest record.
const MAX_RECORD: usize = 1 << 30;

/// How far a manifest reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Id of the file, and epoch of its frames.
    pub id: u64,
    /// Number of the last frame.
    pub last_seq: u64,
    /// Offset behind the snapshot frame.
    pub snapshot_end: u64,
    /// Offset behind the last frame.
    pub end: u64,
    /// Is there anything behind the last frame?
    pub has_tail: bool,
}

/// Reads the manifest that `superblock` names.
///
/// # Errors
/// `Corrupt` if it is missing, damaged, of another store, or shorter than promised.
pub(super) fn read(
    vfs: &dyn Vfs,
    superblock: &Superblock,
    window: usize,
    bugs: Bugs,
) -> Result<(State, Extent), StoreError> {
    let (id, promised) = (superblock.manifest, superblock.manifest_seq);
    let (state, extent) = read_file(vfs, id, promised, window, bugs)?;
    if state.store_id != superblock.store_id {
        return Err(StoreError::corrupt(
            &FileName::Manifest(id).to_string(),
            0,
            format!(
                "it is of store {:032x}, SUPER is of store {:032x}; restore the file from a copy",
                state.store_id, superblock.store_id
            ),
        ));
    }
    Ok((state, extent))
}

/// Reads the manifest `id`, whose frame `promised` must be there.
pub(super) fn read_file(
    vfs: &dyn Vfs,
    id: u64,
    promised: u64,
    window: usize,
    bugs: Bugs,
) -> Result<(State, Extent), StoreError> {
    let name = FileName::Manifest(id);
    let mut chain = Chain::open(vfs, (name, "SUPER"), id, window, bugs)?;
    let damaged = |offset: u64, what: String| {
        let what = format!("{what}; restore the store from a copy");
        StoreError::corrupt(&name.to_string(), offset, what)
    };
    let first = match chain.frame_at(0)? {
        Ok(header) if (1..=promised).contains(&header.seq) => header.seq,
        Ok(header) => {
            let what = format!("begins with frame {}, promised is {promised}", header.seq);
            return Err(damaged(0, what));
        }
        Err(flaw) => return Err(damaged(0, format!("the snapshot is damaged: {flaw}"))),
    };
    let end = chain.walk_to_tail(0, first)?;
    if end.last_seq < promised && !bugs.has(SeededBug::WrongTailRule) {
        return Err(damaged(
            end.offset,
            format!("the frames end with {}, promised is {promised}", end.last_seq),
        ));
    }
    let (mut state, mut snapshot_end) = (None, 0);
    let (mut offset, mut payload) = (0, Vec::new());
    for seq in first..=end.last_seq {
        let read = chain.read_frame((offset, seq), &mut payload, &mut |into, len| {
            // The walk has checked this very frame, so the length is one that we wrote.
            into.reserve_exact(len);
            Ok(())
        })?;
        let header = read.map_err(|flaw| damaged(offset, format!("frame {seq}: {flaw}")))?;
        replay(&mut state, &payload).map_err(|what| damaged(offset, what))?;
        offset += header.frame_len();
        snapshot_end = if seq == first { offset } else { snapshot_end };
    }
    let state = state.ok_or_else(|| damaged(0, "there is no snapshot".into()))?;
    let has_tail = chain.file_len() > end.offset;
    Ok((state, Extent { id, last_seq: end.last_seq, snapshot_end, end: end.offset, has_tail }))
}

fn replay(state: &mut Option<State>, payload: &[u8]) -> Result<(), String> {
    match (payload.split_first(), state) {
        (Some((&SNAPSHOT, bytes)), state @ None) => {
            let decoded = State::decode(bytes);
            *state = Some(decoded.map_err(|error| format!("the snapshot is no state: {error}"))?);
        }
        (Some((&EDITS, bytes)), Some(state)) => {
            let edits = decode_edits(bytes);
            let edits = edits.map_err(|error| format!("the record holds no edits: {error}"))?;
            let applied = state.apply_all(&edits);
            applied.map_err(|error| format!("an edit does not fit the state: {error}"))?;
        }
        (Some((tag, _)), _) => return Err(format!("a record of kind {tag} does not belong here")),
        (None, _) => return Err("the record is empty".into()),
    }
    Ok(())
}

/// A manifest that is being appended to.
pub(super) struct Manifest {
    file: Arc<dyn VfsFile>,
    extent: Extent,
}

impl Manifest {
    /// Opens the manifest of `extent` for appending.
    pub fn open(vfs: &dyn Vfs, extent: Extent) -> Result<Self, StoreError> {
        let name = FileName::Manifest(extent.id).to_string();
        let file = vfs.open(&name, OpenMode::Write);
        let file = file.map_err(|error| StoreError::io("open", &name, error))?;
        Ok(Self { file, extent })
    }

    /// Makes a manifest that begins with a snapshot of `state` as frame `seq`. Its name is
    /// not durable before the directory is synced.
    pub fn create(vfs: &dyn Vfs, id: u64, seq: u64, state: &State) -> Result<Self, Failure> {
        let mut payload = vec![SNAPSHOT];
        payload.append(&mut state.encode());
        check_record(&payload)?;
        let name = FileName::Manifest(id);
        let slot = Slot { offset: 0, seq, epoch: id };
        let file = new_file::create(vfs, id, name, &mut |file| {
            let written = frame::write(file, slot, &payload);
            written.map(drop).map_err(|error| StoreError::io("write", &name.to_string(), error))
        })?;
        let end = frame_len(payload.len());
        let extent = Extent { id, last_seq: seq, snapshot_end: end, end, has_tail: false };
        Ok(Self { file, extent })
    }

    /// How far it reaches.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Would a record of `payload_len` bytes make the file longer than `limit`, and is it
    /// time to begin a new one? A snapshot that is long itself is given room to pay off.
    pub fn is_full(&self, payload_len: usize, limit: u64) -> bool {
        let limit = limit.max(self.extent.snapshot_end.saturating_mul(2));
        self.extent.end + frame_len(payload_len) > limit
    }

    /// Appends a record and makes it durable.
    pub fn append(&mut self, payload: &[u8], bugs: Bugs) -> Result<(), Failure> {
        check_record(payload)?;
        let Extent { id, last_seq, end, .. } = self.extent;
        let slot = Slot { offset: end, seq: last_seq + 1, epoch: id };
        let end = match frame::write(&*self.file, slot, payload) {
            Ok(end) => end,
            Err(error) => {
                let error = StoreError::io("append to", &FileName::Manifest(id).to_string(), error);
                return Err(self.take_back(error));
            }
        };
        if !bugs.has(SeededBug::SkipManifestSync) {
            self.sync()?;
        }
        self.extent.last_seq += 1;
        self.extent.end = end;
        Ok(())
    }

    /// Makes everything written durable.
    pub fn sync(&self) -> Result<(), Failure> {
        new_file::sync(&*self.file, FileName::Manifest(self.extent.id))
    }

    /// Makes sure that the record whose write failed with `error` does not count.
    fn take_back(&self, error: StoreError) -> Failure {
        let from = self.extent.end;
        let written = match self.file.len() {
            Ok(len) => len.saturating_sub(from).min(ALIGN),
            Err(_) => return Failure::in_doubt(error),
        };
        let zeros = &[0; ALIGN as usize][..written as usize];
        let gone = write_all_at(&*self.file, from, zeros).is_ok() && self.sync().is_ok();
        Failure { error, in_doubt: !gone }
    }
}

/// The payload of a record of `edits`.
pub(super) fn record(edits: &[Edit]) -> Vec<u8> {
    let mut payload = vec![EDITS];
    encode_edits(edits, &mut payload);
    payload
}

fn check_record(payload: &[u8]) -> Result<(), StoreError> {
    if payload.len() <= MAX_RECORD {
        return Ok(());
    }
    Err(StoreError::invalid(format!(
        "the manifest record has {} bytes, the largest has {MAX_RECORD}: keep fewer versions or \
         smaller schemas",
        payload.len()
    )))
}
