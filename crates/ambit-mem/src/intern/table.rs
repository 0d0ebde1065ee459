//! From a string's hash to its symbol.
//!
//! Sixteen tables by the hash's first bits, each of open addressing with linear probing. A slot
//! is 4 bytes: a symbol, and in the bits that symbols do not need yet a tag, which is a part of
//! the hash, so that strings are rarely compared in vain. A table is at most 7/8 full and grows
//! by half; the tables begin at different sizes, so that they do not all grow at once, and
//! together are always about three quarters full.
//!
//! One thread at a time inserts; all look up. Slots only ever go from empty to full, and a
//! string that is found is compared, so a look-up may miss what is being inserted, but finds
//! nothing wrong. A table that was replaced is freed when its readers have left (`readers`).

use std::ptr::{NonNull, null_mut};

use super::Symbol;
use super::block::Block;
use super::texts::{Needs, Texts, take};
use crate::sync::{AtomicPtr, AtomicU32, Ordering};

/// Tables, as a power of two.
const TABLES: u32 = 4;
/// Slots of the first table when it begins; the last begins at half as many again.
const FIRST: usize = 16;

/// In front of the slots of a table.
#[repr(C)]
struct Head {
    slots: u32,
    /// Bits of a slot that are the symbol and one.
    width: u32,
}

/// All tables.
pub(super) struct Tables {
    tables: [AtomicPtr<Head>; 1 << TABLES],
}

/// A table, for as long as its reading lasts.
#[derive(Clone, Copy)]
struct View<'a> {
    slots: &'a [AtomicU32],
    width: u32,
}

/// What only the inserter sees.
#[derive(Default)]
pub(super) struct Inserter {
    /// Full slots of each table.
    full: [usize; 1 << TABLES],
    footprint: u64,
}

/// Where a hash belongs.
fn table_of(hash: u64) -> usize {
    (hash >> (u64::BITS - TABLES)) as usize
}

impl View<'_> {
    /// The first slot to look at: the hash's next bits as a part of the table's length.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        let part = (hash << TABLES) >> 32;
        ((part * self.slots.len() as u64) >> 32) as usize
    }

    /// The tag of a hash, in its place in a slot: its last bits.
    #[inline]
    fn tag(&self, hash: u64) -> u32 {
        ((hash << self.width) & u64::from(u32::MAX)) as u32
    }

    #[inline]
    fn symbol(&self, slot: u32) -> Symbol {
        let mask = ((1u64 << self.width) - 1) as u32;
        Symbol::new((slot & mask) - 1)
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    #[inline]
    fn find(&self, texts: &Texts, hash: u64, text: &str) -> Option<Symbol> {
        let tag = self.tag(hash);
        let mut at = self.home(hash);
        loop {
            // Acquire: the string was published before its slot was.
            let slot = self.slots[at].load(Ordering::Acquire);
            if slot == 0 {
                return None;
            }
            if ((u64::from(slot ^ tag)) >> self.width) == 0 {
                let symbol = self.symbol(slot);
                // SAFETY: the slot was released after the string was published.
                if unsafe { texts.get_published(symbol) } == text {
                    return Some(symbol);
                }
            }
            at = self.next(at);
        }
    }

    /// Fills the first empty slot.
    fn fill(&self, hash: u64, symbol: Symbol) {
        let mut at = self.home(hash);
        while self.slots[at].load(Ordering::Relaxed) != 0 {
            at = self.next(at);
        }
        self.slots[at].store(self.tag(hash) | (symbol.get() + 1), Ordering::Release);
    }
}

impl Tables {
    pub(super) const fn new() -> Self {
        Self { tables: [const { AtomicPtr::new(null_mut()) }; 1 << TABLES] }
    }

