//! Which frames of a file are valid, and is what follows them a torn tail?
//!
//! A [`Chain`] reads one file through one bounded window; nothing it allocates depends on a
//! size in the file. Frames are walked from a known offset, each number one more than the
//! last, up to the first that is not valid.
//!
//! What follows is a *torn tail* if it may be the one frame that was in flight. At most one
//! is: a frame is written only after the one before it is durable. So if any valid frame with
//! a higher number lies behind the bad one, in this life of the file, the bad one was durable
//! once, and this is corruption. [`Chain::tail`] looks at each 64-byte step for one.
//!
//! A writer may be at work meanwhile: the bad frame may be one that was half written when we
//! read it, and the later one written since. A frame is complete before the next is begun,
//! so reading the bad one again settles it; [`Chain::walk_to_tail`] does.

use std::io;
use std::sync::Arc;

use super::frame::{self, ALIGN, HEADER, Header};
use super::name::FileName;
use crate::bugs::{Bugs, SeededBug};
use crate::error::{ErrorKind, StoreError};
use crate::geometry::Geometry;
use crate::vfs::{OpenMode, Vfs, VfsFile, read_exact_at, write_all_at};

/// Why the bytes at an offset are not the frame expected there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The file ends before the frame does.
    Cut,
    /// No magic number.
    NoMagic,
    /// Another life of the file.
    Epoch(u64),
    /// Written for another offset.
    Place(u64),
    /// Not the next number.
    Seq(u64),
    /// The checksum does not fit.
    Checksum,
    /// The padding is not zero.
    Padding,
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cut => f.write_str("the file ends before the frame does"),
            Self::NoMagic => f.write_str("no frame begins here"),
            Self::Epoch(found) => write!(f, "the frame is of epoch {found}"),
            Self::Place(found) => write!(f, "the frame was written for byte {found}"),
            Self::Seq(found) => write!(f, "the frame has number {found}"),
            Self::Checksum => f.write_str("the checksum does not fit"),
            Self::Padding => f.write_str("the padding is not zero"),
        }
    }
}

/// Makes room for that many bytes in a buffer, or refuses.
pub(super) type Room<'a> = dyn FnMut(&mut Vec<u8>, usize) -> Result<(), StoreError> + 'a;

/// Where a walk ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// Offset behind the last valid frame.
    pub offset: u64,
    /// Number of the last valid frame, or the one before the first expected.
    pub last_seq: u64,
    /// What lies at `offset`, unless the walk came to its limit.
    pub flaw: Option<Flaw>,
    /// Behind the last byte that is not zero, or `offset`; known after a tail scan.
    pub dirty_until: u64,
}

/// One file of frames, read through a window.
pub(super) struct Chain {
    file: Arc<dyn VfsFile>,
    name: String,
    len: u64,
    epoch: u64,
    bugs: Bugs,
    window: Vec<u8>,
    capacity: usize,
    start: u64,
}

/// Bytes of the window that a chain reads through.
pub(super) fn window_len(geometry: &Geometry) -> usize {
    geometry.copy_buffer.clamp(4 << 10, 256 << 10).next_multiple_of(ALIGN as usize)
}

