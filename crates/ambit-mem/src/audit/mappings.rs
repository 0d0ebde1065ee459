//! What the kernel's list of mappings says of anonymous memory.
//!
//! `/proc/self/smaps` has the size and the resident pages of each mapping. A mapping is told by
//! its name and its neighbours: one of a file is the program's (its data, changed after loading);
//! `[stack]` is the first thread's stack; a nameless one right above a guard that nothing may touch
//! is another thread's stack, unless it starts where `malloc` lays its arenas, at a multiple of
//! 64 MiB. The rest is heap.

use std::io::{BufRead, BufReader};

use crate::Bytes;

/// `malloc`'s arenas start at multiples of this.
const ARENA: u64 = 64 << 20;

/// Anonymous memory of this process by what its mappings are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mappings {
    /// Resident anonymous bytes of mapped files: the data of program and libraries.
    pub program: Bytes,
    /// Resident bytes of stacks.
    pub stacks: Bytes,
    /// Resident bytes of heaps and other anonymous mappings.
    pub heap: Bytes,
    /// Bytes of heaps and other anonymous mappings that were never touched.
    pub untouched: Bytes,
}

/// One mapping.
#[derive(Default)]
struct Mapping {
    start: u64,
    end: u64,
    is_writable: bool,
    is_guard: bool,
    name: String,
    rss: u64,
    anonymous: u64,
}

impl Mappings {
    /// Reads them now; `None` where the system has no `/proc/self/smaps`.
    ///
    /// # Cost
    /// The kernel walks the page tables: about a millisecond per GiB resident.
    pub fn read() -> Option<Self> {
        let file = std::fs::File::open("/proc/self/smaps").ok()?;
        Self::parse(BufReader::new(file))
    }

    fn parse(reader: impl BufRead) -> Option<Self> {
        let mut sums = Self::default();
        let mut below = Mapping::default();
        let mut at: Option<Mapping> = None;
        for line in reader.lines() {
            let line = line.ok()?;
            if let Some(next) = Mapping::begin(&line) {
                if let Some(mapping) = at.replace(next) {
                    sums.add(&mapping, &below);
                    below = mapping;
                }
            } else if let Some(mapping) = &mut at {
                mapping.field(&line);
            }
        }
        sums.add(&at?, &below);
        Some(sums)
    }

    fn add(&mut self, mapping: &Mapping, below: &Mapping) {
        let anonymous = Bytes::new(mapping.anonymous);
        let is_nameless = mapping.name.is_empty() || mapping.name.starts_with("[anon");
        if mapping.name.starts_with('/') || mapping.name.starts_with("[v") {
            self.program = self.program.saturating_add(anonymous);
        } else if mapping.name.starts_with("[stack")
            || is_nameless && mapping.is_above_guard(below) && !mapping.start.is_multiple_of(ARENA)
        {
            self.stacks = self.stacks.saturating_add(anonymous);
        } else if mapping.is_writable {
            self.heap = self.heap.saturating_add(anonymous);
            let untouched = (mapping.end - mapping.start).saturating_sub(mapping.rss);
            self.untouched = self.untouched.saturating_add(Bytes::new(untouched));
        } else {
            // Pages that were written and then protected.
            self.heap = self.heap.saturating_add(anonymous);
        }
    }
}

impl Mapping {
    /// The mapping that `line` begins, as in `7f00-7f10 rw-p 00000000 00:00 0   [heap]`.
    fn begin(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let (start, end, rights) = (hex(start)?, hex(end)?, words.next()?);
        // Offset, device and inode; what follows is the name, which may hold blanks.
        let name = words.skip(3).collect::<Vec<_>>().join(" ");
        Some(Self {
            start,
            end: end.max(start),
            is_writable: rights.starts_with("rw"),
            is_guard: rights.starts_with("---"),
            name,
            rss: 0,
            anonymous: 0,
        })
    }

    fn field(&mut self, line: &str) {
        let Some((name, value)) = line.split_once(':') else { return };
        let kib = || value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok();
        match name {
            "Rss" => self.rss = kib().unwrap_or(0) << 10,
            "Anonymous" => self.anonymous = kib().unwrap_or(0) << 10,
            _ => {}
        }
    }

    fn is_above_guard(&self, below: &Self) -> bool {
        below.is_guard && below.end == self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(line: &str, rss: u64, anonymous: u64) -> String {
        format!("{line}\nSize: 1 kB\nRss: {rss} kB\nAnonymous:   {anonymous} kB\nVmFlags: rd\n")
    }

    #[test]
    fn mappings_are_told_by_name_and_by_the_guard_below() {
        let text = [
            mapping("55d0000000-55d0100000 r-xp 00000000 fe:00 7   /usr/bin/a b", 512, 0),
            mapping("55d0100000-55d0110000 rw-p 00100000 fe:00 7   /usr/bin/a b", 64, 40),
            mapping("55d1000000-55d1400000 rw-p 00000000 00:00 0   [heap]", 3072, 3072),
            // A thread's stack of 2 MiB above its guard.
            mapping("7f1000000000-7f1000001000 ---p 00000000 00:00 0 ", 0, 0),
            mapping("7f1000001000-7f1000201000 rw-p 00000000 00:00 0 ", 20, 20),
            // The reserved end of one arena, and the next arena at a multiple of 64 MiB.
            mapping("7f1010000000-7f1014000000 ---p 00000000 00:00 0 ", 0, 0),
            mapping("7f1014000000-7f1014100000 rw-p 00000000 00:00 0 ", 512, 512),
            mapping("7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0   [stack]", 100, 100),
            mapping("7ffc10000000-7ffc10002000 r-xp 00000000 00:00 0   [vdso]", 8, 0),
        ];
        let found = Mappings::parse(text.concat().as_bytes()).unwrap();
        let expected = Mappings {
            program: Bytes::kib(40),
            stacks: Bytes::kib(120),
            heap: Bytes::kib(3072 + 512),
            untouched: Bytes::kib(1024 + 512),
        };
        assert_eq!(found, expected);
        assert_eq!(Mappings::parse(&b""[..]), None);
    }

    #[test]
    fn the_parts_of_this_process_sum_to_what_the_kernel_counts() {
        let (Some(mappings), Some(resident)) = (Mappings::read(), crate::process::Resident::read())
        else {
            return;
        };
        let parts = mappings.program.get() + mappings.stacks.get() + mappings.heap.get();
        // Two readings, and other tests run.
        let difference = parts.abs_diff(resident.rss_anon.get());
        assert!(difference < 32 << 20, "{mappings:?} against {resident:?}");
        assert!(mappings.stacks > Bytes::ZERO && mappings.heap > Bytes::ZERO);
    }
}
