//! T9: were the real calls made in the order that the promise needs?
//!
//! The trace of a run over real files is read from front to back:
//!
//! - an acknowledgement comes after the end of a sync that began after the end of a log write
//!   that began after the batch was handed in;
//! - a file is renamed into place when everything written to it is synced;
//! - a manifest record is written when the names of all new files are synced, and a superblock
//!   when the manifest is;
//! - nothing is unlinked while a manifest record or a superblock is not durable;
//! - a name with an id is never given to a second file, unless both are temporary.
//!
//! "After" is by the trace's order of beginnings and ends, so it holds across threads.

use std::collections::{BTreeMap, BTreeSet};

use ambit_store::log::FileName;
use ambit_store::vfs::{Call, CallKind, Event};

/// A batch as the trace's notes name it.
pub type BatchName = String;

/// Note that a batch is about to be handed in.
pub fn submitting(batch: &str) -> String {
    format!("submit {batch}")
}

/// Note that a batch was acknowledged.
pub fn acknowledged(batch: &str) -> String {
    format!("ack {batch}")
}

/// The violations in a trace, each with the number of its event. A trace may end anywhere.
pub fn audit(events: &[Event]) -> Vec<String> {
    let mut audit = Audit::default();
    for (at, event) in events.iter().enumerate() {
        audit.at = at;
        match event {
            Event::Begin(call) => audit.begin(call),
            Event::End { index, ok } => audit.end(*index, *ok),
            Event::Note(text) => audit.note(text),
        }
    }
    audit.violations
}

/// One write that no sync has covered yet.
#[derive(Debug, Clone, Copy)]
struct Write {
    call: u64,
    began: usize,
    ended: bool,
}

#[derive(Debug, Default)]
struct File {
    /// The name that it has now.
    name: String,
    writes: Vec<Write>,
}

/// What a call that has not returned will do when it does.
#[derive(Debug)]
enum Open {
    Write { file: usize },
    Sync { file: usize, covers: BTreeSet<u64> },
    Rename { to: String },
    Create { name: String },
    SyncDir { covers: BTreeSet<String> },
}

#[derive(Debug, Default)]
struct Audit {
    at: usize,
    files: Vec<File>,
    /// Files by every name that they had; open handles keep calling them by the first.
    names: BTreeMap<String, usize>,
    open: BTreeMap<u64, Open>,
    /// Names given since the last sync of the directory.
    unsynced_names: BTreeSet<String>,
    /// Names with an id that were given in this trace, temporary ones left out.
    given: BTreeSet<String>,
    /// Where each batch was handed in.
    submitted: BTreeMap<BatchName, usize>,
    /// The latest beginning of a log write that is durable.
    durable_until: Option<usize>,
    violations: Vec<String>,
}

impl Audit {
    fn accuse(&mut self, what: String) {
        self.violations.push(format!("event {}: {what}", self.at));
    }

    fn file(&mut self, name: &str) -> usize {
        if let Some(&file) = self.names.get(name) {
            return file;
        }
        self.files.push(File { name: name.to_owned(), writes: Vec::new() });
        self.names.insert(name.to_owned(), self.files.len() - 1);
        self.files.len() - 1
    }

    /// Files of a kind that were written to and not synced.
    fn dirty(&self, kind: &str) -> Option<String> {
        let is_of = |file: &&File| file.name.starts_with(kind) && !file.writes.is_empty();
        self.files.iter().find(is_of).map(|file| file.name.clone())
    }

    fn begin(&mut self, call: &Call) {
        let index = call.index;
        match call.kind {
            CallKind::Write | CallKind::Preallocate => {
                let file = self.file(&call.file);
                self.before_write(file);
                let write = Write { call: index, began: self.at, ended: false };
                self.files[file].writes.push(write);
                self.open.insert(index, Open::Write { file });
            }
            CallKind::SyncData => {
                let file = self.file(&call.file);
                let ended = self.files[file].writes.iter().filter(|write| write.ended);
                let covers = ended.map(|write| write.call).collect();
                self.open.insert(index, Open::Sync { file, covers });
            }
            CallKind::Rename => {
                let file = self.file(&call.from);
                if !self.files[file].writes.is_empty() {
                    self.accuse(format!("{} is renamed before it is synced", call.from));
                }
                self.give(&call.file);
                self.files[file].name = call.file.clone();
                self.names.insert(call.file.clone(), file);
                self.open.insert(index, Open::Rename { to: call.file.clone() });
            }
            CallKind::Create => {
                self.give(&call.file);
                self.names.remove(&call.file);
                self.file(&call.file);
                self.open.insert(index, Open::Create { name: call.file.clone() });
            }
            CallKind::SyncDir => {
                let covers = self.unsynced_names.clone();
                self.open.insert(index, Open::SyncDir { covers });
            }
            CallKind::Unlink => self.before_unlink(&call.file),
            _ => {}
        }
    }

