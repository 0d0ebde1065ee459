//! Faults that the torture tests plant on purpose, to prove that they would be found.
//!
//! With the feature `seeded-bugs` off, [`Bugs`] is empty and [`Bugs::has`] is constantly
//! false, so the compiler drops every site.

/// One planted fault. Each names the step that it spoils.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SeededBug {
    /// The log frame is acknowledged without its fsync.
    SkipLogSync,
    /// The acknowledgement leaves before the fsync is called.
    AckBeforeSync,
    /// The manifest record is not synced.
    SkipManifestSync,
    /// The superblock is not synced before the old manifest is deleted.
    SkipSuperblockSync,
    /// A new segment's data is not synced before it is renamed.
    SkipSegmentSync,
    /// The directory is not synced after a rename.
    SkipDirectorySync,
    /// The manifest names a segment before its rename.
    ManifestBeforeRename,
    /// Log frames are believed without their checksum.
    SkipFrameChecksum,
    /// Segment blocks are believed without their checksum.
    SkipBlockChecksum,
    /// Frames of an earlier life of a log file are replayed.
    StaleEpoch,
    /// A damaged frame in mid-log is taken for the torn tail.
    WrongTailRule,
    /// A log file is reused before the manifest says that its rows are sealed.
    RecycleBeforeManifest,
    /// Replaced segments are deleted before the manifest drops them.
    DeleteBeforeCommit,
    /// A file id is given out twice.
    ReuseFileId,
    /// A seal forgets the rows that it deletes in older segments.
    SealLosesTombstones,
    /// A seal says that it covers the newest row, which it leaves out.
    SealCoversTooMuch,
    /// A rollback leaves the memtable's rows to be replayed.
    RollbackKeepsLog,
    /// A merge forgets the rows deleted while it ran.
    MergeLosesLateDeletes,
    /// Reclamation deletes segments that a version still names.
    ReclaimIgnoresVersions,
    /// A batch is written as two log frames, one after the other.
    SplitBatch,
}

impl SeededBug {
    /// Every planted fault.
    pub const ALL: [Self; 20] = [
        Self::SkipLogSync,
        Self::AckBeforeSync,
        Self::SkipManifestSync,
        Self::SkipSuperblockSync,
        Self::SkipSegmentSync,
        Self::SkipDirectorySync,
        Self::ManifestBeforeRename,
        Self::SkipFrameChecksum,
        Self::SkipBlockChecksum,
        Self::StaleEpoch,
        Self::WrongTailRule,
        Self::RecycleBeforeManifest,
        Self::DeleteBeforeCommit,
        Self::ReuseFileId,
        Self::SealLosesTombstones,
        Self::SealCoversTooMuch,
        Self::RollbackKeepsLog,
        Self::MergeLosesLateDeletes,
        Self::ReclaimIgnoresVersions,
        Self::SplitBatch,
    ];
}

/// The faults planted in one store: none, or one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bugs {
    #[cfg(feature = "seeded-bugs")]
    planted: Option<SeededBug>,
}

impl Bugs {
    /// No fault.
    pub const NONE: Self = Self {
        #[cfg(feature = "seeded-bugs")]
        planted: None,
    };

    /// Plants `bug`.
    #[cfg(feature = "seeded-bugs")]
    pub const fn plant(bug: SeededBug) -> Self {
        Self { planted: Some(bug) }
    }

    /// Is `bug` planted?
    #[inline]
    pub fn has(self, bug: SeededBug) -> bool {
        #[cfg(feature = "seeded-bugs")]
        return self.planted == Some(bug);
        #[cfg(not(feature = "seeded-bugs"))]
        {
            let _ = bug;
            false
        }
    }
}
