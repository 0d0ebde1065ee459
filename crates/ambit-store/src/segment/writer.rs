//! Writing a segment: front to back, once.
//!
//! The file grows under a temporary name through one charged buffer; block checksums are
//! computed as the buffer leaves. [`SegmentWriter::finish`] adds the tables and the footer,
//! syncs the file, renames it and syncs the directory, in this order; only then may a
//! manifest name it. A writer that is dropped before takes its temporary file with it. After
//! the rename nothing is removed, whatever fails: the file is whole, and what no manifest
//! names is cleared away by recovery.

use ambit_mem::{Account, Bytes, Reservation};

use super::format::{
    ALIGN, FOOTER, HEADER, Header, Layout, MAX_BLOCK, MIN_BLOCK, NamedSection, Section, block_seed,
    encode_sections, padded, segment_name, stored_crc, temporary_name,
};
use crate::bugs::{Bugs, SeededBug};
use crate::error::StoreError;
use crate::geometry::Geometry;
use crate::limits::{MAX_SECTION_NAME, MAX_SECTIONS, MAX_SEGMENT_ROWS};
use crate::log::SegmentMeta;
use crate::sync::Arc;
use crate::vfs::{OpenMode, Vfs, VfsFile, write_all_at};

/// Charged per section beside its name: the entry in memory, and its encoding at the end.
const SECTION_COST: u64 = 128;
/// Block checksums are charged by so many.
const CHECKSUM_STEP: usize = 1024;

/// What a file in the format of a segment is called.
pub(crate) struct Names {
    /// In its header, and in its blocks' checksums.
    pub(crate) id: u64,
    /// Until it is complete.
    pub(crate) temporary: String,
    /// From then on.
    pub(crate) to: String,
}

/// Writes one segment.
pub struct SegmentWriter {
    vfs: Arc<dyn Vfs>,
    file: Arc<dyn VfsFile>,
    /// The temporary name.
    name: String,
    /// The name that the complete file gets.
    to: String,
    id: u64,
    block: usize,
    bugs: Bugs,
    buffer: Vec<u8>,
    /// Offset in the file of the buffer's first byte.
    flushed: u64,
    /// Checksum of the block that is being filled, and how much of it is.
    block_crc: u32,
    block_filled: usize,
    checksums: Vec<u32>,
    sections: Vec<NamedSection>,
    /// A section was begun and not ended: it is the last of `sections`.
    in_section: bool,
    broken: bool,
    renamed: bool,
    charge: Reservation,
}

impl SegmentWriter {
    /// Creates the temporary file of the segment `id`.
    ///
    /// # Errors
    /// `OverBudget` when the copy buffer does not fit; `Io`; `Invalid` for a block size that is not a
    /// power of two from 4 KiB to 1 MiB.
    ///
    /// # Cost
    /// One file; `geometry.copy_buffer` bytes charged to `account` while the writer lives.
    pub fn create(
        vfs: &Arc<dyn Vfs>,
        id: u64,
        geometry: &Geometry,
        account: &Account,
        bugs: Bugs,
    ) -> Result<Self, StoreError> {
        let names = Names { id, temporary: temporary_name(id), to: segment_name(id) };
        Self::create_as(vfs, names, geometry, account, bugs)
    }

    /// Creates the temporary file of a file in the format of a segment; as [`SegmentWriter::create`].
    pub(crate) fn create_as(
        vfs: &Arc<dyn Vfs>,
        names: Names,
        geometry: &Geometry,
        account: &Account,
        bugs: Bugs,
    ) -> Result<Self, StoreError> {
        let Names { id, temporary: name, to } = names;
        let block = u32::try_from(geometry.block).unwrap_or(u32::MAX);
        if !block.is_power_of_two() || !(MIN_BLOCK..=MAX_BLOCK).contains(&block) {
            return Err(StoreError::invalid(format!(
                "block size {}: it must be a power of two from {MIN_BLOCK} to {MAX_BLOCK}",
                geometry.block
            )));
        }
        let capacity = geometry.copy_buffer.max(FOOTER);
        let charge = account.reserve(Bytes::of(capacity))?;
        let file = vfs
            .open(&name, OpenMode::Create)
            .map_err(|error| StoreError::io("create", &name, error))?;
        let mut writer = Self {
            vfs: Arc::clone(vfs),
            file,
            name,
            to,
            id,
            block: geometry.block,
            bugs,
            buffer: Vec::with_capacity(capacity),
            flushed: 0,
            block_crc: block_seed(id, 0),
            block_filled: 0,
            checksums: Vec::new(),
            sections: Vec::new(),
            in_section: false,
            broken: false,
            renamed: false,
            charge,
        };
        writer.put(&Header { id, block }.encode())?;
        Ok(writer)
    }

