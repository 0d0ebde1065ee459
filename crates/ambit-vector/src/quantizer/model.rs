//! Models as bytes: a magic, numbers in little-endian order, and their CRC-32C at the end.

use super::CodeError;

/// Writes a model.
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

/// Bytes of magic, dimension and checksum.
const FRAME: usize = 4 + 4 + 4;

impl Writer {
    /// A model of `dim` numbers a row.
    pub(crate) fn new(magic: [u8; 4], dim: usize) -> Self {
        let mut bytes = magic.to_vec();
        bytes.extend_from_slice(&(dim as u32).to_le_bytes());
        Self { bytes }
    }

    /// Bytes of a model whose own fields take `fields`.
    pub(crate) const fn len(fields: usize) -> usize {
        FRAME + fields
    }

    pub(crate) fn byte(mut self, byte: u8) -> Self {
        self.bytes.push(byte);
        self
    }

    pub(crate) fn floats(mut self, floats: &[f32]) -> Self {
        for float in floats {
            self.bytes.extend_from_slice(&float.to_le_bytes());
        }
        self
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        let checksum = crc32c::crc32c(&self.bytes);
        self.bytes.extend_from_slice(&checksum.to_le_bytes());
        self.bytes
    }
}

/// Reads a model whose checksum was right.
pub(crate) struct Reader<'a> {
    dim: usize,
    rest: &'a [u8],
}

const fn corrupt(part: &'static str) -> CodeError {
    CodeError::Corrupt { part }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(magic: [u8; 4], bytes: &'a [u8]) -> Result<Self, CodeError> {
        let (body, checksum) = bytes.split_last_chunk::<4>().ok_or(corrupt("length"))?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*checksum) {
            return Err(corrupt("checksum"));
        }
        let (found, rest) = body.split_first_chunk::<4>().ok_or(corrupt("length"))?;
        if *found != magic {
            return Err(corrupt("magic"));
        }
        let (dim, rest) = rest.split_first_chunk::<4>().ok_or(corrupt("length"))?;
        let dim = u32::from_le_bytes(*dim) as usize;
        super::verbs::check_dim(dim).map_err(|_| corrupt("dimension"))?;
        Ok(Self { dim, rest })
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    pub(crate) fn byte(&mut self) -> Result<u8, CodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(corrupt("length"))?;
        self.rest = rest;
        Ok(byte)
    }

    /// `count` finite floats.
    pub(crate) fn floats(&mut self, count: usize) -> Result<Vec<f32>, CodeError> {
        let (floats, rest) = self.rest.split_at_checked(4 * count).ok_or(corrupt("length"))?;
        self.rest = rest;
        let floats: Vec<f32> =
            floats.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        if floats.iter().all(|float| float.is_finite()) {
            Ok(floats)
        } else {
            Err(corrupt("number"))
        }
    }

    pub(crate) fn finish(self) -> Result<(), CodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(corrupt("length")) }
    }
}
