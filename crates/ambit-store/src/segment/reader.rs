//! Reading a sealed segment.
//!
//! Opening costs the header, the footer and the two tables; the length is held against the
//! manifest and the footer before anything is mapped. After that a read is a bounds check, a
//! few atomics and a slice. A block is held against its checksum when it is first touched:
//! one bit per block remembers it. Read by `pread`, blocks are checked every time, because
//! their bytes come from the disk every time.
//!
//! Sealed files are never truncated, only unlinked, so a mapping stays whole for as long as
//! it lives.

use std::ops::Range;

use ambit_mem::{Account, Bytes, Reservation};

use super::format::{
    FOOTER, HEADER, Header, Layout, NamedSection, Section, block_seed, segment_name, stored_crc,
};
use super::view::{Buffer, View};
use super::windows::{Mapped, WINDOW_COST, Windows};
use crate::bugs::{Bugs, SeededBug};
use crate::error::StoreError;
use crate::log::SegmentMeta;
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::vfs::{OpenMode, Vfs, VfsFile, read_exact_at};

/// How segments are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Io {
    /// Through a mapping, in charged windows: no copy, and the page cache is shared by processes.
    #[default]
    Map,
    /// By `pread` into charged buffers: a failing disk is an error, where a mapping is a signal.
    Pread,
}

/// One open segment.
pub struct Segment {
    pub(super) meta: SegmentMeta,
    pub(super) name: String,
    pub(super) file: Arc<dyn VfsFile>,
    pub(super) layout: Layout,
    pub(super) account: Account,
    sections: Box<[NamedSection]>,
    checksums: Box<[u32]>,
    /// One bit per block: it was held against its checksum.
    verified: Box<[AtomicU64]>,
    block_bits: u32,
    mapped: Option<Mapped>,
    bugs: Bugs,
    // Last: the bytes above go before their charge.
    _charge: Reservation,
}

/// The parts of a segment around its sections, read and checked.
pub(super) struct Tables {
    pub(super) layout: Layout,
    pub(super) sections: Vec<NamedSection>,
    pub(super) checksums: Vec<u32>,
    charge: Reservation,
}

impl Segment {
    /// Opens the segment that the manifest calls `meta`. `account` pays for its tables and, read by `pread`,
    /// for its views; `windows` for its mapped pages.
    ///
    /// # Errors
    /// `Corrupt` when length, header, footer or a table are not what was written, or the file is another one;
    /// `NewerFormat`; `OverBudget` when the tables do not fit; `Io` (also when there is no such file).
    ///
    /// # Cost
    /// Four small reads, 4.1 bytes of memory per block and 96 per window; no section is touched.
    pub fn open(
        vfs: &Arc<dyn Vfs>,
        meta: &SegmentMeta,
        io: Io,
        windows: &Arc<Windows>,
        account: &Account,
        bugs: Bugs,
    ) -> Result<Arc<Self>, StoreError> {
        let name = segment_name(meta.id);
        let file = vfs
            .open(&name, OpenMode::Read)
            .map_err(|error| StoreError::io("open", &name, error))?;
        Self::open_file(file, name, meta, io, windows, account, bugs)
    }

    /// What the footer of `file`, which nothing else speaks of, says of it: for [`Segment::open_file`].
    ///
    /// # Errors
    /// `Corrupt` when it is too short; `Io`.
    pub(crate) fn own_meta(
        file: &dyn VfsFile,
        name: &str,
        id: u64,
    ) -> Result<SegmentMeta, StoreError> {
        let io = |error| StoreError::io("read", name, error);
        let len = file.len().map_err(io)?;
        if len < (HEADER + FOOTER) as u64 {
            return Err(StoreError::corrupt(name, 0, format!("no segment has {len} bytes")));
        }
        let mut footer = [0; FOOTER];
        read_exact_at(file, len - FOOTER as u64, &mut footer).map_err(io)?;
        let rows = Layout::rows_of(&footer);
        Ok(SegmentMeta { id, len, footer_crc: stored_crc(&footer), rows })
    }

