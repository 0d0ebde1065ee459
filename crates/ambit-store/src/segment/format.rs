//! The bytes of a segment file around its sections: header, section table, block table,
//! footer.
//!
//! Decoding is a chain of checks, each made before its number is used: the header names a
//! format that is known, the footer agrees with the header and with the manifest, the parts
//! tile the file exactly, the tables match their checksums, the sections tile the data area
//! with nothing between them but padding to 64 bytes. Arithmetic on numbers from a file is
//! checked. No allocation is sized by a number that was not held against the file's length.
//!
//! `docs/format.md` has the byte offsets.

use crate::error::{ErrorKind, StoreError};
use crate::limits::{MAX_SECTION_NAME, MAX_SECTIONS, MAX_SEGMENT_ROWS};
use crate::log::SegmentMeta;
use crate::wire::{Put, Reader, WireError};

/// The segment format that this version writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

pub(super) const HEADER: usize = 64;
pub(super) const FOOTER: usize = 128;
/// Sections begin at multiples of this: a cache line, and the widest vector register.
pub(super) const ALIGN: u64 = 64;
pub(super) const MIN_BLOCK: u32 = 4 << 10;
pub(super) const MAX_BLOCK: u32 = 1 << 20;
const MAGIC: u64 = u64::from_le_bytes(*b"AmbitSeg");
const FOOTER_MAGIC: u64 = u64::from_le_bytes(*b"AmbitEnd");
/// Feature bits that this version understands: none is defined yet.
const KNOWN_FEATURES: u64 = 0;
/// Bytes of a section table entry beside its name: name length, offset, length, stride.
const ENTRY: usize = 4 + 8 + 8 + 4;

/// The file name of the segment `id`.
pub fn segment_name(id: u64) -> String {
    format!("segment-{id:08x}")
}

/// The name of the file `id` until it is complete.
pub fn temporary_name(id: u64) -> String {
    format!("tmp-{id:08x}")
}

/// Where a section lies in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Section {
    /// Offset of the first byte in the file. A multiple of 64.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Bytes of one row; 0 where rows have no common size.
    pub stride: u32,
}

/// A section and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedSection {
    pub(super) name: String,
    pub(super) section: Section,
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u64,
    pub(super) block: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.put_u64(MAGIC);
        bytes.put_u32(FORMAT_VERSION);
        bytes.put_u32(self.block);
        bytes.put_u64(KNOWN_FEATURES);
        bytes.put_u64(self.id);
        seal(bytes)
    }

    /// Reads the header. Magic, version, features and checksum keep their places in every
    /// format version, so that a newer file is told from a damaged one.
    pub(super) fn decode(bytes: &[u8; HEADER], file: &str) -> Result<Self, StoreError> {
        let place = Place { file, base: 0 };
        let mut reader = Reader::new(bytes);
        let magic = place.at(reader.u64("the segment magic"))?;
        if magic != MAGIC {
            return Err(place.corrupt(0, format!("magic {magic:#018x}, not that of a segment")));
        }
        place.checked(bytes, "header")?;
        let version = place.at(reader.u32("the format version"))?;
        let block = place.at(reader.u32("the block size"))?;
        let features = place.at(reader.u64("the feature bits"))?;
        let id = place.at(reader.u64("the file id"))?;
        if version > FORMAT_VERSION || features & !KNOWN_FEATURES != 0 {
            return Err(StoreError::new(
                ErrorKind::NewerFormat,
                format!(
                    "{file} has segment format {version}, features {features:#x}; this version reads \
                     format {FORMAT_VERSION}, features {KNOWN_FEATURES:#x}: open it with the newer version"
                ),
            ));
        }
        if version == 0 {
            return Err(place.corrupt(8, "format version 0 was never written"));
        }
        if !block.is_power_of_two() || !(MIN_BLOCK..=MAX_BLOCK).contains(&block) {
            return Err(place.corrupt(
                12,
                format!(
                    "block size {block}, expected a power of two from {MIN_BLOCK} to {MAX_BLOCK}"
                ),
            ));
        }
        Ok(Self { id, block })
    }
}

