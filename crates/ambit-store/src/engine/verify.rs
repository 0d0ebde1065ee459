//! Everything read, every checksum and invariant held: the scrub.

use std::collections::BTreeMap;

use super::commit::Engine;
use super::derived;
use super::sealed::SealedPart;
use crate::error::{ErrorKind, StoreError};
use crate::log::{Column, FileName, SegmentMeta, State, recover};
use crate::segment::Segment;

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// What is wrong, one line per place; empty is clean.
    pub problems: Vec<String>,
}

impl Engine {
    /// Reads the superblock, the manifest, the log and every segment that the tables or a
    /// version name, and checks every checksum and invariant. `progress` is told bytes done
    /// and in all, and stops the run by returning false.
    ///
    /// # Errors
    /// Interrupted, I/O. Damage is not an error here but a line of the report.
    pub fn verify(
        &self,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        // Not while the writer is at work: a frame in flight is no damage.
        let _guard = crate::sync::lock(&self.writer);
        let recovered = match recover(&self.shelf.vfs, &self.options.geometry, self.options.bugs) {
            Ok(recovered) => recovered,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                report.problems.push(error.to_string());
                return Ok(report);
            }
            Err(error) => return Err(error),
        };
        report.files += 2 + recovered.state().logs.len() as u64;
        let segments = all_segments(recovered.state());
        let total = segments.values().map(|(meta, _)| meta.len).sum();
        for (meta, columns) in segments.values() {
            let before = report.bytes;
            let checked = self.check_segment(meta, columns, &mut |bytes| {
                progress(before + bytes.min(meta.len), total)
            });
            match checked {
                Ok(()) => {}
                Err(error) if is_damage(&error) => report.problems.push(error.to_string()),
                Err(error) => return Err(error),
            }
            report.files += 1;
            report.bytes = before + meta.len;
        }
        self.check_derived(&segments, progress, &mut report)?;
        Ok(report)
    }

    /// Reads what was derived from `segments`, beyond the total that `progress` knows of.
    fn check_derived(
        &self,
        segments: &BTreeMap<u64, (SegmentMeta, Vec<Column>)>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
        report: &mut VerifyReport,
    ) -> Result<(), StoreError> {
        let listed = self.shelf.vfs.list();
        for name in listed.map_err(|error| StoreError::io("list", "the store", error))? {
            let Some(FileName::Derived { segment, slot }) = FileName::parse(&name) else {
                continue;
            };
            let Some((meta, _)) = segments.get(&segment) else {
                continue;
            };
            let before = report.bytes;
            let opened = derived::open(&self.shelf, meta, slot);
            let checked = opened.and_then(|file| match file {
                Some(file) => file
                    .scrub(&mut |bytes| progress(before + bytes, before + bytes))
                    .map(|()| file.meta().len),
                None => Ok(0),
            });
            match checked {
                Ok(len) => report.bytes += len,
                Err(error) if is_damage(&error) => {
                    let remedy = "nothing is lost: it can be built again";
                    report.problems.push(format!("{error} ({remedy})"));
                }
                Err(error) => return Err(error),
            }
            report.files += 1;
        }
        Ok(())
    }

    fn check_segment(
        &self,
        meta: &SegmentMeta,
        columns: &[Column],
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), StoreError> {
        let shelf = &self.shelf;
        let segment =
            Segment::open(&shelf.vfs, meta, shelf.io, &shelf.windows, &shelf.account, shelf.bugs)?;
        segment.scrub(progress)?;
        SealedPart::new(segment, columns, &shelf.filters)?.check()
    }
}

/// A file that is gone is damage too.
fn is_damage(error: &StoreError) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound)
        || error.io_error().is_some_and(|io| io.kind() == std::io::ErrorKind::NotFound)
}

fn all_segments(state: &State) -> BTreeMap<u64, (SegmentMeta, Vec<Column>)> {
    let versions = state.versions.values().flat_map(|version| version.tables.values());
    let mut segments = BTreeMap::new();
    for table in versions.chain(state.tables.values()) {
        for meta in &table.segments {
            segments.insert(meta.id, (*meta, table.columns.clone()));
        }
    }
    segments
}
