//! How often was this hash seen lately?
//!
//! A count-min sketch of four-bit counters, eight to an entry (Cormode and Muthukrishnan, 2005),
//! all halved each time that ten times as many were counted as there are entries, so that it
//! tells the recent past (TinyLFU: Einziger, Friedman, Manes, 2017). The four counters of a
//! hash lie in one cache line.

/// Entries whose counters share a line.
const ENTRIES: usize = 16;
/// Words in a line.
const LINE: usize = 8;
/// Counted before ageing, for each entry.
const PERIOD: u32 = 10;

#[derive(Debug, Default)]
pub(crate) struct Sketch {
    lines: Box<[[u64; LINE]]>,
    entries: u32,
    counted: u32,
}

impl Sketch {
    const fn lines_for(entries: u32) -> usize {
        (entries as usize).div_ceil(ENTRIES)
    }

    /// Bytes of a sketch for so many entries.
    pub const fn bytes_of(entries: u32) -> u64 {
        (Self::lines_for(entries) * LINE * size_of::<u64>()) as u64
    }

    /// For so many entries; nothing was seen yet.
    pub fn for_entries(entries: u32) -> Self {
        let lines = vec![[0; LINE]; Self::lines_for(entries)].into();
        Self { lines, entries, counted: 0 }
    }

    /// Entries that it is made for.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> u64 {
        Self::bytes_of(self.entries)
    }

    /// The line of a hash, and four places in it: word and shift.
    #[inline]
    fn places(&self, hash: u32) -> (usize, [(usize, u32); 4]) {
        let mixed = u64::from(hash).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let line = (u64::from((mixed >> 32) as u32) * self.lines.len() as u64) >> 32;
        // Two words for each row, so rows never share a counter; five bits choose one of 32.
        let place = |row: u32| {
            let bits = (mixed >> (row * 5)) as u32 & 31;
            (2 * row as usize + (bits >> 4) as usize, (bits & 15) * 4)
        };
        (line as usize, [place(0), place(1), place(2), place(3)])
    }

    /// Counts one; ages when it is time.
    #[inline]
    pub fn count(&mut self, hash: u32) {
        let (line, places) = self.places(hash);
        let Some(line) = self.lines.get_mut(line) else { return };
        let mut added = false;
        for (word, shift) in places {
            if line[word] >> shift & 15 < 15 {
                line[word] += 1 << shift;
                added = true;
            }
        }
        self.counted += u32::from(added);
        if self.counted >= self.entries.saturating_mul(PERIOD) {
            self.age();
        }
    }

    /// Halves all counters.
    #[cold]
    fn age(&mut self) {
        for word in self.lines.iter_mut().flatten() {
            *word = *word >> 1 & 0x7777_7777_7777_7777;
        }
        self.counted /= 2;
    }

    /// How often, 0 to 15; never less than it was, up to ageing.
    #[inline]
    pub fn estimate(&self, hash: u32) -> u32 {
        let (line, places) = self.places(hash);
        let Some(line) = self.lines.get(line) else { return 0 };
        let count = |(word, shift): (usize, u32)| (line[word] >> shift & 15) as u32;
        places.into_iter().map(count).min().unwrap_or(0)
    }
}