/// What the footer says: which part of the file lies where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) id: u64,
    pub(super) block: u32,
    pub(super) file_len: u64,
    /// End of the sections and start of the section table. A multiple of 64.
    pub(super) data_end: u64,
    /// Bytes of the section table with its padding.
    pub(super) sections_len: u64,
    /// Blocks of [0, data_end).
    pub(super) blocks: u64,
    pub(super) rows: u32,
    pub(super) section_count: u32,
    pub(super) sections_crc: u32,
    pub(super) blocks_crc: u32,
}

impl Layout {
    /// The row count in a footer that was not checked yet.
    pub(super) fn rows_of(bytes: &[u8; FOOTER]) -> u32 {
        let mut rows = [0; 4];
        rows.copy_from_slice(&bytes[64..68]);
        u32::from_le_bytes(rows)
    }

    /// Bytes of the block table with its padding, if they can be counted.
    pub(super) fn blocks_len(&self) -> Option<u64> {
        self.blocks.checked_mul(4).and_then(padded)
    }

    pub(super) fn encode(&self) -> [u8; FOOTER] {
        let mut bytes = Vec::with_capacity(FOOTER);
        bytes.put_u64(FOOTER_MAGIC);
        bytes.put_u32(FORMAT_VERSION);
        bytes.put_u32(self.block);
        bytes.put_u64(KNOWN_FEATURES);
        bytes.put_u64(self.id);
        bytes.put_u64(self.file_len);
        bytes.put_u64(self.data_end);
        bytes.put_u64(self.sections_len);
        bytes.put_u64(self.blocks);
        bytes.put_u32(self.rows);
        bytes.put_u32(self.section_count);
        bytes.put_u32(self.sections_crc);
        bytes.put_u32(self.blocks_crc);
        seal(bytes)
    }

    /// Reads the footer of the file that the manifest calls `meta` and whose length is
    /// `meta.len`, and holds it against both and against `header`.
    pub(super) fn decode(
        bytes: &[u8; FOOTER],
        header: Header,
        meta: &SegmentMeta,
        file: &str,
    ) -> Result<Self, StoreError> {
        let place = Place { file, base: meta.len.saturating_sub(FOOTER as u64) };
        place.checked(bytes, "footer")?;
        let mut reader = Reader::new(bytes);
        place.equal(0, "magic", place.at(reader.u64("the footer magic"))?, FOOTER_MAGIC)?;
        place.equal(8, "format version", place.at(reader.u32("the version"))?, FORMAT_VERSION)?;
        let block = place.at(reader.u32("the block size"))?;
        place.equal(12, "block size", block, header.block)?;
        place.equal(16, "feature bits", place.at(reader.u64("the features"))?, KNOWN_FEATURES)?;
        let id = place.at(reader.u64("the file id"))?;
        place.equal(24, "file id", id, meta.id)?;
        place.equal(24, "file id in the header", header.id, meta.id)?;
        let file_len = place.at(reader.u64("the file length"))?;
        place.equal(32, "file length", file_len, meta.len)?;
        let layout = Self {
            id,
            block,
            file_len,
            data_end: place.at(reader.u64("the end of the data"))?,
            sections_len: place.at(reader.u64("the section table length"))?,
            blocks: place.at(reader.u64("the block count"))?,
            rows: place.at(reader.u32("the row count"))?,
            section_count: place.at(reader.u32("the section count"))?,
            sections_crc: place.at(reader.u32("the section table checksum"))?,
            blocks_crc: place.at(reader.u32("the block table checksum"))?,
        };
        place.equal(64, "row count", layout.rows, meta.rows)?;
        let stored = stored_crc(bytes);
        place.equal(FOOTER - 4, "footer checksum against the manifest", stored, meta.footer_crc)?;
        layout.check(&place)?;
        Ok(layout)
    }