    /// The table of a hash, if there is one.
    ///
    /// # Safety
    /// It is not used after the reading, or the lock, under which this is called.
    #[inline]
    unsafe fn view(&self, table: usize) -> Option<View<'_>> {
        let head = NonNull::new(self.tables[table].load(Ordering::Acquire))?;
        // SAFETY: a table that is in place is whole, and is freed only after readings that
        // may have seen it have ended. Its slots follow its head.
        unsafe {
            let Head { slots, width } = *head.as_ref();
            let first = head.add(1).cast::<AtomicU32>();
            Some(View { slots: std::slice::from_raw_parts(first.as_ptr(), slots as usize), width })
        }
    }

    /// The symbol of a string, if it is found.
    ///
    /// # Safety
    /// The caller is inside a reading, or holds the lock of the inserter.
    #[inline]
    pub(super) unsafe fn find(&self, texts: &Texts, hash: u64, text: &str) -> Option<Symbol> {
        // SAFETY: the view ends here, inside the caller's reading or lock.
        unsafe { self.view(table_of(hash)) }?.find(texts, hash, text)
    }

    /// What the first slot to look at holds, for looking ahead: the load brings its cache line.
    ///
    /// # Safety
    /// As for [`Tables::find`].
    #[inline]
    pub(super) unsafe fn peek(&self, texts: &Texts, hash: u64) -> Option<Symbol> {
        // SAFETY: the view ends here, inside the caller's reading or lock.
        let view = unsafe { self.view(table_of(hash)) }?;
        let slot = view.slots[view.home(hash)].load(Ordering::Acquire);
        let symbol = (slot != 0).then(|| view.symbol(slot))?;
        (symbol.get() < texts.len()).then_some(symbol)
    }

    /// Makes room for one more string of this hash, whose symbol is to be `symbol`; returns a
    /// table that was replaced, to be dropped when its readers have left.
    ///
    /// # Safety
    /// One thread at a time, always with the same inserter and the same texts.
    pub(super) unsafe fn make_room(
        &self,
        inserter: &mut Inserter,
        (hash, symbol): (u64, Symbol),
        spare: &mut Option<Block>,
        rehash: impl Fn(Symbol) -> u64,
    ) -> Result<Option<Block>, Needs> {
        let table = table_of(hash);
        // SAFETY: tables are replaced by this thread only.
        let old = unsafe { self.view(table) };
        let full = inserter.full[table];
        let (slots, fits) = match old {
            None => (FIRST + table / 2, false),
            Some(old) => {
                let has_room = full < old.slots.len() * 7 / 8;
                let is_narrow = u64::from(symbol.get()) + 1 >= 1 << old.width;
                let len = old.slots.len();
                (if has_room { len } else { len + len / 2 }, has_room && !is_narrow)
            }
        };
        if fits {
            return Ok(None);
        }
        let block = take(spare, size_of::<Head>() + slots * size_of::<AtomicU32>())?;
        inserter.footprint += block.footprint();
        let head = block.into_memory().cast::<Head>();
        // Twice as many symbols may come before the table is replaced for their sake.
        let width = (u64::BITS - (2 * u64::from(symbol.get()) + 2).leading_zeros()).min(u32::BITS);
        // SAFETY: the memory is large enough for a head and its slots, and not shared yet.
        let new = unsafe {
            head.write(Head { slots: slots as u32, width });
            let first = head.add(1).cast::<AtomicU32>();
            View { slots: std::slice::from_raw_parts(first.as_ptr(), slots), width }
        };
        if let Some(old) = old {
            let slots = old.slots.iter().map(|slot| slot.load(Ordering::Relaxed));
            slots.filter(|slot| *slot != 0).for_each(|slot| {
                let symbol = old.symbol(slot);
                new.fill(rehash(symbol), symbol);
            });
        }
        let replaced = self.tables[table].swap(head.as_ptr(), Ordering::AcqRel);
        let replaced = NonNull::new(replaced.cast::<u8>())
            // SAFETY: it came from `into_memory`, and has just left its only place.
            .map(|memory| unsafe { Block::from_memory(memory) });
        inserter.footprint -= replaced.as_ref().map_or(0, Block::footprint);
        Ok(replaced)
    }

    /// Puts a published string in, for which [`Tables::make_room`] made room.
    ///
    /// # Safety
    /// As for [`Tables::make_room`].
    pub(super) unsafe fn insert(&self, inserter: &mut Inserter, hash: u64, symbol: Symbol) {
        let table = table_of(hash);
        // SAFETY: tables are replaced by this thread only.
        if let Some(view) = unsafe { self.view(table) } {
            view.fill(hash, symbol);
            inserter.full[table] += 1;
        }
    }
}

impl Inserter {
    /// Bytes of all tables.
    pub(super) fn footprint(&self) -> u64 {
        self.footprint
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        for table in &mut self.tables {
            if let Some(memory) = NonNull::new(table.get_mut().cast::<u8>()) {
                // SAFETY: it came from `into_memory`, and nobody else can reach it any more.
                drop(unsafe { Block::from_memory(memory) });
            }
        }
    }
}
