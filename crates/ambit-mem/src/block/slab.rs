//! Slabs of one class: which of their blocks are free, and from which slab to take next?
//!
//! A slab is a mapping full of blocks and, apart from it, this header: one bit for each block.
//! A [`Shelf`] has the slabs of a class, in lists by how full they are. Blocks are taken from
//! the fullest slabs first, so that the others can run empty and go back to the system.
//!
//! Everything here happens under the lock of the shelf. What a [`Home`] says of a slab never
//! changes and may be read by whoever holds one of its blocks: the slab is dropped only when
//! all blocks are back. It keeps its pool alive until then.

use std::cell::UnsafeCell;
use std::ptr::NonNull;

use super::buddy::BuddyCore;
use super::class::{CLASSES, MOST_PER_SLAB};
use super::error::BlockError;
use super::handle::Tag;
use super::mapping::{Mapping, Request};
use super::pool::Core;
use crate::sync::Arc;

const WORDS: usize = MOST_PER_SLAB / 64;
/// Lists of slabs with some free blocks; the first has the fullest.
const PARTIAL: usize = 4;
/// The list of slabs without live blocks.
const EMPTY: usize = PARTIAL;
/// A full slab is in no list.
const FULL: usize = usize::MAX;
/// What the allocator adds to a header of this alignment.
const ALLOCATOR: usize = 64;

/// The id of no block pool, and not `NO_KEY` either.
pub(super) const NO_POOL: u64 = u64::MAX;

/// What a block has to know of where it belongs.
#[derive(Debug)]
pub(super) struct Home {
    /// The id of the block pool it belongs to, or [`NO_POOL`].
    pub pool: u64,
    pub owner: Owner,
    /// Blocks are multiples of this many bytes.
    pub unit: usize,
}

impl Home {
    /// Bytes of a block with this tag.
    #[inline]
    pub(super) fn capacity(&self, tag: Tag) -> usize {
        match self.owner {
            Owner::Pool { .. } => self.unit,
            Owner::Buddy { .. } => self.unit * tag.leaves(),
        }
    }
}

/// Who takes a block back.
#[derive(Debug)]
pub(super) enum Owner {
    /// A block pool.
    Pool { core: Arc<Core> },
    /// A buddy pool.
    Buddy { core: Arc<BuddyCore> },
}

/// A block that belongs to nobody at present.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Its first byte; may be used for all of the block.
    pub block: NonNull<u8>,
    /// The header it belongs to; may be used for all of the header.
    pub home: NonNull<Home>,
}

/// The header of a slab.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Slab {
    /// First, so that a pointer to it is a pointer to the slab.
    home: Home,
    mapping: Mapping,
    /// Under the lock of the shelf.
    state: UnsafeCell<State>,
}

/// Apart from the line that everybody reads who frees a block.
#[derive(Debug)]
#[repr(align(64))]
struct State {
    free: usize,
    list: usize,
    previous: Option<NonNull<Slab>>,
    next: Option<NonNull<Slab>>,
    /// A set bit is a free block.
    mask: [u64; WORDS],
}

impl Slab {
    /// Bytes of a header, with what the allocator adds.
    pub(super) const HEADER: usize = size_of::<Self>() + ALLOCATOR;

    /// A slab of free blocks of `class`.
    ///
    /// # Errors
    /// Those of [`Mapping::new`]. No lock of the pool may be held: to find room, the ledger may
    /// ask the pool itself.
    pub(super) fn new(core: Arc<Core>, class: usize) -> Result<Box<Self>, BlockError> {
        let shape = CLASSES[class];
        let request = Request { bytes: shape.slab_bytes(), beside: Self::HEADER };
        let mapping = Mapping::new(&core.account, request)?;
        let mut mask = [0; WORDS];
        for index in 0..shape.per_slab {
            mask[index / 64] |= 1 << (index % 64);
        }
        let (free, list) = (shape.per_slab, FULL);
        let state = UnsafeCell::new(State { free, list, previous: None, next: None, mask });
        let home = Home { pool: core.id, owner: Owner::Pool { core }, unit: shape.size };
        Ok(Box::new(Self { home, mapping, state }))
    }

    /// Bytes that each slab of a class has from the system.
    pub(super) fn mapped_bytes(class: usize) -> usize {
        Mapping::rounded(CLASSES[class].slab_bytes())
    }

    /// Bytes that it has from the system.
    pub(super) fn bytes(&self) -> usize {
        self.mapping.bytes()
    }
}

/// The slabs of a class.
#[derive(Debug)]
pub(super) struct Shelf {
    class: usize,
    lists: [Option<NonNull<Slab>>; PARTIAL + 1],
    /// Slabs, those in no list too.
    pub slabs: usize,
    /// Slabs without live blocks.
    pub empty: usize,
    /// Blocks that the slabs have and that are not here: live, or in a thread's cache.
    pub out: usize,
}

// SAFETY: the slabs it points to are its own: they were boxes handed to `add`, and others who
// have pointers to them read only their `home`, which is `Sync`.
unsafe impl Send for Shelf {}

impl Shelf {
    /// No slabs.
    pub(super) const fn new(class: usize) -> Self {
        Self { class, lists: [None; PARTIAL + 1], slabs: 0, empty: 0, out: 0 }
    }

    /// Takes a new slab in.
    pub(super) fn add(&mut self, slab: Box<Slab>) {
        let slab = NonNull::from(Box::leak(slab));
        self.slabs += 1;
        // SAFETY: the slab is new, of this class, and in no list.
        unsafe { self.file(slab) };
    }

