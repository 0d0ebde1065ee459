//! A directory in memory that can lose power at any call.
//!
//! Durable and pending state are kept apart, for data and for directory entries; nothing is
//! durable before its sync, and a sync of a file says nothing of its name. Every call has an
//! index; [`SimFs::crash_at`] stops the world at one, and [`SimFs::record`] keeps the state
//! after each changing call, so that one run yields an image for every instant. Images share
//! all unchanged pages with the run that they were taken from.
//!
//! A [`SimFs`] stands for the disk and the processes on one machine: locks conflict within it,
//! and a fork or an image starts with none. Same calls and same seed, same image.

mod content;
mod crash;
mod disk;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use self::content::Content;
pub use self::crash::Crash;
use self::disk::{Disk, Entry, Inode, Pending};
use super::exact::end_of;
use super::os::flat;
use super::trace::CallKind;
use super::{FileLock, LockKind, Mapping, OpenMode, Vfs, VfsFile};
use crate::sync::lock;

/// A simulated directory. Clones are the same directory; [`SimFs::fork`] makes another.
#[derive(Clone, Default)]
pub struct SimFs {
    world: Arc<Mutex<World>>,
}

/// The state of a simulated directory after one changing call.
#[derive(Clone)]
pub struct Moment {
    /// Index of the call.
    pub call: u64,
    /// What it did.
    pub kind: CallKind,
    /// To which file, by its name at the end of the call; empty for the directory.
    pub file: String,
    disk: Disk,
}

impl Moment {
    /// The directory that a crash at this moment leaves. Cost: about that of the bytes in
    /// flight.
    pub fn crash(&self, crash: Crash) -> SimFs {
        SimFs::of(crash::image(&self.disk, crash))
    }
}

/// What a call is about.
#[derive(Clone, Copy)]
enum Target<'a> {
    Named(&'a str),
    Open(Inode),
}

impl Target<'_> {
    fn name(self, disk: &Disk) -> String {
        match self {
            Self::Named(name) => name.to_owned(),
            Self::Open(inode) => {
                let found = disk.names.iter().find(|(_, named)| **named == inode);
                found.map_or_else(|| "an unlinked file".to_owned(), |(name, _)| name.clone())
            }
        }
    }
}

#[derive(Default)]
struct World {
    disk: Disk,
    calls: u64,
    stop_at: Option<u64>,
    moments: Option<Vec<Moment>>,
    locks: Vec<(u64, Inode, Range<u64>, LockKind)>,
    next_lock: u64,
    open: BTreeMap<Inode, usize>,
}

impl SimFs {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    fn of(disk: Disk) -> Self {
        Self { world: Arc::new(Mutex::new(World { disk, ..World::default() })) }
    }

    /// A separate directory in the same state, without locks and with a call count of 0.
    pub fn fork(&self) -> Self {
        Self::of(lock(&self.world).disk.clone())
    }

    /// The directory that a crash now leaves. This one goes on.
    pub fn crash(&self, crash: Crash) -> Self {
        Self::of(crash::image(&lock(&self.world).disk, crash))
    }

    /// Calls so far; the index of the next one.
    pub fn calls(&self) -> u64 {
        lock(&self.world).calls
    }

    /// Stops the world at call `index`: that call may have changed what is pending, it and
    /// every later one return an error.
    pub fn crash_at(&self, index: u64) {
        lock(&self.world).stop_at = Some(index);
    }

    /// Keeps a [`Moment`] for each changing call from now on.
    pub fn record(&self) {
        lock(&self.world).moments.get_or_insert_default();
    }

