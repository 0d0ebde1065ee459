//! A program that allocates a great deal, over any allocator.
//!
//! It indexes text as a search engine's import does: each document becomes a list of its words,
//! each word a string of its own; the words go into a map from word to the documents that hold
//! it; the lists are dropped document by document and the map at the end. The containers are
//! those of a Rust program, and the allocator is called through functions that are not inlined,
//! as the global one is; so the only difference between two runs is the allocator.

use std::alloc::{GlobalAlloc, Layout};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use allocator_api2::vec::Vec;
use hashbrown::HashMap;

/// Hands the calls of a container to a global allocator.
struct Through<G: 'static>(&'static G);

impl<G> Clone for Through<G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Through<G> {}

#[inline(never)]
fn allocate<G: GlobalAlloc>(allocator: &G, layout: Layout) -> *mut u8 {
    // SAFETY: the callers ask for no empty blocks.
    unsafe { allocator.alloc(layout) }
}

/// # Safety
/// As for [`GlobalAlloc::dealloc`].
#[inline(never)]
unsafe fn deallocate<G: GlobalAlloc>(allocator: &G, block: *mut u8, layout: Layout) {
    // SAFETY: as the caller says.
    unsafe { allocator.dealloc(block, layout) }
}

/// # Safety
/// As for [`GlobalAlloc::realloc`].
#[inline(never)]
unsafe fn reallocate<G: GlobalAlloc>(
    allocator: &G,
    block: *mut u8,
    layout: Layout,
    size: usize,
) -> *mut u8 {
    // SAFETY: as the caller says.
    unsafe { allocator.realloc(block, layout, size) }
}

fn block(pointer: *mut u8, size: usize) -> Result<NonNull<[u8]>, AllocError> {
    let pointer = NonNull::new(pointer).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(pointer, size))
}

// SAFETY: blocks that are not empty come from and go to one global allocator, with their layouts.
unsafe impl<G: GlobalAlloc> Allocator for Through<G> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            let dangling = std::ptr::without_provenance_mut(layout.align());
            return block(dangling, 0);
        }
        block(allocate(self.0, layout), layout.size())
    }

    #[inline]
    unsafe fn deallocate(&self, pointer: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: as the caller says.
            unsafe { deallocate(self.0, pointer.as_ptr(), layout) };
        }
    }

    #[inline]
    unsafe fn grow(
        &self,
        pointer: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() == 0 {
            return self.allocate(new);
        }
        // SAFETY: as the caller says; the containers here do not change alignments.
        block(unsafe { reallocate(self.0, pointer.as_ptr(), old, new.size()) }, new.size())
    }
}

type Word<G> = Vec<u8, Through<G>>;
type Postings<G> =
    HashMap<Word<G>, Vec<u32, Through<G>>, BuildHasherDefault<DefaultHasher>, Through<G>>;

/// How much text.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub documents: u32,
    pub words: u32,
}

/// Indexes text; returns the number of words and documents met, so that nothing is left out.
pub fn run<G: GlobalAlloc + 'static>(allocator: &'static G, size: Size) -> u64 {
    let through = Through(allocator);
    let mut postings: Postings<G> = HashMap::with_hasher_in(BuildHasherDefault::default(), through);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for document in 0..size.documents {
        let words = document_of(through, size.words, &mut state);
        for word in words {
            postings.entry(word).or_insert_with(|| Vec::new_in(through)).push(document);
        }
    }
    postings.iter().map(|(word, documents)| (word.len() + documents.len()) as u64).sum()
}

/// The words of a document: some are frequent, most are rare, as in text.
fn document_of<G: GlobalAlloc>(
    through: Through<G>,
    len: u32,
    state: &mut u64,
) -> Vec<Word<G>, Through<G>> {
    let mut words = Vec::new_in(through);
    for _ in 0..len {
        let drawn = next(state);
        // A product of two even draws: small numbers are frequent.
        let number = ((drawn & 0xffff) * (drawn >> 16 & 0xffff)) >> 16;
        let mut word = Vec::new_in(through);
        let mut rest = number + 26 * 26;
        while rest > 0 {
            word.push(b'a' + (rest % 26) as u8);
            rest /= 26;
        }
        for _ in 0..number % 13 {
            word.push(b'e');
        }
        words.push(word);
    }
    words
}

/// xorshift64* (Marsaglia, Xorshift RNGs, 2003; Vigna, 2016).
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
}

/// Counts bytes with one atomic that all threads share: what counting costs if nothing is done
/// about it.
pub struct SharedAtomic<A> {
    inner: A,
    current: std::sync::atomic::AtomicUsize,
}

impl<A> SharedAtomic<A> {
    pub const fn new(inner: A) -> Self {
        Self { inner, current: std::sync::atomic::AtomicUsize::new(0) }
    }
}

// SAFETY: every call is passed on unchanged to `inner`.
unsafe impl<A: GlobalAlloc> GlobalAlloc for SharedAtomic<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.current.fetch_add(layout.size(), std::sync::atomic::Ordering::Relaxed);
        // SAFETY: as the caller says.
        unsafe { self.inner.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        self.current.fetch_sub(layout.size(), std::sync::atomic::Ordering::Relaxed);
        // SAFETY: as the caller says.
        unsafe { self.inner.dealloc(pointer, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let more = new_size.wrapping_sub(layout.size());
        self.current.fetch_add(more, std::sync::atomic::Ordering::Relaxed);
        // SAFETY: as the caller says.
        unsafe { self.inner.realloc(pointer, layout, new_size) }
    }
}

/// Allocates a block of 64 bytes and frees it.
pub fn pair<G: GlobalAlloc + 'static>(allocator: &'static G) {
    const LAYOUT: Layout = Layout::new::<[u64; 8]>();
    let block = std::hint::black_box(allocate(allocator, LAYOUT));
    // SAFETY: allocated with this layout, which is not empty.
    unsafe { deallocate(allocator, block, LAYOUT) };
}
