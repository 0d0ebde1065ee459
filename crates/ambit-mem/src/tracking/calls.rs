//! The calls of an allocator, in three paths.
//!
//! | path | when | what it does |
//! |---|---|---|
//! | in line | alignment up to 8, below 64 KiB, no mark, own slot, nothing due | two additions |
//! | short | the same, but under a tag or off | four additions and a header; nothing |
//! | full | all else: see `Block` | everything |
//!
//! All paths agree on where a block begins and what was asked for: that depends on its layout and
//! its address alone, as `mark` says.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::null_mut;

use super::allocator::TrackingAllocator;
use super::figure::Sizes;
use super::hook::{self, Hook, Sample};
use super::local::{self, Local, SLOTS};
use super::mark::{self, Block, Content, LARGE, Mark};
use super::tag::Tag;

/// Largest alignment of blocks that say by their address whether they are marked.
const PLAIN_ALIGN: usize = 8;

// SAFETY: every block comes from `inner`, at least as large and as aligned as asked for, and goes
// back to it with the layout that it was asked for with: `plain_layout` where bit 3 of the address
// is clear, `header_layout` where it is set, and as `Block` proves for other layouts. Counting
// neither unwinds nor touches the memory handed out.
unsafe impl<A: GlobalAlloc> GlobalAlloc for TrackingAllocator<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(size) = self.count_plain(layout) {
            // SAFETY: the layout is not empty.
            let block = unsafe { self.inner.alloc(mark::plain_layout(size)) };
            if block.is_null() {
                self.uncount(size, Mark::NONE);
            }
            return block;
        }
        // SAFETY: as the caller says.
        unsafe { self.alloc_shortly(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if let Some(size) = self.count_plain(layout) {
            // SAFETY: the layout is not empty.
            let block = unsafe { self.inner.alloc_zeroed(mark::plain_layout(size)) };
            if block.is_null() {
                self.uncount(size, Mark::NONE);
            }
            return block;
        }
        // SAFETY: as the caller says.
        unsafe { self.alloc_fully(layout, Content::Zeroed) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let size = layout.size();
        if layout.align() <= PLAIN_ALIGN
            && mark::is_plain(block)
            && let Some(slot) = Local::get().own_slot()
            && self.figures[0].try_free(slot, size)
        {
            // SAFETY: an unmarked block of this layout was asked for with this one.
            unsafe { self.inner.dealloc(block, mark::plain_layout(size)) };
            return;
        }
        // SAFETY: as the caller says.
        unsafe { self.dealloc_shortly(block, layout) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let sizes = Sizes { old: layout.size(), new: new_size };
        if layout.align() <= PLAIN_ALIGN
            && mark::is_plain(block)
            && let Some(slot) = Local::get().own_slot()
            && self.figures[0].has_realloc_room(slot, sizes)
        {
            let asked = mark::plain_layout(new_size).size();
            // SAFETY: an unmarked block of this layout was asked for with this one, and the new
            // size is not zero.
            let moved = unsafe { self.inner.realloc(block, mark::plain_layout(sizes.old), asked) };
            if !moved.is_null() {
                self.figures[0].count_realloc(slot, sizes);
            }
            return moved;
        }
        // SAFETY: as the caller says.
        unsafe { self.realloc_shortly(block, layout, new_size) }
    }
}

impl<A> TrackingAllocator<A> {
    /// Counts an allocation, if it is on the path in line; returns its size then, which is below
    /// [`LARGE`].
    #[inline]
    fn count_plain(&self, layout: Layout) -> Option<usize> {
        let size = layout.size();
        let is_counted = layout.align() <= PLAIN_ALIGN
            && Local::get().plain_slot().is_some_and(|slot| self.figures[0].try_alloc(slot, size));
        is_counted.then_some(size)
    }

    /// Takes back an allocation counted by this thread that failed.
    #[cold]
    #[inline(never)]
    fn uncount(&self, size: usize, mark: Mark) {
        let Some(slot) = Local::get().own_slot() else { return };
        self.figures[0].uncount_alloc(slot, size);
        if mark.tag() != 0 {
            self.figures[mark.tag()].uncount_alloc(slot, size);
        }
    }
}

impl<A: GlobalAlloc> TrackingAllocator<A> {
    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[inline(never)]
    unsafe fn alloc_shortly(&self, layout: Layout) -> *mut u8 {
        let size = layout.size();
        if layout.align() <= PLAIN_ALIGN && size < LARGE {
            if self.is_off() {
                // SAFETY: the layout is not empty.
                return unsafe { self.inner.alloc(mark::plain_layout(size)) };
            }
            let local = Local::get();
            let mark = Mark::new(local.tag());
            let (all, tagged) = (&self.figures[0], &self.figures[mark.tag()]);
            if mark.tag() != 0
                && local.is_sampled()
                && let Some(slot) = local.own_slot()
                && all.has_alloc_room(slot, size)
                && tagged.try_alloc(slot, size)
            {
                all.try_alloc(slot, size);
                // SAFETY: the layout is not empty.
                let base = unsafe { self.inner.alloc(mark::header_layout(size)) };
                if base.is_null() {
                    self.uncount(size, mark);
                    return base;
                }
                // SAFETY: just allocated with this layout.
                return unsafe { mark::put_header(base, mark) };
            }
        }
        // SAFETY: as the caller says.
        unsafe { self.alloc_fully(layout, Content::Any) }
    }

    /// # Safety
    /// As for [`GlobalAlloc::dealloc`].
    #[inline(never)]
    unsafe fn dealloc_shortly(&self, block: *mut u8, layout: Layout) {
        let size = layout.size();
        if layout.align() <= PLAIN_ALIGN && size < LARGE {
            if mark::is_plain(block) {
                if self.is_off() {
                    // SAFETY: an unmarked block of this layout was asked for with this one.
                    return unsafe { self.inner.dealloc(block, mark::plain_layout(size)) };
                }
            } else {
                // SAFETY: the block has a header, and is alive.
                let (base, mark) = unsafe { mark::header(block) };
                let (all, tagged) = (&self.figures[0], &self.figures[mark.tag()]);
                if mark.tag() != 0
                    && !mark.is_sampled()
                    && let Some(slot) = Local::get().own_slot()
                    && all.has_free_room(slot, size)
                    && tagged.try_free(slot, size)
                {
                    all.try_free(slot, size);
                    // SAFETY: a block with a header was asked for with this layout.
                    return unsafe { self.inner.dealloc(base, mark::header_layout(size)) };
                }
            }
        }
        // SAFETY: as the caller says.
        unsafe { self.dealloc_fully(block, layout) };
    }

    /// # Safety
    /// As for [`GlobalAlloc::realloc`].
    #[inline(never)]
    unsafe fn realloc_shortly(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let sizes = Sizes { old: layout.size(), new: new_size };
        if layout.align() <= PLAIN_ALIGN && sizes.old < LARGE && sizes.new < LARGE {
            if mark::is_plain(block) {
                if self.is_off() {
                    let asked = mark::plain_layout(sizes.new).size();
                    // SAFETY: as in `realloc`.
                    return unsafe {
                        self.inner.realloc(block, mark::plain_layout(sizes.old), asked)
                    };
                }
            } else {
                // SAFETY: the block has a header, and is alive.
                let (base, mark) = unsafe { mark::header(block) };
                let (all, tagged) = (&self.figures[0], &self.figures[mark.tag()]);
                if mark.tag() != 0
                    && !mark.is_sampled()
                    && let Some(slot) = Local::get().own_slot()
                    && all.has_realloc_room(slot, sizes)
                    && tagged.has_realloc_room(slot, sizes)
                {
                    let asked = mark::header_layout(sizes.new).size();
                    // SAFETY: a block with a header was asked for with this layout; the new size
                    // is not zero.
                    let base =
                        unsafe { self.inner.realloc(base, mark::header_layout(sizes.old), asked) };
                    if base.is_null() {
                        return base;
                    }
                    all.count_realloc(slot, sizes);
                    tagged.count_realloc(slot, sizes);
                    // SAFETY: the header moved along with the block.
                    return unsafe { mark::behind_header(base) };
                }
            }
        }
        // SAFETY: as the caller says.
        unsafe { self.realloc_fully(block, layout, new_size) }
    }

    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[inline(never)]
    unsafe fn alloc_fully(&self, layout: Layout, content: Content) -> *mut u8 {
        let local = Local::get();
        let is_off = self.is_off();
        let slot = if is_off { SLOTS } else { self.slot(local) };
        let due = if is_off { None } else { self.due(slot, layout.size(), local) };
        let tagged = if is_off { Mark::NONE } else { Mark::new(local.tag()) };
        let mark = if due.is_some() { tagged.sampled() } else { tagged };
        // SAFETY: as the caller says.
        let block = unsafe { Block::alloc(&self.inner, &self.listed, layout, mark, content) };
        let Some((block, mark)) = block else { return null_mut() };
        if !is_off {
            self.count_alloc(slot, layout.size(), mark);
        }
        if let Some(hook) = due.filter(|_| mark.is_sampled()) {
            self.offer(hook, block, mark);
        }
        block.pointer
    }

    /// # Safety
    /// As for [`GlobalAlloc::dealloc`].
    #[inline(never)]
    unsafe fn dealloc_fully(&self, pointer: *mut u8, layout: Layout) {
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
    unsafe fn realloc_fully(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
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
