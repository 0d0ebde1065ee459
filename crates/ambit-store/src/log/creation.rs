//! How does a store begin, and is there one?
//!
//! `SUPER` is the last file to appear, when log and manifest are durable under their names. A
//! creation that was cut off leaves at most an empty log and the manifest of an empty state.
//! So a directory without `SUPER` holds no store if it holds nothing more than that; it may be
//! created over. Anything else, a segment or one frame, is a store that lost its `SUPER`: it is
//! neither taken for an empty directory nor written over.

use std::io;
use std::sync::Arc;

use super::chain::window_len;
use super::manifest::{self, Manifest};
use super::name::FileName;
use super::new_file::{self, Failure};
use super::state::{LogFile, State};
use super::superblock::{self, Superblock};
use super::wal;
use crate::bugs::Bugs;
use crate::error::{ErrorKind, StoreError};
use crate::geometry::Geometry;
use crate::vfs::{OpenMode, Vfs, VfsFile, read_exact_at, write_all_at};

/// The files of a new store.
pub(super) struct Created {
    pub state: State,
    pub superblock: Superblock,
    pub manifest: Manifest,
    pub log: Arc<dyn VfsFile>,
    pub next_file: u64,
}

/// The store's files in `vfs`, and the id above all of theirs.
pub(super) fn files(vfs: &dyn Vfs) -> Result<(Vec<FileName>, u64), StoreError> {
    let names = vfs.list().map_err(|error| StoreError::io("list", &vfs.describe(), error))?;
    let files: Vec<_> = names.iter().filter_map(|name| FileName::parse(name)).collect();
    let largest = files.iter().filter_map(|file| file.id()).max();
    let next = largest.map_or(Some(1), |id| id.checked_add(1)).ok_or_else(|| {
        StoreError::corrupt(&vfs.describe(), 0, "a file has the largest id: none is left")
    })?;
    Ok((files, next))
}

/// Why there is no store to be opened: `NotFound`, or `Corrupt` if there was one.
pub(super) fn absence(vfs: &dyn Vfs) -> Result<StoreError, StoreError> {
    let (files, _) = files(vfs)?;
    Ok(match unfinished(vfs, &files) {
        Ok(()) => StoreError::new(
            ErrorKind::NotFound,
            format!("there is no store in {}: create one", vfs.describe()),
        ),
        Err(error) => error,
    })
}

/// Makes an empty store.
///
/// # Errors
/// `Invalid` if there is a store; `Corrupt` if there was one.
pub(super) fn create(
    vfs: &dyn Vfs,
    geometry: &Geometry,
    store_id: u128,
    bugs: Bugs,
) -> Result<Created, StoreError> {
    let (leftovers, id) = files(vfs)?;
    if leftovers.contains(&FileName::Super) {
        let what = format!("{} holds a store already: open it", vfs.describe());
        return Err(StoreError::invalid(what));
    }
    unfinished(vfs, &leftovers)?;
    for file in leftovers.into_iter().filter(|file| file.id().is_some()) {
        let name = file.to_string();
        vfs.unlink(&name).map_err(|error| StoreError::io("remove", &name, error))?;
    }
    let log = LogFile { id, epoch: 1, first_seq: 1, len: geometry.log_file };
    let (manifest_id, super_id) = (id + 1, id + 2);
    let state = State::initial(store_id, log)
        .map_err(|error| StoreError::invalid(format!("the geometry does not fit: {error}")))?;
    make(vfs, state, (manifest_id, super_id), bugs).map_err(|failure| failure.error)
}

fn make(
    vfs: &dyn Vfs,
    state: State,
    (manifest_id, super_id): (u64, u64),
    bugs: Bugs,
) -> Result<Created, Failure> {
    let log = state.logs[0];
    let log = wal::create(vfs, log.id, log.len)?;
    let manifest = Manifest::create(vfs, manifest_id, 1, &state)?;
    new_file::sync_dir(vfs, bugs)?;
    let first = Superblock {
        store_id: state.store_id,
        generation: 1,
        manifest: manifest_id,
        manifest_seq: 1,
        log_seq: 0,
    };
    let superblock = Superblock { generation: 2, ..first };
    new_file::create(vfs, super_id, FileName::Super, &mut |file| {
        write_all_at(file, superblock.offset(), &superblock.encode())
            .and_then(|()| write_all_at(file, first.offset(), &first.encode()))
            .map_err(|error| StoreError::io("write", &FileName::Super.to_string(), error))
    })?;
    new_file::sync_dir(vfs, bugs)?;
    Ok(Created { state, superblock, manifest, log, next_file: super_id + 1 })
}

/// Are `files` what a creation that was cut off leaves?
fn unfinished(vfs: &dyn Vfs, files: &[FileName]) -> Result<(), StoreError> {
    for &file in files {
        let empty = match file {
            FileName::Super | FileName::Lock | FileName::Temporary(_) => true,
            FileName::Segment(_) | FileName::Derived { .. } => false,
            FileName::Log(_) => is_zero(vfs, file)?,
            FileName::Manifest(id) => is_pristine(vfs, id)?,
        };
        if !empty {
            return Err(StoreError::new(
                ErrorKind::Corrupt,
                format!(
                    "{} holds {file}, but SUPER is missing: a store was here. Restore SUPER from \
                     a copy, or move the files away",
                    vfs.describe()
                ),
            ));
        }
    }
    Ok(())
}

fn is_pristine(vfs: &dyn Vfs, id: u64) -> Result<bool, StoreError> {
    let window = window_len(&Geometry::SMALL);
    let (state, extent) = match manifest::read_file(vfs, id, 1, window, Bugs::NONE) {
        Ok(read) => read,
        Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(false),
        Err(error) => return Err(error),
    };
    let fresh = State::initial(state.store_id, state.logs[0]);
    Ok(extent.last_seq == 1 && !extent.has_tail && fresh.is_ok_and(|fresh| fresh == state))
}

fn is_zero(vfs: &dyn Vfs, file: FileName) -> Result<bool, StoreError> {
    let name = file.to_string();
    let failed = |error: io::Error| StoreError::io("read", &name, error);
    let file = vfs.open(&name, OpenMode::Read).map_err(failed)?;
    let (mut at, len) = (0, file.len().map_err(failed)?);
    let mut buffer = vec![0; (64 << 10).min(len) as usize];
    while at < len {
        let piece = &mut buffer[..(64 << 10).min(len - at) as usize];
        read_exact_at(&*file, at, piece).map_err(failed)?;
        if piece.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        at += piece.len() as u64;
    }
    Ok(true)
}

/// Opens `SUPER` for writing.
pub(super) fn open_super(vfs: &dyn Vfs) -> Result<Arc<dyn VfsFile>, StoreError> {
    let name = FileName::Super.to_string();
    let file = vfs.open(&name, OpenMode::Write);
    let file = file.map_err(|error| StoreError::io("open", &name, error))?;
    let len = file.len().map_err(|error| StoreError::io("measure", &name, error))?;
    match len == superblock::FILE_LEN as u64 {
        true => Ok(file),
        false => Err(StoreError::corrupt(&name, 0, format!("the file has {len} bytes"))),
    }
}
