//! Which stacks allocate, under which tag, and how much?
//!
//! Each distinct pair of a tag and a stack has one number and one record: how much it
//! allocated and how much of that was freed, as estimates ([`super::sampling`]), and its return
//! addresses. Records are never removed, so a number stays good as long as the table. The table
//! is fixed; what does not fit is booked under number 0, the record of all other stacks.
//!
//! Finding and adding take no lock. A new stack's record is written first and then published
//! by one compare-and-swap in the index; who loses that race to the same stack leaves the
//! unpublished record to the next newcomer.

use super::sampling::mix;
use super::words::Words;
use crate::Bytes;
use crate::sync::{AtomicU64, Ordering};

/// The record of all stacks that did not fit.
pub(crate) const OTHERS: u32 = 0;

/// Counters of a record, a cache line each.
const STRIDE: usize = 8;
/// A count of allocations is kept in units of 2^-16.
const FRACTION: f64 = 65536.0;

/// What a stack allocated, or what of it was freed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Amount {
    /// Samples.
    pub samples: u64,
    /// Allocations, estimated.
    pub count: f64,
    /// Bytes, estimated.
    pub bytes: f64,
}

impl Amount {
    pub(crate) fn one(size: u64, weight: f64) -> Self {
        Self { samples: 1, count: weight, bytes: weight * size as f64 }
    }
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

/// Stacks with what they allocated and freed.
#[derive(Debug)]
pub(crate) struct StackTable {
    /// The upper half of a hash, and a number, or zero.
    index: Words,
    /// Tag and depth, then addresses; `depth + 1` words each.
    stacks: Words,
    /// Allocated samples, count, bytes; freed samples, count, bytes.
    counters: Words,
    depth: usize,
    most: usize,
    /// The next number that nobody has.
    next: AtomicU64,
    /// A number that was taken and not published, or zero.
    spare: AtomicU64,
}

impl StackTable {
    /// A table of at most `limits.stacks` stacks; `None` where the system has no memory left.
    pub(crate) fn new(limits: Limits) -> Option<Self> {
        Some(Self {
            index: Words::new(limits.slots())?,
            stacks: Words::new(limits.records() * (limits.depth + 1))?,
            counters: Words::new(limits.records() * STRIDE)?,
            depth: limits.depth,
            most: limits.stacks,
            next: AtomicU64::new(u64::from(OTHERS) + 1),
            spare: AtomicU64::new(0),
        })
    }

    /// Numbers given out so far: all are below this.
    pub(crate) fn end(&self) -> u32 {
        (self.next.load(Ordering::Acquire) as usize).min(self.most + 1) as u32
    }

    /// The number of this stack, innermost frame first, cut off at the table's depth.
    pub(crate) fn number(&self, tag: u8, frames: &[usize]) -> u32 {
        let frames = &frames[..frames.len().min(self.depth)];
        let hash = frames
            .iter()
            .fold(mix(u64::from(tag) + 1), |hash, &frame| mix(hash.rotate_left(5) ^ frame as u64));
        let mask = self.index.len() - 1;
        let mut at = hash as usize & mask;
        let mut own = None;
        loop {
            let entry = self.index[at].load(Ordering::Acquire);
            if entry == 0 {
                let Some(number) = own.or_else(|| self.draft(tag, frames)) else {
                    return OTHERS;
                };
                own = Some(number);
                let published = hash >> 32 << 32 | u64::from(number);
                if self.index[at]
                    .compare_exchange(0, published, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
                {
                    return number;
                }
                // Somebody else's stack is there now, maybe this one: look at it.
                continue;
            }
            if entry >> 32 == hash >> 32 && self.is(entry as u32, tag, frames) {
                if let Some(unused) = own {
                    self.set_aside(unused);
                }
                return entry as u32;
            }
            at = (at + 1) & mask;
        }
    }

    /// Books an allocation.
    pub(crate) fn allocated(&self, number: u32, amount: Amount) {
        self.add(number, 0, amount);
    }

    /// Books the end of an allocation.
    pub(crate) fn freed(&self, number: u32, amount: Amount) {
        self.add(number, 3, amount);
    }

    /// What a stack allocated so far, and what of that was freed.
    pub(crate) fn amounts(&self, number: u32) -> (Amount, Amount) {
        let at = number as usize * STRIDE;
        let read = |word: usize| self.counters[at + word].load(Ordering::Relaxed);
        let amount = |first| Amount {
            samples: read(first),
            count: read(first + 1) as f64 / FRACTION,
            bytes: read(first + 2) as f64,
        };
        // Freed first, so that no more is freed than was allocated.
        let freed = amount(3);
        (amount(0), freed)
    }

    /// The tag of a stack.
    pub(crate) fn tag(&self, number: u32) -> u8 {
        self.record(number)[0].load(Ordering::Relaxed) as u8
    }

    /// Tag and frames of a stack.
    pub(crate) fn read(&self, number: u32, frames: &mut Vec<usize>) -> u8 {
        let record = self.record(number);
        let head = record[0].load(Ordering::Relaxed);
        let depth = (head >> 8) as usize;
        frames
            .extend(record[1..][..depth].iter().map(|word| word.load(Ordering::Relaxed) as usize));
        head as u8
    }

    fn add(&self, number: u32, first: usize, amount: Amount) {
        let at = number as usize * STRIDE + first;
        let words = [amount.samples, (amount.count * FRACTION) as u64, amount.bytes.round() as u64];
        for (counter, word) in self.counters[at..].iter().zip(words) {
            counter.fetch_add(word, Ordering::Relaxed);
        }
    }

    fn record(&self, number: u32) -> &[AtomicU64] {
        &self.stacks[number as usize * (self.depth + 1)..][..self.depth + 1]
    }

    fn is(&self, number: u32, tag: u8, frames: &[usize]) -> bool {
        let record = self.record(number);
        record[0].load(Ordering::Relaxed) == head(tag, frames)
            && frames
                .iter()
                .zip(&record[1..])
                .all(|(frame, word)| word.load(Ordering::Relaxed) == *frame as u64)
    }

    /// Writes the record of a stack that is not published yet; `None` if all are taken.
    fn draft(&self, tag: u8, frames: &[usize]) -> Option<u32> {
        let number = match self.spare.swap(0, Ordering::Acquire) {
            0 => {
                let mine = self.next.load(Ordering::Relaxed) <= self.most as u64;
                let number =
                    if mine { self.next.fetch_add(1, Ordering::Relaxed) } else { u64::MAX };
                (number <= self.most as u64).then_some(number)? as u32
            }
            spare => spare as u32,
        };
        let record = self.record(number);
        record[0].store(head(tag, frames), Ordering::Relaxed);
        for (frame, word) in frames.iter().zip(&record[1..]) {
            word.store(*frame as u64, Ordering::Relaxed);
        }
        Some(number)
    }

    /// Keeps a record that was not published for the next newcomer, unless one is kept already.
    fn set_aside(&self, number: u32) {
        let kept =
            self.spare.compare_exchange(0, u64::from(number), Ordering::Release, Ordering::Relaxed);
        if kept.is_err() {
            self.record(number)[0].store(0, Ordering::Relaxed);
        }
    }
}

fn head(tag: u8, frames: &[usize]) -> u64 {
    u64::from(tag) | (frames.len() as u64) << 8
}

/// How many stacks a table takes, and how deep they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub stacks: usize,
    pub depth: usize,
}

impl Limits {
    /// What a table takes.
    pub(crate) fn footprint(self) -> Bytes {
        Words::footprint(self.slots() + self.records() * (self.depth + 1 + STRIDE))
    }

