//! The rows of the table and their weighted sum.
//!
//! `vector = normalize(sum over pieces of weight x scale x row)` in f32, in the order of the text,
//! with repeats. Each dimension has a sum of its own, multiplied and added without fusing, so that
//! the bits do not depend on how wide the CPU's vectors are; the squares of the norm are added in a
//! fixed order in f64.
//!
//! The rows stay as the file has them: two 4-bit values per byte (low nibble = even dimension, value
//! = nibble - 8), or one int8 per dimension. Sums of a block of dimensions stay in registers while
//! all rows of a batch pass; for 4-bit rows, the even dimensions of a block come first and the odd
//! ones after them until [`Rows::finish`] interleaves them.

use std::ops::Range;

use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensors};

use ambit_mem::{Bytes, Reservation};

use crate::EmbedError;
use crate::asset::{Blob, MODEL};

/// The length of the header comes first in the file, as a u64.
const HEADER_LEN: usize = 8;
/// Three tensors need some hundred bytes.
const MAX_HEADER: u64 = 64 << 10;
/// Bytes of a row that are summed at a time.
const BLOCK: usize = 16;
/// The largest factor that keeps every sum finite.
const MAX_FACTOR: f32 = 1e12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    /// Two values per byte.
    Int4,
    /// One value per byte.
    Int8,
}

/// The table of a model: one row and one factor per word piece.
#[derive(Debug)]
pub(crate) struct Rows {
    file: Blob,
    /// Where the rows lie in the file.
    table: Range<usize>,
    packing: Packing,
    dim: usize,
    /// weight x scale of each row.
    factors: Vec<f32>,
}

impl Rows {
    /// Reads `model.safetensors`, which must hold `rows` rows of `dim` values; what it keeps besides
    /// the file is added to `reservation`.
    pub(crate) fn parse(
        file: Blob,
        rows: usize,
        dim: usize,
        reservation: &mut Reservation,
    ) -> Result<Self, EmbedError> {
        let malformed = |what: String| EmbedError::malformed(MODEL, what);
        let header = file.first_chunk().map_or(0, |len| u64::from_le_bytes(*len));
        if header > MAX_HEADER {
            return Err(malformed(format!(
                "header of {header} bytes, at most {MAX_HEADER} expected"
            )));
        }
        let (header, tensors) =
            SafeTensors::read_metadata(&file).map_err(|error| malformed(error.to_string()))?;
        let data = HEADER_LEN + header;
        let dtype = tensors.info("table").map(|table| table.dtype);
        let packing = match dtype {
            Some(Dtype::U8) => Packing::Int4,
            Some(Dtype::I8) => Packing::Int8,
            found => return Err(malformed(format!("table is {found:?}, expected U8 or I8"))),
        };
        let stride = if packing == Packing::Int4 { dim / 2 } else { dim };
        let table = find(&tensors, data, "table", dtype, &[rows, stride])?;
        let weights = find(&tensors, data, "weights", Some(Dtype::F32), &[rows])?;
        let scales = find(&tensors, data, "scales", Some(Dtype::F32), &[rows])?;

        reservation.grow(Bytes::of(rows * size_of::<f32>()))?;
        let mut factors = Vec::with_capacity(rows);
        for (weight, scale) in floats(&file[weights]).zip(floats(&file[scales])) {
            let factor = weight * scale;
            if factor.is_nan() || factor.abs() > MAX_FACTOR {
                let what = format!(
                    "row {}: weight {weight} x scale {scale}, expected at most {MAX_FACTOR:e}",
                    factors.len()
                );
                return Err(malformed(what));
            }
            factors.push(factor);
        }
        Ok(Self { file, table, packing, dim, factors })
    }

    /// Adds the rows `ids` to `sums`: `dim` values in the order that [`finish`](Self::finish) takes.
    pub(crate) fn add(&self, ids: &[u32], sums: &mut [f32]) {
        match self.packing {
            Packing::Int4 => self.add_packed(ids, sums),
            Packing::Int8 => self.add_bytes(ids, sums),
        }
    }

