//! The bytes that are written and restored.
//!
//! ```text
//! image   head, frames, end
//! head    "ambitsym", version u32, strings u32, references u64, their bytes u64, crc u32
//! frame   length u32 from 1 to 65,536, crc u32, bytes
//! end     0 u32, crc u32
//! ```
//!
//! Numbers are little endian. The bytes of all frames in a row are the strings in order of their
//! symbols, each behind its length as a LEB128 number. Each crc (CRC-32C) goes on from the one
//! before, over the length and the bytes of its frame, so that a frame that was lost, changed
//! places or belongs to another image is noticed as well as one that was damaged.

use std::io::{self, ErrorKind, Read, Write};

use super::RestoreError;

const MAGIC: [u8; 8] = *b"ambitsym";
const VERSION: u32 = 1;
const HEAD: usize = 36;
/// Bytes of a frame, at most.
const FRAME: usize = 64 << 10;

/// What is known of all strings together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub len: u32,
    pub references: u64,
    pub bytes: u64,
}

/// Writes an image.
pub(super) fn write<'a>(
    out: &mut impl Write,
    head: &Head,
    texts: impl Iterator<Item = &'a str>,
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(HEAD);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&head.len.to_le_bytes());
    bytes.extend_from_slice(&head.references.to_le_bytes());
    bytes.extend_from_slice(&head.bytes.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[8..]);
    bytes.extend_from_slice(&crc.to_le_bytes());
    out.write_all(&bytes)?;
    let mut frames = Frames { out, crc, frame: Vec::with_capacity(FRAME) };
    for text in texts {
        let mut len = text.len() as u64;
        while len >= 0x80 {
            frames.put(&[len as u8 | 0x80])?;
            len >>= 7;
        }
        frames.put(&[len as u8])?;
        frames.put(text.as_bytes())?;
    }
    frames.finish()
}

/// Cuts a row of bytes into frames.
struct Frames<'a, W> {
    out: &'a mut W,
    crc: u32,
    frame: Vec<u8>,
}

impl<W: Write> Frames<'_, W> {
    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(FRAME - self.frame.len()));
            self.frame.extend_from_slice(now);
            bytes = later;
            if self.frame.len() == FRAME {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let len = (self.frame.len() as u32).to_le_bytes();
        self.crc = crc32c::crc32c_append(crc32c::crc32c_append(self.crc, &len), &self.frame);
        self.out.write_all(&len)?;
        self.out.write_all(&self.crc.to_le_bytes())?;
        self.out.write_all(&self.frame)?;
        self.frame.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        if !self.frame.is_empty() {
            self.flush()?;
        }
        self.flush()
    }
}

/// Reads an image, string by string.
pub(super) struct Reader<'a, R> {
    input: &'a mut R,
    head: Head,
    /// Strings not read yet.
    left: u32,
    crc: u32,
    /// The frame at hand, and what is read of it.
    frame: Vec<u8>,
    at: usize,
    /// Where the frame at hand ends in the image.
    offset: u64,
}

impl<'a, R: Read> Reader<'a, R> {
    pub(super) fn new(input: &'a mut R) -> Result<Self, RestoreError> {
        let mut bytes = [0; HEAD];
        read(input, &mut bytes, 0)?;
        let u32_at = |at: usize| u32::from_le_bytes(array(&bytes, at));
        let u64_at = |at: usize| u64::from_le_bytes(array(&bytes, at));
        if bytes[..8] != MAGIC {
            return Err(RestoreError::Unknown { version: None });
        }
        if u32_at(8) != VERSION {
            return Err(RestoreError::Unknown { version: Some(u32_at(8)) });
        }
        let crc = crc32c::crc32c(&bytes[8..HEAD - 4]);
        if crc != u32_at(HEAD - 4) {
            return Err(RestoreError::Corrupt { offset: 0, what: "the checksum of the head" });
        }
        let head = Head { len: u32_at(12), references: u64_at(16), bytes: u64_at(24) };
        let (frame, at, offset) = (Vec::new(), 0, HEAD as u64);
        Ok(Self { input, head, left: head.len, crc, frame, at, offset })
    }

    /// The length of the next string; none after the last.
    pub(super) fn next_len(&mut self) -> Result<Option<u64>, RestoreError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut len = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            len |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(Some(len));
            }
        }
        Err(self.corrupt("the length of a string"))
    }

    /// The next string, of the length that [`Reader::next_len`] told, in `text`.
    pub(super) fn text<'t>(
        &mut self,
        len: u64,
        text: &'t mut Vec<u8>,
    ) -> Result<&'t str, RestoreError> {
        text.clear();
        let mut missing = len;
        while missing > 0 {
            if self.at == self.frame.len() {
                self.refill()?;
            }
            let rest = &self.frame[self.at..];
            let now = rest.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
            text.extend_from_slice(&rest[..now]);
            self.at += now;
            missing -= now as u64;
        }
        std::str::from_utf8(text).map_err(|_| self.corrupt("a string is not UTF-8"))
    }

    /// Checks that the image ends here.
    pub(super) fn finish(mut self) -> Result<Head, RestoreError> {
        if self.at < self.frame.len() || self.next_frame()? {
            return Err(self.corrupt("there is more than the strings"));
        }
        Ok(self.head)
    }

    /// That something is wrong where reading is.
    pub(super) fn corrupt(&self, what: &'static str) -> RestoreError {
        let offset = self.offset - (self.frame.len() - self.at) as u64;
        RestoreError::Corrupt { offset, what }
    }

    fn byte(&mut self) -> Result<u8, RestoreError> {
        if self.at == self.frame.len() {
            self.refill()?;
        }
        self.at += 1;
        Ok(self.frame[self.at - 1])
    }

    fn refill(&mut self) -> Result<(), RestoreError> {
        if self.next_frame()? { Ok(()) } else { Err(self.corrupt("the strings end early")) }
    }

    /// Reads the next frame; says whether there is one.
    fn next_frame(&mut self) -> Result<bool, RestoreError> {
        self.frame.clear();
        self.at = 0;
        let mut bytes = [0; 8];
        read(self.input, &mut bytes, self.offset)?;
        let len: [u8; 4] = array(&bytes, 0);
        let size = u32::from_le_bytes(len) as usize;
        if size > FRAME {
            return Err(self.corrupt("the length of a frame"));
        }
        self.frame.resize(size, 0);
        read(self.input, &mut self.frame, self.offset + 8)?;
        self.crc = crc32c::crc32c_append(crc32c::crc32c_append(self.crc, &len), &self.frame);
        if self.crc != u32::from_le_bytes(array(&bytes, 4)) {
            let what = "the checksum of a frame";
            return Err(RestoreError::Corrupt { offset: self.offset, what });
        }
        self.offset += 8 + size as u64;
        Ok(size > 0)
    }
}

fn read(input: &mut impl Read, bytes: &mut [u8], offset: u64) -> Result<(), RestoreError> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => RestoreError::Corrupt { offset, what: "it ends early" },
        _ => RestoreError::Io(error),
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}
