//! Which sampled allocations are alive?
//!
//! A fixed table of addresses with open addressing, without a lock. A thread that allocates
//! claims the first slot from the address's home that is free, by one compare-and-swap, fills
//! it, and publishes it by storing the address; a thread that frees claims the slot that holds
//! the address, takes what is in it, and leaves it vacant. An address is in the table at most
//! once, because the allocator hands it out again only after it was taken out here.
//!
//! A slot that was ever used never becomes [`EMPTY`] again, only [`VACANT`]; so from the home of
//! an address up to its slot there is never an empty one, and a search may end at the first.
//! New addresses take the first vacant slot, so slots that were left are used again. A table
//! is twice as long as the most addresses that it takes; who finds no slot in [`REACH`] steps
//! is counted as lost, and so is who comes when it is full.
//!
//! Readers copy a slot while others may change it, and check afterwards that it was the same
//! all the while: each filling of a slot has a new sequence number.

use std::sync::atomic::fence;

use super::sampling::mix;
use super::words::Words;
use crate::Bytes;
use crate::sync::{AtomicU64, Ordering};

/// A slot that was never used.
const EMPTY: u64 = 0;
/// A slot that one thread is filling or emptying.
const BUSY: u64 = 1;
/// A slot that was used and is free.
const VACANT: u64 = 2;
/// Slots that are looked at, at most.
const REACH: usize = 256;

/// Words of a slot beside its address: size and thread, birth, stack and sequence number.
const STRIDE: usize = 3;
const SHIFT: u32 = 48;
const LOW: u64 = (1 << SHIFT) - 1;
const SEQUENCE: u64 = u32::MAX as u64;

/// A sampled allocation that is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Bytes asked for; below 2^48.
    pub size: u64,
    /// Microseconds from the start of the profiler to its allocation; below 2^48.
    pub birth_us: u64,
    /// Which stack allocated it.
    pub stack: u32,
    /// Which thread, by order of first sight, modulo 2^16.
    pub thread: u16,
}

/// The sampled allocations that are alive.
#[derive(Debug)]
pub(crate) struct LiveTable {
    /// Addresses, or one of the marks.
    keys: Words,
    values: Words,
    most: u64,
    held: AtomicU64,
}

impl LiveTable {
    /// A table of at most `most` samples; `None` where the system has no memory left.
    pub(crate) fn new(most: usize) -> Option<Self> {
        let slots = Self::slots(most);
        Some(Self {
            keys: Words::new(slots)?,
            values: Words::new(slots * STRIDE)?,
            most: most as u64,
            held: AtomicU64::new(0),
        })
    }

    /// What a table of at most `most` samples takes.
    pub(crate) fn footprint(most: usize) -> Bytes {
        Words::footprint(Self::slots(most) * (1 + STRIDE))
    }

    fn slots(most: usize) -> usize {
        (most.max(1) * 2).next_power_of_two()
    }

