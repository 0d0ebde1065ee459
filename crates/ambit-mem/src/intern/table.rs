//! From a string's hash to its symbol.
//!
//! Sixteen tables by the hash's first bits, each of groups of eight slots, filled in order: a
//! string belongs to the group of its hash, or, where that is full, to the next that is not. A
//! slot is 4 bytes: a symbol, and in the bits that symbols do not need yet a tag, which is a
//! part of the hash, so that strings are rarely compared in vain. The slots of a group are
//! looked at together, without a branch for each. A table is at most 13/16 full and grows by a
//! third. The tables' sizes are spread over that third, so that they do not all grow at once,
//! and together are always about 70 % full.
//!
//! One thread at a time inserts; all look up. Slots only ever go from empty to full, and a
//! string that is found is compared, so a look-up may miss what is being inserted, but finds
//! nothing wrong. A table that was replaced is freed when its readers have left (`readers`).

use std::ptr::{NonNull, null_mut};

use super::Symbol;
use super::block::Block;
use super::texts::{Needs, Texts, take};
use crate::sync::{AtomicPtr, AtomicU64, Ordering};

/// Tables, as a power of two.
const TABLES: u32 = 4;
/// Groups of the first table when it begins.
const FIRST: f64 = 2.0;
/// How much larger a table is than the one it replaces.
const GROWTH: f64 = 4.0 / 3.0;
/// Slots of a group.
const SLOTS: usize = 8;
/// Bits of a slot that a symbol and one may need, at most: the bit above is set in every tag.
const MOST_WIDTH: u32 = 31;

/// Slots that are looked at together, in pairs: the first of a pair is the low half. It lies in
/// one cache line.
#[repr(align(32))]
struct Group([AtomicU64; SLOTS / 2]);

/// In front of the groups of a table.
struct Head {
    groups: NonNull<Group>,
    len: u32,
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
    groups: &'a [Group],
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
#[inline]
fn table_of(hash: u64) -> usize {
    (hash >> (u64::BITS - TABLES)) as usize
}

/// Groups of a table that is to have more than `groups`.
fn more_groups(table: usize, groups: usize) -> usize {
    let phase = table as f64 / f64::from(1 << TABLES);
    let sizes = (0..).map(|step| (FIRST * GROWTH.powf(f64::from(step) + phase)).ceil() as usize);
    sizes.into_iter().find(|size| *size > groups).unwrap_or(usize::MAX)
}

/// Are these bytes the same? Names are short: from 4 to 16 bytes are compared as two numbers
/// that may overlap, which takes less time than a call.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    fn ends<const N: usize>(bytes: &[u8]) -> Option<([u8; N], [u8; N])> {
        Some((*bytes.first_chunk()?, *bytes.last_chunk()?))
    }
    one.len() == other.len()
        && match one.len() {
            8..=16 => ends::<8>(one) == ends::<8>(other),
            4..8 => ends::<4>(one) == ends::<4>(other),
            _ => one == other,
        }
}

/// One bit for each of these slots, in pairs, that has `tag` above the bits of `mask`.
#[cfg(any(not(target_arch = "x86_64"), test))]
fn matches_one_by_one(pairs: [u64; SLOTS / 2], tag: u32, mask: u32) -> u32 {
    let slots = pairs.into_iter().flat_map(|pair| [pair as u32, (pair >> 32) as u32]);
    let bit = |(at, slot): (usize, u32)| u32::from(slot ^ tag <= mask) << at;
    slots.enumerate().map(bit).fold(0, |bits, bit| bits | bit)
}

#[cfg(not(target_arch = "x86_64"))]
use matches_one_by_one as matches;

/// As [`matches_one_by_one`], four at a time: every processor of this family can.
#[cfg(target_arch = "x86_64")]
#[inline]
fn matches(pairs: [u64; SLOTS / 2], tag: u32, mask: u32) -> u32 {
    use std::arch::x86_64 as cpu;
    let four = |low: u64, high: u64| {
        // SAFETY: they need SSE2, which is part of this architecture; they touch no memory.
        unsafe {
            let slots = cpu::_mm_set_epi64x(high.cast_signed(), low.cast_signed());
            let above = cpu::_mm_set1_epi32((!mask).cast_signed());
            let tags = cpu::_mm_and_si128(slots, above);
            let same = cpu::_mm_cmpeq_epi32(tags, cpu::_mm_set1_epi32(tag.cast_signed()));
            cpu::_mm_movemask_ps(cpu::_mm_castsi128_ps(same)).cast_unsigned()
        }
    };
    four(pairs[0], pairs[1]) | four(pairs[2], pairs[3]) << 4
}

