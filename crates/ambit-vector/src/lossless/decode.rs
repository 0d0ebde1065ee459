//! How does a record become a row again?
//!
//! The record of a mode is: a byte (mode, and above it the number of values sent in full; 15
//! stands for the u16 that follows), the scalar, the values in full, the fields, and the two
//! streams of codes. Records without codes are a row as it is, one float for all, or a difference
//! ([`delta`](super::delta)). Whatever the bytes are, the row is filled or an error says which
//! part is wrong; nothing outside the slices is touched, and nothing is allocated.

use super::bits::{BitReader, PADDING, part};
use super::delta;
use super::error::{LosslessError, corrupt};
use super::form::{RESIDUALS, add_residuals};
use super::model::{Mode, Model, Ready, take};
use super::planes::{packed_len, unpack};
use super::prefix::{ESCAPE, MAX_LEN};
use super::scalar::Scale;

/// Kinds of records without codes.
pub(super) const CONSTANT: u8 = 13;
pub(super) const STORED: u8 = 14;
pub(super) const DIFFERENCE: u8 = 15;
/// The number of values in full that stands for a u16 behind it.
pub(super) const MANY: u8 = 15;

/// Memory that decoding works in; for vectors of one dimension, used again for each row.
#[derive(Debug)]
pub struct Scratch {
    pub(super) symbols: Vec<u16>,
    front: Vec<u8>,
    back: Vec<u8>,
}

impl Scratch {
    /// Memory for vectors of `dim` numbers.
    ///
    /// # Cost
    /// Allocates [`Scratch::bytes`].
    pub fn new(dim: usize) -> Self {
        let streams = Self::stream_bytes(dim);
        Self {
            symbols: vec![0; dim + dim.div_ceil(RESIDUALS)],
            front: vec![0; streams],
            back: vec![0; streams],
        }
    }

    /// Bytes that [`Scratch::new`] allocates.
    pub const fn bytes(dim: usize) -> usize {
        2 * (dim + dim.div_ceil(RESIDUALS)) + 2 * Self::stream_bytes(dim)
    }

    /// Whether the memory is for vectors of `dim` numbers.
    pub(super) fn fits(&self, dim: usize) -> bool {
        self.symbols.len() == dim + dim.div_ceil(RESIDUALS)
    }

    /// The longest codes of a row, rounded up to words, and what readers may load behind.
    const fn stream_bytes(dim: usize) -> usize {
        let bits = (dim + dim.div_ceil(RESIDUALS)) * MAX_LEN as usize;
        bits.div_ceil(64) * 8 + 2 * PADDING
    }
}

/// A record of a mode, taken apart.
pub(super) struct Coded<'a> {
    pub(super) ready: &'a Ready,
    pub(super) scale: f64,
    literals: &'a [[u8; 4]],
    fields: &'a [u8],
    streams: &'a [u8],
}

impl<'a> Coded<'a> {
    /// Takes a record of `model` apart whose first byte is `head`.
    pub(super) fn parse(
        model: &'a Model,
        head: u8,
        mut rest: &'a [u8],
    ) -> Result<Self, LosslessError> {
        let ready = model.modes.get(usize::from(head & 15)).ok_or(corrupt("mode of a row"))?;
        let mut count = usize::from(head >> 4);
        if head >> 4 == MANY {
            let bytes = take(&mut rest, 2)?;
            count = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        }
        let scale = read_scale(&ready.mode, take(&mut rest, ready.mode.scale_len())?);
        let (literals, _) = take(&mut rest, 4 * count)?.as_chunks::<4>();
        let fields = take(&mut rest, packed_len(model.dim, ready.mode.shape.width()))?;
        if rest.len() + PADDING > Scratch::stream_bytes(model.dim) - PADDING {
            return Err(corrupt("length of the codes"));
        }
        Ok(Self { ready, scale, literals, fields, streams: rest })
    }

    /// Decodes the symbols into the scratch, and those of residuals behind them.
    #[inline(always)]
    pub(super) fn symbols(&self, scratch: &mut Scratch, dim: usize) -> Result<(), LosslessError> {
        part(self.streams, &mut scratch.front, &mut scratch.back);
        let (mut front, mut back) = (BitReader::new(&scratch.front), BitReader::new(&scratch.back));
        let (symbols, residuals) = scratch.symbols.split_at_mut(dim);
        let tables = &self.ready.tables;
        if self.ready.bases.is_empty() {
            tables.decode_several(symbols, [&mut front, &mut back]);
        } else {
            let (bases, residual_bases) = self.ready.bases.split_at(dim);
            tables.decode_each(bases, symbols, [&mut front, &mut back]);
            let residuals = &mut residuals[..residual_bases.len()];
            tables.decode_each(residual_bases, residuals, [&mut front, &mut back]);
            if residuals.contains(&ESCAPE) {
                return Err(corrupt("residuals"));
            }
        }
        let used = (front.consumed() + back.consumed()).div_ceil(8);
        if used == self.streams.len() { Ok(()) } else { Err(corrupt("end of the codes")) }
    }