    /// Do header, sections, tables and footer fill the file, with no hole and no overlap?
    fn check(&self, place: &Place<'_>) -> Result<(), StoreError> {
        if self.data_end < HEADER as u64 || !self.data_end.is_multiple_of(ALIGN) {
            return Err(place.corrupt(40, format!("the data cannot end at {}", self.data_end)));
        }
        place.equal(
            56,
            "block count",
            self.blocks,
            self.data_end.div_ceil(u64::from(self.block)),
        )?;
        if !self.sections_len.is_multiple_of(ALIGN) {
            return Err(place.corrupt(
                48,
                format!(
                    "section table of {} bytes, expected a multiple of {ALIGN}",
                    self.sections_len
                ),
            ));
        }
        let total = self
            .blocks_len()
            .and_then(|blocks| blocks.checked_add(self.data_end))
            .and_then(|sum| sum.checked_add(self.sections_len))
            .and_then(|sum| sum.checked_add(FOOTER as u64));
        if total != Some(self.file_len) {
            return Err(place.corrupt(
                32,
                format!("the parts take {total:?} bytes, the file has {}", self.file_len),
            ));
        }
        if self.section_count as usize > MAX_SECTIONS || self.rows > MAX_SEGMENT_ROWS {
            return Err(place.corrupt(
                64,
                format!(
                    "{} rows in {} sections, the limits are {MAX_SEGMENT_ROWS} and {MAX_SECTIONS}",
                    self.rows, self.section_count
                ),
            ));
        }
        Ok(())
    }

    /// Reads the section table `bytes`, whose length is `sections_len`.
    pub(super) fn sections(
        &self,
        bytes: &[u8],
        file: &str,
    ) -> Result<Vec<NamedSection>, StoreError> {
        let place = Place { file, base: self.data_end };
        let crc = crc32c::crc32c(bytes);
        place.equal(0, "checksum of the section table", crc, self.sections_crc)?;
        let count = self.section_count as usize;
        if count > bytes.len() / ENTRY {
            return Err(place.corrupt(
                0,
                format!("{count} sections cannot be described in {} bytes", bytes.len()),
            ));
        }
        let mut sections: Vec<NamedSection> = Vec::with_capacity(count);
        let mut reader = Reader::new(bytes);
        let mut expected = HEADER as u64;
        for _ in 0..count {
            let at = reader.offset();
            let name = place.at(reader.str("a section name"))?;
            let section = Section {
                offset: place.at(reader.u64("a section offset"))?,
                len: place.at(reader.u64("a section length"))?,
                stride: place.at(reader.u32("a section stride"))?,
            };
            expected = self.tile(name, section, expected).map_err(|why| place.corrupt(at, why))?;
            sections.push(NamedSection { name: name.to_owned(), section });
        }
        if expected != self.data_end {
            return Err(place.corrupt(
                reader.offset(),
                format!("the sections end at {expected}, the data at {}", self.data_end),
            ));
        }
        let rest = bytes.len() - reader.offset();
        if rest as u64 >= ALIGN {
            return Err(place.corrupt(
                reader.offset(),
                format!("{rest} bytes after the last section entry, expected under {ALIGN}"),
            ));
        }
        unique_names(&sections).map_err(|why| place.corrupt(0, why))?;
        Ok(sections)
    }

    /// Holds one section against the place where it must begin; says where the next begins.
    fn tile(&self, name: &str, section: Section, expected: u64) -> Result<u64, String> {
        if name.is_empty() || name.len() > MAX_SECTION_NAME {
            return Err(format!(
                "section name of {} bytes, expected 1 to {MAX_SECTION_NAME}",
                name.len()
            ));
        }
        let Section { offset, len, stride } = section;
        if offset != expected {
            return Err(format!("section {name} begins at {offset}, expected {expected}"));
        }
        let end = offset.checked_add(len).and_then(padded).filter(|&end| end <= self.data_end);
        let Some(end) = end else {
            return Err(format!(
                "section {name} of {len} bytes from {offset} passes the end of the data at {}",
                self.data_end
            ));
        };
        if stride != 0 && !len.is_multiple_of(u64::from(stride)) {
            return Err(format!("section {name}: {len} bytes are not whole rows of {stride}"));
        }
        Ok(end)
    }