    /// Takes the moments kept so far, oldest first.
    pub fn moments(&self) -> Vec<Moment> {
        lock(&self.world).moments.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Makes every sync from now on pass over what is pending now, as a kernel does after a
    /// failed write-back: the bytes are read back, and are not on the disk.
    pub fn forget_pending(&self) {
        lock(&self.world).disk.forget_pending();
    }

    /// Is everything durable?
    pub fn is_settled(&self) -> bool {
        lock(&self.world).disk.is_settled()
    }

    /// The bytes of a file, without a call being counted.
    pub fn peek(&self, name: &str) -> Option<Vec<u8>> {
        let world = lock(&self.world);
        let inode = world.disk.names.get(name)?;
        Some(world.disk.node(*inode)?.current.to_vec())
    }

    /// Names and lengths of all files, by name, without a call being counted.
    pub fn files(&self) -> Vec<(String, u64)> {
        let world = lock(&self.world);
        let len = |inode: &Inode| world.disk.node(*inode).map_or(0, |node| node.current.len());
        world.disk.names.iter().map(|(name, inode)| (name.clone(), len(inode) as u64)).collect()
    }

    /// Puts a durable file in place, as damage or another hand would, without a call being
    /// counted. `None` removes it.
    pub fn plant(&self, name: &str, bytes: Option<&[u8]>) {
        let mut world = lock(&self.world);
        let disk = &world.disk;
        let mut names = (*disk.names).clone();
        let mut contents: BTreeMap<Inode, Content> = names
            .values()
            .filter_map(|inode| disk.node(*inode).map(|node| (*inode, node.current.clone())))
            .collect();
        names.remove(name);
        if let Some(bytes) = bytes {
            let fresh = contents.keys().next_back().map_or(0, |last| last + 1);
            names.insert(name.to_owned(), fresh);
            contents.insert(fresh, Content::from(bytes));
        }
        world.disk = Disk::settled(names, contents);
    }

    /// Counts a call; an error once the world has stopped.
    fn call<T>(
        &self,
        kind: CallKind,
        file: Target<'_>,
        act: impl FnOnce(&mut World) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut world = lock(&self.world);
        let call = world.calls;
        world.calls += 1;
        let stopping = world.stop_at.is_some_and(|stop| call >= stop);
        // What was in flight when the power went may have begun; a sync has not.
        let begun = world.stop_at == Some(call) && kind.leaves_pending();
        if stopping && !begun {
            return Err(stopped());
        }
        let done = act(&mut world);
        if stopping {
            return Err(stopped());
        }
        if kind.changes() && done.is_ok() && world.moments.is_some() {
            let file = file.name(&world.disk);
            let moment = Moment { call, kind, file, disk: world.disk.clone() };
            world.moments.get_or_insert_default().push(moment);
        }
        done
    }

    fn find(world: &World, name: &str) -> io::Result<Inode> {
        flat(name)?;
        world.disk.names.get(name).copied().ok_or_else(|| Errno::NOENT.into())
    }
}

fn stopped() -> io::Error {
    io::Error::other("the simulated machine has stopped")
}

impl Vfs for SimFs {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let kind = if mode == OpenMode::Create { CallKind::Create } else { CallKind::Open };
        let inode = self.call(kind, Target::Named(name), |world| {
            let inode = match (Self::find(world, name), mode) {
                (Ok(_), OpenMode::Create) => return Err(Errno::EXIST.into()),
                (Err(error), OpenMode::Create) if error.kind() == io::ErrorKind::NotFound => {
                    world.disk.create(name)
                }
                (found, _) => found?,
            };
            *world.open.entry(inode).or_default() += 1;
            Ok(inode)
        })?;
        Ok(Arc::new(SimFile { fs: self.clone(), inode, writable: mode != OpenMode::Read }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(CallKind::Rename, Target::Named(to), |world| {
            flat(to)?;
            let inode = Self::find(world, from)?;
            if from != to {
                let (from, to) = (from.to_owned(), to.to_owned());
                world.disk.enter(Entry::Rename { from, to, inode });
            }
            Ok(())
        })
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.call(CallKind::Unlink, Target::Named(name), |world| {
            let inode = Self::find(world, name)?;
            world.disk.enter(Entry::Unlink { name: name.to_owned(), inode });
            Ok(())
        })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.call(CallKind::List, Target::Named(""), |world| {
            Ok(world.disk.names.keys().cloned().collect())
        })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.call(CallKind::SyncDir, Target::Named(""), |world| {
            let open = world.open.keys().copied().collect();
            world.disk.sync_names(&open);
            Ok(())
        })
    }

    fn lock(
        &self,
        name: &str,
        range: Range<u64>,
        kind: LockKind,
    ) -> io::Result<Option<Box<dyn FileLock>>> {
        if range.is_empty() {
            return Err(Errno::INVAL.into());
        }
        let id = self.call(CallKind::Lock, Target::Named(name), |world| {
            let inode = match Self::find(world, name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => world.disk.create(name),
                found => found?,
            };
            let conflict = |(_, of, held, how): &(u64, Inode, Range<u64>, LockKind)| {
                *of == inode
                    && held.start < range.end
                    && range.start < held.end
                    && (kind == LockKind::Exclusive || *how == LockKind::Exclusive)
            };
            if world.locks.iter().any(conflict) {
                return Ok(None);
            }
            let id = world.next_lock;
            world.next_lock += 1;
            world.locks.push((id, inode, range, kind));
            Ok(Some(id))
        })?;
        Ok(id.map(|id| Box::new(SimLock { fs: self.clone(), id }) as Box<dyn FileLock>))
    }

    fn describe(&self) -> String {
        "the simulated directory".to_owned()
    }
}

struct SimLock {
    fs: SimFs,
    id: u64,
}

impl FileLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        lock(&self.fs.world).locks.retain(|(id, ..)| *id != self.id);
    }
}

