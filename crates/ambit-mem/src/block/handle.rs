//! A block in the hands of its owner: bytes that can be read as far as they were written.
//!
//! A fresh block has a capacity and no length, as a `Vec` does; writing makes it longer, up to
//! its capacity. So a recycled block need not be cleared, and still nobody reads bytes of an
//! earlier owner, nor bytes that were never written. Who needs zeroes asks for zeroes.
//!
//! A block starts at a multiple of 64 bytes, so its bytes can be seen as `f32`s in place. It
//! knows by its slab's header where it belongs, and goes back there on drop, on any thread.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;

use super::class::{self, ALIGNMENT};
use super::error::BlockFull;
use super::magazine::Magazine;
use super::pool::magazine_at_hand;
use super::slab::{Home, Owner, Slot};
use crate::Bytes;
use crate::sync::Arc;

/// A block of a [`BlockPool`](super::BlockPool) or a [`BuddyPool`](super::BuddyPool); goes back
/// on drop.
///
/// It reads as the `[u8]` written so far, and starts at a multiple of
/// [`ALIGNMENT`](super::ALIGNMENT). It keeps its memory, and what that takes from the budget, as
/// long as it lives, even where the pool is gone.
pub struct PooledBlock {
    block: NonNull<u8>,
    home: NonNull<Home>,
    tag: Tag,
    /// Bytes that are written.
    len: u32,
}

/// What a block's owner does not have to know: in a block pool, the bytes that were asked for
/// and, in the low byte, the class; in a buddy pool, the leaves.
#[derive(Clone, Copy)]
pub(super) struct Tag(u32);

const _: () = assert!(class::LARGEST_BLOCK < 1 << 24 && class::COUNT < 1 << 8);

impl Tag {
    #[inline(always)]
    pub(super) fn new(class: usize, requested: usize) -> Self {
        Self((requested << 8 | class) as u32)
    }

    pub(super) fn of_leaves(leaves: usize) -> Self {
        Self(leaves as u32)
    }

    #[inline(always)]
    pub(super) fn leaves(self) -> usize {
        self.0 as usize
    }

    #[inline(always)]
    pub(super) fn class(self) -> usize {
        (self.0 & 0xFF) as usize
    }

    #[inline(always)]
    pub(super) fn requested(self) -> u32 {
        self.0 >> 8
    }
}

// SAFETY: the block is its owner's alone, as a box is; what `home` points to is `Sync`.
unsafe impl Send for PooledBlock {}
// SAFETY: `&PooledBlock` only reads.
unsafe impl Sync for PooledBlock {}

impl PooledBlock {
    /// An empty block.
    ///
    /// # Safety
    /// A pool gave `slot` to the caller alone, of the class and for the bytes that `tag` says, and
    /// its header lives until it is back.
    #[inline(always)]
    pub(super) unsafe fn new(slot: Slot, tag: Tag) -> Self {
        Self { block: slot.block, home: slot.home, tag, len: 0 }
    }

    /// A block of `len` zeroes, made at once: one that is made first and then filled is copied
    /// half-written, which has to wait for what was written.
    ///
    /// # Safety
    /// As for [`new`](Self::new), and the block has room for `len` bytes.
    #[inline(always)]
    pub(super) unsafe fn zeroed(slot: Slot, tag: Tag, len: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe { ptr::write_bytes(slot.block.as_ptr(), 0, len) };
        Self { block: slot.block, home: slot.home, tag, len: len as u32 }
    }

    /// A block with a copy of `bytes`, made at once as well.
    ///
    /// # Safety
    /// As for [`new`](Self::new), and the block has room for them.
    #[inline(always)]
    pub(super) unsafe fn copied(slot: Slot, tag: Tag, bytes: &[u8]) -> Self {
        // SAFETY: the caller's promise; the block is nobody else's, so `bytes` is elsewhere.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), slot.block.as_ptr(), bytes.len()) };
        Self { block: slot.block, home: slot.home, tag, len: bytes.len() as u32 }
    }

    fn home(&self) -> &Home {
        // SAFETY: a header lives as long as one of its blocks is out.
        unsafe { self.home.as_ref() }
    }