impl Chain {
    /// Opens the file `name`, named by `named_by`, for frames of `epoch`.
    ///
    /// # Errors
    /// `Corrupt` if the file is missing.
    pub fn open(
        vfs: &dyn Vfs,
        (name, named_by): (FileName, &str),
        epoch: u64,
        window: usize,
        bugs: Bugs,
    ) -> Result<Self, StoreError> {
        let name = name.to_string();
        let file = vfs.open(&name, OpenMode::Read).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::new(
                ErrorKind::Corrupt,
                format!("{named_by} names {name}, which is missing; restore it from a copy"),
            ),
            _ => StoreError::io("open", &name, error),
        })?;
        let len = file.len().map_err(|error| StoreError::io("measure", &name, error))?;
        Ok(Self { file, name, len, epoch, bugs, window: Vec::new(), capacity: window, start: 0 })
    }

    /// Length of the file when it was opened, in bytes.
    pub fn file_len(&self) -> u64 {
        self.len
    }

    /// Name of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Walks from `offset`, where frame `first` begins if one does, to the first bad frame,
    /// or behind frame `until`.
    pub fn walk(&mut self, offset: u64, first: u64, until: u64) -> Result<End, StoreError> {
        let (mut offset, mut seq) = (offset, first);
        while seq <= until {
            match self.check(offset, seq)? {
                Ok(header) => offset += header.frame_len(),
                Err(flaw) => {
                    let flaw = Some(flaw);
                    return Ok(End { offset, last_seq: seq - 1, flaw, dirty_until: offset });
                }
            }
            seq += 1;
        }
        Ok(End { offset, last_seq: seq - 1, flaw: None, dirty_until: offset })
    }

    /// Walks to the end of the valid frames and makes sure that a torn tail follows.
    ///
    /// # Errors
    /// `Corrupt` if a later frame is valid.
    pub fn walk_to_tail(&mut self, offset: u64, first: u64) -> Result<End, StoreError> {
        let (mut offset, mut first) = (offset, first);
        loop {
            let end = self.walk(offset, first, u64::MAX - 1)?;
            let (later, dirty_until) = self.tail(end.offset, end.last_seq)?;
            let Some((at, later_seq)) = later else {
                return Ok(End { dirty_until, ..end });
            };
            (offset, first) = (end.offset, end.last_seq + 1);
            self.window.clear();
            if let Err(flaw) = self.check(offset, first)? {
                return Err(StoreError::corrupt(
                    &self.name,
                    offset,
                    format!(
                        "frame {first} is damaged ({flaw}), but frame {later_seq} at byte {at} \
                         is whole, so this is no torn tail; restore the store from a copy"
                    ),
                ));
            }
        }
    }

    /// Is frame `seq` at `offset`? Reads all of it.
    pub fn check(&mut self, offset: u64, seq: u64) -> Result<Result<Header, Flaw>, StoreError> {
        Ok(match self.frame_at(offset)? {
            // The planted fault believes a frame of any life, under the number that fits.
            Ok(header) if self.bugs.has(SeededBug::StaleEpoch) => Ok(Header { seq, ..header }),
            Ok(header) if header.seq != seq => Err(Flaw::Seq(header.seq)),
            other => other,
        })
    }

    /// The header at `offset`, if a whole frame of this epoch is there.
    pub fn frame_at(&mut self, offset: u64) -> Result<Result<Header, Flaw>, StoreError> {
        let header = match self.header_at(offset)? {
            Ok(header) => header,
            Err(flaw) => return Ok(Err(flaw)),
        };
        if self.bugs.has(SeededBug::SkipFrameChecksum) {
            return Ok(Ok(header));
        }
        let mut crc = header.crc_of_header();
        let payload = offset + HEADER as u64;
        self.each_piece(payload, header.payload_len.into(), |piece| {
            crc = crc32c::crc32c_append(crc, piece);
            Ok(())
        })?;
        if crc != header.crc {
            return Ok(Err(Flaw::Checksum));
        }
        let payload_end = payload + u64::from(header.payload_len);
        let mut clean = true;
        self.each_piece(payload_end, offset + header.frame_len() - payload_end, |piece| {
            clean &= is_zero(piece);
            Ok(())
        })?;
        Ok(if clean { Ok(header) } else { Err(Flaw::Padding) })
    }

    /// Reads the payload of frame `seq` at `offset` into `into`, and checks what was read.
    ///
    /// `room` makes room for that many bytes in `into`, or refuses; the number is inside the
    /// file's length by then.
    pub fn read_frame(
        &mut self,
        (offset, seq): (u64, u64),
        into: &mut Vec<u8>,
        room: &mut Room<'_>,
    ) -> Result<Result<Header, Flaw>, StoreError> {
        let header = match self.header_at(offset)? {
            Ok(header) if header.seq == seq || self.bugs.has(SeededBug::StaleEpoch) => header,
            Ok(header) => return Ok(Err(Flaw::Seq(header.seq))),
            Err(flaw) => return Ok(Err(flaw)),
        };
        into.clear();
        room(into, header.payload_len as usize)?;
        self.each_piece(offset + HEADER as u64, header.payload_len.into(), |piece| {
            into.extend_from_slice(piece);
            Ok(())
        })?;
        let fits = crc32c::crc32c_append(header.crc_of_header(), into) == header.crc
            || self.bugs.has(SeededBug::SkipFrameChecksum);
        Ok(if fits { Ok(header) } else { Err(Flaw::Checksum) })
    }

    /// Checks frame `seq` at `offset` and appends it to `out` as a frame of another life.
    ///
    /// Cost: reads the frame twice; no buffer beyond the window and `out`'s.
    ///
    /// # Errors
    /// `Corrupt` if the frame is not there; `Io`.
    pub fn copy_frame(
        &mut self,
        (offset, seq): (u64, u64),
        out: &mut FrameCopy<'_>,
    ) -> Result<u64, StoreError> {
        let header = self.check(offset, seq)?.map_err(|flaw| {
            let what = format!("frame {seq} was whole a moment ago: {flaw}");
            StoreError::corrupt(&self.name, offset, what)
        })?;
        let place = (out.offset / ALIGN) as u32;
        let mut copy = Header { epoch: out.epoch, seq, crc: 0, place, ..header };
        let (at, len) = (offset + HEADER as u64, u64::from(header.payload_len));
        let mut crc = copy.crc_of_header();
        self.each_piece(at, len, |piece| {
            crc = crc32c::crc32c_append(crc, piece);
            Ok(())
        })?;
        copy.crc = crc;
        out.push(&copy.bytes())?;
        self.each_piece(at, len, |piece| out.push(piece))?;
        let padding = copy.frame_len() - HEADER as u64 - len;
        out.push(&[0; ALIGN as usize][..padding as usize])?;
        Ok(offset + copy.frame_len())
    }

    fn header_at(&mut self, offset: u64) -> Result<Result<Header, Flaw>, StoreError> {
        if offset.checked_add(HEADER as u64).is_none_or(|end| end > self.len) {
            return Ok(Err(Flaw::Cut));
        }
        let mut bytes = [0; HEADER];
        let mut filled = 0;
        self.each_piece(offset, HEADER as u64, |piece| {
            bytes[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
            Ok(())
        })?;
        Ok(self.judge(offset, &bytes))
    }

    /// Everything about a header that needs no payload.
    fn judge(&self, offset: u64, bytes: &[u8; HEADER]) -> Result<Header, Flaw> {
        let header = Header::parse(bytes).ok_or(Flaw::NoMagic)?;
        if header.epoch != self.epoch && !self.bugs.has(SeededBug::StaleEpoch) {
            return Err(Flaw::Epoch(header.epoch));
        }
        let place = u64::from(header.place) * ALIGN;
        if place != offset {
            return Err(Flaw::Place(place));
        }
        if offset.checked_add(header.frame_len()).is_none_or(|end| end > self.len) {
            return Err(Flaw::Cut);
        }
        Ok(header)
    }

    /// Looks behind the bad frame after `last_seq` at `offset`: the first valid frame with a
    /// number above it (offset, number), and the end of what is not zero.
    ///
    /// Cost: reads the rest of the file once; checksums only what carries this epoch.
    fn tail(
        &mut self,
        offset: u64,
        last_seq: u64,
    ) -> Result<(Option<(u64, u64)>, u64), StoreError> {
        let mut dirty_until = offset;
        if self.bugs.has(SeededBug::WrongTailRule) {
            return Ok((None, self.len.max(offset)));
        }
        // A made-up file could hold a header of this epoch at each step, each with a long
        // payload. Honest ones hold none, so the work for them may be bounded tightly.
        let mut hashing_left = self.len.saturating_mul(4);
        let mut at = offset;
        while at < self.len {
            let piece = self.at(at)?;
            let piece = &piece[..piece.len().min(4 << 10)];
            let piece_len = piece.len() as u64;
            if is_zero(piece) {
                at += piece_len;
                continue;
            }
            let last = piece.iter().rposition(|&byte| byte != 0).unwrap_or(0) as u64;
            dirty_until = at + last + 1;
            let (piece_at, candidates) = (at, candidates(piece));
            at += piece_len;
            for step in candidates {
                let candidate = piece_at + step;
                let header = match self.header_at(candidate)? {
                    Ok(header) if candidate > offset && header.seq > last_seq + 1 => header,
                    _ => continue,
                };
                let (work, seq) = (header.frame_len() + self.capacity as u64, header.seq);
                if hashing_left < work || self.frame_at(candidate)?.is_ok() {
                    return Ok((Some((candidate, seq)), dirty_until));
                }
                hashing_left -= work;
            }
        }
        Ok((None, dirty_until))
    }

    /// Hands out the bytes `offset..offset + len`, which lie in the file, piece by piece.
    fn each_piece(
        &mut self,
        offset: u64,
        len: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let piece = self.at(at)?;
            let take = piece.len().min((end - at).min(usize::MAX as u64) as usize);
            each(&piece[..take])?;
            at += take as u64;
        }
        Ok(())
    }

    /// The bytes from `offset`, which lies in the file, to the end of the window.
    fn at(&mut self, offset: u64) -> Result<&[u8], StoreError> {
        let inside = offset.checked_sub(self.start).filter(|&skip| skip < self.window.len() as u64);
        if let Some(skip) = inside {
            return Ok(&self.window[skip as usize..]);
        }
        let left = self.len.saturating_sub(offset).min(self.capacity as u64) as usize;
        self.window.clear();
        self.window.reserve_exact(self.capacity.min(left.next_multiple_of(4 << 10)));
        self.window.resize(left, 0);
        self.start = offset;
        read_exact_at(&*self.file, offset, &mut self.window).map_err(|error| {
            StoreError::io(&format!("read {left} bytes at byte {offset} of"), &self.name, error)
        })?;
        Ok(&self.window)
    }
}

