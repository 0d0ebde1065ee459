//! How filters are written down.
//!
//! ```text
//! 0   4  kind: "ABF1" (binary fuse) or "ABB1" (split blocks)
//! 4   4  crc32c of everything behind it
//! 8   8  length of the body
//! 16     body
//! ```
//!
//! All numbers are little-endian.

use super::FilterError;

const HEADER: usize = 16;

/// Appends a frame around a body.
pub(crate) fn write(kind: [u8; 4], body: &[&[u8]], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&kind);
    out.extend_from_slice(&[0; 4]);
    let len: usize = body.iter().map(|part| part.len()).sum();
    out.extend_from_slice(&(len as u64).to_le_bytes());
    body.iter().for_each(|part| out.extend_from_slice(part));
    let checksum = crc32c::crc32c(&out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Bytes of a frame around a body.
pub(crate) const fn len(body: usize) -> usize {
    HEADER + body
}

/// The body of a frame that is all of `bytes`.
pub(crate) fn read(kind: [u8; 4], bytes: &[u8]) -> Result<&[u8], FilterError> {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(corrupt("length", HEADER as u64, bytes.len() as u64));
    };
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let expected = u32::from_le_bytes(kind);
    if word(0) != expected {
        return Err(corrupt("kind", expected.into(), word(0).into()));
    }
    let len = u64::from(word(8)) | (u64::from(word(12)) << 32);
    if len != body.len() as u64 {
        return Err(corrupt("length of the body", len, body.len() as u64));
    }
    let checksum = crc32c::crc32c(&bytes[8..]);
    if checksum != word(4) {
        return Err(corrupt("checksum", word(4).into(), checksum.into()));
    }
    Ok(body)
}

pub(crate) const fn corrupt(what: &'static str, expected: u64, found: u64) -> FilterError {
    FilterError::Corrupt { what, expected, found }
}
