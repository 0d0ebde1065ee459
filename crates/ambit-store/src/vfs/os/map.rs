//! A sealed file in the address space.
//!
//! One read-only shared mapping for the whole file. The kernel is told that access is random,
//! because its default read-ahead brings in far more than vector rows need; a range that is
//! wanted is brought in by one call, and a range that is given back leaves the resident set at
//! once. With [`super::lock`], the only unsafe code of this crate.

#![expect(unsafe_code, reason = "mapping a file is a promise that the compiler cannot check")]

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Advice, Mmap, UncheckedAdvice};

use crate::vfs::Mapping;

/// Step of the touches that stand in for a missing `MADV_POPULATE_READ`: the smallest page.
const PAGE: usize = 4096;
/// Read ahead by one advice: kernels cut a longer one to what the device takes at once, which
/// is seldom less.
const READ_AHEAD: usize = 128 << 10;

/// A mapped file.
pub(super) struct FileMap {
    map: Mmap,
}

impl FileMap {
    /// Maps all of `file`.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the mapping is read-only, and the contract of `VfsFile::map` is that the file
        // is sealed: this crate never writes to, truncates or extends a sealed file, it only
        // unlinks it, and an unlinked file stays whole while it is mapped. The length comes
        // from the file itself in this call, so no page lies past its end.
        let map = unsafe { Mmap::map(file)? };
        // Advice: where the kernel does not take it, reads are only slower.
        let _ = map.advise(Advice::Random);
        Ok(Self { map })
    }

    fn inside(&self, range: &Range<usize>) -> Range<usize> {
        let end = range.end.min(self.map.len());
        range.start.min(end)..end
    }

    /// Starts reading what of `range` is not in memory, in large pieces. Populating alone would
    /// read one page at a time here, since random access is advised: 12 MB/s of a cold file
    /// where this reads 500.
    fn read_ahead(&self, range: &Range<usize>) {
        for start in range.clone().step_by(READ_AHEAD) {
            let len = READ_AHEAD.min(range.end - start);
            // Advice: where the kernel does not take it, reads are only slower.
            let _ = self.map.advise_range(Advice::WillNeed, start, len);
        }
    }

    /// Reads one byte of each page, so that all of them are resident.
    fn touch(&self, range: Range<usize>) {
        for page in self.map[range].chunks(PAGE) {
            std::hint::black_box(page[0]);
        }
    }
}

impl Mapping for FileMap {
    fn bytes(&self) -> &[u8] {
        &self.map
    }

    fn populate(&self, range: Range<usize>) {
        let range = self.inside(&range);
        if range.is_empty() {
            return;
        }
        self.read_ahead(&range);
        #[cfg(target_os = "linux")]
        {
            let populated = self.map.advise_range(Advice::PopulateRead, range.start, range.len());
            if populated.is_ok() {
                return;
            }
        }
        self.touch(range);
    }

    fn release(&self, range: Range<usize>) {
        let range = self.inside(&range);
        if range.is_empty() {
            return;
        }
        // SAFETY: `MADV_DONTNEED` is unsafe because it can change what a private or anonymous
        // page reads as. This mapping is shared and file-backed: a dropped page comes back from
        // the file, which is sealed, with the same bytes; borrows of `bytes()` stay valid. The
        // range lies inside the mapping.
        let released = unsafe {
            self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len())
        };
        // The only failure is locked memory, which keeps the pages and nothing else.
        let _ = released;
    }
}
