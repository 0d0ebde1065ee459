//! How are many short-lived values allocated for the price of a subtraction?
//!
//! An [`Arena`] owns chunks. Allocating moves a cursor down through the current chunk; a full
//! chunk is followed by one of twice its size, up to 1 MiB. Nothing is freed one by one: all of
//! it is given back by [`Arena::reset`], or what a [`Scope`] allocated when the scope ends.
//! Chunks are kept for what comes next, until [`Arena::trim`].
//!
//! Destructors never run, so only types without one are taken; the compiler checks.
//!
//! Invariants: `start <= cursor`, both in the chunk `list[in_use - 1]` (or both dangling where
//! `in_use == 0`); `start` is aligned to [`ALIGN`]; bytes at and above the cursor, and chunks
//! below `in_use - 1`, belong to whoever allocated them; `held` is the sum of all chunks' sizes
//! and of the list's capacity, and is taken before the memory is.

use std::alloc::{Layout, alloc, dealloc};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem::needs_drop;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use super::{ArenaError, Scope};
use crate::{Account, Bytes, OverBudget, Reservation};

/// Alignment of chunks.
const ALIGN: usize = 16;
/// What allocators keep for themselves, left free so that a chunk fills its pages.
const SLACK: usize = 64;
/// Size of the first chunk.
const FIRST: usize = (4 << 10) - SLACK;
/// Size to which chunks grow.
const LARGEST: usize = (1 << 20) - SLACK;
/// Chunks that the list has room for at first.
const FIRST_LIST: usize = 4;

/// Values without destructors, allocated by moving a pointer and given back all at once.
///
/// ```
/// use ambit_mem::{Arena, Budget, Bytes, Priority};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let mut arena = Arena::new(&budget.account("query/scratch", Priority::Query))?;
/// let name = arena.alloc_str("node")?;
/// let ids = arena.alloc_slice_copy(&[1u64, 2, 3])?;
/// ids[0] = name.len() as u64;
/// assert_eq!(ids, [4, 2, 3]);
/// assert_eq!(budget.used(), arena.footprint());
/// arena.reset();
/// # Ok::<(), ambit_mem::ArenaError>(())
/// ```
///
/// What has a destructor is refused when it is compiled:
///
/// ```compile_fail
/// # use ambit_mem::{Arena, Budget, Bytes, Priority};
/// # let budget = Budget::new(Bytes::mib(1));
/// # let arena = Arena::new(&budget.account("a", Priority::Query)).unwrap();
/// arena.alloc(String::from("never dropped"));
/// ```
///
/// What was allocated cannot be used after a reset:
///
/// ```compile_fail
/// # use ambit_mem::{Arena, Budget, Bytes, Priority};
/// # let budget = Budget::new(Bytes::mib(1));
/// # let mut arena = Arena::new(&budget.account("a", Priority::Query)).unwrap();
/// let stale = arena.alloc(1u8).unwrap();
/// arena.reset();
/// *stale = 2;
/// ```
pub struct Arena {
    cursor: Cell<NonNull<u8>>,
    start: Cell<NonNull<u8>>,
    chunks: RefCell<Chunks>,
    account: Account,
}

struct Chunks {
    list: Vec<Chunk>,
    /// Chunks that hold something, the current one included; those after it are spare.
    in_use: usize,
    held: Reservation,
}

#[derive(Clone, Copy)]
struct Chunk {
    start: NonNull<u8>,
    size: usize,
}

/// A place in an arena to which it can be taken back.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    in_use: usize,
    cursor: NonNull<u8>,
}

// SAFETY: the chunks are owned by the arena alone, and what is allocated in them is borrowed from
// it, so nothing of it is in use on the old thread when the arena moves to another.
unsafe impl Send for Arena {}

impl Arena {
    /// An empty arena; the first allocation brings its first chunk.
    ///
    /// # Errors
    /// [`OverBudget`] where the budget refuses even an empty reservation.
    pub fn new(account: &Account) -> Result<Self, OverBudget> {
        let held = account.reserve(Bytes::ZERO)?;
        Ok(Self {
            cursor: Cell::new(nowhere()),
            start: Cell::new(nowhere()),
            chunks: RefCell::new(Chunks { list: Vec::new(), in_use: 0, held }),
            account: account.clone(),
        })
    }

