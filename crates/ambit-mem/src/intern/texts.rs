//! The strings, and where each of them is.
//!
//! All text is one row of bytes with 32-bit addresses, cut into pieces of 4 KiB that are
//! allocated as they are reached and never moved, so that a string can be borrowed for as long
//! as the interner. A symbol's string begins where the string before it ends: an array of ends,
//! 4 bytes a string, in pieces of 512, is all there is to know. A string that would cross the
//! end of its piece is put beside it, in a block of its own; the part of the pieces that it
//! crosses is not allocated.
//!
//! ```text
//! ends     [ 0 5 9 .. | .. ]         symbol 1 is bytes 5..9
//! pieces   [ .....    ][   .... ][   piece 0 is left short, piece 1 begins late:
//! across       [ ....... ]           the string between them lies here
//! ```
//!
//! One thread at a time appends; all read. An appender fills everything in and then publishes
//! the number of strings (release); a reader reads that first (acquire), and nothing beyond.
//! The directories of pieces are copied when they double; a reader may use an older copy, in
//! which all is that it looks for, so old ones are kept (together less than the newest).

use std::ptr::{NonNull, null_mut};

use super::Symbol;
use super::block::{Block, Blocks};
use crate::sync::{AtomicPtr, AtomicU32, Ordering};

/// Bytes of a piece, as a power of two.
const PIECE: u32 = 12;
/// Strings of a piece of ends, as a power of two.
const ENDS: u32 = 9;
/// Bytes of a piece of ends: where its first string begins, and where each ends.
const ENDS_BYTES: usize = ((1 << ENDS) + 1) * size_of::<u32>();
/// Entries of the first directories.
const FIRST: usize = 4;

/// What readers see.
pub(super) struct Texts {
    len: AtomicU32,
    /// Pieces of ends.
    ends: AtomicPtr<AtomicPtr<AtomicU32>>,
    /// Pieces of text.
    text: AtomicPtr<Piece>,
}

/// Where the bytes of a piece are.
struct Piece {
    /// Where its first byte would be: it need not be allocated.
    start: AtomicPtr<u8>,
    /// The string that begins here and ends elsewhere.
    across: AtomicPtr<u8>,
}

/// What only the appender sees.
#[derive(Default)]
pub(super) struct Appender {
    blocks: Blocks,
    /// Where the next string begins.
    end: u32,
    ends_directory: usize,
    text_directory: usize,
}

/// A block of this many bytes is needed first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Needs(pub usize);

impl Texts {
    pub(super) const fn new() -> Self {
        Self {
            len: AtomicU32::new(0),
            ends: AtomicPtr::new(null_mut()),
            text: AtomicPtr::new(null_mut()),
        }
    }

    /// Strings there are.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// The string of a symbol, if there is one.
    #[inline]
    pub(super) fn get(&self, symbol: Symbol) -> Option<&str> {
        if symbol.get() >= self.len() {
            return None;
        }
        // SAFETY: the symbol is below a length that was published.
        Some(unsafe { self.get_published(symbol) })
    }

    /// The string of a symbol that was published.
    ///
    /// # Safety
    /// The caller knows that the symbol was published: it is below a length that it read, or
    /// came through an acquire from where it was released after that.
    #[inline]
    pub(super) unsafe fn get_published(&self, symbol: Symbol) -> &str {
        let index = symbol.get();
        let at = (index & ((1 << ENDS) - 1)) as usize;
        // SAFETY: what a published symbol needs was written before it was published: the
        // directory in use then, or a later one with the same entries; the piece; and in it the
        // two ends. `at + 1` is at most `1 << ENDS`, inside the piece.
        let (start, end) = unsafe {
            let directory = self.ends.load(Ordering::Acquire);
            let piece = (*directory.add((index >> ENDS) as usize)).load(Ordering::Relaxed);
            ((*piece.add(at)).load(Ordering::Relaxed), (*piece.add(at + 1)).load(Ordering::Relaxed))
        };
        let len = (end - start) as usize;
        if len == 0 {
            return "";
        }
        // SAFETY: as above, the entry of the piece in which the string begins is there. The
        // string's bytes lie in it, or in the block beside it if it ends in another one. They
        // were copied from a `&str`, and are neither moved nor changed while `self` lives.
        unsafe {
            let piece = &*self.text.load(Ordering::Acquire).add((start >> PIECE) as usize);
            let bytes = if start >> PIECE == (end - 1) >> PIECE {
                let within = (start & ((1 << PIECE) - 1)) as usize;
                piece.start.load(Ordering::Relaxed).wrapping_add(within)
            } else {
                piece.across.load(Ordering::Relaxed)
            };
            std::str::from_utf8_unchecked(std::slice::from_raw_parts(bytes, len))
        }
    }

