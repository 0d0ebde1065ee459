//! Where does a record begin and end, and is it whole?
//!
//! A frame is a 32-byte header, a payload, and zeros up to the next multiple of 64 bytes. Its
//! CRC32C covers the header and the payload, and the header holds what makes a frame belong
//! to this one place: the epoch of the file's life, the sequence number and the offset. So a
//! frame of an earlier life of a recycled file, a frame that a disk put elsewhere, or a frame
//! that a user stored as data (a copy of a log inside a log) is never taken for one of ours.
//! The padding must be zero: every byte of a frame is under a check.

use crate::vfs::{VfsFile, write_all_at};
use std::io;

/// First four bytes of a frame.
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"AMBF");
/// Bytes of a header.
pub(super) const HEADER: usize = 32;
/// Frames begin at multiples of this many bytes.
pub(super) const ALIGN: u64 = 64;
/// Bytes of the buffer that a frame's ends are put together in.
const SCRATCH: usize = 16 << 10;

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the payload.
    pub payload_len: u32,
    /// Number of the frame in its log; each is one more than the last.
    pub seq: u64,
    /// Life of the file that it was written in.
    pub epoch: u64,
    /// CRC32C over the header with this field zero, then the payload.
    pub crc: u32,
    /// Offset in the file, in units of 64 bytes.
    pub place: u32,
}

impl Header {
    /// The header at the start of `bytes`, or `None` without the magic number.
    pub fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        (word(0) == MAGIC).then(|| Self {
            payload_len: word(4),
            seq: long(8),
            epoch: long(16),
            crc: word(24),
            place: word(28),
        })
    }

    /// The header as bytes.
    pub fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.seq.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.crc.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.place.to_le_bytes());
        bytes
    }

    /// The checksum of the header alone, to be continued over the payload.
    pub fn crc_of_header(&self) -> u32 {
        crc32c::crc32c(&Self { crc: 0, ..*self }.bytes())
    }

    /// Bytes of the whole frame.
    pub fn frame_len(&self) -> u64 {
        frame_len(self.payload_len as usize)
    }
}

/// Bytes of a frame with a payload of `payload_len` bytes.
pub(super) fn frame_len(payload_len: usize) -> u64 {
    (HEADER as u64 + payload_len as u64).next_multiple_of(ALIGN)
}

/// Where a frame goes, and under which number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Byte offset in the file, a multiple of 64.
    pub offset: u64,
    /// Number of the frame.
    pub seq: u64,
    /// Life of the file.
    pub epoch: u64,
}

/// Writes a frame; not durable before a sync. Returns the offset of its end.
///
/// Cost: one write up to 16 KiB, three above; a buffer of at most 16 KiB, no copy of a large
/// payload.
///
/// # Errors
/// Whatever the file reports; it may then hold any part of the frame. `InvalidInput` if the
/// offset or the length do not fit a header.
pub(super) fn write(file: &dyn VfsFile, slot: Slot, payload: &[u8]) -> io::Result<u64> {
    let (Ok(payload_len), Ok(place)) =
        (u32::try_from(payload.len()), u32::try_from(slot.offset / ALIGN))
    else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a frame cannot hold {} bytes at offset {}", payload.len(), slot.offset),
        ));
    };
    let mut header = Header { payload_len, seq: slot.seq, epoch: slot.epoch, crc: 0, place };
    header.crc = crc32c::crc32c_append(header.crc_of_header(), payload);
    let frame_len = header.frame_len();
    let padding = (frame_len - HEADER as u64) as usize - payload.len();
    let mut ends = Vec::with_capacity(SCRATCH.min(frame_len as usize));
    ends.extend_from_slice(&header.bytes());
    if frame_len <= SCRATCH as u64 {
        ends.extend_from_slice(payload);
        ends.resize(frame_len as usize, 0);
        write_all_at(file, slot.offset, &ends)?;
        return Ok(slot.offset + frame_len);
    }
    // The first write fills one page, so that the large one is aligned to pages where the
    // frame is.
    let (first, rest) = payload.split_at((4 << 10) - HEADER);
    let (middle, last) = rest.split_at(rest.len() - rest.len() % ALIGN as usize);
    ends.extend_from_slice(first);
    write_all_at(file, slot.offset, &ends)?;
    let mut offset = slot.offset + ends.len() as u64;
    write_all_at(file, offset, middle)?;
    offset += middle.len() as u64;
    if !last.is_empty() {
        ends.clear();
        ends.extend_from_slice(last);
        ends.resize(last.len() + padding, 0);
        write_all_at(file, offset, &ends)?;
    }
    Ok(slot.offset + frame_len)
}
