//! Memory that carries its charge.
//!
//! A block is zeroed memory with a header in front, in which its reservation lies, so that a
//! list of blocks needs no memory of its own. A block is made outside of all locks, because
//! reserving may run foreign code, and then handed to whoever needs it.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use crate::{Account, Bytes, OverBudget, Reservation};

/// In front of the memory of each block.
struct Header {
    next: Option<NonNull<Self>>,
    layout: Layout,
    charge: Reservation,
}

/// Bytes in front of the memory; a multiple of its alignment.
const AHEAD: usize = size_of::<Header>();

/// Zeroed memory, aligned to 8 bytes, freed on drop.
pub(super) struct Block {
    header: NonNull<Header>,
}

// SAFETY: a block owns its memory; the header has no tie to a thread.
unsafe impl Send for Block {}

impl Block {
    /// Zeroed memory of `size` bytes.
    pub(super) fn new(account: &Account, size: usize) -> Result<Self, OverBudget> {
        let size = size.saturating_add(AHEAD);
        let charge = account.reserve(Bytes::new(size as u64))?;
        let Ok(layout) = Layout::from_size_align(size, align_of::<Header>()) else {
            handle_alloc_error(Layout::new::<Header>());
        };
        // SAFETY: the layout has the size of a header at least.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(header) = NonNull::new(memory.cast::<Header>()) else {
            handle_alloc_error(layout);
        };
        // SAFETY: the memory is new, aligned for a header and large enough for it.
        unsafe { header.write(Header { next: None, layout, charge }) };
        Ok(Self { header })
    }

    /// Bytes of its memory.
    pub(super) fn size(&self) -> usize {
        self.header().layout.size() - AHEAD
    }

    /// Bytes of its memory and its header.
    pub(super) fn footprint(&self) -> u64 {
        self.header().layout.size() as u64
    }

    fn header(&self) -> &Header {
        // SAFETY: the header was written when the block was made, and the block owns it.
        unsafe { self.header.as_ref() }
    }

    /// Its memory: valid for reads and writes until the block is dropped.
    pub(super) fn memory(&self) -> NonNull<u8> {
        // SAFETY: the allocation has `AHEAD` bytes and more.
        unsafe { self.header.cast::<u8>().add(AHEAD) }
    }

    /// Gives the block up to whoever holds its memory.
    pub(super) fn into_memory(self) -> NonNull<u8> {
        let memory = self.memory();
        std::mem::forget(self);
        memory
    }

    /// Takes a block over.
    ///
    /// # Safety
    /// `memory` came from [`Block::into_memory`], and is taken over once.
    pub(super) unsafe fn from_memory(memory: NonNull<u8>) -> Self {
        // SAFETY: the header lies `AHEAD` bytes in front, in the same allocation.
        Self { header: unsafe { memory.sub(AHEAD) }.cast() }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the block owns the memory, which came from `alloc_zeroed` with this layout;
        // the header is read out once and not used again.
        unsafe {
            let header = self.header.read();
            dealloc(self.header.as_ptr().cast(), header.layout);
            drop(header.charge);
        }
    }
}

/// Blocks that are kept until all are dropped.
#[derive(Default)]
pub(super) struct Blocks {
    head: Option<NonNull<Header>>,
    footprint: u64,
}

// SAFETY: it owns its blocks, which may go to any thread.
unsafe impl Send for Blocks {}

impl Blocks {
    /// Keeps a block; returns its memory.
    pub(super) fn keep(&mut self, mut block: Block) -> NonNull<u8> {
        self.footprint += block.footprint();
        // SAFETY: the block owns its header, and is borrowed exclusively.
        unsafe { block.header.as_mut() }.next = self.head;
        self.head = Some(block.header);
        block.into_memory()
    }

    /// Bytes of all blocks.
    pub(super) fn footprint(&self) -> u64 {
        self.footprint
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        while let Some(header) = self.head {
            let block = Block { header };
            self.head = block.header().next;
        }
    }
}
