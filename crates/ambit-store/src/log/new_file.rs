//! Files that appear whole: temporary name, content, fsync, rename.
//!
//! The directory's fsync is the caller's, who may have several files to make; until then the
//! new name may be lost, and nothing may name it.

use std::io;
use std::sync::Arc;

use super::name::FileName;
use crate::bugs::{Bugs, SeededBug};
use crate::error::StoreError;
use crate::vfs::{OpenMode, Vfs, VfsFile};

/// A step of the journal that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// What happened.
    pub error: StoreError,
    /// May something unknown be on the disk, so that nothing may be written after it?
    pub in_doubt: bool,
}

impl Failure {
    /// A failure that leaves what is durable unknown.
    pub fn in_doubt(error: StoreError) -> Self {
        Self { error, in_doubt: true }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self { error, in_doubt: false }
    }
}

/// Makes `file` durable; a signal is no failure, any other error leaves it in doubt.
pub(super) fn sync(file: &dyn VfsFile, name: FileName) -> Result<(), Failure> {
    loop {
        match file.sync_data() {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Failure::in_doubt(StoreError::io("sync", &name.to_string(), error)));
            }
        }
    }
}

/// Makes the directory's entries durable.
pub(super) fn sync_dir(vfs: &dyn Vfs, bugs: Bugs) -> Result<(), Failure> {
    if bugs.has(SeededBug::SkipDirectorySync) {
        return Ok(());
    }
    loop {
        match vfs.sync_dir() {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                let error = StoreError::io("sync the directory", &vfs.describe(), error);
                return Err(Failure::in_doubt(error));
            }
        }
    }
}

/// Makes the file `name` with the content that `fill` gives it, by way of `tmp-<id>`.
///
/// Durable but for its name. On failure the temporary file is removed if that can be done;
/// what is left is removed when the store is next opened for writing.
pub(super) fn create(
    vfs: &dyn Vfs,
    temporary: u64,
    name: FileName,
    fill: &mut dyn FnMut(&dyn VfsFile) -> Result<(), StoreError>,
) -> Result<Arc<dyn VfsFile>, Failure> {
    let from = FileName::Temporary(temporary);
    let failed = |error: StoreError| {
        // The first failure is the one to tell.
        let _ = vfs.unlink(&from.to_string());
        Failure::from(error)
    };
    let file = vfs
        .open(&from.to_string(), OpenMode::Create)
        .map_err(|error| StoreError::io("create", &from.to_string(), error))?;
    fill(&*file).map_err(failed)?;
    sync(&*file, from)?;
    vfs.rename(&from.to_string(), &name.to_string()).map_err(|error| {
        failed(StoreError::io("rename a temporary file to", &name.to_string(), error))
    })?;
    Ok(file)
}
