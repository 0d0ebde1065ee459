//! Byte-range locks that belong to an open file description (`F_OFD_SETLK`).
//!
//! Unlike the older POSIX locks they also stand between two openings in one process, are not
//! dropped when some other descriptor of the file is closed, and die with the process however
//! it ends.

#![expect(unsafe_code, reason = "no crate in the tree offers open-file-description locks")]

use std::fs::File;
use std::io;
use std::mem;
use std::ops::Range;
use std::os::fd::AsRawFd;

use crate::vfs::{FileLock, LockKind};

/// A held range; closing the description lets it go.
pub(super) struct HeldLock {
    _file: File,
}

impl FileLock for HeldLock {}

/// Locks `range` of `file`, or says that somebody else holds a part of it.
///
/// # Errors
/// An empty range or one past 2^63, and what the kernel reports.
pub(super) fn try_lock(
    file: File,
    range: Range<u64>,
    kind: LockKind,
) -> io::Result<Option<HeldLock>> {
    let request = describe(&range, kind)?;
    loop {
        // SAFETY: `file` is open for the whole call, and `F_OFD_SETLK` reads one `flock` from
        // the pointer, which is a live local of that type; it keeps neither.
        let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const request) };
        if done == 0 {
            return Ok(Some(HeldLock { _file: file }));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => return Ok(None),
            Some(libc::EINTR) => {}
            _ => return Err(error),
        }
    }
}

fn describe(range: &Range<u64>, kind: LockKind) -> io::Result<libc::flock> {
    let bad = || {
        let message = format!("cannot lock bytes {}..{}: not a range", range.start, range.end);
        io::Error::new(io::ErrorKind::InvalidInput, message)
    };
    // A length of 0 would mean "to the end of the file".
    let len = range.end.checked_sub(range.start).filter(|&len| len > 0).ok_or_else(bad)?;
    i64::try_from(range.end).map_err(|_| bad())?;
    // SAFETY: `flock` is a C struct of integers, for which all zeros is a value. It is built
    // this way because some platforms have more fields than the five of POSIX.
    let mut request: libc::flock = unsafe { mem::zeroed() };
    request.l_type = match kind {
        LockKind::Shared => libc::F_RDLCK,
        LockKind::Exclusive => libc::F_WRLCK,
    } as libc::c_short;
    request.l_whence = libc::SEEK_SET as libc::c_short;
    request.l_start = range.start.try_into().map_err(|_| bad())?;
    request.l_len = len.try_into().map_err(|_| bad())?;
    Ok(request)
}
