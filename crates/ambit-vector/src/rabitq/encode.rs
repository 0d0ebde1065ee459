//! How does a row become a code, and back?
//!
//! With r the row minus the centroid and y its levels, the scale is f = |r|^2 / (y.r) and x' =
//! centroid + f y, turned back. The error bound adds up in f64: |R r - f y| for the r and R r that
//! were computed, and what rounding did to them: u |r| in the subtraction, g |r| in the rotation
//! ([`crate::rotation::error`]), and the same for a decoded row: g |f y| as it is turned back and
//! u (|centroid| + 2 |f y|) as the centroid is added. So the bound holds for what [`Rabitq::decode`]
//! returns as well as for the exact x'.

use super::factors::Factors;
use super::grid::{FOUR_BITS, Quantize, offset};
use super::model::{Rabitq, planes};
use crate::Metric;
use crate::blocks::{ROWS, get_field, nibble, put_field, put_nibble};
use crate::bounds::UNIT_ROUNDOFF;
use crate::quantizer::CodeError;
use crate::rotation;
use crate::wide::{LANES, Set};

/// The code of each level of four bits.
const CODE_OF_LEVEL: [u8; 256] = {
    let mut codes = [0; 256];
    let mut code = 0;
    while code < 16 {
        codes[FOUR_BITS[code] as usize] = code as u8;
        code += 1;
    }
    codes
};

/// What coding a row works in.
struct Scratch {
    /// The rotated row, padded to whole registers.
    row: Vec<[f32; LANES]>,
    /// Its levels from 0 up, as floats and as bytes.
    levels: Vec<[f32; LANES]>,
    bytes: Vec<u8>,
    plane: Vec<u8>,
}

impl Rabitq {
    /// Bytes that [`Rabitq::encode`] and [`Rabitq::decode`] hold while they run.
    pub const fn coding_bytes(dim: usize) -> usize {
        2 * size_of::<[f32; LANES]>() * dim.div_ceil(LANES) + 2 * dim
    }

    /// Codes rows as numbers `first`, `first` + 1, ... of `codes`.
    ///
    /// `rows`: n x dim, row-major f32; `codes`: whole blocks, as [`Rabitq::codes_len`] says for
    /// `first` + n rows or more. Other rows stay as they are. The same rows give the same bytes on
    /// every processor.
    ///
    /// # Errors
    /// Slices of other lengths.
    ///
    /// # Cost
    /// About 2 us for 384 numbers. Holds [`Rabitq::coding_bytes`].
    pub fn encode(&self, first: usize, rows: &[f32], codes: &mut [u8]) -> Result<(), CodeError> {
        let count = rows.len() / self.dim;
        self.check_rows(rows.len(), count)?;
        self.check_codes(codes.len(), first.saturating_add(count))?;
        let registers = self.dim.div_ceil(LANES);
        let mut scratch = Scratch {
            row: vec![[0.0; LANES]; registers],
            levels: vec![[0.0; LANES]; registers],
            bytes: vec![0; self.dim],
            plane: vec![0; self.dim],
        };
        for (number, row) in rows.chunks_exact(self.dim).enumerate() {
            let number = first + number;
            let block = &mut codes[number / ROWS * self.block_len()..][..self.block_len()];
            self.encode_row(row, &mut scratch, block, number % ROWS);
        }
        Ok(())
    }

    fn encode_row(&self, row: &[f32], scratch: &mut Scratch, block: &mut [u8], number: usize) {
        let (planes, factors) = block.split_at_mut(self.planes_len());
        let turned = &mut scratch.row.as_flattened_mut()[..self.dim];
        for ((turned, x), centroid) in turned.iter_mut().zip(row).zip(&self.centroid) {
            *turned = x - centroid;
        }
        self.rotation.apply(turned);
        let square = sum(turned, turned);
        if !square.is_finite() {
            Factors::UNKNOWN.put(factors, number);
            scratch.bytes.fill(0);
            return self.put_levels(scratch, planes, number);
        }
        let near_one = near_one(square);
        if near_one != 1.0 {
            turned.iter_mut().for_each(|x| *x = (f64::from(*x) * near_one) as f32);
        }
        let padding = scratch.row.len() * LANES - self.dim;
        Set::best().run(Quantize {
            bits: self.bits,
            row: &scratch.row,
            padding,
            levels: &mut scratch.levels,
        });
        for (byte, level) in scratch.bytes.iter_mut().zip(scratch.levels.as_flattened()) {
            *byte = *level as i32 as u8;
        }
        self.put_levels(scratch, planes, number);
        let square = square * near_one * near_one;
        self.factors(row, scratch, square, near_one).put(factors, number);
    }