    /// Id of the file.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Bytes so far, with header and padding.
    pub fn position(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Begins the section `name` of rows of `stride` bytes; 0 where rows have no common size.
    ///
    /// # Errors
    /// `Invalid` for a name that is empty, too long or taken, for too many sections, and while another
    /// section is open; `OverBudget`; `Io`.
    pub fn begin(&mut self, name: &str, stride: u32) -> Result<(), StoreError> {
        if self.in_section {
            return Err(self.misuse(format!("section {name} begun inside another one")));
        }
        if name.is_empty() || name.len() > MAX_SECTION_NAME {
            return Err(self.misuse(format!(
                "section name of {} bytes, the limits are 1 and {MAX_SECTION_NAME}",
                name.len()
            )));
        }
        if self.sections.iter().any(|named| named.name == name) {
            return Err(self.misuse(format!("a second section named {name}")));
        }
        if self.sections.len() >= MAX_SECTIONS {
            return Err(self.misuse(format!("more than {MAX_SECTIONS} sections")));
        }
        self.charge.grow(Bytes::new(SECTION_COST + 2 * name.len() as u64))?;
        self.pad()?;
        let section = Section { offset: self.position(), len: 0, stride };
        self.sections.push(NamedSection { name: name.to_owned(), section });
        self.in_section = true;
        Ok(())
    }

    /// Appends `bytes` to the open section.
    ///
    /// # Errors
    /// `Invalid` outside of a section; `OverBudget`; `Io`, after which the writer can only be dropped.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if !self.in_section {
            return Err(self.misuse("bytes written outside of a section"));
        }
        self.put(bytes)
    }

    /// Ends the open section.
    ///
    /// # Errors
    /// `Invalid` when none is open, or when its length is not a whole number of rows.
    pub fn end(&mut self) -> Result<(), StoreError> {
        let position = self.position();
        let (true, Some(last)) = (self.in_section, self.sections.last_mut()) else {
            return Err(self.misuse("a section ended that was not begun"));
        };
        let len = position - last.section.offset;
        let stride = u64::from(last.section.stride);
        if stride != 0 && !len.is_multiple_of(stride) {
            let what = format!("section {}: {len} bytes are not whole rows of {stride}", last.name);
            return Err(self.misuse(what));
        }
        last.section.len = len;
        self.in_section = false;
        Ok(())
    }

    /// Completes the file and gives it its name. After this it is durable, and the manifest may name it.
    ///
    /// # Errors
    /// `Invalid` inside a section and for too many rows; `OverBudget`; `Io`. The segment does not exist then.
    ///
    /// # Cost
    /// Two syncs: the file, the directory.
    pub fn finish(mut self, rows: u32) -> Result<SegmentMeta, StoreError> {
        if self.in_section {
            return Err(self.misuse("finished inside a section"));
        }
        if rows > MAX_SEGMENT_ROWS {
            return Err(self.misuse(format!("{rows} rows, the limit is {MAX_SEGMENT_ROWS}")));
        }
        self.pad()?;
        let data_end = self.position();
        self.flush()?;
        if self.block_filled > 0 {
            self.close_block()?;
        }
        let layout = self.write_tables(data_end, rows)?;
        let footer = layout.encode();
        self.append(&footer)?;
        self.flush_buffer()?;
        let io = |what: &str, error| StoreError::io(what, &self.name, error);
        if !self.bugs.has(SeededBug::SkipSegmentSync) {
            self.file.sync_data().map_err(|error| io("sync", error))?;
        }
        self.vfs.rename(&self.name, &self.to).map_err(|error| io("rename", error))?;
        self.renamed = true;
        if !self.bugs.has(SeededBug::SkipDirectorySync) {
            let directory = self.vfs.describe();
            self.vfs
                .sync_dir()
                .map_err(|error| StoreError::io("sync the directory", &directory, error))?;
        }
        Ok(SegmentMeta { id: self.id, len: layout.file_len, footer_crc: stored_crc(&footer), rows })
    }

    /// Writes the section and block tables through the (now empty) buffer, and says what the footer holds.
    fn write_tables(&mut self, data_end: u64, rows: u32) -> Result<Layout, StoreError> {
        let sections = encode_sections(&self.sections);
        self.append(&sections)?;
        let mut blocks_crc = 0;
        for index in 0..self.checksums.len() {
            let bytes = self.checksums[index].to_le_bytes();
            blocks_crc = crc32c::crc32c_append(blocks_crc, &bytes);
            self.append(&bytes)?;
        }
        let padding = self.padding();
        blocks_crc = crc32c::crc32c_append(blocks_crc, padding);
        self.append(padding)?;
        Ok(Layout {
            id: self.id,
            block: u32::try_from(self.block).unwrap_or(MAX_BLOCK),
            file_len: self.position() + FOOTER as u64,
            data_end,
            sections_len: sections.len() as u64,
            blocks: self.checksums.len() as u64,
            rows,
            section_count: u32::try_from(self.sections.len()).unwrap_or(u32::MAX),
            sections_crc: crc32c::crc32c(&sections),
            blocks_crc,
        })
    }

    /// Zeros up to the next aligned position.
    fn padding(&self) -> &'static [u8] {
        const ZEROS: [u8; ALIGN as usize] = [0; ALIGN as usize];
        let position = self.position();
        let missing = padded(position).map_or(0, |end| end - position);
        &ZEROS[..missing as usize]
    }

    fn pad(&mut self) -> Result<(), StoreError> {
        let padding = self.padding();
        self.put(padding)
    }

    /// Appends bytes that lie under block checksums.
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            if self.buffer.len() == self.buffer.capacity() {
                self.flush()?;
            }
            let room = self.buffer.capacity() - self.buffer.len();
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    /// Appends bytes that do not: the tables and the footer have checksums of their own.
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            if self.buffer.len() == self.buffer.capacity() {
                self.flush_buffer()?;
            }
            let room = self.buffer.capacity() - self.buffer.len();
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
        }
        Ok(())
    }

    /// Checksums the buffer and writes it out.
    fn flush(&mut self) -> Result<(), StoreError> {
        let mut done = 0;
        while done < self.buffer.len() {
            let room = self.block - self.block_filled;
            let end = self.buffer.len().min(done + room);
            self.block_crc = crc32c::crc32c_append(self.block_crc, &self.buffer[done..end]);
            self.block_filled += end - done;
            done = end;
            if self.block_filled == self.block {
                self.close_block()?;
            }
        }
        self.flush_buffer()
    }

    fn close_block(&mut self) -> Result<(), StoreError> {
        if self.checksums.len() == self.checksums.capacity() {
            // Growing copies: old and new are charged, until the old one is gone.
            let old = Bytes::of(self.checksums.capacity() * 4);
            let step = self.checksums.len().max(CHECKSUM_STEP);
            self.charge.grow(Bytes::of((self.checksums.len() + step) * 4)).inspect_err(|_| {
                self.broken = true;
            })?;
            self.checksums.reserve_exact(step);
            self.charge.shrink(old);
        }
        self.checksums.push(self.block_crc);
        self.block_crc = block_seed(self.id, self.checksums.len() as u64);
        self.block_filled = 0;
        Ok(())
    }

    fn flush_buffer(&mut self) -> Result<(), StoreError> {
        if self.broken {
            return Err(self.misuse("an earlier write failed; drop this writer and begin anew"));
        }
        write_all_at(&*self.file, self.flushed, &self.buffer).map_err(|error| {
            self.broken = true;
            StoreError::io("write", &self.name, error)
        })?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn misuse(&self, what: impl std::fmt::Display) -> StoreError {
        StoreError::invalid(format!("{}: {what}", self.name))
    }
}

impl Drop for SegmentWriter {
    fn drop(&mut self) {
        if !self.renamed {
            // Recovery removes what this cannot.
            let _ = self.vfs.unlink(&self.name);
        }
    }
}

impl std::fmt::Debug for SegmentWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentWriter")
            .field("id", &self.id)
            .field("position", &self.position())
            .field("sections", &self.sections.len())
            .finish_non_exhaustive()
    }
}

const _: () = assert!(HEADER as u64 == ALIGN, "the first section follows the header");
