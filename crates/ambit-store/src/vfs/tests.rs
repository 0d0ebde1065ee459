//! The real directory and the simulated one, held against a naive model on the same calls.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::{Crash, LockKind, OpenMode, OsFs, SimFs, Vfs, VfsFile, read_exact_at, write_all_at};

/// Repeatable draws for the tests of this module.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A directory that anybody can check by reading it: names to files, files to bytes.
#[derive(Default)]
struct Model {
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
}

#[derive(Debug, Clone)]
enum Op {
    Create(String),
    Open(String, OpenMode),
    Write { handle: usize, offset: u64, bytes: Vec<u8> },
    Read { handle: usize, offset: u64, len: usize },
    Grow { handle: usize, len: u64 },
    Sync { handle: usize },
    Rename(String, String),
    Unlink(String),
    SyncDir,
    List,
    Map { handle: usize },
}

fn draw(dice: &mut Dice) -> Op {
    let name = |dice: &mut Dice| format!("file-{}", dice.below(5));
    let handle = dice.below(6) as usize;
    match dice.below(12) {
        0 | 1 => Op::Create(name(dice)),
        2 => Op::Open(name(dice), [OpenMode::Read, OpenMode::Write][dice.below(2) as usize]),
        3..=5 => {
            let len = dice.below(3000) as usize;
            let bytes = vec![dice.below(256) as u8; len];
            Op::Write { handle, offset: dice.below(9000), bytes }
        }
        6 => Op::Read { handle, offset: dice.below(12_000), len: dice.below(5000) as usize },
        7 => Op::Grow { handle, len: dice.below(14_000) },
        8 => Op::Sync { handle },
        9 => Op::Rename(name(dice), name(dice)),
        10 => [Op::Unlink(name(dice)), Op::SyncDir][dice.below(2) as usize].clone(),
        _ => [Op::List, Op::Map { handle }][dice.below(2) as usize].clone(),
    }
}

/// What a call answered, in a form that two implementations can be compared by.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Bytes(Vec<u8>),
    Names(Vec<String>),
    Failed(io::ErrorKind),
}

fn answer<T>(result: io::Result<T>, of: impl FnOnce(T) -> Answer) -> Answer {
    result.map_or_else(|error| Answer::Failed(error.kind()), of)
}

/// A directory under test and the files that the run holds open.
struct Subject<'a> {
    fs: &'a dyn Vfs,
    handles: Vec<Arc<dyn VfsFile>>,
}

impl Subject<'_> {
    fn keep(&mut self, file: Arc<dyn VfsFile>) -> Answer {
        self.handles.push(file);
        Answer::Done
    }

    fn run(&mut self, op: &Op) -> Answer {
        let done = |()| Answer::Done;
        let pick = |handle: usize| {
            let len = self.handles.len();
            (len > 0).then(|| Arc::clone(&self.handles[handle % len]))
        };
        match op {
            Op::Create(name) => match self.fs.open(name, OpenMode::Create) {
                Ok(file) => self.keep(file),
                Err(error) => Answer::Failed(error.kind()),
            },
            Op::Open(name, mode) => match self.fs.open(name, *mode) {
                Ok(file) => self.keep(file),
                Err(error) => Answer::Failed(error.kind()),
            },
            Op::Write { handle, offset, bytes } => pick(*handle).map_or(Answer::Done, |file| {
                let mut written = write_all_at(&*file, *offset, bytes);
                // What an unwritable handle is refused with differs in kind, not in effect.
                if written.is_err() {
                    written = Err(io::ErrorKind::PermissionDenied.into());
                }
                answer(written, done)
            }),
            Op::Read { handle, offset, len } => pick(*handle).map_or(Answer::Done, |file| {
                let mut into = vec![0; *len];
                answer(file.read_at(*offset, &mut into), |read| {
                    Answer::Bytes(into[..read].to_vec())
                })
            }),
            Op::Grow { handle, len } => pick(*handle).map_or(Answer::Done, |file| {
                let grown =
                    file.preallocate(*len).map_err(|_| io::ErrorKind::PermissionDenied.into());
                answer(grown, done)
            }),
            Op::Sync { handle } => {
                pick(*handle).map_or(Answer::Done, |file| answer(file.sync_data(), done))
            }
            Op::Rename(from, to) => answer(self.fs.rename(from, to), done),
            Op::Unlink(name) => answer(self.fs.unlink(name), done),
            Op::SyncDir => answer(self.fs.sync_dir(), done),
            Op::List => answer(self.fs.list(), |mut names| {
                names.sort();
                Answer::Names(names)
            }),
            Op::Map { handle } => pick(*handle).map_or(Answer::Done, |file| {
                answer(file.map(), |map| {
                    map.populate(10..5000);
                    map.release(0..usize::MAX);
                    Answer::Bytes(map.bytes().to_vec())
                })
            }),
        }
    }
}

