//! A directory that fails on command.
//!
//! One fault is armed for the n-th call, once or for good. A fault that makes no sense for a
//! call (a short write for a rename) waits for the first one where it does. A call that fails
//! does nothing, except a short read or write, which moves a part and is no error.
//!
//! A sticky interruption hits every other call, as a busy signal would: no kernel interrupts
//! a retried call for ever.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use rustix::io::Errno;

use super::trace::CallKind;
use super::{FileLock, LockKind, Mapping, OpenMode, SimFs, Vfs, VfsFile};
use crate::sync::lock;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device fails (`EIO`).
    Eio,
    /// The device is full (`ENOSPC`); for calls that may need space.
    Enospc,
    /// A signal interrupts a read or write (`EINTR`). All other calls of a [`Vfs`] are made
    /// again by its implementation.
    Eintr,
    /// A write takes only a part, at least one byte.
    ShortWrite,
    /// A read yields only a part, at least one byte.
    ShortRead,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 5] =
        [Self::Eio, Self::Enospc, Self::Eintr, Self::ShortWrite, Self::ShortRead];

    /// Can it happen to a call of this kind?
    pub fn applies(self, kind: CallKind) -> bool {
        use CallKind as K;
        match self {
            Self::Eio => true,
            Self::Enospc => matches!(
                kind,
                K::Create | K::Rename | K::SyncDir | K::Write | K::SyncData | K::Preallocate
            ),
            Self::Eintr => matches!(kind, K::Read | K::Write),
            Self::ShortWrite => kind == K::Write,
            Self::ShortRead => kind == K::Read,
        }
    }

    fn error(self) -> io::Error {
        match self {
            Self::Enospc => Errno::NOSPC.into(),
            Self::Eintr => Errno::INTR.into(),
            Self::Eio | Self::ShortWrite | Self::ShortRead => Errno::IO.into(),
        }
    }
}

/// How often an armed fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultMode {
    /// At one call.
    Once,
    /// At that call and all later ones, until it is disarmed.
    Sticky,
}

#[derive(Default)]
struct Plan {
    calls: u64,
    armed: Option<(u64, Fault, FaultMode)>,
    struck: u64,
    interrupted_last: bool,
}

/// A directory whose n-th call fails.
#[derive(Clone)]
pub struct FaultFs {
    inner: Arc<dyn Vfs>,
    /// Told of failed syncs, so that the bytes are lost as on a real machine.
    disk: Option<SimFs>,
    plan: Arc<Mutex<Plan>>,
}

impl FaultFs {
    /// No fault until [`FaultFs::arm`].
    pub fn new(inner: Arc<dyn Vfs>) -> Self {
        Self { inner, disk: None, plan: Arc::default() }
    }

    /// Over a simulated directory, which forgets what a failed sync should have covered.
    pub fn over(disk: &SimFs) -> Self {
        Self { inner: Arc::new(disk.clone()), disk: Some(disk.clone()), plan: Arc::default() }
    }

    /// Arms `fault` for the first fitting call whose index is `call` or more.
    pub fn arm(&self, call: u64, fault: Fault, mode: FaultMode) {
        lock(&self.plan).armed = Some((call, fault, mode));
    }

    /// No fault from now on.
    pub fn disarm(&self) {
        lock(&self.plan).armed = None;
    }

    /// Calls so far; the index of the next one.
    pub fn calls(&self) -> u64 {
        lock(&self.plan).calls
    }

    /// Times that the fault struck.
    pub fn struck(&self) -> u64 {
        lock(&self.plan).struck
    }

    /// The fault that strikes this call, if any.
    fn strikes(&self, kind: CallKind) -> Option<Fault> {
        let mut plan = lock(&self.plan);
        let call = plan.calls;
        plan.calls += 1;
        let interrupted = std::mem::take(&mut plan.interrupted_last);
        let (from, fault, mode) = plan.armed?;
        if call < from || !fault.applies(kind) || (fault == Fault::Eintr && interrupted) {
            return None;
        }
        if mode == FaultMode::Once {
            plan.armed = None;
        }
        plan.interrupted_last = fault == Fault::Eintr;
        plan.struck += 1;
        Some(fault)
    }

    fn call<T>(&self, kind: CallKind, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.strikes(kind) {
            Some(fault) => Err(fault.error()),
            None => act(),
        }
    }
}

/// Bytes that a short call moves of `len`: about half, at least one.
fn short(len: usize) -> usize {
    len.div_ceil(2).min(len.saturating_sub(1)).max(len.min(1))
}