impl Group {
    /// One bit for each slot that has `tag`; whether the group is full.
    ///
    /// A slot is empty or has the bit that is set in every tag, so an empty one never matches.
    #[inline]
    fn matches(&self, tag: u32, mask: u32) -> (u32, bool) {
        // Acquire: a string is published before its slot.
        let pairs = [0, 1, 2, 3].map(|pair: usize| self.0[pair].load(Ordering::Acquire));
        (matches(pairs, tag, mask), pairs[SLOTS / 2 - 1] >> 32 != 0)
    }

    #[inline]
    fn slot(&self, at: usize) -> u32 {
        (self.0[at / 2].load(Ordering::Acquire) >> (32 * (at % 2))) as u32
    }

    /// Fills the first empty slot, if there is one. One thread at a time.
    fn fill(&self, slot: u32) -> bool {
        let Some(at) = (0..SLOTS).find(|at| self.slot(*at) == 0) else { return false };
        let pair = &self.0[at / 2];
        let both = pair.load(Ordering::Relaxed) | u64::from(slot) << (32 * (at % 2));
        pair.store(both, Ordering::Release);
        true
    }
}

impl View<'_> {
    /// The first group to look at: the hash's next bits as a part of the table's length.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        let part = (hash << TABLES) >> 32;
        ((part * self.groups.len() as u64) >> 32) as usize
    }

    /// The tag of a hash, in its place in a slot: a bit that is always set, above it the hash's
    /// last bits.
    #[inline]
    fn tag(&self, hash: u64) -> u32 {
        ((hash as u32) | 1) << self.width
    }

    /// What of a slot is a symbol and one.
    #[inline]
    fn mask(&self) -> u32 {
        (1 << self.width) - 1
    }

    #[inline]
    fn find(&self, texts: &Texts, hash: u64, text: &str) -> Option<Symbol> {
        let (tag, mask) = (self.tag(hash), self.mask());
        let mut at = self.home(hash);
        loop {
            // SAFETY: `home` is a part of the length, rounded down, and what follows wraps.
            let group = unsafe { self.groups.get_unchecked(at) };
            let (mut bits, is_full) = group.matches(tag, mask);
            while bits != 0 {
                let slot = group.slot(bits.trailing_zeros() as usize);
                let symbol = Symbol::new((slot ^ tag) - 1);
                // SAFETY: the slot was released after the string was published.
                let found = unsafe { texts.get_published(symbol) };
                if is_same(found.as_bytes(), text.as_bytes()) {
                    return Some(symbol);
                }
                bits &= bits - 1;
            }
            if !is_full {
                return None;
            }
            at = if at + 1 == self.groups.len() { 0 } else { at + 1 };
        }
    }

    /// Fills the first empty slot; a table always has one.
    fn fill(&self, hash: u64, symbol: Symbol) {
        let slot = self.tag(hash) | (symbol.get() + 1);
        let (before, from_home) = self.groups.split_at(self.home(hash));
        let filled = from_home.iter().chain(before).any(|group| group.fill(slot));
        debug_assert!(filled, "a table is never full");
    }

    /// The symbols of all full slots.
    fn symbols(&self) -> impl Iterator<Item = Symbol> {
        let slots = self.groups.iter().flat_map(|group| (0..SLOTS).map(|at| group.slot(at)));
        let mask = self.mask();
        slots.filter(|slot| *slot != 0).map(move |slot| Symbol::new((slot & mask) - 1))
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
        // SAFETY: a table that is in place is whole, and is freed only after readings that may
        // have seen it have ended. Its head tells where its groups are, and how many.
        unsafe {
            let &Head { groups, len, width } = head.as_ref();
            let groups = std::slice::from_raw_parts(groups.as_ptr(), len as usize);
            Some(View { groups, width })
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

    /// The symbol that a string of this hash has, if it is known, most of the time. The string
    /// is to be compared.
    ///
    /// # Safety
    /// As for [`Tables::find`].
    #[inline]
    pub(super) unsafe fn guess(&self, hash: u64) -> Option<Symbol> {
        // SAFETY: the view ends here, inside the caller's reading or lock.
        let view = unsafe { self.view(table_of(hash)) }?;
        let group = &view.groups[view.home(hash)];
        let (bits, _) = group.matches(view.tag(hash), view.mask());
        let slot = |bits: u32| group.slot(bits.trailing_zeros() as usize) & view.mask();
        (bits != 0).then(|| Symbol::new(slot(bits) - 1))
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
        let groups = old.map_or(0, |old| old.groups.len());
        let has_room = inserter.full[table] < groups * SLOTS * 13 / 16;
        let is_wide = old.is_some_and(|old| symbol.get() < old.mask());
        if has_room && is_wide {
            return Ok(None);
        }
        let groups = if has_room { groups } else { more_groups(table, groups) };
        // Blocks are aligned to 8 bytes, groups to more.
        let slack = align_of::<Group>() - 8;
        let size = size_of::<Head>() + slack + groups * size_of::<Group>();
        let block = take(spare, size)?;
        inserter.footprint += block.footprint();
        let head = block.into_memory().cast::<Head>();
        // Twice as many symbols may come before the table is replaced for their sake.
        let width = (u32::BITS + 1 - (symbol.get() + 1).leading_zeros()).min(MOST_WIDTH);
        // SAFETY: the memory is large enough for a head, what aligning takes, and the groups,
        // which are empty when zeroed; nobody else has it yet.
        let new = unsafe {
            let after = head.add(1).cast::<u8>();
            let first = after.add(after.align_offset(align_of::<Group>())).cast::<Group>();
            head.write(Head { groups: first, len: groups as u32, width });
            View { groups: std::slice::from_raw_parts(first.as_ptr(), groups), width }
        };
        if let Some(old) = old {
            old.symbols().for_each(|symbol| new.fill(rehash(symbol), symbol));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_grow_by_about_a_third_and_not_at_the_same_sizes() {
        for table in 0..1 << TABLES {
            let (mut groups, mut steps) = (0, 0);
            while groups < 1_000_000 {
                let more = more_groups(table, groups);
                assert!(more > groups);
                assert!(groups < 100 || (more as f64 / groups as f64 - GROWTH).abs() < 0.02);
                (groups, steps) = (more, steps + 1);
            }
            assert!(steps < 50);
        }
        let sizes: std::collections::BTreeSet<usize> =
            (0..1 << TABLES).map(|table| more_groups(table, 100_000)).collect();
        assert_eq!(sizes.len(), 1 << TABLES);
    }

    #[test]
    fn a_group_says_which_slots_have_a_tag_and_whether_it_is_full() {
        let group = Group([const { AtomicU64::new(0) }; SLOTS / 2]);
        let (mask, tags) = (0xFFF, [0x1000, 0x3000]);
        assert_eq!(group.matches(0x1000, mask), (0, false));
        for at in 0..SLOTS {
            assert!(group.fill(tags[at % 2] | (at as u32 + 1)));
            assert_eq!(group.slot(at), tags[at % 2] | (at as u32 + 1));
        }
        assert!(!group.fill(0x1001));
        assert_eq!(group.matches(0x1000, mask), (0b0101_0101, true));
        assert_eq!(group.matches(0x3000, mask), (0b1010_1010, true));
        assert_eq!(group.matches(0x5000, mask), (0, true));
    }

    proptest::proptest! {
        #[test]
        fn slots_match_together_as_they_do_one_by_one(
            mut pairs: [u64; SLOTS / 2],
            width in 1_u32..32,
            hash: u32,
            at in 0..SLOTS / 2,
        ) {
            let (tag, mask) = ((hash | 1) << width, (1 << width) - 1);
            pairs[at] = pairs[at] & u64::from(mask) << 32 | u64::from(tag) << 32;
            proptest::prop_assert_eq!(
                matches(pairs, tag, mask),
                matches_one_by_one(pairs, tag, mask)
            );
        }
    }

    #[test]
    fn bytes_are_the_same_where_every_one_is() {
        for len in 0..40 {
            let one: Vec<u8> = (0..len).collect();
            assert!(is_same(&one, &one.clone()));
            assert!(!is_same(&one, &[&one[..], b"x"].concat()));
            for at in 0..one.len() {
                let mut other = one.clone();
                other[at] ^= 1;
                assert!(!is_same(&one, &other), "{len} {at}");
            }
        }
    }
}
