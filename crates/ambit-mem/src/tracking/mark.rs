//! How does `dealloc` know under which tag a block was allocated, and whether it was sampled?
//!
//! Such a block carries a [`Mark`]; others, nearly all of them in most programs, must cost
//! nothing. Where the mark is depends only on the layout, which `dealloc` is given too:
//!
//! | layout | a marked block | an unmarked block |
//! |---|---|---|
//! | below 64 KiB, alignment up to 8 | begins 8 bytes after a multiple of 16; the mark is in those 8 bytes | begins at a multiple of 16 |
//! | below 64 KiB, alignment 16 | the mark is in 2 bytes behind the block | the same, with an empty mark |
//! | 64 KiB and more, or alignment above 16 | its address is in a table | it is not |
//!
//! So the common case is told by one bit of the address, without touching memory: bit 3. The
//! allocator below is therefore always asked for an alignment of 16, and for at least 16 bytes,
//! which is what `malloc` gives anyway. The table is of a fixed size: of large blocks that do not
//! fit, the mark is lost, and they count as untagged.

use std::alloc::{GlobalAlloc, Layout};

use super::figure::UNREPORTED;
use super::listed::Listed;
use super::tag::TAGS;

/// From this size on, a block's mark is in the table.
pub(super) const LARGE: usize = 64 << 10;
/// Alignment that every block has, and the least size.
const ALIGN: usize = 16;
/// Bytes before a marked block, and bit of its address.
const HEADER: usize = 8;
/// Bytes behind a block aligned to 16.
const TAIL: usize = size_of::<u16>();

// What is counted on the path of most calls is not large.
const _: () = assert!(UNREPORTED <= LARGE as u64 && TAGS.is_power_of_two());

/// What a block carries: the number of its tag, and whether it was sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u16);

impl Mark {
    pub(super) const NONE: Self = Self(0);
    /// Bits of a mark.
    pub(super) const BITS: u32 = 9;
    const SAMPLED: u16 = 1 << 8;

    pub(super) fn new(tag: u8) -> Self {
        Self(u16::from(tag))
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        Self((bits & ((1 << Self::BITS) - 1)) as u16)
    }

    pub(super) fn bits(self) -> u64 {
        u64::from(self.0)
    }

    pub(super) fn sampled(self) -> Self {
        Self(self.0 | Self::SAMPLED)
    }

    pub(super) fn unsampled(self) -> Self {
        Self(self.0 & !Self::SAMPLED)
    }

    pub(super) fn is_sampled(self) -> bool {
        self.0 & Self::SAMPLED != 0
    }

    pub(super) fn is_none(self) -> bool {
        self == Self::NONE
    }

    #[inline]
    pub(super) fn tag(self) -> usize {
        usize::from(self.0 as u8) % TAGS
    }
}

/// Whether the memory handed out must be zero.
#[derive(Debug, Clone, Copy)]
pub(super) enum Content {
    Any,
    Zeroed,
}

/// Where a block's mark is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In front of it, if bit 3 of its address is set.
    Front,
    /// Behind it, always.
    Behind,
    /// In the table, perhaps.
    Table,
}

impl Place {
    pub(super) fn of(layout: Layout) -> Self {
        if layout.size() >= LARGE || layout.align() > ALIGN {
            Self::Table
        } else if layout.align() == ALIGN {
            Self::Behind
        } else {
            Self::Front
        }
    }
}

/// Whether a block of an alignment up to 8 and a size below [`LARGE`] carries no mark.
#[inline]
pub(super) fn is_plain(block: *mut u8) -> bool {
    block.addr() & HEADER == 0
}

/// What the allocator below is asked for, for an unmarked block of `size < LARGE` bytes and an
/// alignment up to 8.
#[inline]
pub(super) fn plain_layout(size: usize) -> Layout {
    debug_assert!(size < LARGE);
    // SAFETY: 16 is a power of two, and a size below LARGE stays far below `isize::MAX` when it
    // is rounded up to it.
    unsafe { Layout::from_size_align_unchecked(size.max(ALIGN), ALIGN) }
}

/// The same for a block with a mark in front.
#[inline]
pub(super) fn header_layout(size: usize) -> Layout {
    debug_assert!(size < LARGE);
    // SAFETY: as for `plain_layout`.
    unsafe { Layout::from_size_align_unchecked((size + HEADER).max(ALIGN), ALIGN) }
}

