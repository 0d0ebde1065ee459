//! A program like an indexing run: it reads texts and keeps, for each word, where it occurs.

use std::alloc::GlobalAlloc;

use super::heap::Block;

/// `count` texts of 200 words from a vocabulary in which few are frequent.
pub fn texts(seed: u64, count: usize) -> Vec<String> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    };
    let mut word = move || {
        // The product of two uniform numbers: low ones are frequent.
        let rank = (next() % 200) * (next() % 200);
        format!("w{:x}", rank.wrapping_mul(2_654_435_761) % 1_000_003)
    };
    (0..count).map(|_| (0..200).map(|_| word()).collect::<Vec<_>>().join(" ")).collect()
}

/// A word with the places where it occurs.
struct Entry<'a, A: GlobalAlloc> {
    hash: u64,
    _word: Block<'a, A>,
    places: Block<'a, A>,
    len: usize,
}

/// Indexes `texts`; returns how many places there are.
pub fn run<A: GlobalAlloc>(allocator: &A, texts: &[String]) -> u64 {
    const SLOTS: usize = 1 << 15;
    let mut entries: Vec<Option<Entry<'_, A>>> = (0..SLOTS).map(|_| None).collect();
    let mut places = 0;
    for (number, text) in texts.iter().enumerate() {
        // A text is read into memory of its own, and each word is taken out of it.
        let mut copy = Block::of(allocator, text.len());
        copy.write(0, text.as_bytes());
        for (at, word) in text.split(' ').enumerate() {
            let mut own = Block::of(allocator, word.len());
            own.write(0, word.as_bytes());
            let hash = word.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let mut slot = hash as usize % SLOTS;
            while entries[slot].as_ref().is_some_and(|entry| entry.hash != hash) {
                slot = (slot + 1) % SLOTS;
            }
            let entry = entries[slot].get_or_insert_with(|| Entry {
                hash,
                _word: own,
                places: Block::of(allocator, 64),
                len: 0,
            });
            if entry.len == entry.places.size() {
                entry.places.resize(entry.len * 2);
            }
            let place = (number << 16 | at) as u64;
            entry.places.write(entry.len, &place.to_le_bytes());
            entry.len += size_of::<u64>();
            places += 1;
        }
    }
    places
}
