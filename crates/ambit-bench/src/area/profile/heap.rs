//! Blocks from an allocator that is not this process's own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;

use ambit_mem::TrackingAllocator;

use super::planted::{self, Heap};

/// A block of memory; freed when dropped.
pub struct Block<'a, A: GlobalAlloc> {
    allocator: &'a A,
    pointer: *mut u8,
    layout: Layout,
}

impl<'a, A: GlobalAlloc> Block<'a, A> {
    /// At least one byte; its first byte is written.
    #[inline]
    pub fn of(allocator: &'a A, size: usize) -> Self {
        let layout = layout(size);
        // SAFETY: the layout is not empty.
        let pointer = unsafe { allocator.alloc(layout) };
        let block = Self { allocator, pointer: checked(pointer, layout), layout };
        // SAFETY: the block is at least one byte and nobody else has it.
        unsafe { block.pointer.write(1) };
        block
    }

    /// Makes it as large as `size`, or smaller.
    pub fn resize(&mut self, size: usize) {
        let new = layout(size);
        // SAFETY: the block came from this allocator with this layout; the new size is not 0 and
        // was checked by `layout`.
        let pointer = unsafe { self.allocator.realloc(self.pointer, self.layout, new.size()) };
        self.pointer = checked(pointer, new);
        self.layout = new;
    }

    /// Copies `bytes` to `at`; what does not fit is left out.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        let room = self.layout.size().saturating_sub(at).min(bytes.len());
        if room > 0 {
            // SAFETY: `room` bytes from `at` lie in the block, which nobody else has, and
            // `bytes` is as long; they are different memory.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.pointer.add(at), room) };
        }
    }

    pub fn size(&self) -> usize {
        self.layout.size()
    }
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size.max(1), 8).unwrap_or(Layout::new::<u64>())
}

fn checked(pointer: *mut u8, layout: Layout) -> *mut u8 {
    if pointer.is_null() {
        std::alloc::handle_alloc_error(layout);
    }
    pointer
}

impl<A: GlobalAlloc> Drop for Block<'_, A> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the block came from this allocator with this layout, and is freed once.
        unsafe { self.allocator.dealloc(self.pointer, self.layout) };
    }
}

/// Allocates and frees `blocks`, up to 64 alive; nothing else.
pub fn churn<A: GlobalAlloc>(allocator: &A, blocks: u32) -> u64 {
    let mut alive: [Option<Block<'_, A>>; 64] = [const { None }; 64];
    let mut state = 1u64;
    for _ in 0..blocks {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let size = 16 + (state >> 54) as usize % 1009;
        alive[(state >> 33) as usize % 64] = Some(Block::of(allocator, size));
    }
    black_box(alive.iter().flatten().map(|block| block.size() as u64).sum())
}

/// The heap of the planted programs.
pub struct TrackedHeap(pub &'static TrackingAllocator<System>);

/// A block of a planted program.
type Planted = Block<'static, TrackingAllocator<System>>;

fn take(heap: &TrackedHeap, size: usize) -> Planted {
    Block::of(heap.0, size)
}

planted::sites!(&TrackedHeap, Planted, take);

impl Heap for TrackedHeap {
    type Block = Planted;

    fn take(&mut self, site: usize, size: usize) -> Planted {
        TAKE[site].1(self, size)
    }
}
