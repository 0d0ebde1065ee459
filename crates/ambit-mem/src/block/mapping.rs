//! Memory straight from the system, charged before it is taken and gone when it is given back.
//!
//! A [`Mapping`] is zeroed, starts on a page and is a whole number of pages. It does not go
//! through the program's allocator, which might keep it when it is freed. Where there is no
//! `mmap` the allocator has to do.

use std::ptr::NonNull;

use super::error::BlockError;
use crate::{Account, Bytes, Reservation, pages};

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
        let bytes = request.bytes.checked_next_multiple_of(pages::size());
        let Some(bytes) = bytes.filter(|&bytes| bytes <= isize::MAX as usize) else {
            return Err(BlockError::TooLarge {
                requested: Bytes::of(request.bytes),
                largest: Bytes::of(isize::MAX as usize),
            });
        };
        let held = account.reserve(Bytes::of(bytes).saturating_add(Bytes::of(request.beside)))?;
        match pages::map(bytes) {
            Ok(base) => Ok(Self { base, bytes, _held: held }),
            Err(source) => Err(BlockError::System { requested: Bytes::of(bytes), source }),
        }
    }

    /// What `bytes` become when they are rounded up to whole pages.
    pub(super) fn rounded(bytes: usize) -> usize {
        bytes.next_multiple_of(pages::size())
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
        unsafe { pages::unmap(self.base, self.bytes) };
    }
}
