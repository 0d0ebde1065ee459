//! Readers without a lock, beside a writer at work.

use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::vfs::{FileLock, LockKind, Mapping, OpenMode, VfsFile};

/// A directory in which a writer acts between any two calls of the reader.
#[derive(Clone)]
struct Busy {
    inner: Arc<dyn Vfs>,
    writer: Arc<Mutex<dyn FnMut() + Send>>,
}

struct BusyFile {
    inner: Arc<dyn VfsFile>,
    fs: Busy,
}

impl Busy {
    fn turn(&self) {
        (self.writer.lock().unwrap())();
    }
}

impl Vfs for Busy {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        self.turn();
        assert_eq!(mode, OpenMode::Read, "recovery only reads");
        let inner = self.inner.open(name, mode)?;
        Ok(Arc::new(BusyFile { inner, fs: self.clone() }))
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        unreachable!("recovery only reads")
    }
    fn unlink(&self, _: &str) -> io::Result<()> {
        unreachable!("recovery only reads")
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn sync_dir(&self) -> io::Result<()> {
        unreachable!("recovery only reads")
    }
    fn lock(&self, _: &str, _: Range<u64>, _: LockKind) -> io::Result<Option<Box<dyn FileLock>>> {
        unreachable!("recovery takes no lock")
    }
    fn describe(&self) -> String {
        self.inner.describe()
    }
}

impl VfsFile for BusyFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.fs.turn();
        // Half of what is asked, so that the writer comes in between.
        let half = (into.len() / 2 + 1).min(into.len());
        self.inner.read_at(offset, &mut into[..half])
    }
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<usize> {
        unreachable!("recovery only reads")
    }
    fn sync_data(&self) -> io::Result<()> {
        unreachable!("recovery only reads")
    }
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn preallocate(&self, _: u64) -> io::Result<()> {
        unreachable!("recovery only reads")
    }
    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        unreachable!("recovery only reads")
    }
}

#[test]
fn a_reader_beside_a_writer_sees_everything_that_was_acknowledged_before_it_began() {
    let mut outdated = 0;
    for seed in 0..300 {
        let sim = SimFs::new();
        let (journal, model) = (create(&sim), Model { exists: true, ..Model::default() });
        let shared = Arc::new(Mutex::new((journal, model, Draw(seed), 0u64)));
        let act = {
            let shared = Arc::clone(&shared);
            move |most: u64| {
                let (journal, model, draw, acts) = &mut *shared.lock().unwrap();
                for _ in 0..draw.below(most) {
                    model.act(journal, draw).unwrap();
                    *acts += 1;
                }
            }
        };
        (0..20).for_each(|_| act(4));
        let before = shared.lock().unwrap().1.clone();
        // The writer goes on for a while; then the reader gets its turn to the end.
        let turns = Arc::new(AtomicU64::new(6 + seed % 30));
        let left = Arc::clone(&turns);
        let busy: Arc<dyn Vfs> = Arc::new(Busy {
            inner: vfs(&sim),
            writer: Arc::new(Mutex::new(move || {
                if left.load(Ordering::Relaxed) > 0 {
                    left.fetch_sub(1, Ordering::Relaxed);
                    act(3);
                }
            })),
        });
        let found = recover(&busy, &Geometry::SMALL, Bugs::NONE)
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(found.last_seq() >= before.frames.len() as u64, "seed {seed}");
        turns.store(seed % 40, Ordering::Relaxed);
        let replayed = frames(&found);
        let after = shared.lock().unwrap().1.clone();
        match replayed {
            Ok(frames) => {
                for (seq, payload) in frames {
                    assert_eq!(after.frames[seq as usize - 1], payload, "seed {seed}");
                }
            }
            Err(error) => {
                assert!(found.is_outdated().unwrap(), "seed {seed}: {error}");
                outdated += 1;
            }
        }
    }
    assert!(outdated > 0, "no replay met a log that was written over");
}

#[test]
fn going_on_from_an_outdated_recovery_is_refused() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    let found = recovered(&sim).unwrap();
    assert!(!found.is_outdated().unwrap());
    journal.commit(&[table(0, "a")]).unwrap();
    assert!(found.is_outdated().unwrap());
    let refused = Journal::resume(vfs(&sim), Geometry::SMALL, &found, Bugs::NONE).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[test]
fn recovery_changes_no_byte() {
    let sim = SimFs::new();
    let (mut model, mut draw) = (Model::default(), Draw(5));
    model.run(&vfs(&sim), (60, &mut draw), Bugs::NONE).unwrap().unwrap();
    let bytes = |sim: &SimFs| {
        sim.files().into_iter().map(|(name, _)| (sim.peek(&name), name)).collect::<Vec<_>>()
    };
    let before = bytes(&sim);
    frames(&recovered(&sim).unwrap()).unwrap();
    assert_eq!(bytes(&sim), before);
}
