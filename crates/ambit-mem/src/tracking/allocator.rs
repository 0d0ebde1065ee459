//! An allocator that counts: bytes and calls, now, at most, by tag and by time.
//!
//! It wraps any other allocator. The path of most calls is: one word of the thread ("has a slot,
//! no tag, may be sampled"), one comparison ("is anything due?"), two plain additions to counters
//! that only this thread writes. No lock, no atomic read-modify-write, and no allocation. All
//! else (tags, large blocks, alignments of 16 and more, a thread's first call, reporting to the
//! peak, samples) takes the slow path, which has no lock and no allocation either.
//!
//! What must hold: the path taken by `alloc` and that taken by `dealloc` agree on where a block
//! begins and what was asked for, whether the allocator was on or off at either time; `mark` says
//! how.

use std::alloc::{GlobalAlloc, Layout};
use std::fmt;

use super::figure::{Figure, Sizes};
use super::hook::{self, Hook, Sample};
use super::listed::Listed;
use super::local::{self, Local, SLOTS};
use super::mark::{self, Block, Content, Mark};
use super::stats::{AllocatorStats, TagStats, now_us};
use super::tag::{TAGS, Tag};
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Largest alignment of blocks that say by their address whether they are marked.
const PLAIN_ALIGN: usize = 8;

/// Whether an allocator counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// It counts; the state that it starts in.
    On,
    /// It hands calls on.
    Off,
}

/// Counts what goes through the allocator `A`.
///
/// It belongs in a static: its counters take 1.4 MiB of zeroed memory, of which pages are used as
/// threads and tags are. A library never installs an allocator; a binary does.
///
/// # Cost
/// About 20 instructions for `alloc` and as many for `dealloc`; in bytes, nothing for blocks
/// without a tag, except that blocks below 16 bytes take 16 and those aligned to 16 take 2 more;
/// 8 bytes for each block under a tag that is smaller than 64 KiB.
///
/// # Example
/// ```
/// use ambit_mem::{Bytes, Tag, TrackingAllocator};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);
///
/// let index = Tag::named("index")?;
/// let scope = index.enter();
/// let kept = vec![0u8; 1 << 20];
/// drop(scope);
/// assert!(ALLOCATOR.stats().current >= Bytes::mib(1));
/// assert_eq!(ALLOCATOR.tags()[0].stats.current, Bytes::mib(1));
/// drop(kept);
/// assert_eq!(ALLOCATOR.tags()[0].stats.current, Bytes::ZERO);
/// assert_eq!(ALLOCATOR.tags()[0].stats.peak, Bytes::mib(1));
/// # Ok::<(), ambit_mem::TooManyTags>(())
/// ```
pub struct TrackingAllocator<A> {
    inner: A,
    is_off: AtomicBool,
    /// When the first call was counted; zero before.
    started_us: AtomicU64,
    /// The first is everything, tagged or not; the others are those of their tags.
    figures: [Figure; TAGS],
    samplers: [Sampler; SLOTS + 1],
    listed: Listed,
}

/// When is the next sample of a slot due?
#[derive(Debug)]
struct Sampler {
    /// At so many bytes allocated.
    at: AtomicU64,
    /// The hook's generation that drew it.
    generation: AtomicU64,
}

impl<A> TrackingAllocator<A> {
    /// Counts for `inner`.
    pub const fn new(inner: A) -> Self {
        Self {
            inner,
            is_off: AtomicBool::new(false),
            started_us: AtomicU64::new(0),
            figures: [const { Figure::new() }; TAGS],
            samplers: [const { Sampler { at: AtomicU64::new(0), generation: AtomicU64::new(0) } };
                SLOTS + 1],
            listed: Listed::new(),
        }
    }

    /// The allocator that it counts for.
    pub const fn inner(&self) -> &A {
        &self.inner
    }