    fn give(&mut self, name: &str) {
        let is_kept = match FileName::parse(name) {
            // What is derived may be derived again.
            Some(FileName::Temporary(_) | FileName::Derived { .. }) | None => false,
            Some(file) => file.id().is_some(),
        };
        if is_kept && !self.given.insert(name.to_owned()) {
            self.accuse(format!("the name {name} is given a second time"));
        }
    }

    fn before_write(&mut self, file: usize) {
        let name = self.files[file].name.clone();
        if name.starts_with("manifest-") {
            let is_kept = |name: &&String| !name.starts_with("tmp-");
            if let Some(unsynced) = self.unsynced_names.iter().find(is_kept).cloned() {
                self.accuse(format!("{name} is written before the name {unsynced} is synced"));
            }
        }
        if name == "SUPER" {
            let manifest = self.dirty("manifest-");
            let unsynced = |name: &&String| name.starts_with("manifest-");
            let manifest = manifest.or_else(|| self.unsynced_names.iter().find(unsynced).cloned());
            if let Some(manifest) = manifest {
                self.accuse(format!("SUPER is written before {manifest} is synced"));
            }
        }
    }

    fn before_unlink(&mut self, name: &str) {
        if name.starts_with("tmp-") {
            return;
        }
        for kind in ["manifest-", "SUPER"] {
            if let Some(dirty) = self.dirty(kind) {
                self.accuse(format!("{name} is unlinked before {dirty} is synced"));
            }
        }
    }

    fn end(&mut self, index: u64, ok: bool) {
        match self.open.remove(&index) {
            Some(Open::Write { file }) => {
                let writes = &mut self.files[file].writes;
                if let Some(write) = writes.iter_mut().find(|write| write.call == index) {
                    write.ended = true;
                }
            }
            Some(Open::Sync { file, covers }) if ok => {
                let file = &mut self.files[file];
                let is_covered = |write: &&Write| covers.contains(&write.call);
                let latest = file.writes.iter().filter(is_covered).map(|write| write.began).max();
                if file.name.starts_with("log-") {
                    self.durable_until = self.durable_until.max(latest);
                }
                file.writes.retain(|write| !covers.contains(&write.call));
            }
            Some(Open::Rename { to: name } | Open::Create { name }) if ok => {
                self.unsynced_names.insert(name);
            }
            Some(Open::SyncDir { covers }) if ok => {
                self.unsynced_names.retain(|name| !covers.contains(name));
            }
            _ => {}
        }
    }

    fn note(&mut self, text: &str) {
        if let Some(batch) = text.strip_prefix("submit ") {
            self.submitted.insert(batch.to_owned(), self.at);
        }
        let acknowledged = text.strip_prefix("ack ").and_then(|ack| ack.split(' ').next());
        if let Some(batch) = acknowledged {
            let submitted = self.submitted.remove(batch);
            if submitted.is_none() || self.durable_until <= submitted {
                self.accuse(format!(
                    "batch {batch} is acknowledged before its log write is synced"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ambit_store::bugs::{Bugs, SeededBug};
    use ambit_store::vfs::{SimFs, TraceFs};

    use super::*;
    use crate::subject::{Opening, Subject};
    use crate::workload::{self, Op};

    /// The violations in the trace of a workload over a store with planted faults.
    fn violations(seed: u64, bugs: Bugs) -> Vec<String> {
        let (traced, events) = TraceFs::collect(Arc::new(SimFs::new()));
        let opening = Opening { bugs, ..Opening::default() };
        let open = || Subject::open(Arc::new(traced.clone()), opening);
        let mut subject = open().ok();
        for (index, op) in workload::draw(seed, 60).iter().enumerate() {
            let Some(open_subject) = &subject else { break };
            let batch = format!("{index}");
            let is_write = matches!(op, Op::Write(_));
            if is_write {
                traced.note(&submitting(&batch));
            }
            if open_subject.apply(op).is_err() {
                break;
            }
            if is_write {
                traced.note(&acknowledged(&batch));
            }
            if matches!(op, Op::Close | Op::Kill) {
                drop(subject.take());
                subject = open().ok();
            }
        }
        let events = events.lock().unwrap().clone();
        audit(&events)
    }

    #[test]
    fn a_sound_store_keeps_the_order() {
        for seed in 0..20 {
            assert_eq!(violations(seed, Bugs::NONE), Vec::<String>::new(), "seed {seed}");
        }
    }

    #[test]
    fn each_planted_fault_of_order_is_accused() {
        for bug in [
            SeededBug::SkipLogSync,
            SeededBug::AckBeforeSync,
            SeededBug::SkipManifestSync,
            SeededBug::SkipSuperblockSync,
            SeededBug::SkipSegmentSync,
            SeededBug::SkipDirectorySync,
            SeededBug::ManifestBeforeRename,
            SeededBug::ReuseFileId,
        ] {
            let found = (0..20).map(|seed| violations(seed, Bugs::plant(bug)).len()).sum::<usize>();
            assert!(found > 0, "{bug:?} is not noticed");
        }
    }
}