    /// Opens a file in the format of a segment; as [`Segment::open`].
    pub(crate) fn open_file(
        file: Arc<dyn VfsFile>,
        name: String,
        meta: &SegmentMeta,
        io: Io,
        windows: &Arc<Windows>,
        account: &Account,
        bugs: Bugs,
    ) -> Result<Arc<Self>, StoreError> {
        let Tables { layout, sections, checksums, mut charge } =
            Tables::read(&*file, meta, &name, account)?;
        let block = layout.block as usize;
        let mapped = match io {
            Io::Pread => None,
            Io::Map => {
                let count = meta.len.div_ceil(windows.window_for(block) as u64);
                charge.grow(Bytes::new(count * WINDOW_COST))?;
                Some(map(&*file, meta, &name, block, windows)?)
            }
        };
        let words = checksums.len().div_ceil(64);
        Ok(Arc::new(Self {
            meta: *meta,
            name,
            file,
            layout,
            account: account.clone(),
            sections: sections.into(),
            checksums: checksums.into(),
            verified: (0..words).map(|_| AtomicU64::new(0)).collect(),
            block_bits: layout.block.trailing_zeros(),
            mapped,
            bugs,
            _charge: charge,
        }))
    }

    /// Id of the file.
    pub fn id(&self) -> u64 {
        self.meta.id
    }

    /// Rows, as the writer counted them.
    pub fn rows(&self) -> u32 {
        self.meta.rows
    }

    /// What the manifest says of it.
    pub fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// Where the section `name` lies.
    pub fn section(&self, name: &str) -> Option<Section> {
        self.sections.iter().find(|named| named.name == name).map(|named| named.section)
    }

    /// All sections, in the order in which they were written.
    pub fn sections(&self) -> impl ExactSizeIterator<Item = (&str, Section)> {
        self.sections.iter().map(|named| (named.name.as_str(), named.section))
    }

    /// The bytes `range` of `section`, counted from its start.
    ///
    /// # Errors
    /// `Invalid` when the range passes the section's end; `Corrupt` when a block is not what was written;
    /// `OverBudget` when the windows of the range do not fit together; `Io` by `pread`.
    ///
    /// # Cost
    /// Mapped and seen before: tens of nanoseconds, no lock, no allocation. First touch of a block: its
    /// pages and its checksum. By `pread`: the blocks of the range are read and checked into a charged buffer.
    #[inline]
    pub fn read(&self, section: Section, range: Range<u64>) -> Result<View<'_>, StoreError> {
        let end = section.offset.checked_add(range.end);
        let inside = range.start <= range.end && range.end <= section.len;
        let (true, Some(end)) = (inside, end.filter(|&end| end <= self.layout.data_end)) else {
            return Err(self.out_of_range(section, &range));
        };
        if range.is_empty() {
            return Ok(View::empty());
        }
        let range = (section.offset + range.start) as usize..end as usize;
        match &self.mapped {
            Some(mapped) => self.read_mapped(mapped, range),
            None => self.read_buffer(range),
        }
    }

    #[inline]
    fn read_mapped<'a>(
        &'a self,
        mapped: &'a Mapped,
        range: Range<usize>,
    ) -> Result<View<'a>, StoreError> {
        let pins = mapped.pin(&range)?;
        self.verify(mapped.bytes(), &range)?;
        Ok(View::mapped(&mapped.bytes()[range], pins))
    }

    /// Holds those blocks of `range` against their checksums that were not before. The pages of whole
    /// blocks are pinned, since no block lies in two windows.
    #[inline]
    fn verify(&self, file: &[u8], range: &Range<usize>) -> Result<(), StoreError> {
        let first = range.start >> self.block_bits;
        let last = (range.end - 1) >> self.block_bits;
        for word in first / 64..=last / 64 {
            let from = first.max(word * 64) % 64;
            let to = last.min(word * 64 + 63) % 64;
            let mask = (u64::MAX >> (63 - (to - from))) << from;
            let missing = mask & !self.verified[word].load(Ordering::Acquire);
            if missing != 0 {
                self.verify_word(file, word, missing)?;
            }
        }
        Ok(())
    }

    #[cold]
    fn verify_word(&self, file: &[u8], word: usize, missing: u64) -> Result<(), StoreError> {
        let mut left = missing;
        while left != 0 {
            let index = word * 64 + left.trailing_zeros() as usize;
            left &= left - 1;
            let end = self.layout.data_end.min(((index + 1) as u64) << self.block_bits);
            self.verify_block(index, &file[index << self.block_bits..end as usize])?;
        }
        self.verified[word].fetch_or(missing, Ordering::Release);
        Ok(())
    }

    /// Holds the block `index`, whose bytes are given, against its checksum.
    pub(super) fn verify_block(&self, index: usize, bytes: &[u8]) -> Result<(), StoreError> {
        if self.bugs.has(SeededBug::SkipBlockChecksum) {
            return Ok(());
        }
        let computed = crc32c::crc32c_append(block_seed(self.meta.id, index as u64), bytes);
        let stored = self.checksums[index];
        if computed == stored {
            return Ok(());
        }
        Err(StoreError::corrupt(
            &self.name,
            (index as u64) << self.block_bits,
            format!(
                "checksum of block {index} ({} bytes): expected {stored:#010x}, found {computed:#010x}; \
                 restore the file from a copy",
                bytes.len()
            ),
        ))
    }

    fn read_buffer(&self, range: Range<usize>) -> Result<View<'_>, StoreError> {
        let first = range.start >> self.block_bits;
        let start = first << self.block_bits;
        let end = range.end.next_multiple_of(1 << self.block_bits);
        let end = end.min(self.layout.data_end as usize);
        let mut buffer = Buffer::new(end - start, &self.account)?;
        self.read_blocks(first, buffer.bytes_mut())?;
        Ok(View::buffer(buffer.want(range.start - start..range.end - start)))
    }

    /// Fills `into` with whole blocks from the block `first` on, and checks them.
    pub(super) fn read_blocks(&self, first: usize, into: &mut [u8]) -> Result<(), StoreError> {
        read_exact_at(&*self.file, (first as u64) << self.block_bits, into)
            .map_err(|error| StoreError::io("read", &self.name, error))?;
        for (number, block) in into.chunks(1 << self.block_bits).enumerate() {
            self.verify_block(first + number, block)?;
        }
        Ok(())
    }

    #[cold]
    fn out_of_range(&self, section: Section, range: &Range<u64>) -> StoreError {
        StoreError::invalid(format!(
            "{}: bytes {} to {} asked of a section of {} bytes at {}",
            self.name, range.start, range.end, section.len, section.offset
        ))
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment")
            .field("name", &self.name)
            .field("rows", &self.meta.rows)
            .field("sections", &self.sections)
            .finish_non_exhaustive()
    }
}

