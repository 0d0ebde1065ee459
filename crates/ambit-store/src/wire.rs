//! Little-endian numbers and length-prefixed bytes, in and out.
//!
//! The encoding of manifest records, log payloads and section tables. A [`Reader`] never
//! reads past its slice and never allocates: it hands out sub-slices, so a length that lies
//! is an error, not an allocation.

use std::fmt;

/// Bytes end early, or hold a value that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireError {
    /// Offset in the slice that was read.
    pub offset: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at offset {}", self.expected, self.offset)
    }
}

impl std::error::Error for WireError {}

/// Appends encoded values to a buffer.
pub trait Put {
    /// One byte.
    fn put_u8(&mut self, value: u8);
    /// Four bytes, little-endian.
    fn put_u32(&mut self, value: u32);
    /// Eight bytes, little-endian.
    fn put_u64(&mut self, value: u64);
    /// A u32 length, then the bytes. The caller keeps lengths under 4 GiB by the limits.
    fn put_bytes(&mut self, value: &[u8]);
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_bytes(&mut self, value: &[u8]) {
        debug_assert!(u32::try_from(value.len()).is_ok(), "limits keep cells under 4 GiB");
        self.put_u32(value.len() as u32);
        self.extend_from_slice(value);
    }
}

/// Reads encoded values from a slice, front to back.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Offset of the next byte.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Is everything read?
    pub fn is_empty(&self) -> bool {
        self.offset == self.bytes.len()
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize, expected: &'static str) -> Result<&'a [u8], WireError> {
        let end = self.offset.checked_add(len).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else {
            return Err(WireError { offset: self.offset, expected });
        };
        let taken = &self.bytes[self.offset..end];
        self.offset = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, expected)?);
        Ok(array)
    }

    /// One byte.
    pub fn u8(&mut self, expected: &'static str) -> Result<u8, WireError> {
        Ok(self.array::<1>(expected)?[0])
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, expected: &'static str) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array(expected)?))
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, expected: &'static str) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array(expected)?))
    }

    /// A u32 length, then that many bytes.
    pub fn bytes(&mut self, expected: &'static str) -> Result<&'a [u8], WireError> {
        let start = self.offset;
        let len = self.u32(expected)? as usize;
        self.take(len, expected).map_err(|_| WireError { offset: start, expected })
    }

    /// A u32 length, then that many bytes of UTF-8.
    pub fn str(&mut self, expected: &'static str) -> Result<&'a str, WireError> {
        let start = self.offset;
        let bytes = self.bytes(expected)?;
        std::str::from_utf8(bytes).map_err(|_| WireError { offset: start, expected })
    }
}