    /// Turns counting on or off, for all threads from their next call on.
    ///
    /// While off, nothing new is counted; blocks that were counted under a tag are still deducted
    /// when they are freed, so that the figures of tags are exact for what was allocated while
    /// on. Without a tag, a block does not know whether it was counted: `current` then misses
    /// what was allocated while off and keeps what was freed while off, but is never negative.
    pub fn set(&self, tracking: Tracking) {
        self.is_off.store(tracking == Tracking::Off, Ordering::Relaxed);
    }

    /// Whether it counts.
    pub fn tracking(&self) -> Tracking {
        if self.is_off() { Tracking::Off } else { Tracking::On }
    }

    /// The numbers now, tagged or not.
    ///
    /// # Cost
    /// Reads 129 cache lines. Calls of other threads that happen meanwhile may be counted in part.
    pub fn stats(&self) -> AllocatorStats {
        self.figures[0].stats(self.age_us())
    }

    /// The numbers of each registered tag, in the order of registration. The rest of
    /// [`TrackingAllocator::stats`] was allocated without a tag.
    pub fn tags(&self) -> Vec<TagStats> {
        let age_us = self.age_us();
        Tag::registered()
            .map(|tag| TagStats { tag, stats: self.figures[tag.index()].stats(age_us) })
            .collect()
    }

    /// Large blocks whose tag or sample was lost, because too many were alive: they count as
    /// untagged. Blocks are large from 64 KiB or an alignment above 16 on; 32,768 have room, 8 of
    /// those whose addresses share a hash.
    pub fn lost_marks(&self) -> u64 {
        self.listed.lost()
    }

    /// Starts the peaks anew, of all figures, from what is in use now.
    pub fn reset_peak(&self) {
        self.figures.iter().for_each(Figure::reset_peak);
    }

    /// This thread's slot, if an allocation of this layout is on the path of most calls.
    #[inline]
    fn plain(&self, layout: Layout) -> Option<usize> {
        (layout.align() <= PLAIN_ALIGN && !self.is_off()).then(|| Local::get().plain_slot())?
    }

    #[inline]
    fn is_off(&self) -> bool {
        self.is_off.load(Ordering::Relaxed)
    }

    fn age_us(&self) -> u64 {
        match self.started_us.load(Ordering::Relaxed) {
            0 => 0,
            started => now_us().saturating_sub(started),
        }
    }

    /// This thread's slot, or the shared one.
    fn slot(&self, local: Local) -> usize {
        local.own_slot().unwrap_or_else(|| {
            if self.started_us.load(Ordering::Relaxed) == 0 {
                let now = now_us().max(1);
                let _ =
                    self.started_us.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
            }
            local::claim()
        })
    }

    fn count_alloc(&self, slot: usize, size: usize, mark: Mark) {
        self.figures[0].alloc(slot, size, || self.until_sample(slot));
        if mark.tag() != 0 {
            self.figures[mark.tag()].alloc(slot, size, || u64::MAX);
        }
    }

    fn count_free(&self, slot: usize, size: usize, mark: Mark) {
        self.figures[0].free(slot, size, || self.until_sample(slot));
        if mark.tag() != 0 {
            self.figures[mark.tag()].free(slot, size, || u64::MAX);
        }
    }

    /// Bytes of allocations until a slot's next sample.
    fn until_sample(&self, slot: usize) -> u64 {
        let sampler = &self.samplers[slot];
        if hook::installed().is_none()
            || sampler.generation.load(Ordering::Relaxed) != hook::generation()
        {
            return u64::MAX;
        }
        sampler.at.load(Ordering::Relaxed).saturating_sub(self.figures[0].allocated(slot))
    }