/// The same calls in the model, which knows handles by file number and mode.
impl Model {
    fn run(&mut self, handles: &mut Vec<(usize, bool)>, op: &Op) -> Answer {
        let missing = Answer::Failed(io::ErrorKind::NotFound);
        let denied = Answer::Failed(io::ErrorKind::PermissionDenied);
        let pick = |handle: usize| (!handles.is_empty()).then(|| handles[handle % handles.len()]);
        match op {
            Op::Create(name) => {
                if self.names.contains_key(name) {
                    return Answer::Failed(io::ErrorKind::AlreadyExists);
                }
                self.names.insert(name.clone(), self.files.len());
                handles.push((self.files.len(), true));
                self.files.push(Vec::new());
            }
            Op::Open(name, mode) => match self.names.get(name) {
                Some(&file) => handles.push((file, *mode != OpenMode::Read)),
                None => return missing,
            },
            Op::Write { handle, offset, bytes } => match pick(*handle) {
                Some((_, false)) if !bytes.is_empty() => return denied,
                Some((file, _)) if !bytes.is_empty() => {
                    let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                    let file = &mut self.files[file];
                    file.resize(file.len().max(end), 0);
                    file[start..end].copy_from_slice(bytes);
                }
                _ => {}
            },
            Op::Read { handle, offset, len } => {
                if let Some((file, _)) = pick(*handle) {
                    let file = &self.files[file];
                    let start = (*offset as usize).min(file.len());
                    let end = (start + len).min(file.len());
                    return Answer::Bytes(file[start..end].to_vec());
                }
            }
            Op::Grow { handle, len } => {
                if let Some((file, writable)) = pick(*handle) {
                    let file = &mut self.files[file];
                    if (*len as usize) > file.len() {
                        if !writable {
                            return denied;
                        }
                        file.resize(*len as usize, 0);
                    }
                }
            }
            Op::Rename(from, to) => match self.names.remove(from) {
                Some(file) => {
                    self.names.insert(to.clone(), file);
                }
                None => return missing,
            },
            Op::Unlink(name) => {
                if self.names.remove(name).is_none() {
                    return missing;
                }
            }
            Op::List => return Answer::Names(self.names.keys().cloned().collect()),
            Op::Map { handle } => {
                if let Some((file, _)) = pick(*handle) {
                    return Answer::Bytes(self.files[file].clone());
                }
            }
            Op::Sync { .. } | Op::SyncDir => {}
        }
        Answer::Done
    }
}

fn hold_against_model(fs: &dyn Vfs, seed: u64, ops: usize) {
    let mut dice = Dice(seed);
    let mut subject = Subject { fs, handles: Vec::new() };
    let (mut model, mut handles) = (Model::default(), Vec::new());
    for step in 0..ops {
        let op = draw(&mut dice);
        let expected = model.run(&mut handles, &op);
        let found = subject.run(&op);
        assert!(found == expected, "seed {seed}, step {step}, {op:?}: {found:?} != {expected:?}");
    }
}

#[test]
fn the_simulated_directory_answers_as_a_naive_model() {
    for seed in 0..300 {
        hold_against_model(&SimFs::new(), seed, 200);
    }
}

#[test]
fn the_real_directory_answers_as_the_same_naive_model() {
    for seed in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        hold_against_model(&OsFs::open(directory.path()).unwrap(), seed, 200);
    }
}

#[test]
fn a_read_past_the_end_names_what_was_expected_and_found() {
    let fs = SimFs::new();
    let file = fs.open("short", OpenMode::Create).unwrap();
    write_all_at(&*file, 0, b"seven b").unwrap();
    let error = read_exact_at(&*file, 3, &mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let message = error.to_string();
    assert!(message.contains("expected 10 bytes at offset 3, found 4"), "{message}");
}

#[test]
fn names_that_are_no_plain_file_names_are_refused_by_both() {
    let directory = tempfile::tempdir().unwrap();
    let real = OsFs::open(directory.path()).unwrap();
    let simulated = SimFs::new();
    let both: [&dyn Vfs; 2] = [&real, &simulated];
    for fs in both {
        for name in ["", ".", "..", "a/b", "/etc/passwd", "../x", "a\0b"] {
            let refused = |result: io::Result<()>| {
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
            };
            refused(fs.open(name, OpenMode::Create).map(drop));
            refused(fs.open(name, OpenMode::Read).map(drop));
            refused(fs.unlink(name));
            refused(fs.rename(name, "fine"));
            fs.open("source", OpenMode::Create).unwrap();
            refused(fs.rename("source", name));
            fs.unlink("source").unwrap();
            refused(fs.lock(name, 0..1, LockKind::Shared).map(drop));
        }
        assert!(fs.list().unwrap().is_empty());
    }
}

#[test]
fn locks_of_both_conflict_by_byte_and_kind_and_end_with_their_holder() {
    let directory = tempfile::tempdir().unwrap();
    let real = OsFs::open(directory.path()).unwrap();
    let simulated = SimFs::new();
    let both: [&dyn Vfs; 2] = [&real, &simulated];
    for fs in both {
        let take = |range, kind| fs.lock("LOCK", range, kind).unwrap();
        let writer = take(0..1, LockKind::Exclusive);
        assert!(writer.is_some());
        assert!(take(0..1, LockKind::Exclusive).is_none(), "a second writer in one process");
        assert!(take(0..9, LockKind::Shared).is_none(), "a reader over the writer's byte");
        let pins = [take(5..6, LockKind::Shared), take(5..6, LockKind::Shared)];
        assert!(pins.iter().all(Option::is_some), "readers share");
        assert!(take(4..6, LockKind::Exclusive).is_none());
        drop(writer);
        assert!(take(0..1, LockKind::Exclusive).is_some(), "released on drop");
        drop(pins);
        assert!(take(4..6, LockKind::Exclusive).is_some());
        assert!(fs.lock("LOCK", 3..3, LockKind::Shared).is_err(), "an empty range");
    }
}

#[test]
fn an_image_and_a_fork_start_without_locks_or_counted_calls() {
    let fs = SimFs::new();
    let held = fs.lock("LOCK", 0..1, LockKind::Exclusive).unwrap();
    assert!(held.is_some());
    for other in [fs.fork(), fs.crash(Crash::Process)] {
        assert_eq!(other.calls(), 0);
        assert!(other.lock("LOCK", 0..1, LockKind::Exclusive).unwrap().is_some());
    }
}