    /// Reads the block table `bytes`, whose length is `blocks_len`.
    pub(super) fn checksums(&self, bytes: &[u8], file: &str) -> Result<Vec<u32>, StoreError> {
        let place = Place { file, base: self.data_end + self.sections_len };
        let crc = crc32c::crc32c(bytes);
        place.equal(0, "checksum of the block table", crc, self.blocks_crc)?;
        Ok(bytes
            .as_chunks::<4>()
            .0
            .iter()
            .take(usize::try_from(self.blocks).unwrap_or(usize::MAX))
            .map(|crc| u32::from_le_bytes(*crc))
            .collect())
    }
}

/// Encodes the section table, padded.
pub(super) fn encode_sections(sections: &[NamedSection]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for NamedSection { name, section } in sections {
        bytes.put_bytes(name.as_bytes());
        bytes.put_u64(section.offset);
        bytes.put_u64(section.len);
        bytes.put_u32(section.stride);
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGN as usize), 0);
    bytes
}

/// The checksum of a block of the file `id`, before its bytes: append them to it.
pub(super) fn block_seed(id: u64, index: u64) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&id.to_le_bytes());
    place[8..].copy_from_slice(&index.to_le_bytes());
    crc32c::crc32c(&place)
}

/// `len` rounded up to the alignment, if there is such a number.
pub(super) fn padded(len: u64) -> Option<u64> {
    len.checked_next_multiple_of(ALIGN)
}

/// Fills a header or footer with zeros and ends it with its checksum.
fn seal<const N: usize>(mut bytes: Vec<u8>) -> [u8; N] {
    bytes.resize(N, 0);
    let mut sealed = [0; N];
    sealed.copy_from_slice(&bytes);
    let crc = crc32c::crc32c(&sealed[..N - 4]);
    sealed[N - 4..].copy_from_slice(&crc.to_le_bytes());
    sealed
}

/// The last four bytes: the checksum of what is before them.
pub(super) fn stored_crc<const N: usize>(bytes: &[u8; N]) -> u32 {
    let mut crc = [0; 4];
    crc.copy_from_slice(&bytes[N - 4..]);
    u32::from_le_bytes(crc)
}

fn unique_names(sections: &[NamedSection]) -> Result<(), String> {
    let mut names: Vec<&str> = sections.iter().map(|named| named.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("two sections are named {}", pair[0])),
        None => Ok(()),
    }
}

/// Where decoding is, for messages.
struct Place<'a> {
    file: &'a str,
    base: u64,
}

impl Place<'_> {
    fn corrupt(&self, offset: usize, what: impl std::fmt::Display) -> StoreError {
        StoreError::corrupt(self.file, self.base.saturating_add(offset as u64), what)
    }

    fn at<T>(&self, read: Result<T, WireError>) -> Result<T, StoreError> {
        read.map_err(|error| self.corrupt(error.offset, format!("expected {}", error.expected)))
    }

    fn equal<T: PartialEq + std::fmt::Display>(
        &self,
        offset: usize,
        what: &str,
        found: T,
        expected: T,
    ) -> Result<(), StoreError> {
        if found == expected {
            return Ok(());
        }
        Err(self.corrupt(offset, format!("{what}: expected {expected}, found {found}")))
    }

    fn checked<const N: usize>(&self, bytes: &[u8; N], what: &str) -> Result<(), StoreError> {
        let computed = crc32c::crc32c(&bytes[..N - 4]);
        let what = format!("checksum of the {what}");
        self.equal(N - 4, &what, stored_crc(bytes), computed)
    }
}
