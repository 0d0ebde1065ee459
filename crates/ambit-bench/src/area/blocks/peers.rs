//! The same work with allocators and object pools of others.
//!
//! Allocators are asked through `GlobalAlloc` for blocks of the same size and alignment. Object
//! pools lend boxes of the same size, which they made before; each gets as many as it will need.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;

use super::{PASSED, Peer, REPEATS, pass};
use crate::error::BenchError;
use crate::timing::nanoseconds;

/// A block of an allocator, freed on drop.
struct Block<A: GlobalAlloc + 'static> {
    allocator: &'static A,
    pointer: *mut u8,
    layout: Layout,
}

// SAFETY: the block is its owner's alone, and a global allocator frees on any thread.
unsafe impl<A: GlobalAlloc + Sync> Send for Block<A> {}

impl<A: GlobalAlloc> Block<A> {
    #[inline(always)]
    fn new(allocator: &'static A, layout: Layout) -> Self {
        // SAFETY: no layout here is empty.
        Self { allocator, pointer: unsafe { allocator.alloc(layout) }, layout }
    }
}

impl<A: GlobalAlloc> Drop for Block<A> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.pointer.is_null() {
            // SAFETY: `alloc` gave it for this layout, and it is freed once.
            unsafe { self.allocator.dealloc(self.pointer, self.layout) };
        }
    }
}

fn hot_allocator<A: GlobalAlloc + Sync>(
    name: &'static str,
    allocator: &'static A,
    layout: Layout,
) -> Peer {
    let call = move |_| {
        let block = Block::new(allocator, black_box(layout));
        black_box(block.pointer);
    };
    // A large block may cost its allocator system calls.
    let repeats = if layout.size() > 64 << 10 { REPEATS / 100 } else { REPEATS / 4 };
    Peer { name, measure: Box::new(move |threads| nanoseconds(threads, repeats, &call)) }
}

fn passed_allocator<A: GlobalAlloc + Sync>(
    name: &'static str,
    allocator: &'static A,
    layout: Layout,
) -> Peer {
    let take = move || Block::new(allocator, black_box(layout));
    Peer { name, measure: Box::new(move |_| pass(&take, &drop)) }
}

static SYSTEM: System = System;
static SNMALLOC: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;
static MIMALLOC: mimalloc::MiMalloc = mimalloc::MiMalloc;
static JEMALLOC: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size, 64).ok()
}

struct Boxes(usize);

impl opool::PoolAllocator<Box<[u8]>> for Boxes {
    fn allocate(&self) -> Box<[u8]> {
        vec![0; self.0].into_boxed_slice()
    }
}

fn boxed(size: usize) -> impl Fn() -> Box<[u8]> + Clone {
    move || vec![0; size].into_boxed_slice()
}

fn show(bytes: &[u8]) {
    black_box(bytes.as_ptr());
}

fn hot_pools(size: usize) -> Vec<Peer> {
    let peer =
        |name, measure: Box<dyn Fn(usize) -> Result<f64, BenchError>>| Peer { name, measure };
    let pools = opool::Pool::<Boxes, Box<[u8]>>::new_prefilled(64, Boxes(size));
    let linear = lockfree_object_pool::LinearObjectPool::new(boxed(size), |_| {});
    let objects = object_pool::Pool::new(64, boxed(size));
    let fresh = boxed(size);
    vec![
        peer(
            "opool",
            Box::new(move |threads| nanoseconds(threads, REPEATS / 4, &|_| show(&pools.get()))),
        ),
        peer(
            "lockfree-object-pool",
            Box::new(move |threads| nanoseconds(threads, REPEATS / 4, &|_| show(&linear.pull()))),
        ),
        peer(
            "object-pool",
            Box::new(move |threads| {
                nanoseconds(threads, REPEATS / 4, &|_| show(&objects.pull(&fresh)))
            }),
        ),
    ]
}

pub fn allocators(size: usize) -> Vec<Peer> {
    let Some(layout) = layout(size) else { return Vec::new() };
    vec![
        hot_allocator("snmalloc", &SNMALLOC, layout),
        hot_allocator("mimalloc", &MIMALLOC, layout),
        hot_allocator("jemalloc", &JEMALLOC, layout),
        hot_allocator("glibc", &SYSTEM, layout),
    ]
}

pub fn hot(size: usize) -> Vec<Peer> {
    let mut peers = allocators(size);
    peers.extend(hot_pools(size));
    peers
}

pub fn passed(size: usize) -> Vec<Peer> {
    let Some(layout) = layout(size) else { return Vec::new() };
    let pools = std::sync::Arc::new(opool::Pool::<Boxes, Box<[u8]>>::new_prefilled(
        4 * PASSED,
        Boxes(size),
    ));
    let lent = move || std::sync::Arc::clone(&pools).get_rc();
    vec![
        passed_allocator("snmalloc", &SNMALLOC, layout),
        passed_allocator("mimalloc", &MIMALLOC, layout),
        passed_allocator("jemalloc", &JEMALLOC, layout),
        passed_allocator("glibc", &SYSTEM, layout),
        Peer { name: "opool", measure: Box::new(move |_| pass(&lent, &drop)) },
    ]
}