struct SimFile {
    fs: SimFs,
    inode: Inode,
    writable: bool,
}

impl SimFile {
    fn change(&self, world: &mut World, change: Pending) -> io::Result<()> {
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        world.disk.change(self.inode, change);
        Ok(())
    }

    fn content<'a>(&self, world: &'a World) -> io::Result<&'a Content> {
        world.disk.node(self.inode).map(|node| &node.current).ok_or_else(|| Errno::BADF.into())
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut world = lock(&self.fs.world);
        if let Some(count) = world.open.get_mut(&self.inode) {
            *count -= 1;
            if *count == 0 {
                world.open.remove(&self.inode);
            }
        }
    }
}

/// An offset or length as this machine addresses memory.
fn in_memory(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| Errno::FBIG.into())
}

impl VfsFile for SimFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.fs.call(CallKind::Read, Target::Open(self.inode), |world| {
            Ok(self.content(world)?.read(in_memory(offset)?, into))
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.fs.call(CallKind::Write, Target::Open(self.inode), |world| {
            in_memory(end_of(offset, bytes.len())?)?;
            let offset = in_memory(offset)?;
            if !bytes.is_empty() {
                let write = Pending::Write { offset, bytes: bytes.into(), forgotten: false };
                self.change(world, write)?;
            }
            Ok(bytes.len())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fs.call(CallKind::SyncData, Target::Open(self.inode), |world| {
            world.disk.sync(self.inode);
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.fs.call(CallKind::Len, Target::Open(self.inode), |world| {
            Ok(self.content(world)?.len() as u64)
        })
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.fs.call(CallKind::Preallocate, Target::Open(self.inode), |world| {
            let len = in_memory(len)?;
            if len > self.content(world)?.len() {
                self.change(world, Pending::Grow { len, forgotten: false })?;
            }
            Ok(())
        })
    }

    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        self.fs.call(CallKind::Map, Target::Open(self.inode), |world| {
            Ok(Arc::new(SimMap { bytes: self.content(world)?.to_vec() }) as Arc<dyn Mapping>)
        })
    }
}

/// A copy of the file as it was when it was mapped.
struct SimMap {
    bytes: Vec<u8>,
}

impl Mapping for SimMap {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn populate(&self, _range: Range<usize>) {}

    fn release(&self, _range: Range<usize>) {}
}

#[cfg(test)]
mod tests;