/// Writes the mark of a block that was just asked for; returns where the block begins.
///
/// # Safety
/// `base` was asked for with a [`header_layout`].
#[inline]
pub(super) unsafe fn put_header(base: *mut u8, mark: Mark) -> *mut u8 {
    // SAFETY: the first HEADER bytes are for the mark, at a multiple of 16.
    unsafe { base.cast::<u64>().write(mark.bits()) };
    // SAFETY: as the caller says.
    unsafe { behind_header(base) }
}

/// Where the block begins that was asked for with a header.
///
/// # Safety
/// `base` was asked for with a [`header_layout`].
#[inline]
pub(super) unsafe fn behind_header(base: *mut u8) -> *mut u8 {
    // SAFETY: the layout has HEADER bytes more than the block, which is not empty.
    unsafe { base.add(HEADER) }
}

/// What was asked for, and the mark.
///
/// # Safety
/// `block` is alive and not plain; its size is below [`LARGE`] and its alignment up to 8.
#[inline]
pub(super) unsafe fn header(block: *mut u8) -> (*mut u8, Mark) {
    // SAFETY: HEADER bytes before such a block belong to it, at a multiple of 16.
    let base = unsafe { block.sub(HEADER) };
    // SAFETY: the header was written when the block was allocated.
    (base, Mark::from_bits(unsafe { base.cast::<u64>().read() }))
}

/// What the allocator below is asked for, for a block of `layout`; `None` where that is more than
/// can be asked for.
fn inner_layout(layout: Layout, is_marked: IsMarked) -> Option<Layout> {
    let size = match (Place::of(layout), is_marked) {
        (Place::Front, IsMarked::Yes) => layout.size() + HEADER,
        (Place::Behind, _) => layout.size() + TAIL,
        (Place::Front, IsMarked::No) | (Place::Table, _) => layout.size(),
    };
    let align = layout.align().max(ALIGN);
    // Alignments above 16 are asked for as they came: of their sizes nothing is assumed.
    let size = if layout.align() > ALIGN { size } else { size.max(ALIGN) };
    Layout::from_size_align(size, align).ok()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IsMarked {
    Yes,
    No,
}

impl From<Mark> for IsMarked {
    fn from(mark: Mark) -> Self {
        if mark.is_none() { Self::No } else { Self::Yes }
    }
}

/// A block that is handed out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) pointer: *mut u8,
    layout: Layout,
}

impl Block {
    /// Allocates a block with a mark. The mark may be lost: what was kept comes back.
    ///
    /// # Safety
    /// `layout` has a size above zero.
    pub(super) unsafe fn alloc(
        inner: &impl GlobalAlloc,
        listed: &Listed,
        layout: Layout,
        mark: Mark,
        content: Content,
    ) -> Option<(Self, Mark)> {
        let asked = inner_layout(layout, mark.into())?;
        // SAFETY: `asked` is no smaller than `layout`, so not empty.
        let base = unsafe {
            match content {
                Content::Any => inner.alloc(asked),
                Content::Zeroed => inner.alloc_zeroed(asked),
            }
        };
        if base.is_null() {
            return None;
        }
        let is_offset = Place::of(layout) == Place::Front && !mark.is_none();
        // SAFETY: an offset block was asked for with HEADER bytes more.
        let pointer = if is_offset { unsafe { base.add(HEADER) } } else { base };
        let block = Self { pointer, layout };
        // SAFETY: the block is alive.
        let kept = unsafe { block.put(listed, mark) };
        Some((block, kept))
    }

    /// A block handed out before.
    ///
    /// # Safety
    /// `pointer` came from [`Block::alloc`] or [`plain_layout`] with this layout, and is not
    /// freed.
    pub(super) unsafe fn of(pointer: *mut u8, layout: Layout) -> Self {
        Self { pointer, layout }
    }

    /// Bytes that were asked for.
    pub(super) fn size(&self) -> usize {
        self.layout.size()
    }

    fn has_header(&self) -> bool {
        Place::of(self.layout) == Place::Front && !is_plain(self.pointer)
    }