    /// Puts `sums` into the order of the dimensions and scales them to unit length. Returns false,
    /// with all of them zero, if there is no direction to scale.
    pub(crate) fn finish(&self, sums: &mut [f32]) -> bool {
        let scale = 1.0 / square_sum(sums).sqrt();
        if !scale.is_finite() {
            sums.fill(0.0);
            return false;
        }
        let unit = |value: f32| (f64::from(value) * scale) as f32;
        if self.packing == Packing::Int8 {
            sums.iter_mut().for_each(|value| *value = unit(*value));
            return true;
        }
        for block in sums.chunks_mut(2 * BLOCK) {
            let mut halves = [0.0; 2 * BLOCK];
            halves[..block.len()].copy_from_slice(block);
            let (even, odd) = halves.split_at(block.len() / 2);
            for ((pair, even), odd) in block.chunks_exact_mut(2).zip(even).zip(odd) {
                pair[0] = unit(*even);
                pair[1] = unit(*odd);
            }
        }
        true
    }

    fn add_packed(&self, ids: &[u32], sums: &mut [f32]) {
        let table = &self.file[self.table.clone()];
        let stride = self.dim / 2;
        for (block, sums) in sums.chunks_mut(2 * BLOCK).enumerate() {
            let from = block * BLOCK;
            if let Ok(sums) = <&mut [f32; 2 * BLOCK]>::try_from(&mut *sums) {
                let mut total = *sums;
                for &id in ids {
                    let at = id as usize * stride + from;
                    let Some(row) = table.get(at..at + BLOCK) else {
                        continue;
                    };
                    let Ok(row) = <&[u8; BLOCK]>::try_from(row) else {
                        continue;
                    };
                    add_block(&mut total, row, self.factors[id as usize]);
                }
                *sums = total;
            } else {
                let (even, odd) = sums.split_at_mut(sums.len() / 2);
                for &id in ids {
                    let (at, factor) = (id as usize * stride + from, self.factors[id as usize]);
                    for ((byte, even), odd) in table[at..].iter().zip(&mut *even).zip(&mut *odd) {
                        *even += factor * (f32::from(byte & 15) - 8.0);
                        *odd += factor * (f32::from(byte >> 4) - 8.0);
                    }
                }
            }
        }
    }

    fn add_bytes(&self, ids: &[u32], sums: &mut [f32]) {
        let table = &self.file[self.table.clone()];
        for &id in ids {
            let (at, factor) = (id as usize * self.dim, self.factors[id as usize]);
            for (sum, &byte) in sums.iter_mut().zip(&table[at..at + self.dim]) {
                *sum += factor * f32::from(byte as i8);
            }
        }
    }
}

/// Adds `factor` x the values of one block of a row: even dimensions to the front half, odd ones to
/// the back half. Of fixed size so that it compiles to vector instructions of any width.
#[inline(always)]
fn add_block(total: &mut [f32; 2 * BLOCK], row: &[u8; BLOCK], factor: f32) {
    for k in 0..BLOCK {
        total[k] += factor * ((row[k] & 15) as i32 - 8) as f32;
        total[k + BLOCK] += factor * ((row[k] >> 4) as i32 - 8) as f32;
    }
}

/// The sum of the squares in f64: eight sums side by side, then those in order.
fn square_sum(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    for chunk in values.chunks(lanes.len()) {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(value) * f64::from(value);
        }
    }
    lanes.iter().sum()
}

/// Where the data of a tensor of this type and shape lies in the file.
fn find(
    tensors: &Metadata,
    data: usize,
    name: &str,
    dtype: Option<Dtype>,
    shape: &[usize],
) -> Result<Range<usize>, EmbedError> {
    let found = tensors.info(name);
    match found {
        Some(tensor) if Some(tensor.dtype) == dtype && tensor.shape == shape => {
            Ok(data + tensor.data_offsets.0..data + tensor.data_offsets.1)
        }
        found => {
            let found = found.map(|tensor| (tensor.dtype, &tensor.shape));
            let what = format!("tensor {name:?} is {found:?}, expected {:?}", (dtype, shape));
            Err(EmbedError::malformed(MODEL, what))
        }
    }
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}
