//! Can a search read the short numbers instead? The view of a row as bf16, fp16 or int8.
//!
//! An inner product with the row is the inner product with its short numbers times the scale, but
//! for one rounding of each product; a scan over them reads half or a quarter of the memory. Rows
//! whose values are not all short numbers have no such view.

use super::decode::{CONSTANT, Coded, DIFFERENCE, STORED, Scratch};
use super::error::{LosslessError, corrupt};
use super::form::Form;
use super::model::Model;

/// Memory for the short numbers of one row.
#[derive(Debug)]
pub struct NarrowBuffer {
    floats: Vec<f32>,
    halves: Vec<u16>,
    bytes: Vec<i8>,
}

impl NarrowBuffer {
    /// Memory for vectors of `dim` numbers.
    ///
    /// # Cost
    /// Allocates [`NarrowBuffer::bytes`].
    pub fn new(dim: usize) -> Self {
        Self { floats: vec![0.0; dim], halves: vec![0; dim], bytes: vec![0; dim] }
    }

    /// Bytes that [`NarrowBuffer::new`] allocates.
    pub const fn bytes(dim: usize) -> usize {
        7 * dim
    }

    pub(super) fn dim(&self) -> usize {
        self.floats.len()
    }
}

/// Short numbers that a row is made of: value i of the row is number i times `scale`, rounded to
/// f32 (for rows that were scaled twice, within one unit in the last place of that).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Narrow<'a> {
    /// Bits of bfloat16 numbers.
    Bf16 {
        /// One for each dimension.
        values: &'a [u16],
        /// What they are times.
        scale: f64,
    },
    /// Bits of IEEE binary16 numbers.
    Fp16 {
        /// One for each dimension.
        values: &'a [u16],
        /// What they are times.
        scale: f64,
    },
    /// Integers.
    Int8 {
        /// One for each dimension.
        values: &'a [i8],
        /// What they are times.
        scale: f64,
    },
}

/// The short numbers of a record, if it has them.
pub(super) fn narrow<'b>(
    model: &Model,
    record: &[u8],
    scratch: &mut Scratch,
    buffer: &'b mut NarrowBuffer,
) -> Result<Option<Narrow<'b>>, LosslessError> {
    let (&head, rest) = record.split_first().ok_or(corrupt("empty record"))?;
    if matches!(head, CONSTANT | STORED | DIFFERENCE) {
        return Ok(None);
    }
    let coded = Coded::parse(model, head, rest)?;
    let form = coded.ready.mode.origin.form;
    let short = form.kept().is_some_and(|kept| kept <= 10) || matches!(form, Form::Integer { .. });
    if !short || coded.has_literals() {
        return Ok(None);
    }
    coded.unscaled(scratch, &mut buffer.floats)?;
    let NarrowBuffer { floats, halves, bytes } = buffer;
    let scale = coded.scale;
    Ok(match form.kept() {
        None => to_int8(floats, bytes).map(|values| Narrow::Int8 { values, scale }),
        Some(..=7) => {
            for (half, float) in halves.iter_mut().zip(&*floats) {
                *half = (float.to_bits() >> 16) as u16;
            }
            Some(Narrow::Bf16 { values: halves, scale })
        }
        Some(_) => to_fp16(floats, halves)
            .map(|(values, up)| Narrow::Fp16 { values, scale: scale / f64::from(up) }),
    })
}

fn to_int8<'b>(floats: &[f32], bytes: &'b mut [i8]) -> Option<&'b [i8]> {
    for (byte, float) in bytes.iter_mut().zip(floats) {
        let fits = (-128.0..=127.0).contains(float) && float.to_bits() != 1 << 31;
        *byte = fits.then_some(*float as i8)?;
    }
    Some(bytes)
}

/// Floats of at most 11 significant bits as binary16, all times the same power of two.
fn to_fp16<'b>(floats: &[f32], halves: &'b mut [u16]) -> Option<(&'b [u16], f32)> {
    let largest = floats.iter().fold(0.0f32, |most, float| most.max(float.abs()));
    // As they are, if they fit; else with the largest one just below the limit, 2^16.
    for up in [1.0, 2.0f32.powi(15) / power_of_two_below(largest)] {
        let fits = up.is_normal()
            && halves.iter_mut().zip(floats).all(|(half, float)| {
                let found = half_bits(float * up);
                *half = found.unwrap_or(0);
                found.is_some()
            });
        if fits {
            return Some((halves, up));
        }
    }
    None
}

fn power_of_two_below(x: f32) -> f32 {
    f32::from_bits(x.to_bits() & 0x7F80_0000)
}

/// A float as binary16, if it is one; finite ones only.
fn half_bits(x: f32) -> Option<u16> {
    let bits = x.to_bits();
    let (sign, exponent) = ((bits >> 16 & 0x8000) as u16, bits >> 23 & 255);
    let size = x.abs();
    if size < 2.0f32.powi(-14) {
        let units = size * 2.0f32.powi(24);
        return (units.fract() == 0.0).then_some(sign | units as u16);
    }
    let fits = exponent <= 127 + 15 && bits & 0x1FFF == 0;
    fits.then(|| sign | ((exponent + 15 - 127) << 10) as u16 | (bits >> 13 & 0x3FF) as u16)
}