impl Vfs for FaultFs {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let kind = if mode == OpenMode::Create { CallKind::Create } else { CallKind::Open };
        let inner = self.call(kind, || self.inner.open(name, mode))?;
        Ok(Arc::new(FaultFile { fs: self.clone(), inner }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(CallKind::Rename, || self.inner.rename(from, to))
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.call(CallKind::Unlink, || self.inner.unlink(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.call(CallKind::List, || self.inner.list())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.call(CallKind::SyncDir, || self.inner.sync_dir())
    }

    fn lock(
        &self,
        name: &str,
        range: Range<u64>,
        kind: LockKind,
    ) -> io::Result<Option<Box<dyn FileLock>>> {
        self.call(CallKind::Lock, || self.inner.lock(name, range, kind))
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct FaultFile {
    fs: FaultFs,
    inner: Arc<dyn VfsFile>,
}

impl VfsFile for FaultFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match self.fs.strikes(CallKind::Read) {
            Some(Fault::ShortRead) => {
                let part = short(into.len());
                self.inner.read_at(offset, &mut into[..part])
            }
            Some(fault) => Err(fault.error()),
            None => self.inner.read_at(offset, into),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        match self.fs.strikes(CallKind::Write) {
            Some(Fault::ShortWrite) => self.inner.write_at(offset, &bytes[..short(bytes.len())]),
            Some(fault) => Err(fault.error()),
            None => self.inner.write_at(offset, bytes),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.fs.strikes(CallKind::SyncData) {
            Some(fault) => {
                if let Some(disk) = &self.fs.disk {
                    disk.forget_pending();
                }
                Err(fault.error())
            }
            None => self.inner.sync_data(),
        }
    }

    fn len(&self) -> io::Result<u64> {
        self.fs.call(CallKind::Len, || self.inner.len())
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.fs.call(CallKind::Preallocate, || self.inner.preallocate(len))
    }

    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        self.fs.call(CallKind::Map, || self.inner.map())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::{Crash, read_exact_at, write_all_at};

    #[test]
    fn a_short_call_moves_less_than_asked_but_something() {
        for len in 2..100 {
            assert!((1..len).contains(&short(len)), "{len}");
        }
        assert_eq!((short(0), short(1)), (0, 1));
    }

    #[test]
    fn whole_reads_and_writes_get_through_interruptions_and_short_calls() {
        for fault in [Fault::Eintr, Fault::ShortWrite, Fault::ShortRead] {
            for mode in [FaultMode::Once, FaultMode::Sticky] {
                let fs = FaultFs::new(Arc::new(SimFs::new()));
                fs.arm(0, fault, mode);
                let file = fs.open("a", OpenMode::Create).unwrap();
                write_all_at(&*file, 5, b"every byte of it").unwrap();
                let mut back = [0; 16];
                read_exact_at(&*file, 5, &mut back).unwrap();
                assert_eq!(&back, b"every byte of it", "{fault:?} {mode:?}");
                assert!(fs.struck() >= 1, "{fault:?} {mode:?}");
            }
        }
    }

    #[test]
    fn a_fault_waits_for_a_call_that_it_fits() {
        let fs = FaultFs::new(Arc::new(SimFs::new()));
        fs.arm(1, Fault::Enospc, FaultMode::Once);
        let file = fs.open("a", OpenMode::Create).unwrap();
        assert_eq!(file.len().unwrap(), 0);
        assert_eq!(fs.struck(), 0);
        let full = file.write_at(0, b"x").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        file.write_at(0, b"x").unwrap();
        assert_eq!((fs.struck(), fs.calls()), (1, 4));
    }

    #[test]
    fn bytes_of_a_failed_sync_stay_lost_after_a_later_one_that_succeeds() {
        let disk = SimFs::new();
        let fs = FaultFs::over(&disk);
        let file = fs.open("a", OpenMode::Create).unwrap();
        fs.sync_dir().unwrap();
        file.write_at(0, b"lost").unwrap();
        fs.arm(fs.calls(), Fault::Eio, FaultMode::Once);
        assert!(file.sync_data().is_err());
        file.write_at(600, b"kept").unwrap();
        file.sync_data().unwrap();
        let left = disk.crash(Crash::LoseUnsynced).peek("a").unwrap();
        assert_eq!(left[..4], [0; 4]);
        assert_eq!(left[600..], *b"kept");
        assert_eq!(disk.peek("a").unwrap()[..4], *b"lost");
    }
}