    fn records(self) -> usize {
        self.stacks + 1
    }

    fn slots(self) -> usize {
        (self.records() * 2).next_power_of_two()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn table(stacks: usize, depth: usize) -> StackTable {
        StackTable::new(Limits { stacks, depth }).unwrap()
    }

    #[test]
    fn as_many_stacks_as_fit_have_numbers_and_the_next_is_booked_with_the_others() {
        for most in [1, 2, 9] {
            let table = table(most, 3);
            let numbers: Vec<u32> = (0..most).map(|n| table.number(0, &[n, 7])).collect();
            assert_eq!(numbers, (1..=most as u32).collect::<Vec<_>>());
            assert_eq!(table.number(0, &[most, 7]), OTHERS);
            assert_eq!(table.number(0, &[0, 7]), 1, "known ones are still found");
            assert_eq!(table.end(), most as u32 + 1);
        }
    }

    #[test]
    fn a_stack_is_told_from_another_by_tag_frames_and_depth_up_to_the_limit() {
        let table = table(9, 3);
        let first = table.number(1, &[1, 2, 3]);
        assert_ne!(table.number(2, &[1, 2, 3]), first);
        assert_ne!(table.number(1, &[1, 2]), first);
        assert_ne!(table.number(1, &[3, 2, 1]), first);
        assert_eq!(table.number(1, &[1, 2, 3, 4]), first, "cut off at three");
        let mut frames = Vec::new();
        assert_eq!((table.read(first, &mut frames), frames), (1, vec![1, 2, 3]));
    }

    #[test]
    fn amounts_add_up_with_their_fractions() {
        let table = table(2, 2);
        let number = table.number(0, &[5]);
        (0..4).for_each(|_| table.allocated(number, Amount::one(100, 1.25)));
        table.freed(number, Amount::one(100, 1.25));
        let amount = |samples| Amount {
            samples,
            count: 1.25 * samples as f64,
            bytes: 125.0 * samples as f64,
        };
        assert_eq!(table.amounts(number), (amount(4), amount(1)));
    }

    #[test]
    fn threads_that_meet_the_same_stacks_give_each_one_number() {
        for _ in 0..if cfg!(miri) { 2 } else { 200 } {
            let table = table(40, 2);
            let start = std::sync::Barrier::new(3);
            let seen: Vec<Vec<u32>> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..3)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            (0..30).map(|n| table.number(0, &[n, n])).collect()
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(seen[0], seen[1]);
            assert_eq!(seen[0], seen[2]);
            let mut frames = Vec::new();
            for (n, number) in seen[0].iter().enumerate() {
                frames.clear();
                table.read(*number, &mut frames);
                assert_eq!(frames, [n, n]);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 128 }))]
        #[test]
        fn numbers_match_a_map(calls in prop::collection::vec((0u8..3, prop::collection::vec(0usize..3, 0..4)), 0..200)) {
            let table = table(500, 4);
            let mut map = HashMap::new();
            for (tag, frames) in calls {
                let next = map.len() as u32 + 1;
                let expected = *map.entry((tag, frames.clone())).or_insert(next);
                prop_assert_eq!(table.number(tag, &frames), expected);
            }
        }
    }
}