impl Tables {
    /// Reads header, footer and tables of `file`, the file that the manifest calls `meta`.
    pub(super) fn read(
        file: &dyn VfsFile,
        meta: &SegmentMeta,
        name: &str,
        account: &Account,
    ) -> Result<Self, StoreError> {
        let io = |error| StoreError::io("read", name, error);
        let len = file.len().map_err(io)?;
        if len != meta.len {
            return Err(StoreError::corrupt(
                name,
                len.min(meta.len),
                format!("the file has {len} bytes, the manifest says {}", meta.len),
            ));
        }
        if len < (HEADER + FOOTER) as u64 || usize::try_from(len).is_err() {
            return Err(StoreError::corrupt(name, 0, format!("no segment has {len} bytes")));
        }
        let mut header = [0; HEADER];
        read_exact_at(file, 0, &mut header).map_err(io)?;
        let header = Header::decode(&header, name)?;
        let mut footer = [0; FOOTER];
        read_exact_at(file, len - FOOTER as u64, &mut footer).map_err(io)?;
        let layout = Layout::decode(&footer, header, meta, name)?;
        // Both fit in the file, which fits in `usize`.
        let sections_len = layout.sections_len as usize;
        let blocks_len = layout.blocks_len().unwrap_or(u64::MAX) as usize;
        // Encoded and decoded lie side by side for a moment; a decoded entry is at most four times its
        // encoding. A bit per block for what was verified.
        let cost = sections_len * 5 + blocks_len * 2 + blocks_len / 32 + 64;
        let mut charge = account.reserve(Bytes::of(cost))?;
        let mut bytes = vec![0; sections_len];
        read_exact_at(file, layout.data_end, &mut bytes).map_err(io)?;
        let sections = layout.sections(&bytes, name)?;
        bytes.clear();
        bytes.resize(blocks_len, 0);
        bytes.shrink_to_fit();
        read_exact_at(file, layout.data_end + layout.sections_len, &mut bytes).map_err(io)?;
        let checksums = layout.checksums(&bytes, name)?;
        drop(bytes);
        charge.shrink(Bytes::of(sections_len + blocks_len));
        Ok(Self { layout, sections, checksums, charge })
    }
}

/// Maps the file and cuts it into windows.
fn map(
    file: &dyn VfsFile,
    meta: &SegmentMeta,
    name: &str,
    block: usize,
    windows: &Arc<Windows>,
) -> Result<Mapped, StoreError> {
    let mapping = file.map().map_err(|error| StoreError::io("map", name, error))?;
    let len = mapping.bytes().len() as u64;
    if len != meta.len {
        return Err(StoreError::corrupt(
            name,
            len.min(meta.len),
            format!("{len} bytes were mapped, the manifest says {}", meta.len),
        ));
    }
    Ok(Mapped::new(mapping, block, windows))
}