    /// The factors of a row whose rotated difference was multiplied by `near_one` and has then the
    /// squared norm `square`.
    fn factors(&self, row: &[f32], scratch: &mut Scratch, square: f64, near_one: f64) -> Factors {
        let offset = offset(self.bits);
        let levels = &mut scratch.levels.as_flattened_mut()[..self.dim];
        levels.iter_mut().for_each(|level| *level -= offset);
        let turned = &scratch.row.as_flattened()[..self.dim];
        if square == 0.0 {
            let error = rotation::underflow(self.dim) as f32 + f32::from_bits(1);
            return self.with_norm(row, 0.0, Factors { scale: 0.0, error, norm: 0.0 });
        }
        let (product, levels) = (sum(turned, levels), sum(levels, levels));
        let scale = (square / product / near_one) as f32;
        let norm = square.sqrt() / near_one;
        let code = f64::from(scale) * levels.sqrt();
        // |r - f y|^2 from its three terms; the rounding of dim products is 2^-53 of each.
        let factor = f64::from(scale) * near_one;
        let terms = square + 2.0 * factor * product + factor * factor * levels;
        let distance = square - 2.0 * factor * product + factor * factor * levels;
        let arithmetic = self.dim as f64 * f64::EPSILON * terms;
        let distance = (distance.max(0.0) + arithmetic).sqrt() / near_one;
        let (g, centre) = (self.rotation_error(), sum(&self.centroid, &self.centroid).sqrt());
        let rounding = (g + 2.0 * UNIT_ROUNDOFF) * (norm + code)
            + UNIT_ROUNDOFF * (centre + code)
            + 2.0 * rotation::underflow(self.dim)
            // Numbers that the power of two has moved below the normal ones.
            + (self.dim as f64).sqrt() * f64::from(f32::from_bits(1)) / near_one;
        let error = ((distance + rounding) * (1.0 + 1e-6)) as f32;
        let error = error.next_up();
        if !(scale.is_finite() && error.is_finite()) {
            return Factors::UNKNOWN;
        }
        self.with_norm(row, norm, Factors { scale, error, norm: 0.0 })
    }

    /// Adds the norm that the metric needs.
    fn with_norm(&self, row: &[f32], norm: f64, factors: Factors) -> Factors {
        let norm = match self.metric {
            Metric::InnerProduct => 0.0,
            Metric::Euclidean => (norm * norm) as f32,
            Metric::Cosine => sum(row, row).sqrt() as f32,
        };
        Factors { norm, ..factors }
    }

    fn put_levels(&self, scratch: &mut Scratch, block: &mut [u8], row: usize) {
        if self.bits == 4 {
            for byte in &mut scratch.bytes {
                *byte = CODE_OF_LEVEL[usize::from(*byte)];
            }
        }
        if self.bits == 1 {
            for (group, bits) in scratch.bytes.chunks(4).enumerate() {
                let packed = bits.iter().rev().fold(0, |packed, bit| packed << 1 | bit);
                put_nibble(block, group, row, packed);
            }
            return;
        }
        let mut rest = block;
        for plane in planes(self.bits) {
            let len = crate::blocks::fields_len(plane.field, self.dim);
            let (block, after) = rest.split_at_mut(len);
            let mask = (0xFFu32 >> (8 - plane.field.bits())) as u8;
            for (number, level) in scratch.plane.iter_mut().zip(&scratch.bytes) {
                *number = level >> plane.shift & mask;
            }
            put_field(plane.field, block, row, &scratch.plane);
            rest = after;
        }
    }

