//! The only code that touches files.
//!
//! A store is a flat directory of files; a [`Vfs`] is that directory. Four implementations:
//! [`OsFs`] the real one; [`SimFs`] keeps durable and pending state apart, for data and for
//! directory entries, and can crash; [`FaultFs`] fails the n-th call; [`TraceFs`] records the
//! order of calls. Names are plain file names, never paths.

mod exact;
mod fault;
mod os;
mod sim;
mod trace;

use std::io;
use std::ops::Range;
use std::sync::Arc;

pub use exact::{read_exact_at, write_all_at};
pub use fault::{Fault, FaultFs, FaultMode};
pub use os::OsFs;
pub use sim::{Crash, Moment, SimFs};
pub use trace::{Call, CallKind, Event, NotAnEvent, TraceFs};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; read only.
    Read,
    /// Must exist; read and write.
    Write,
    /// Must not exist; created empty; read and write.
    Create,
}

/// One directory of files.
pub trait Vfs: Send + Sync {
    /// Opens or creates the file `name`.
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>>;
    /// Renames a file; an existing `to` is replaced. Durable after [`Vfs::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes the entry `name`. Files that are open or mapped stay readable.
    fn unlink(&self, name: &str) -> io::Result<()>;
    /// The names of all files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Makes creations, renames and unlinks durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Takes a lock on a byte range of the file `name`, created if absent: `None` if another
    /// holder is in the way. The lock dies with its process, or when the value is dropped.
    fn lock(
        &self,
        name: &str,
        range: Range<u64>,
        kind: LockKind,
    ) -> io::Result<Option<Box<dyn FileLock>>>;
    /// What messages call this directory.
    fn describe(&self) -> String;
}

/// Who may hold a byte range together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Any number of shared holders.
    Shared,
    /// One holder.
    Exclusive,
}

/// A held byte-range lock; released on drop.
pub trait FileLock: Send + Sync {}

/// One open file. All offsets are absolute; there is no cursor.
pub trait VfsFile: Send + Sync {
    /// Reads at `offset`; short reads are allowed, 0 means end of file.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes at `offset`; short writes are allowed. Not durable before [`VfsFile::sync_data`].
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// Makes everything written, and the length, durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Is the file empty?
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Extends the file to `len` zero bytes and claims the disk space for them.
    fn preallocate(&self, len: u64) -> io::Result<()>;
    /// Maps the whole file for reading. The caller promises that the file is sealed: nobody
    /// changes or truncates it any more.
    fn map(&self) -> io::Result<Arc<dyn Mapping>>;
}

/// A sealed file in the address space. Pages come in when they are touched.
pub trait Mapping: Send + Sync {
    /// The whole file.
    fn bytes(&self) -> &[u8];
    /// Brings the pages of `range` in now, in one call where the kernel can.
    fn populate(&self, range: Range<usize>);
    /// Gives the pages of `range` back to the kernel; they come in again when touched.
    fn release(&self, range: Range<usize>);
}

#[cfg(test)]
mod tests;
