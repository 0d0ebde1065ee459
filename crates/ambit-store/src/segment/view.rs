//! Bytes of a section, held for as long as they are looked at.
//!
//! A view is either a slice of the mapping, whose windows stay pinned while the view lives,
//! or a charged buffer that was read for it. Of a real file both begin at the same offset modulo
//! 64, so that a slice of numbers that can be had from one can be had from the other.

use std::ops::Deref;

use ambit_mem::{Account, Bytes, Reservation};
use bytemuck::AnyBitPattern;

use super::format::ALIGN;
use super::windows::Pins;
use crate::error::StoreError;

/// A checked, charged, read-only stretch of a section.
pub struct View<'a> {
    held: Held<'a>,
}

enum Held<'a> {
    Mapped { bytes: &'a [u8], _pins: Pins<'a> },
    Buffer(Buffer),
    Empty,
}

impl<'a> View<'a> {
    pub(super) fn mapped(bytes: &'a [u8], pins: Pins<'a>) -> Self {
        Self { held: Held::Mapped { bytes, _pins: pins } }
    }

    pub(super) fn buffer(buffer: Buffer) -> Self {
        Self { held: Held::Buffer(buffer) }
    }

    pub(super) const fn empty() -> Self {
        Self { held: Held::Empty }
    }

    /// The bytes as numbers of type `T`, little-endian.
    ///
    /// # Errors
    /// `Invalid` when the view does not begin at a multiple of `T`'s alignment, or is not a whole number of
    /// `T`s. A view that begins at a row of a section whose stride is a multiple of that size is well.
    pub fn as_slice_of<T: AnyBitPattern>(&self) -> Result<&[T], StoreError> {
        bytemuck::try_cast_slice(self).map_err(|error| {
            StoreError::invalid(format!(
                "a view of {} bytes is not a slice of {}: {error}; read from the start of a row, and \
                 whole rows",
                self.len(),
                std::any::type_name::<T>()
            ))
        })
    }

    /// The bytes as float32; see [`View::as_slice_of`].
    pub fn as_f32(&self) -> Result<&[f32], StoreError> {
        self.as_slice_of()
    }

    /// The bytes as u32; see [`View::as_slice_of`].
    pub fn as_u32(&self) -> Result<&[u32], StoreError> {
        self.as_slice_of()
    }

    /// The bytes as u64; see [`View::as_slice_of`].
    pub fn as_u64(&self) -> Result<&[u64], StoreError> {
        self.as_slice_of()
    }
}

impl Deref for View<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.held {
            Held::Mapped { bytes, .. } => bytes,
            Held::Buffer(buffer) => buffer.wanted(),
            Held::Empty => &[],
        }
    }
}

impl AsRef<[u8]> for View<'_> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A charged buffer whose first byte lies at a multiple of 64.
pub(super) struct Buffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
    wanted: std::ops::Range<usize>,
    _charge: Reservation,
}

impl Buffer {
    /// Charges and zeroes `len` bytes.
    pub(super) fn new(len: usize, account: &Account) -> Result<Self, StoreError> {
        let slack = ALIGN as usize - 1;
        let total = len.checked_add(slack).ok_or_else(|| too_large(len))?;
        let charge = account.reserve(Bytes::of(total))?;
        let mut memory = Vec::new();
        memory.try_reserve_exact(total).map_err(|_| too_large(len))?;
        memory.resize(total, 0);
        let start = memory.as_ptr().align_offset(ALIGN as usize).min(slack);
        Ok(Self { memory, start, len, wanted: 0..len, _charge: charge })
    }

    /// The whole buffer.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }

    /// The whole buffer, to be filled.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }

    /// Chooses the part that was asked for. `wanted` lies in the buffer.
    pub(super) fn want(mut self, wanted: std::ops::Range<usize>) -> Self {
        self.wanted = wanted;
        self
    }

    fn wanted(&self) -> &[u8] {
        &self.bytes()[self.wanted.clone()]
    }
}

fn too_large(len: usize) -> StoreError {
    StoreError::invalid(format!("a buffer of {len} bytes cannot be had; read in smaller parts"))
}
