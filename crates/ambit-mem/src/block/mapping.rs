//! Memory straight from the system, charged before it is taken and gone when it is given back.
//!
//! A [`Mapping`] is zeroed, starts on a page and is a whole number of pages. It does not go
//! through the program's allocator, which might keep it when it is freed. Where there is no
//! `mmap` the allocator has to do.

use std::ptr::NonNull;

use super::error::BlockError;
use crate::{Account, Bytes, Reservation};

/// Pages of this process, unmapped and then uncharged on drop.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    _held: Reservation,
}

// SAFETY: it owns its pages as a box does, and shares nothing.
unsafe impl Send for Mapping {}
// SAFETY: `&Mapping` only tells where the pages are.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Takes `bytes`, rounded up to whole pages, and charges them and the tables beside them.
    pub(super) fn new(account: &Account, request: Request) -> Result<Self, BlockError> {
        let bytes = request.bytes.checked_next_multiple_of(system::page());
        let Some(bytes) = bytes.filter(|&bytes| bytes <= isize::MAX as usize) else {
            return Err(BlockError::TooLarge {
                requested: Bytes::of(request.bytes),
                largest: Bytes::of(isize::MAX as usize),
            });
        };
        let held = account.reserve(Bytes::of(bytes).saturating_add(Bytes::of(request.beside)))?;
        match system::map(bytes) {
            Ok(base) => Ok(Self { base, bytes, _held: held }),
            Err(source) => Err(BlockError::System { requested: Bytes::of(bytes), source }),
        }
    }

    /// What `bytes` become when they are rounded up to whole pages.
    pub(super) fn rounded(bytes: usize) -> usize {
        bytes.next_multiple_of(system::page())
    }

    /// Its first byte. The pointer may be used for all of its bytes.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes that are mapped.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What to map.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    /// Bytes that will be used, at least one.
    pub bytes: usize,
    /// Bytes of tables that come with them, to be charged with them.
    pub beside: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: these are the pages that `map` gave, and whoever used them is gone: the owner
        // of a mapping drops it when its last block has come back.
        unsafe { system::unmap(self.base, self.bytes) };
    }
}

#[cfg(all(unix, not(miri)))]
mod system {
    use std::io;
    use std::ptr::{self, NonNull};

    use crate::sync::OnceLock;

    pub(super) fn page() -> usize {
        static PAGE: OnceLock<usize> = OnceLock::new();
        *PAGE.get_or_init(|| {
            // SAFETY: `sysconf` reads a number and touches no memory of ours.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            usize::try_from(page).unwrap_or(4096).max(1)
        })
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

    pub(super) fn page() -> usize {
        4096
    }

    fn layout(bytes: usize) -> io::Result<Layout> {
        Layout::from_size_align(bytes, page()).map_err(io::Error::other)
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