    /// Bytes that fit; at least what was asked for.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.home().capacity(self.tag)
    }

    /// Bytes written.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nothing is written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes written.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are written and within the block, which is ours.
        unsafe { slice::from_raw_parts(self.block.as_ptr(), self.len()) }
    }

    /// The bytes written, to change them.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `self` is borrowed for as long.
        unsafe { slice::from_raw_parts_mut(self.block.as_ptr(), self.len()) }
    }

    /// The bytes written as `f32`s in the byte order of this machine: `len() / 4` of them; up to
    /// three bytes at the end that do not make one are left out.
    #[inline]
    pub fn as_f32s(&self) -> &[f32] {
        // SAFETY: `len / 4 * 4` bytes are written; every bit pattern is an `f32`; blocks start
        // at a multiple of 64, so of 4.
        unsafe { slice::from_raw_parts(self.block.as_ptr().cast(), self.len() / size_of::<f32>()) }
    }

    /// As [`as_f32s`](Self::as_f32s), to change them.
    #[inline]
    pub fn as_f32s_mut(&mut self) -> &mut [f32] {
        let len = self.len() / size_of::<f32>();
        // SAFETY: as in `as_f32s`; every `f32` is bytes; `self` is borrowed for as long.
        unsafe { slice::from_raw_parts_mut(self.block.as_ptr().cast(), len) }
    }

    /// Writes `bytes` behind those that are there.
    ///
    /// # Errors
    /// [`BlockFull`] where they do not fit; nothing is written then.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> Result<(), BlockFull> {
        let room = self.capacity() - self.len();
        if bytes.len() > room {
            return Err(BlockFull { bytes: Bytes::of(bytes.len()), room: Bytes::of(room) });
        }
        // SAFETY: there is room for them behind the bytes written; the block is ours, so `bytes`
        // is elsewhere.
        unsafe {
            let end = self.block.as_ptr().add(self.len());
            ptr::copy_nonoverlapping(bytes.as_ptr(), end, bytes.len());
        }
        self.len += bytes.len() as u32;
        Ok(())
    }

    /// Writes `values` behind the bytes that are there, in the byte order of this machine.
    ///
    /// # Errors
    /// [`BlockFull`] where they do not fit; nothing is written then.
    pub fn extend_from_f32s(&mut self, values: &[f32]) -> Result<(), BlockFull> {
        self.extend_from_slice(bytes_of(values))
    }

    /// Makes it `len` bytes long: shortens it, or writes `value`s behind the bytes that are
    /// there.
    ///
    /// # Errors
    /// [`BlockFull`] where it has no room for `len` bytes; it stays as it was.
    pub fn resize(&mut self, len: usize, value: u8) -> Result<(), BlockFull> {
        let (more, room) = (len.saturating_sub(self.len()), self.capacity() - self.len());
        if more > room {
            return Err(BlockFull { bytes: Bytes::of(more), room: Bytes::of(room) });
        }
        // SAFETY: there is room for `more` bytes behind those written, and the block is ours.
        unsafe { ptr::write_bytes(self.block.as_ptr().add(self.len()), value, more) };
        self.len = len as u32;
        Ok(())
    }

    /// Shortens it to `len` bytes, if it is longer.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(u32::try_from(len).unwrap_or(u32::MAX));
    }

    /// Shortens it to nothing.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The room behind the bytes written, for whoever fills memory himself and then says so by
    /// [`set_len`](Self::set_len).
    pub fn spare_capacity_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let room = self.capacity() - self.len();
        // SAFETY: the room lies in the block, which is ours; it may be uninitialised.
        unsafe { slice::from_raw_parts_mut(self.block.as_ptr().add(self.len()).cast(), room) }
    }

    /// Says how many bytes are written.
    ///
    /// # Safety
    /// `len` is at most [`capacity`](Self::capacity), and the first `len` bytes are written by
    /// this owner.
    pub unsafe fn set_len(&mut self, len: usize) {
        debug_assert!(len <= self.capacity());
        self.len = len as u32;
    }
}

/// The bytes of `values`.
pub(super) fn bytes_of(values: &[f32]) -> &[u8] {
    // SAFETY: an `f32` is four bytes without padding, and a byte needs no alignment.
    unsafe { slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

impl Drop for PooledBlock {
    #[inline(always)]
    fn drop(&mut self) {
        let slot = Slot { block: self.block, home: self.home };
        // What tells where the block goes does not hang on what was just read from the magazine,
        // so a block that comes and goes waits for one word only. Where the pool is not the one
        // used last, its own code looks.
        // SAFETY: the pool is alive as long as the block is out, and tags have classes; a buddy
        // pool has no id that is remembered. The magazine is this thread's, and the block is nobody's from here on. Nothing of the pool
        // is touched once it is put.
        let is_put = unsafe {
            magazine_at_hand(self.home().pool, self.tag.class())
                .is_some_and(|magazine| Magazine::try_put(magazine, slot, self.tag.requested()))
        };
        if !is_put {
            // SAFETY: as above; it is not put.
            unsafe { put_slowly(slot, self.tag) };
        }
    }
}

/// # Safety
/// A pool gave `slot` with `tag`, and it is nobody's now.
#[cold]
#[inline(never)]
unsafe fn put_slowly(slot: Slot, tag: Tag) {
    // SAFETY: the block is not back yet, so its header is alive.
    match unsafe { &slot.home.as_ref().owner } {
        Owner::Pool { core } => {
            // The block may be the last that keeps the core.
            let core = Arc::clone(core);
            // SAFETY: the caller's promise.
            unsafe { core.put(tag.class(), slot, tag.requested()) };
        }
        Owner::Buddy { core } => {
            let core = Arc::clone(core);
            // SAFETY: the caller's promise.
            unsafe { core.put(slot, tag.leaves()) };
        }
    }
}

impl Deref for PooledBlock {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for PooledBlock {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

impl AsRef<[u8]> for PooledBlock {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl io::Write for PooledBlock {
    /// Writes what fits; `Ok(0)` where the block is full.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(self.capacity() - self.len());
        self.extend_from_slice(&bytes[..fits]).map_err(io::Error::other)?;
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for PooledBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBlock")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .finish_non_exhaustive()
    }
}

const _: () = assert!(ALIGNMENT.is_multiple_of(align_of::<f32>()));