    /// The whole row, into `row`.
    #[inline(always)]
    pub(super) fn row(&self, scratch: &mut Scratch, row: &mut [f32]) -> Result<(), LosslessError> {
        self.symbols(scratch, row.len())?;
        let (symbols, residuals) = scratch.symbols.split_at(row.len());
        let mode = &self.ready.mode;
        unpack(self.fields, mode.shape.width(), row);
        mode.shape.combine(symbols, &mode.flips, self.scale, row);
        if mode.has_residuals() {
            add_residuals(residuals, row);
        }
        self.fill_in(symbols, row)
    }

    /// The numbers of the form, before the scalar, as bits of f32; only for forms of floats and
    /// integers.
    pub(super) fn unscaled(
        &self,
        scratch: &mut Scratch,
        row: &mut [f32],
    ) -> Result<(), LosslessError> {
        self.symbols(scratch, row.len())?;
        let mode = &self.ready.mode;
        unpack(self.fields, mode.shape.width(), row);
        mode.shape.combine(&scratch.symbols[..row.len()], &mode.flips, 1.0, row);
        Ok(())
    }

    /// Whether some values are sent in full.
    pub(super) fn has_literals(&self) -> bool {
        !self.literals.is_empty()
    }

    /// Puts the values in full to their places.
    #[inline(always)]
    fn fill_in(&self, symbols: &[u16], row: &mut [f32]) -> Result<(), LosslessError> {
        let escapes: usize = symbols.iter().map(|symbol| usize::from(*symbol == ESCAPE)).sum();
        if escapes != self.literals.len() {
            return Err(corrupt("number of values in full"));
        }
        if escapes > 0 {
            let places = row.iter_mut().zip(symbols).filter(|(_, symbol)| **symbol == ESCAPE);
            for ((value, _), literal) in places.zip(self.literals) {
                *value = f32::from_bits(u32::from_le_bytes(*literal));
            }
        }
        Ok(())
    }
}

fn read_scale(mode: &Mode, bytes: &[u8]) -> f64 {
    if bytes.is_empty() {
        return 1.0;
    }
    let (fraction, exponent) = bytes.split_at(usize::from(mode.origin.scale_bytes));
    let fraction = fraction.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let exponent = exponent.first().map_or(0, |byte| *byte as i8);
    Scale { exponent, fraction }.value(u32::from(mode.origin.scale_bytes))
}

/// Appends a scalar as [`read_scale`] reads it.
pub(super) fn write_scale(mode: &Mode, scale: Scale, out: &mut Vec<u8>) {
    let bytes = usize::from(mode.origin.scale_bytes);
    out.extend_from_slice(&scale.fraction.to_le_bytes()[..bytes]);
    if mode.scale_len() > bytes {
        out.push(scale.exponent as u8);
    }
}

/// Decodes a record into `row`; a difference needs the vector before.
///
/// # Errors
/// Damaged bytes, or a difference without `previous`.
pub(super) fn decode_record(
    model: &Model,
    record: &[u8],
    previous: Option<&[f32]>,
    scratch: &mut Scratch,
    row: &mut [f32],
) -> Result<(), LosslessError> {
    let (&head, rest) = record.split_first().ok_or(corrupt("empty record"))?;
    match head {
        CONSTANT => {
            let bytes = rest.try_into().map_err(|_| corrupt("constant row"))?;
            row.fill(f32::from_bits(u32::from_le_bytes(bytes)));
            Ok(())
        }
        STORED => {
            let (values, behind) = rest.as_chunks::<4>();
            if values.len() != row.len() || !behind.is_empty() {
                return Err(corrupt("stored row"));
            }
            for (value, bytes) in row.iter_mut().zip(values) {
                *value = f32::from_bits(u32::from_le_bytes(*bytes));
            }
            Ok(())
        }
        DIFFERENCE => {
            let previous = previous.ok_or(LosslessError::NeedsPrevious)?;
            delta::decode(rest, previous, row)
        }
        _ => super::dispatch::row(&Coded::parse(model, head, rest)?, scratch, row),
    }
}