    /// The hook to offer the next allocation to, if it reaches the slot's next sample.
    #[inline]
    fn due(&self, slot: usize, size: usize, local: Local) -> Option<&'static Hook> {
        let hook = hook::installed()?;
        let sampler = &self.samplers[slot];
        let at = sampler.at.load(Ordering::Relaxed);
        let is_stale = sampler.generation.load(Ordering::Relaxed) != hook::generation();
        if !local.is_sampled() {
            // What a profiler allocates for itself does not bring the next sample nearer.
            sampler.at.store(at.wrapping_add(size as u64), Ordering::Relaxed);
            return None;
        }
        let after = self.figures[0].allocated(slot).wrapping_add(size as u64);
        if after < at && !is_stale {
            return None;
        }
        let is_mine = self.draw(hook, slot, Drawn { at, after });
        (is_mine && !is_stale).then_some(hook)
    }

    /// Says when the next sample is due: an interval after `after`. False where another thread of
    /// the shared slot did.
    #[cold]
    fn draw(&self, hook: &Hook, slot: usize, Drawn { at, after }: Drawn) -> bool {
        let sampler = &self.samplers[slot];
        let interval = local::unsampled(hook.interval).max(1);
        let next = after.wrapping_add(interval);
        sampler.generation.store(hook::generation(), Ordering::Relaxed);
        let is_mine =
            sampler.at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        self.figures[0].settle(slot, self.until_sample(slot));
        is_mine
    }
}

/// The count at which a sample was due, and that which the next interval begins at.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    at: u64,
    after: u64,
}

impl<A: fmt::Debug> fmt::Debug for TrackingAllocator<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackingAllocator")
            .field("inner", &self.inner)
            .field("tracking", &self.tracking())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<A: GlobalAlloc> TrackingAllocator<A> {
    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[inline(never)]
    unsafe fn alloc_slowly(&self, layout: Layout, content: Content) -> *mut u8 {
        if self.is_off() {
            // SAFETY: as the caller says.
            let block =
                unsafe { Block::alloc(&self.inner, &self.listed, layout, Mark::NONE, content) };
            return block.map_or(std::ptr::null_mut(), |(block, _)| block.pointer);
        }
        let local = Local::get();
        let slot = self.slot(local);
        let due = self.due(slot, layout.size(), local);
        let tagged = Mark::new(local.tag());
        let mark = if due.is_some() { tagged.sampled() } else { tagged };
        // SAFETY: as the caller says.
        let block = unsafe { Block::alloc(&self.inner, &self.listed, layout, mark, content) };
        let Some((block, mark)) = block else { return std::ptr::null_mut() };
        self.count_alloc(slot, layout.size(), mark);
        if let Some(hook) = due.filter(|_| mark.is_sampled()) {
            self.offer(hook, block, mark);
        }
        block.pointer
    }

    /// # Safety
    /// As for [`GlobalAlloc::dealloc`].
    #[inline(never)]
    unsafe fn dealloc_slowly(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller says.
        let block = unsafe { Block::of(pointer, layout) };
        // SAFETY: the block is alive.
        let mark = unsafe { block.take(&self.listed) };
        if mark.is_sampled() {
            end_sample(pointer);
        }
        // SAFETY: as the caller says.
        unsafe { block.free(&self.inner) };
        if !self.is_off() || mark.tag() != 0 {
            self.count_free(self.slot(Local::get()), layout.size(), mark);
        }
    }

    /// # Safety
    /// As for [`GlobalAlloc::realloc`].
    #[inline(never)]
    unsafe fn realloc_slowly(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as the caller says.
        let block = unsafe { Block::of(pointer, layout) };
        // SAFETY: the block is alive.
        let before = unsafe { block.take(&self.listed) };
        if before.is_sampled() {
            end_sample(pointer);
        }
        let kept = before.unsampled();
        let local = Local::get();
        let is_counted = !self.is_off() || kept.tag() != 0;
        let slot = if is_counted { self.slot(local) } else { SLOTS };
        let due = if self.is_off() { None } else { self.due(slot, new_size, local) };
        let mark = if due.is_some() { kept.sampled() } else { kept };
        // SAFETY: as the caller says.
        let moved = unsafe { block.realloc(&self.inner, &self.listed, new_size, mark) };
        let Some((moved, mark)) = moved else {
            // SAFETY: the block is still alive.
            unsafe { block.put(&self.listed, kept) };
            return std::ptr::null_mut();
        };
        if is_counted {
            self.count_alloc(slot, new_size, mark);
            self.count_free(slot, layout.size(), kept);
        }
        if let Some(hook) = due.filter(|_| mark.is_sampled()) {
            self.offer(hook, moved, mark);
        }
        moved.pointer
    }

    /// Offers a marked block as a sample, and takes the mark back if it is not kept.
    #[cold]
    fn offer(&self, hook: &Hook, block: Block, mark: Mark) {
        let sample = Sample {
            address: block.pointer.addr(),
            size: block.size(),
            tag: Tag::from_index(mark.tag()),
        };
        if !local::unsampled(|| (hook.sampled)(&sample)) {
            // SAFETY: the block was allocated just now and is not handed out yet.
            unsafe {
                block.take(&self.listed);
                block.put(&self.listed, mark.unsampled());
            }
        }
    }
}