    /// Gives a block without a mark this one; returns what was kept of it. A block that has no
    /// room in front keeps nothing.
    ///
    /// # Safety
    /// The block is alive.
    pub(super) unsafe fn put(&self, listed: &Listed, mark: Mark) -> Mark {
        match Place::of(self.layout) {
            Place::Front if self.has_header() => {
                // SAFETY: HEADER bytes before the block belong to it, at a multiple of 16.
                unsafe { self.pointer.sub(HEADER).cast::<u64>().write(mark.bits()) };
                mark
            }
            Place::Front => Mark::NONE,
            Place::Behind => {
                // SAFETY: TAIL bytes behind the block belong to it.
                unsafe {
                    self.pointer.add(self.layout.size()).cast::<u16>().write_unaligned(mark.0);
                }
                mark
            }
            Place::Table if mark.is_none() => mark,
            Place::Table => {
                if listed.insert(self.pointer.addr(), mark) {
                    mark
                } else {
                    Mark::NONE
                }
            }
        }
    }

    /// Takes the mark of a block that is about to be freed, or gets another one.
    ///
    /// # Safety
    /// The block is alive.
    pub(super) unsafe fn take(&self, listed: &Listed) -> Mark {
        match Place::of(self.layout) {
            Place::Front if self.has_header() => {
                // SAFETY: the block is alive and has a header.
                unsafe { header(self.pointer) }.1
            }
            Place::Front => Mark::NONE,
            Place::Behind => {
                let tail = self.pointer.wrapping_add(self.layout.size()).cast::<u16>();
                // SAFETY: as in `put`; every such block has a tail.
                Mark(unsafe { tail.read_unaligned() })
            }
            Place::Table => listed.take(self.pointer.addr()),
        }
    }

    fn base(&self) -> *mut u8 {
        if self.has_header() {
            // SAFETY: HEADER bytes before the block belong to it.
            unsafe { self.pointer.sub(HEADER) }
        } else {
            self.pointer
        }
    }

    fn asked(&self) -> Layout {
        let is_marked = if self.has_header() { IsMarked::Yes } else { IsMarked::No };
        // It was asked for when the block was allocated, so it exists.
        inner_layout(self.layout, is_marked).unwrap_or(self.layout)
    }

    /// Frees the block; its mark was taken.
    ///
    /// # Safety
    /// The block is alive, and not used from here on.
    pub(super) unsafe fn free(self, inner: &impl GlobalAlloc) {
        // SAFETY: `base` and `asked` are what `inner` gave, and was asked for.
        unsafe { inner.dealloc(self.base(), self.asked()) };
    }

    /// Grows or shrinks the block, whose mark was taken, to `new_size`, and gives it `mark`.
    /// Returns the new block and what was kept of the mark; `None` leaves the block alive, without
    /// its mark.
    ///
    /// # Safety
    /// The block is alive, and not used from here on if another comes back; `new_size` is not
    /// zero, and makes a layout with the block's alignment.
    pub(super) unsafe fn realloc(
        self,
        inner: &impl GlobalAlloc,
        listed: &Listed,
        new_size: usize,
        mark: Mark,
    ) -> Option<(Self, Mark)> {
        let new = Layout::from_size_align(new_size, self.layout.align()).ok()?;
        let stays = Place::of(new) == Place::of(self.layout)
            && (Place::of(new) != Place::Front || self.has_header() || mark.is_none());
        if !stays {
            // SAFETY: `new` is not empty.
            let (block, kept) = unsafe { Self::alloc(inner, listed, new, mark, Content::Any) }?;
            let len = self.layout.size().min(new_size);
            // SAFETY: both blocks are alive, at least this long, and different allocations.
            unsafe { self.pointer.copy_to_nonoverlapping(block.pointer, len) };
            // SAFETY: as the caller says.
            unsafe { self.free(inner) };
            return Some((block, kept));
        }
        let offset = if self.has_header() { HEADER } else { 0 };
        let is_marked = if self.has_header() { IsMarked::Yes } else { IsMarked::No };
        let asked = inner_layout(new, is_marked)?;
        // SAFETY: `base` and `asked()` are what `inner` gave, and was asked for; both layouts
        // have the same alignment; the new one is not empty.
        let base = unsafe { inner.realloc(self.base(), self.asked(), asked.size()) };
        if base.is_null() {
            return None;
        }
        // SAFETY: the header moved along with the block, which is `asked.size()` long.
        let block = Self { pointer: unsafe { base.add(offset) }, layout: new };
        // SAFETY: the block is alive.
        let kept = unsafe { block.put(listed, mark) };
        Some((block, kept))
    }
}