/// Frames on their way into another file, from its start on.
pub(super) struct FrameCopy<'a> {
    /// Where they go.
    pub file: &'a dyn VfsFile,
    /// What messages call it.
    pub name: String,
    /// Life of the file.
    pub epoch: u64,
    /// Offset of the next byte.
    pub offset: u64,
    /// Bytes before `offset` that are not written yet.
    pub buffer: Vec<u8>,
}

impl FrameCopy<'_> {
    const BUFFER: usize = 256 << 10;

    fn push(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        if self.buffer.len() + bytes.len() > Self::BUFFER {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Writes what is left.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        let start = self.offset - self.buffer.len() as u64;
        write_all_at(self.file, start, &self.buffer)
            .map_err(|error| StoreError::io("write", &self.name, error))?;
        self.buffer.clear();
        Ok(())
    }
}

/// Steps of 64 bytes in `piece` that begin with the magic number: at most one page of them.
fn candidates(piece: &[u8]) -> Vec<u64> {
    let magic = frame::MAGIC.to_le_bytes();
    (piece.chunks(ALIGN as usize).enumerate())
        .filter(|(_, block)| block.starts_with(&magic))
        .map(|(index, _)| index as u64 * ALIGN)
        .collect()
}

fn is_zero(bytes: &[u8]) -> bool {
    // Without an early end the compiler compares 16 and more bytes at a time.
    bytes.iter().fold(0, |any, &byte| any | byte) == 0
}