    /// Samples in the table.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Takes a sample in; false if there is no place for it.
    pub(crate) fn insert(&self, address: usize, sample: Sample) -> bool {
        if self.held.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.held.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        for slot in self.path(address) {
            let key = &self.keys[slot];
            let seen = key.load(Ordering::Relaxed);
            let is_free = matches!(seen, EMPTY | VACANT);
            // A claim sees what the slot's last owner wrote.
            if is_free
                && key.compare_exchange(seen, BUSY, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                self.fill(slot, sample);
                key.store(address as u64, Ordering::Release);
                return true;
            }
        }
        self.held.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// Takes a sample out.
    pub(crate) fn remove(&self, address: usize) -> Option<Sample> {
        for slot in self.path(address) {
            let key = &self.keys[slot];
            let seen = key.load(Ordering::Relaxed);
            if seen == EMPTY {
                return None;
            }
            if seen == address as u64
                && key.compare_exchange(seen, BUSY, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                let words = self.words(slot);
                let sample = unpack(words.each_ref().map(|word| word.load(Ordering::Relaxed)));
                key.store(VACANT, Ordering::Release);
                self.held.fetch_sub(1, Ordering::Relaxed);
                return Some(sample);
            }
        }
        None
    }

    /// Calls `visit` with every sample that is in the table all the while; of those that come or
    /// go meanwhile, with some.
    pub(crate) fn for_each(&self, mut visit: impl FnMut(Sample)) {
        for (slot, key) in self.keys.iter().enumerate() {
            let before = key.load(Ordering::Acquire);
            if matches!(before, EMPTY | BUSY | VACANT) {
                continue;
            }
            let [size, birth, last] = self.words(slot);
            // `last` is written after the others and read before them: who sees the new one
            // sees the other new ones. Who sees one of them without it meets the fence of
            // `fill`, and so sees the address gone, or the new one and with it the new `last`.
            let first = last.load(Ordering::Acquire);
            let words = [size.load(Ordering::Relaxed), birth.load(Ordering::Relaxed), first];
            fence(Ordering::Acquire);
            if key.load(Ordering::Acquire) == before && last.load(Ordering::Relaxed) == first {
                visit(unpack(words));
            }
        }
    }

    /// Writes a sample into a slot that this thread claimed.
    fn fill(&self, slot: usize, sample: Sample) {
        let [size, birth, last] = self.words(slot);
        let sequence = (last.load(Ordering::Relaxed) & SEQUENCE).wrapping_add(1) & SEQUENCE;
        fence(Ordering::Release);
        size.store(sample.size & LOW | u64::from(sample.thread) << SHIFT, Ordering::Relaxed);
        birth.store(sample.birth_us & LOW, Ordering::Relaxed);
        last.store(u64::from(sample.stack) << 32 | sequence, Ordering::Release);
    }

    fn words(&self, slot: usize) -> [&AtomicU64; STRIDE] {
        std::array::from_fn(|word| &self.values[slot * STRIDE + word])
    }

    /// The slots in which `address` may be, nearest first.
    fn path(&self, address: usize) -> impl Iterator<Item = usize> + use<> {
        let mask = self.keys.len() - 1;
        let home = mix(address as u64) as usize;
        (0..REACH.min(mask + 1)).map(move |step| home.wrapping_add(step) & mask)
    }
}

fn unpack([size, birth, last]: [u64; STRIDE]) -> Sample {
    Sample {
        size: size & LOW,
        birth_us: birth & LOW,
        stack: (last >> 32) as u32,
        thread: (size >> SHIFT) as u16,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn sample(n: u64) -> Sample {
        Sample { size: n, birth_us: n ^ 0xabcd, stack: n as u32, thread: n as u16 }
    }

    fn all(table: &LiveTable) -> Vec<u64> {
        let mut sizes = Vec::new();
        table.for_each(|sample| sizes.push(sample.size));
        sizes.sort_unstable();
        sizes
    }

    #[test]
    fn a_table_takes_as_many_as_it_says_and_not_one_more() {
        for most in [1, 7, 64] {
            let table = LiveTable::new(most).unwrap();
            for n in 1..most as u64 {
                assert!(table.insert(n as usize * 64, sample(n)));
            }
            assert!(table.insert(most * 64, sample(most as u64)), "at the limit");
            assert!(!table.insert(1 << 30, sample(99)), "one more");
            assert_eq!(table.len(), most as u64);
            assert_eq!(table.remove(64), Some(sample(1)));
            assert!(table.insert(1 << 30, sample(99)));
            assert_eq!(table.remove(1 << 30), Some(sample(99)));
        }
    }

    #[test]
    fn the_largest_values_come_back_whole() {
        let table = LiveTable::new(4).unwrap();
        let most = Sample { size: LOW, birth_us: LOW, stack: u32::MAX, thread: u16::MAX };
        assert!(table.insert(usize::MAX & !15, most));
        assert_eq!(table.remove(usize::MAX & !15), Some(most));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 128 }))]
        #[test]
        fn any_sequence_matches_a_map(steps in prop::collection::vec((0usize..40, 1u64..1000), 0..300)) {
            let table = LiveTable::new(24).unwrap();
            let mut map: HashMap<usize, Sample> = HashMap::new();
            for (at, size) in steps {
                let address = 4096 + at * 16;
                if map.contains_key(&address) {
                    prop_assert_eq!(table.remove(address), map.remove(&address));
                } else {
                    prop_assert_eq!(table.remove(address), None);
                    let fits = map.len() < 24;
                    prop_assert_eq!(table.insert(address, sample(size)), fits);
                    if fits {
                        map.insert(address, sample(size));
                    }
                }
                let mut sizes: Vec<u64> = map.values().map(|sample| sample.size).collect();
                sizes.sort_unstable();
                prop_assert_eq!(all(&table), sizes);
            }
        }
    }

    #[test]
    fn readers_see_whole_samples_while_others_come_and_go_at_the_same_address() {
        let table = LiveTable::new(64).unwrap();
        let rounds = if cfg!(miri) { 60 } else { 20_000 };
        std::thread::scope(|scope| {
            for thread in 0..2u64 {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..rounds {
                        let address = 4096 + (thread as usize * 4 + round as usize % 4) * 16;
                        assert!(table.insert(address, sample(round * 2 + thread)));
                        assert_eq!(table.remove(address), Some(sample(round * 2 + thread)));
                    }
                });
            }
            for _ in 0..rounds {
                table.for_each(|seen| assert_eq!(seen, sample(seen.size)));
            }
        });
        assert_eq!((table.len(), all(&table).len()), (0, 0));
    }
}