    /// Moves `value` into the arena.
    ///
    /// # Errors
    /// [`ArenaError`] where a new chunk is needed and refused; `value` is gone then.
    ///
    /// # Cost
    /// A subtraction, a comparison, the copy; a chunk every now and then.
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "each call gives other memory")]
    pub fn alloc<T>(&self, value: T) -> Result<&mut T, ArenaError> {
        const { assert!(!needs_drop::<T>(), "an arena runs no destructors") };
        let place = self.alloc_layout(Layout::new::<T>())?.cast::<T>();
        // SAFETY: `place` is aligned and large enough for a `T`, and nobody else's until the
        // arena is reset, for which nobody may borrow it.
        unsafe {
            place.write(value);
            Ok(&mut *place.as_ptr())
        }
    }

    /// Copies `source` into the arena.
    ///
    /// # Errors
    /// As for [`Arena::alloc`].
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "each call gives other memory")]
    pub fn alloc_slice_copy<T: Copy>(&self, source: &[T]) -> Result<&mut [T], ArenaError> {
        let place = self.alloc_layout(Layout::for_value(source))?.cast::<T>();
        // SAFETY: `place` is aligned and large enough for `source.len()` values, new, and so
        // apart from `source`; for how long it is ours, see `alloc`.
        unsafe {
            place.as_ptr().copy_from_nonoverlapping(source.as_ptr(), source.len());
            Ok(std::slice::from_raw_parts_mut(place.as_ptr(), source.len()))
        }
    }

    /// Copies `text` into the arena.
    ///
    /// # Errors
    /// As for [`Arena::alloc`].
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "each call gives other memory")]
    pub fn alloc_str(&self, text: &str) -> Result<&mut str, ArenaError> {
        let bytes = self.alloc_slice_copy(text.as_bytes())?;
        // SAFETY: the bytes are those of a `str`.
        Ok(unsafe { std::str::from_utf8_unchecked_mut(bytes) })
    }

    /// A slice of `len` values, the one at `i` made by `make(i)`.
    ///
    /// # Errors
    /// As for [`Arena::alloc`], and [`ArenaError::TooLarge`].
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "each call gives other memory")]
    pub fn alloc_slice_with<T>(
        &self,
        len: usize,
        mut make: impl FnMut(usize) -> T,
    ) -> Result<&mut [T], ArenaError> {
        const { assert!(!needs_drop::<T>(), "an arena runs no destructors") };
        let layout = Layout::array::<T>(len).map_err(|_| too_large::<T>(len))?;
        let place = self.alloc_layout(layout)?.cast::<T>();
        for index in 0..len {
            // SAFETY: below `len`, and `place` has room for `len` aligned values. `make` may
            // allocate here too; that gives other memory.
            unsafe { place.add(index).write(make(index)) };
        }
        // SAFETY: all `len` values are written; for how long they are ours, see `alloc`.
        Ok(unsafe { std::slice::from_raw_parts_mut(place.as_ptr(), len) })
    }

    /// Memory of this layout, uninitialised, good until the arena is reset or dropped.
    ///
    /// # Errors
    /// As for [`Arena::alloc`].
    #[inline]
    pub fn alloc_layout(&self, layout: Layout) -> Result<NonNull<u8>, ArenaError> {
        match self.bump(layout) {
            Some(place) => Ok(place),
            None => self.alloc_in_next_chunk(layout),
        }
    }

    /// Runs `work` with a [`Scope`]; what it allocates is given back when it ends.
    pub fn scope<R>(&mut self, work: impl for<'s> FnOnce(&mut Scope<'s>) -> R) -> R {
        Scope::enter(self, work)
    }

    /// Gives back everything that was allocated. Its chunks stay, for what is allocated next.
    pub fn reset(&mut self) {
        let first = Mark { in_use: 0, cursor: nowhere() };
        // SAFETY: the arena is borrowed mutably, so nothing that it allocated is in use.
        unsafe { self.go_back(first) };
    }

    /// Returns chunks that hold nothing to the allocator, and their bytes to the account.
    pub fn trim(&mut self) {
        if self.used().is_zero() {
            self.chunks.get_mut().in_use = 0;
            self.start.set(nowhere());
            self.cursor.set(nowhere());
        }
        let Chunks { list, in_use, held } = self.chunks.get_mut();
        let spare: usize = list.drain(*in_use..).map(Chunk::free).sum();
        held.shrink(Bytes::of(spare));
    }

    /// Bytes that the arena holds, used or spare: exactly what is reserved and allocated.
    pub fn footprint(&self) -> Bytes {
        self.chunks.borrow().held.bytes()
    }

    /// Bytes handed out since the last reset, with what alignment and the ends of chunks cost.
    pub fn used(&self) -> Bytes {
        let chunks = self.chunks.borrow();
        let in_use: usize = chunks.list[..chunks.in_use].iter().map(|chunk| chunk.size).sum();
        Bytes::of(in_use - self.room())
    }

    /// Bytes below the cursor.
    #[inline]
    fn room(&self) -> usize {
        self.cursor.get().addr().get() - self.start.get().addr().get()
    }

    /// Moves the cursor, where the current chunk has room.
    #[inline]
    fn bump(&self, layout: Layout) -> Option<NonNull<u8>> {
        let cursor = self.cursor.get();
        if layout.size() > self.room() {
            return None;
        }
        // Does not wrap: there is room. Does not fall below `start` by aligning, unless the
        // alignment is larger than that of `start`.
        let top = (cursor.addr().get() - layout.size()) & !(layout.align() - 1);
        if layout.align() > ALIGN && top < self.start.get().addr().get() {
            return None;
        }
        let place = cursor.with_addr(NonZeroUsize::new(top)?);
        self.cursor.set(place);
        Some(place)
    }

    #[cold]
    #[inline(never)]
    fn alloc_in_next_chunk(&self, layout: Layout) -> Result<NonNull<u8>, ArenaError> {
        let padding = if layout.align() > ALIGN { layout.align() } else { 0 };
        let need = layout.size().checked_add(padding);
        let need = need.ok_or_else(|| too_large::<u8>(layout.size()))?;
        if !self.take_spare(need) {
            self.take_new(need)?;
        }
        self.bump(layout).ok_or_else(|| too_large::<u8>(layout.size()))
    }

    /// Makes a spare chunk of at least `need` bytes the current one.
    fn take_spare(&self, need: usize) -> bool {
        let mut chunks = self.chunks.borrow_mut();
        let next = chunks.in_use;
        let fitting = chunks.list[next..].iter().position(|chunk| chunk.size >= need);
        let Some(offset) = fitting else { return false };
        chunks.list.swap(next, next + offset);
        self.enter(&mut chunks);
        true
    }

    /// Makes a new chunk of at least `need` bytes the current one.
    fn take_new(&self, need: usize) -> Result<(), ArenaError> {
        // Reserving may run reclaimers, so nothing of the arena is borrowed meanwhile.
        let last = self.chunks.borrow().list.last().map_or(FIRST / 2, |chunk| chunk.size);
        let wanted = last.saturating_mul(2).clamp(FIRST, LARGEST).max(need);
        let least = need.next_multiple_of(ALIGN);
        let (size, bytes) = match self.account.reserve(Bytes::of(wanted)) {
            Ok(bytes) => (wanted, bytes),
            Err(_) if least < wanted => (least, self.account.reserve(Bytes::of(least))?),
            Err(refusal) => return Err(refusal.into()),
        };
        while !self.reserve_list()? {}
        let chunk = Chunk::allocate(size)?;
        let mut chunks = self.chunks.borrow_mut();
        // Both are of this account, so they merge.
        let _ = chunks.held.merge(bytes);
        let next = chunks.in_use;
        chunks.list.push(chunk);
        let new = chunks.list.len() - 1;
        chunks.list.swap(next, new);
        self.enter(&mut chunks);
        Ok(())
    }

    /// Makes room for one more chunk in the list; says whether there is any now. There is not
    /// if a reclaimer allocated here meanwhile.
    fn reserve_list(&self) -> Result<bool, ArenaError> {
        let (len, capacity) = {
            let chunks = self.chunks.borrow();
            (chunks.list.len(), chunks.list.capacity())
        };
        if len < capacity {
            return Ok(true);
        }
        let wanted = (capacity * 2).max(FIRST_LIST);
        // Both lists exist while the chunks move from one to the other.
        let bytes = self.account.reserve(Bytes::of(wanted * size_of::<Chunk>()))?;
        let mut chunks = self.chunks.borrow_mut();
        if (chunks.list.len(), chunks.list.capacity()) != (len, capacity) {
            return Ok(false);
        }
        let requested = bytes.bytes();
        let grown = chunks.list.try_reserve_exact(wanted - len);
        grown.map_err(|_| ArenaError::NoMemory { requested })?;
        let _ = chunks.held.merge(bytes);
        chunks.held.shrink(Bytes::of(capacity * size_of::<Chunk>()));
        Ok(true)
    }

    /// Makes the first spare chunk the current one.
    fn enter(&self, chunks: &mut Chunks) {
        if let Some(chunk) = chunks.list.get(chunks.in_use) {
            self.start.set(chunk.start);
            self.cursor.set(chunk.end());
            chunks.in_use += 1;
        }
    }

    /// The present place.
    pub(super) fn mark(&self) -> Mark {
        Mark { in_use: self.chunks.borrow().in_use, cursor: self.cursor.get() }
    }

    /// Goes back to `mark`.
    ///
    /// # Safety
    /// `mark` is of this arena, which has not been taken back further since; and nothing that
    /// was allocated after it is used any more.
    pub(super) unsafe fn go_back(&self, mark: Mark) {
        let mut chunks = self.chunks.borrow_mut();
        chunks.in_use = mark.in_use;
        match mark.in_use.checked_sub(1).map(|index| chunks.list[index]) {
            Some(current) => {
                self.start.set(current.start);
                self.cursor.set(mark.cursor);
            }
            // Nothing was allocated before: the first chunk is ready for the next.
            None => self.enter(&mut chunks),
        }
    }
}

