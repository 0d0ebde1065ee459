//! Files that nothing names any more.
//!
//! A segment goes when neither the committed tables nor a version names it, no snapshot of this
//! process may still open it, and nobody is writing it. Readers of this process and of others hold opened segments, which stay readable
//! after the unlink.

use std::collections::BTreeSet;

use ambit_mem::Bytes;

use super::commit::{Engine, read_only};
use crate::bugs::SeededBug;
use crate::error::StoreError;
use crate::log::{FileName, State};
use crate::sync::{Weak, lock};
use crate::vfs::OpenMode;

/// What a reclamation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// Files deleted.
    pub files: u64,
    /// Their bytes.
    pub bytes: Bytes,
}

impl Engine {
    /// Deletes segments that nothing names, and what was derived from them.
    ///
    /// # Cost
    /// One directory listing, one unlink per file, one directory fsync.
    pub fn reclaim(&self) -> Result<Reclaimed, StoreError> {
        let mut guard = self.writing()?;
        let Some(writer) = guard.as_mut() else {
            return Err(read_only());
        };
        self.reclaim_locked(writer.journal.state())
    }

    pub(super) fn reclaim_locked(&self, state: &State) -> Result<Reclaimed, StoreError> {
        let vfs = &self.shelf.vfs;
        let mut named =
            named_segments(state, self.options.bugs.has(SeededBug::ReclaimIgnoresVersions));
        named.extend(lock(&self.in_flight).iter());
        let pictures = lock(&self.pictures).clone();
        for picture in pictures.iter().filter_map(Weak::upgrade) {
            named.extend(picture.tables.values().flat_map(|table| table.segment_ids()));
        }
        let names = vfs.list().map_err(|error| StoreError::io("list", "the store", error))?;
        let mut reclaimed = Reclaimed::default();
        for name in names {
            let Some(FileName::Segment(id) | FileName::Derived { segment: id, .. }) =
                FileName::parse(&name)
            else {
                continue;
            };
            if named.contains(&id) {
                continue;
            }
            let len = vfs.open(&name, OpenMode::Read).and_then(|file| file.len()).unwrap_or(0);
            vfs.unlink(&name).map_err(|error| StoreError::io("delete", &name, error))?;
            reclaimed.files += 1;
            reclaimed.bytes = Bytes::new(reclaimed.bytes.get() + len);
        }
        if reclaimed.files > 0 {
            vfs.sync_dir().map_err(|error| StoreError::io("sync", "the store", error))?;
        }
        Ok(reclaimed)
    }
}

fn named_segments(state: &State, ignore_versions: bool) -> BTreeSet<u64> {
    let versions = state.versions.values().filter(|_| !ignore_versions);
    let tables = state.tables.values().chain(versions.flat_map(|version| version.tables.values()));
    tables.flat_map(|table| table.segments.iter().map(|segment| segment.id)).collect()
}