    /// Hands up to `wanted` free blocks to `taken`; returns how many.
    pub(super) fn take(&mut self, wanted: usize, mut taken: impl FnMut(Slot)) -> usize {
        let mut missing = wanted;
        while missing > 0
            && let Some(slab) = self.lists.iter().find_map(|&first| first)
        {
            // SAFETY: slabs in our lists are alive, and the state is ours under the lock.
            unsafe { self.take_from(slab, &mut missing, &mut taken) };
        }
        self.out += wanted - missing;
        wanted - missing
    }

    /// Hands up to `missing` free blocks of `slab` out and counts them off.
    ///
    /// # Safety
    /// `slab` is in one of our lists.
    unsafe fn take_from(
        &mut self,
        slab: NonNull<Slab>,
        missing: &mut usize,
        taken: &mut impl FnMut(Slot),
    ) {
        let size = CLASSES[self.class].size;
        // SAFETY: a listed slab is alive, and its mapping does not change.
        let base = unsafe { slab.as_ref() }.mapping.base();
        // SAFETY: we have the lock (`&mut self`), and no other reference to the state is alive.
        let state = unsafe { &mut *slab.as_ref().state.get() };
        for (word, bits) in state.mask.iter_mut().enumerate() {
            while *bits != 0 && *missing > 0 {
                let index = word * 64 + bits.trailing_zeros() as usize;
                *bits &= *bits - 1;
                state.free -= 1;
                *missing -= 1;
                // SAFETY: bits are set only below `per_slab`, so the block lies in the mapping.
                let block = unsafe { base.add(index * size) };
                taken(Slot { block, home: slab.cast() });
            }
        }
        // SAFETY: the caller's promise; the state is not borrowed any more.
        unsafe { self.refile(slab) };
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// [`take`](Self::take) of this shelf gave `slot`, and it is nobody's now. The slab may be
    /// gone as soon as the lock is.
    pub(super) unsafe fn put(&mut self, slot: Slot) {
        let slab: NonNull<Slab> = slot.home.cast();
        // SAFETY: the slab is alive, for a block of it was out until now.
        let base = unsafe { slab.as_ref() }.mapping.base();
        let index = CLASSES[self.class].index_of(slot.block.addr().get() - base.addr().get());
        // SAFETY: as above; we have the lock, and no other reference to the state is alive.
        let state = unsafe { &mut *slab.as_ref().state.get() };
        let bit = 1 << (index % 64);
        debug_assert_eq!(state.mask[index / 64] & bit, 0, "a block came back twice");
        state.mask[index / 64] |= bit;
        state.free += 1;
        self.out -= 1;
        // SAFETY: the slab is one of ours.
        unsafe { self.refile(slab) };
    }

    /// Takes a slab without live blocks out of the shelf. Drop it when no lock of its pool is
    /// held: with the last slab the pool itself may go.
    pub(super) fn remove_empty(&mut self) -> Option<Box<Slab>> {
        let slab = self.lists[EMPTY]?;
        self.slabs -= 1;
        // SAFETY: a listed slab is alive; it came from a box, all its blocks are here, and this
        // was the last pointer to it.
        unsafe {
            self.unlink(slab);
            Some(Box::from_raw(slab.as_ptr()))
        }
    }

    /// Moves `slab` to the list it belongs to now.
    ///
    /// # Safety
    /// `slab` is one of ours, and its state is not borrowed.
    unsafe fn refile(&mut self, slab: NonNull<Slab>) {
        // SAFETY: the caller's promise.
        let (list, free) = unsafe {
            let state = &*slab.as_ref().state.get();
            (state.list, state.free)
        };
        if list != self.list_for(free) {
            // SAFETY: the caller's promise.
            unsafe {
                self.unlink(slab);
                self.file(slab);
            }
        }
    }

    fn list_for(&self, free: usize) -> usize {
        match free {
            0 => FULL,
            // All free is `PARTIAL`, and that is `EMPTY`.
            free => free * PARTIAL / CLASSES[self.class].per_slab,
        }
    }

    /// Puts `slab` at the head of its list.
    ///
    /// # Safety
    /// `slab` is one of ours, its state is not borrowed, and it is in no list.
    unsafe fn file(&mut self, slab: NonNull<Slab>) {
        // SAFETY: the caller's promise.
        let state = unsafe { &mut *slab.as_ref().state.get() };
        state.list = self.list_for(state.free);
        if state.list == FULL {
            return;
        }
        self.empty += usize::from(state.list == EMPTY);
        state.previous = None;
        state.next = self.lists[state.list].replace(slab);
        if let Some(next) = state.next {
            // SAFETY: a listed slab is alive, and is another one than `slab`.
            unsafe { (*next.as_ref().state.get()).previous = Some(slab) };
        }
    }

    /// Takes `slab` out of its list, if it is in one.
    ///
    /// # Safety
    /// `slab` is one of ours, and its state is not borrowed.
    unsafe fn unlink(&mut self, slab: NonNull<Slab>) {
        // SAFETY: the caller's promise.
        let state = unsafe { &mut *slab.as_ref().state.get() };
        if state.list == FULL {
            return;
        }
        self.empty -= usize::from(state.list == EMPTY);
        // SAFETY: neighbours are in the same list, so they are alive and are other slabs.
        unsafe {
            match state.previous {
                Some(previous) => (*previous.as_ref().state.get()).next = state.next,
                None => self.lists[state.list] = state.next,
            }
            if let Some(next) = state.next {
                (*next.as_ref().state.get()).previous = state.previous;
            }
        }
        state.list = FULL;
    }
}
