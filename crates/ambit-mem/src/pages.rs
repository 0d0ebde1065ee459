//! Whole pages straight from the system, past the program's allocator, and counted.
//!
//! The program's counting allocator does not see them; [`bytes`] tells a snapshot of them. Where
//! there is no `mmap` the allocator has to do, and they are not counted twice.

use std::io;
use std::ptr::NonNull;

use crate::Bytes;
use crate::sync::{AtomicU64, Ordering};

static MAPPED: AtomicU64 = AtomicU64::new(0);

/// Bytes mapped now.
pub(crate) fn bytes() -> Bytes {
    Bytes::new(MAPPED.load(Ordering::Relaxed))
}

/// Bytes of a page.
pub(crate) fn size() -> usize {
    system::size()
}

/// Takes zeroed pages; `bytes` is a multiple of [`size`] and not zero.
///
/// # Errors
/// The system's, where it has no memory left.
pub(crate) fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    let base = system::map(bytes)?;
    MAPPED.fetch_add(system::counted(bytes), Ordering::Relaxed);
    Ok(base)
}

/// Gives pages back.
///
/// # Safety
/// `map(bytes)` gave `base`, and nobody uses these pages any more.
pub(crate) unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { system::unmap(base, bytes) };
    MAPPED.fetch_sub(system::counted(bytes), Ordering::Relaxed);
}

#[cfg(all(unix, not(miri)))]
mod system {
    use std::io;
    use std::ptr::{self, NonNull};

    use crate::sync::OnceLock;

    pub(super) fn size() -> usize {
        static PAGE: OnceLock<usize> = OnceLock::new();
        *PAGE.get_or_init(|| {
            // SAFETY: `sysconf` reads a number and touches no memory of ours.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            usize::try_from(page).unwrap_or(4096).max(1)
        })
    }

    pub(super) fn counted(bytes: usize) -> u64 {
        bytes as u64
    }

    pub(super) fn map(bytes: usize) -> io::Result<NonNull<u8>> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new anonymous mapping at an address of the system's choice overlaps nothing.
        let base = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))
    }

    /// # Safety
    /// `map(bytes)` gave `base`, and nobody uses these pages any more.
    pub(super) unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        let is_unmapped = unsafe { libc::munmap(base.as_ptr().cast(), bytes) } == 0;
        if !is_unmapped {
            // The kernel has no room to split a mapping in two; it can still drop the pages.
            // SAFETY: the caller's promise; nobody reads them again.
            unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
        }
    }
}

#[cfg(not(all(unix, not(miri))))]
mod system {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::io;
    use std::ptr::NonNull;

    pub(super) fn size() -> usize {
        4096
    }

    /// The allocator counts them.
    pub(super) fn counted(_: usize) -> u64 {
        0
    }

    fn layout(bytes: usize) -> io::Result<Layout> {
        Layout::from_size_align(bytes, size()).map_err(io::Error::other)
    }

    pub(super) fn map(bytes: usize) -> io::Result<NonNull<u8>> {
        let layout = layout(bytes)?;
        // SAFETY: a request is at least one byte, so the layout is not empty.
        let base = unsafe { alloc_zeroed(layout) };
        NonNull::new(base).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// # Safety
    /// `map(bytes)` gave `base`, and nobody uses this memory any more.
    pub(super) unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
        if let Ok(layout) = layout(bytes) {
            // SAFETY: the caller's promise, and `map` used the same layout.
            unsafe { dealloc(base.as_ptr(), layout) };
        }
    }
}
