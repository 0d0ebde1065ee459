//! Which slot is the entry of this hash in?
//!
//! A table of four bytes per place: open addressing with linear probing, kept in the order of
//! Robin Hood hashing (Celis, 1986), so that a search ends early and a removal needs no
//! tombstones: what stands behind moves up by one. Each word says how far from home its entry
//! stands, so that neither searches nor removals look at entries that are not meant:
//!
//! ```text
//! bits 10..32  slot + 1; zero in an empty place
//! bits 4..10   distance from home; 63 means that much or more
//! bits 0..4    low bits of the hash
//! ```
//!
//! The table does not grow by itself: who owns it takes the bytes first, then calls
//! [`Index::rebuild`]. Homes are the hash scaled to the length, so any length will do.

use crate::link::{HASH_BITS, Slot};

/// The most entries that an index can hold.
pub(crate) const MAX_LEN: usize = (1 << 22) - 2;
const FAR: u32 = 63;

#[derive(Debug, Default)]
pub(crate) struct Index {
    words: Box<[u32]>,
    len: usize,
}

#[inline]
const fn distance(word: u32) -> u32 {
    word >> 4 & FAR
}

#[inline]
const fn slot_of(word: u32) -> Slot {
    (word >> 10).wrapping_sub(1)
}

impl Index {
    /// Places.
    pub fn capacity(&self) -> usize {
        self.words.len()
    }

    /// Entries.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of a table of so many places.
    pub const fn bytes_of(capacity: usize) -> u64 {
        (capacity * size_of::<u32>()) as u64
    }

    /// Places for at least `len` entries: at most four fifths are taken.
    pub const fn capacity_for(len: usize) -> usize {
        len + len / 4 + 2
    }

    /// Is there no place for one more?
    #[inline]
    pub fn is_full(&self) -> bool {
        Self::capacity_for(self.len + 1) > self.words.len()
    }

    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.words.len() as u64) >> HASH_BITS) as usize
    }

    #[inline]
    fn after(&self, place: usize) -> usize {
        if place + 1 == self.words.len() { 0 } else { place + 1 }
    }

    /// The slot of this hash that `is_it`.
    #[inline]
    pub fn find(&self, hash: u32, mut is_it: impl FnMut(Slot) -> bool) -> Option<Slot> {
        if self.words.is_empty() {
            return None;
        }
        let mut place = self.home(hash);
        let mut wanted = hash & 15;
        loop {
            let word = self.words[place];
            if word & 0x3ff == wanted && word != 0 && is_it(slot_of(word)) {
                return Some(slot_of(word));
            }
            if word == 0 || distance(word) < wanted >> 4 {
                return None;
            }
            if wanted >> 4 < FAR {
                wanted += 16;
            }
            place = self.after(place);
        }
    }

    /// Enters a slot that is not in the table, which is not full.
    #[inline]
    pub fn insert(&mut self, hash: u32, slot: Slot) {
        debug_assert!(!self.is_full(), "the owner makes room");
        self.len += 1;
        let mut place = self.home(hash);
        let mut word = ((slot + 1) << 10) | (hash & 15);
        loop {
            let there = self.words[place];
            if there == 0 {
                self.words[place] = word;
                return;
            }
            if distance(there) < distance(word) {
                self.words[place] = word;
                word = there;
            }
            if distance(word) < FAR {
                word += 16;
            }
            place = self.after(place);
        }
    }

    fn place_of(&self, hash: u32, slot: Slot) -> usize {
        let mut place = self.home(hash);
        while slot_of(self.words[place]) != slot {
            place = self.after(place);
        }
        place
    }

    /// Takes a slot out that is in the table. `hash_of` is asked only about entries that stand
    /// very far from home.
    #[inline]
    pub fn remove(&mut self, hash: u32, slot: Slot, hash_of: impl Fn(Slot) -> u32) {
        self.len -= 1;
        let mut place = self.place_of(hash, slot);
        loop {
            let after = self.after(place);
            let word = self.words[after];
            if word == 0 || distance(word) == 0 {
                self.words[place] = 0;
                return;
            }
            self.words[place] = if distance(word) < FAR {
                word - 16
            } else {
                let home = self.home(hash_of(slot_of(word)));
                let far = (place + self.words.len() - home) % self.words.len();
                word & !(FAR << 4) | (far as u32).min(FAR) << 4
            };
            place = after;
        }
    }

    /// The entry of slot `from` is in slot `to` now.
    pub fn relocate(&mut self, hash: u32, from: Slot, to: Slot) {
        let place = self.place_of(hash, from);
        self.words[place] = (self.words[place] & 0x3ff) | ((to + 1) << 10);
    }

    /// A table of `capacity` places, to be filled anew; the old one goes first.
    pub fn rebuild(&mut self, capacity: usize, slots: impl Iterator<Item = (u32, Slot)>) {
        self.words = Box::default();
        self.words = vec![0; capacity].into();
        self.len = 0;
        slots.for_each(|(hash, slot)| self.insert(hash, slot));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_index_holds_what_a_map_holds(
            steps in prop::collection::vec((any::<bool>(), 0_u32..200), 1..600),
            spread in prop::sample::select(vec![0_u32, 1, 1777, 21_474_836]),
            spare in 0_usize..200,
        ) {
            let hash_of = |slot: Slot| slot * spread;
            let mut index = Index::default();
            index.rebuild(Index::capacity_for(200) + spare, std::iter::empty());
            let mut model = HashMap::new();
            for (is_insert, slot) in steps {
                if is_insert && !model.contains_key(&slot) {
                    index.insert(hash_of(slot), slot);
                    model.insert(slot, ());
                } else if !is_insert && model.remove(&slot).is_some() {
                    index.remove(hash_of(slot), slot, hash_of);
                }
                prop_assert_eq!(index.len(), model.len());
            }
            for slot in 0..200 {
                let found = index.find(hash_of(slot), |other| other == slot);
                prop_assert_eq!(found, model.contains_key(&slot).then_some(slot));
            }
        }
    }

    #[test]
    fn an_index_takes_as_many_as_it_says_and_no_more() {
        for len in [0, 1, 2, 3, 10, 1000] {
            let mut index = Index::default();
            index.rebuild(Index::capacity_for(len), std::iter::empty());
            for slot in 0..len as u32 {
                assert!(!index.is_full(), "{slot} of {len}");
                index.insert(slot.wrapping_mul(2_654_435_761), slot);
            }
            assert!(index.is_full(), "{len}");
        }
    }
}