    /// The levels of a row, from 0 up.
    pub(super) fn levels(&self, block: &[u8], row: usize, plane: &mut [u8], levels: &mut [u8]) {
        if self.bits == 1 {
            for (group, levels) in levels.chunks_mut(4).enumerate() {
                let packed = nibble(block, group, row);
                levels.iter_mut().enumerate().for_each(|(i, level)| *level = packed >> i & 1);
            }
            return;
        }
        levels.fill(0);
        let mut rest = block;
        for part in planes(self.bits) {
            let (block, after) = rest.split_at(crate::blocks::fields_len(part.field, self.dim));
            get_field(part.field, block, row, plane);
            for (level, number) in levels.iter_mut().zip(plane.iter()) {
                *level |= number << part.shift;
            }
            rest = after;
        }
        if self.bits == 4 {
            levels.iter_mut().for_each(|level| *level = FOUR_BITS[usize::from(*level & 0xF)]);
        }
    }

    /// What the codes from number `first` on stand for, as many as `rows` holds.
    ///
    /// `rows`: n x dim. A row that was not finite comes back as the centroid.
    ///
    /// # Errors
    /// Slices of other lengths.
    ///
    /// # Cost
    /// About 2 us for 384 numbers. Holds [`Rabitq::coding_bytes`].
    pub fn decode(&self, first: usize, codes: &[u8], rows: &mut [f32]) -> Result<(), CodeError> {
        let count = rows.len() / self.dim;
        self.check_rows(rows.len(), count)?;
        self.check_codes(codes.len(), first.saturating_add(count))?;
        let (mut plane, mut levels) = (vec![0; self.dim], vec![0; self.dim]);
        let offset = offset(self.bits);
        for (number, row) in rows.chunks_exact_mut(self.dim).enumerate() {
            let (block, place) = self.place(codes, first + number);
            let (planes, factors) = block.split_at(self.planes_len());
            self.levels(planes, place, &mut plane, &mut levels);
            let scale = Factors::get(factors, place).scale;
            for (x, level) in row.iter_mut().zip(&levels) {
                *x = (f32::from(*level) - offset) * scale;
            }
            self.rotation.invert(row);
            for (x, centroid) in row.iter_mut().zip(&self.centroid) {
                *x += centroid;
            }
        }
        Ok(())
    }

    /// An upper bound on the euclidean distance between row `row` and what its code stands for,
    /// rounding included; infinite for a row that is not finite.
    ///
    /// # Errors
    /// Codes of fewer rows.
    pub fn error_bound(&self, codes: &[u8], row: usize) -> Result<f32, CodeError> {
        self.check_codes(codes.len(), row.saturating_add(1))?;
        let (block, place) = self.place(codes, row);
        Ok(Factors::get(&block[self.planes_len()..], place).error)
    }

    /// The block of a row, and its place there.
    pub(super) fn place<'a>(&self, codes: &'a [u8], row: usize) -> (&'a [u8], usize) {
        (&codes[row / ROWS * self.block_len()..][..self.block_len()], row % ROWS)
    }

    fn check_rows(&self, found: usize, count: usize) -> Result<(), CodeError> {
        if count * self.dim == found {
            return Ok(());
        }
        Err(CodeError::Shape { what: "rows", expected: (count + 1) * self.dim, found })
    }

    /// Whether codes are whole blocks, of `rows` rows or more.
    pub(super) fn check_codes(&self, found: usize, rows: usize) -> Result<(), CodeError> {
        let expected = self.codes_len(rows);
        if found >= expected && found.is_multiple_of(self.block_len()) {
            return Ok(());
        }
        Err(CodeError::Shape { what: "codes", expected, found })
    }
}

/// The power of two that brings a vector of this squared norm to a norm from 1/2 to 2: exactly, but
/// for numbers that are far below the others. 1 for a vector of zeros.
fn near_one(square: f64) -> f64 {
    if square == 0.0 {
        return 1.0;
    }
    let exponent = (square.to_bits() >> 52) as i64 - 1023;
    f64::from_bits(((1023 - (exponent >> 1)) as u64) << 52)
}

/// The inner product in f64.
fn sum(a: &[f32], b: &[f32]) -> f64 {
    crate::kernels().dot_f64(a, b)
}