/// Reports the end of the sample at this address.
#[cold]
fn end_sample(pointer: *mut u8) {
    if let Some(hook) = hook::installed() {
        local::unsampled(|| (hook.freed)(pointer.addr()));
    }
}

// SAFETY: every block comes from `inner`, at least as large and as aligned as asked for, and goes
// back to it with the layout that it was asked for with: on the path of plain blocks by
// `plain_layout`, on the other as `mark` proves, and whether a block is plain is told by its
// layout and address alone. Counting neither unwinds nor touches the memory handed out.
unsafe impl<A: GlobalAlloc> GlobalAlloc for TrackingAllocator<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let size = layout.size();
        if let Some(slot) = self.plain(layout)
            && self.figures[0].try_alloc(slot, size)
        {
            // SAFETY: the layout is not empty.
            let block = unsafe { self.inner.alloc(mark::plain_layout(size)) };
            if block.is_null() {
                self.figures[0].uncount_alloc(slot, size);
            }
            return block;
        }
        // SAFETY: as the caller says.
        unsafe { self.alloc_slowly(layout, Content::Any) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let size = layout.size();
        if let Some(slot) = self.plain(layout)
            && self.figures[0].try_alloc(slot, size)
        {
            // SAFETY: the layout is not empty.
            let block = unsafe { self.inner.alloc_zeroed(mark::plain_layout(size)) };
            if block.is_null() {
                self.figures[0].uncount_alloc(slot, size);
            }
            return block;
        }
        // SAFETY: as the caller says.
        unsafe { self.alloc_slowly(layout, Content::Zeroed) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let size = layout.size();
        if layout.align() <= PLAIN_ALIGN
            && mark::is_plain(pointer)
            && !self.is_off()
            && let Some(slot) = Local::get().own_slot()
            && self.figures[0].try_free(slot, size)
        {
            // SAFETY: an unmarked block of this place was asked for with this layout.
            unsafe { self.inner.dealloc(pointer, mark::plain_layout(size)) };
            return;
        }
        // SAFETY: as the caller says.
        unsafe { self.dealloc_slowly(pointer, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let size = layout.size();
        if layout.align() <= PLAIN_ALIGN
            && mark::is_plain(pointer)
            && !self.is_off()
            && let Some(slot) = Local::get().own_slot()
            && self.figures[0].has_realloc_room(slot, Sizes { old: size, new: new_size })
        {
            let asked = mark::plain_layout(new_size).size();
            // SAFETY: an unmarked block of this place was asked for with this layout, and the new
            // size is not zero.
            let moved = unsafe { self.inner.realloc(pointer, mark::plain_layout(size), asked) };
            if !moved.is_null() {
                self.figures[0].count_realloc(slot, Sizes { old: size, new: new_size });
            }
            return moved;
        }
        // SAFETY: as the caller says.
        unsafe { self.realloc_slowly(pointer, layout, new_size) }
    }
}