impl Chunk {
    fn allocate(size: usize) -> Result<Self, ArenaError> {
        let layout = Layout::from_size_align(size, ALIGN).map_err(|_| too_large::<u8>(size))?;
        // SAFETY: the size is not 0: it is that of the first chunk at least, or that of a value
        // which is not empty.
        let start = NonNull::new(unsafe { alloc(layout) });
        let start = start.ok_or(ArenaError::NoMemory { requested: Bytes::of(size) })?;
        Ok(Self { start, size })
    }

    fn end(&self) -> NonNull<u8> {
        // SAFETY: one past the end of the allocation.
        unsafe { self.start.add(self.size) }
    }

    /// Frees the chunk; returns its size.
    fn free(self) -> usize {
        // SAFETY: a layout of this size and alignment was allocated, and is freed once: whoever
        // calls this has taken the chunk out of the list, and nothing in it is in use.
        unsafe {
            dealloc(self.start.as_ptr(), Layout::from_size_align_unchecked(self.size, ALIGN))
        };
        self.size
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.chunks.get_mut().list.drain(..).for_each(|chunk| {
            chunk.free();
        });
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("account", &self.account.path())
            .field("used", &self.used())
            .field("footprint", &self.footprint())
            .finish()
    }
}

/// Start and cursor of an arena without a chunk: aligned, with no room.
fn nowhere() -> NonNull<u8> {
    NonNull::<Aligned>::dangling().cast()
}

#[repr(align(16))]
struct Aligned;

fn too_large<T>(items: usize) -> ArenaError {
    ArenaError::TooLarge { items, item: Bytes::of(size_of::<T>()) }
}
