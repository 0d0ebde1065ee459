//! What the kernel's list of mappings says of anonymous memory.
//!
//! `/proc/self/smaps` has the size and the resident pages of each mapping. A mapping is told by
//! its name and its neighbours: one of a file is the program's (its data, changed after loading),
//! and so is a nameless one right above it (data that begins as zeros); `[stack]` is the first
//! thread's stack; a nameless one right above a guard that nothing may touch is another thread's
//! stack. `malloc` lays its arenas at multiples of 64 MiB and reserves them up to the next; the first
//! is `[heap]`. The rest are single mappings: large blocks, slabs.

use std::io::{BufRead, BufReader};

use crate::Bytes;

/// `malloc`'s arenas start at multiples of this, and are as long.
const ARENA: u64 = 64 << 20;

/// Anonymous memory of this process by what its mappings are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mappings {
    /// Resident anonymous bytes of mapped files: the data of program and libraries.
    pub program: Bytes,
    /// Resident bytes of stacks.
    pub stacks: Bytes,
    /// Resident bytes of `malloc`'s arenas.
    pub arenas: Bytes,
    /// Resident bytes of single mappings.
    pub single: Bytes,
    /// Bytes of single mappings, touched or not.
    pub single_size: Bytes,
}

/// One mapping.
#[derive(Default)]
struct Mapping {
    start: u64,
    end: u64,
    is_writable: bool,
    is_guard: bool,
    name: String,
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
        let mut mappings: Vec<Mapping> = Vec::new();
        for line in reader.lines() {
            let line = line.ok()?;
            if let Some(next) = Mapping::begin(&line) {
                mappings.push(next);
            } else if let Some(mapping) = mappings.last_mut() {
                mapping.field(&line);
            }
        }
        let mut sums = Self::default();
        for (index, mapping) in mappings.iter().enumerate() {
            let below = index.checked_sub(1).map(|below| &mappings[below]);
            sums.add(mapping, below, mappings.get(index + 1));
        }
        (!mappings.is_empty()).then_some(sums)
    }

    fn add(&mut self, mapping: &Mapping, below: Option<&Mapping>, above: Option<&Mapping>) {
        let touches = |below: &&Mapping| below.end == mapping.start;
        let below = below.filter(touches).filter(|_| mapping.is_nameless());
        let sum = if mapping.is_file() || below.is_some_and(Mapping::is_file) {
            &mut self.program
        } else if mapping.name == "[heap]" || mapping.is_arena(above) {
            &mut self.arenas
        } else if mapping.name.starts_with("[stack") || below.is_some_and(|below| below.is_guard) {
            &mut self.stacks
        } else {
            if mapping.is_writable {
                let size = Bytes::new(mapping.end - mapping.start);
                self.single_size = self.single_size.saturating_add(size);
            }
            &mut self.single
        };
        *sum = sum.saturating_add(Bytes::new(mapping.anonymous));
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
            anonymous: 0,
        })
    }

    fn field(&mut self, line: &str) {
        let Some((name, value)) = line.split_once(':') else { return };
        let kib = || value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok();
        if name == "Anonymous" {
            self.anonymous = kib().unwrap_or(0) << 10;
        }
    }

    /// Of a file, or the kernel's own, such as `[vdso]`.
    fn is_file(&self) -> bool {
        self.name.starts_with('/') || self.name.starts_with("[v")
    }

    fn is_nameless(&self) -> bool {
        self.name.is_empty() || self.name.starts_with("[anon")
    }

    /// Up to the next multiple of an arena's length, with what is reserved above it.
    fn is_arena(&self, above: Option<&Self>) -> bool {
        let reserved = above.filter(|above| above.is_guard && above.start == self.end);
        let end = reserved.map_or(self.end, |above| above.end);
        self.is_nameless() && self.start.is_multiple_of(ARENA) && end == self.start + ARENA
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
            mapping("55d0110000-55d0210000 rw-p 00000000 00:00 0 ", 16, 16),
            mapping("55d1000000-55d1400000 rw-p 00000000 00:00 0   [heap]", 3072, 3072),
            // A thread's stack of 2 MiB above its guard.
            mapping("7f1000000000-7f1000001000 ---p 00000000 00:00 0 ", 0, 0),
            mapping("7f1000001000-7f1000201000 rw-p 00000000 00:00 0 ", 20, 20),
            // The reserved end of one arena, and the next arena at a multiple of 64 MiB.
            mapping("7f1010000000-7f1014000000 ---p 00000000 00:00 0 ", 0, 0),
            mapping("7f1014000000-7f1014100000 rw-p 00000000 00:00 0 ", 512, 512),
            mapping("7f1014100000-7f1018000000 ---p 00000000 00:00 0 ", 0, 0),
            // A large block, at a multiple of 64 MiB by chance.
            mapping("7f1020000000-7f1020400000 rw-p 00000000 00:00 0 ", 4000, 4000),
            mapping("7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0   [stack]", 100, 100),
            mapping("7ffc10000000-7ffc10002000 r-xp 00000000 00:00 0   [vdso]", 8, 0),
        ];
        let found = Mappings::parse(text.concat().as_bytes()).unwrap();
        let expected = Mappings {
            program: Bytes::kib(56),
            stacks: Bytes::kib(120),
            arenas: Bytes::kib(3072 + 512),
            single: Bytes::kib(4000),
            single_size: Bytes::kib(4096),
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
        let Mappings { program, stacks, arenas, single, .. } = mappings;
        let parts = program.get() + stacks.get() + arenas.get() + single.get();
        // Two readings, and other tests run.
        let difference = parts.abs_diff(resident.rss_anon.get());
        assert!(difference < 32 << 20, "{mappings:?} against {resident:?}");
        assert!(stacks > Bytes::ZERO && arenas > Bytes::ZERO);
    }
}