    /// Appends a string, or says which block it needs for it. Where it needs several it is to
    /// be asked again with each. The caller keeps within 32-bit numbers of strings and bytes.
    ///
    /// # Safety
    /// One thread at a time, always with the same appender, which outlives all use of `self`.
    pub(super) unsafe fn append(
        &self,
        appender: &mut Appender,
        text: &str,
        spare: &mut Option<Block>,
    ) -> Result<Symbol, Needs> {
        let index = self.len.load(Ordering::Relaxed);
        let (start, end) = (appender.end, appender.end + text.len() as u32);
        // SAFETY: the caller is the only appender, and `memory_for` and `ends_for` give
        // memory of these blocks that is large enough.
        unsafe {
            let ends = self.ends_for(appender, index, spare)?;
            if !text.is_empty() {
                let memory = self.memory_for(appender, (start, end), spare)?;
                memory.copy_from_nonoverlapping(text.as_ptr(), text.len());
            }
            let at = (index & ((1 << ENDS) - 1)) as usize;
            (*ends.add(at)).store(start, Ordering::Relaxed);
            (*ends.add(at + 1)).store(end, Ordering::Relaxed);
        }
        appender.end = end;
        self.len.store(index + 1, Ordering::Release);
        Ok(Symbol::new(index))
    }

    /// The piece of ends for the string of this index.
    ///
    /// # Safety
    /// As for [`Texts::append`].
    unsafe fn ends_for(
        &self,
        appender: &mut Appender,
        index: u32,
        spare: &mut Option<Block>,
    ) -> Result<*mut AtomicU32, Needs> {
        let piece = (index >> ENDS) as usize;
        if piece >= appender.ends_directory {
            // SAFETY: zeroed memory is null pointers; the caller is the only appender.
            appender.ends_directory = unsafe {
                enlarge(&self.ends, &mut appender.blocks, appender.ends_directory, piece, spare)?
            };
        }
        // SAFETY: `piece` is below the length of the newest directory.
        let entry = unsafe { &*self.ends.load(Ordering::Relaxed).add(piece) };
        if entry.load(Ordering::Relaxed).is_null() {
            let memory = appender.blocks.keep(take(spare, ENDS_BYTES)?);
            entry.store(memory.as_ptr().cast(), Ordering::Release);
        }
        Ok(entry.load(Ordering::Relaxed))
    }

    /// Memory for a string at these addresses, of which there is at least one.
    ///
    /// # Safety
    /// As for [`Texts::append`].
    unsafe fn memory_for(
        &self,
        appender: &mut Appender,
        (start, end): (u32, u32),
        spare: &mut Option<Block>,
    ) -> Result<*mut u8, Needs> {
        let piece = (start >> PIECE) as usize;
        if piece >= appender.text_directory {
            // SAFETY: zeroed memory is null pointers; the caller is the only appender.
            appender.text_directory = unsafe {
                enlarge(&self.text, &mut appender.blocks, appender.text_directory, piece, spare)?
            };
        }
        // SAFETY: `piece` is below the length of the newest directory.
        let entry = unsafe { &*self.text.load(Ordering::Relaxed).add(piece) };
        if piece != ((end - 1) >> PIECE) as usize {
            let memory = appender.blocks.keep(take(spare, (end - start) as usize)?);
            entry.across.store(memory.as_ptr(), Ordering::Release);
            return Ok(memory.as_ptr());
        }
        let within = (start & ((1 << PIECE) - 1)) as usize;
        if entry.start.load(Ordering::Relaxed).is_null() {
            // What lies in front belongs to a string that came across, and is elsewhere.
            let memory = appender.blocks.keep(take(spare, (1 << PIECE) - within)?);
            entry.start.store(memory.as_ptr().wrapping_sub(within), Ordering::Release);
        }
        Ok(entry.start.load(Ordering::Relaxed).wrapping_add(within))
    }
}

impl Appender {
    /// Bytes of text.
    pub(super) fn text_bytes(&self) -> u32 {
        self.end
    }

    /// Bytes of all blocks.
    pub(super) fn footprint(&self) -> u64 {
        self.blocks.footprint()
    }
}

/// Takes the spare block, if it has the size that is needed.
pub(super) fn take(spare: &mut Option<Block>, size: usize) -> Result<Block, Needs> {
    spare.take_if(|block| block.size() == size).ok_or(Needs(size))
}

/// Puts a larger copy of a directory in place, with an entry for `index`; returns its length.
///
/// # Safety
/// Zeroed memory is a valid `T` without drop glue and of an alignment of at most 8; `directory`
/// has `len` entries, which nobody else changes meanwhile.
unsafe fn enlarge<T>(
    directory: &AtomicPtr<T>,
    blocks: &mut Blocks,
    len: usize,
    index: usize,
    spare: &mut Option<Block>,
) -> Result<usize, Needs> {
    let longer = (index + 1).next_power_of_two().max(FIRST);
    let block = take(spare, longer * size_of::<T>())?;
    let new: NonNull<T> = blocks.keep(block).cast();
    let old = directory.load(Ordering::Relaxed);
    if len > 0 {
        // SAFETY: both have `len` entries, and the new memory is apart from the old one.
        unsafe { new.as_ptr().copy_from_nonoverlapping(old, len) };
    }
    directory.store(new.as_ptr(), Ordering::Release);
    Ok(longer)
}
