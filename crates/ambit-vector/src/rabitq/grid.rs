//! Which point of the grid has the direction of a row?
//!
//! The grid of B bits has the 2^B levels -L, -L + 1, ..., L in each dimension, L = (2^B - 1) / 2.
//! Four bits are coarse enough for other levels to pay, and fine enough to have them: those that
//! are best for normal deviates (S. Lloyd, "Least squares quantization in PCM", 1957; J. Max), as
//! integers from -127 to 127. Their error is 9 % smaller than that of a uniform grid.
//!
//! For a scale t the nearest point to t r is found dimension by dimension; the point of the best
//! direction is one of those, for some t. So only t is looked for: first around what is best for
//! normal deviates, which is what a rotated row looks like, then closer around the best of those.
//!
//! Sums are f32, sixteen lanes, in one order: the same code on every processor.

use crate::wide::{Job, LANES, Wide};

/// Steps of the uniform quantizer that is best for a normal deviate, for 2 to 8 bits.
/// (J. Max, "Quantizing for minimum distortion", 1960, and by the same computation.)
const STEPS: [f32; 7] = [0.9957, 0.5860, 0.3352, 0.1881, 0.1041, 0.0569, 0.0308];
/// Scales that are tried first, times the one for normal deviates.
const COARSE: [f32; 7] = [0.72, 0.81, 0.9, 1.0, 1.11, 1.23, 1.37];
/// How far apart those are, and by how much the search narrows in each round.
const APART: f32 = 1.11;
const ROUNDS: usize = 3;
/// Adding and subtracting it rounds to an integer.
const ROUND: f32 = 12_582_912.0;

/// The code of one row.
pub(super) struct Quantize<'a> {
    pub(super) bits: u32,
    /// The rotated row, padded with zeros to whole registers.
    pub(super) row: &'a [[f32; LANES]],
    /// Zeros that the row was padded with.
    pub(super) padding: usize,
    /// As long as the row: level + L.
    pub(super) levels: &'a mut [[f32; LANES]],
}

/// Positive levels of four bits.
const LEVELS: [u8; 8] = [6, 18, 31, 44, 58, 75, 96, 127];
/// Deviations of a row in which those are best: 127 is 2.733 of them.
const UNIT: f32 = 46.48;

/// Levels of four bits from the lowest to the highest, plus 128.
pub(super) const FOUR_BITS: [u8; 16] = {
    let mut levels = [0; 16];
    let mut i = 0;
    while i < 8 {
        levels[7 - i] = 128 - LEVELS[i];
        levels[8 + i] = 128 + LEVELS[i];
        i += 1;
    }
    levels
};

/// The largest level.
pub(super) fn largest(bits: u32) -> f32 {
    if bits == 4 { f32::from(LEVELS[7]) } else { ((1u32 << bits) - 1) as f32 / 2.0 }
}

/// What levels are stored above.
pub(super) fn offset(bits: u32) -> f32 {
    if bits == 4 { 128.0 } else { largest(bits) }
}

impl Job for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<W: Wide>(self, wide: W) {
        let limit = largest(self.bits);
        let scale = if self.bits == 1 { 1.0 } else { self.scale(wide) };
        let (scale, limit) = (wide.splat(scale), wide.splat(limit));
        let offset = wide.splat(offset(self.bits));
        for (x, to) in self.row.iter().zip(self.levels) {
            let level = level(wide, self.bits, wide.load(x), scale, limit);
            wide.store(wide.add(level, offset), to);
        }
    }
}

impl Quantize<'_> {
    /// The scale of the best direction.
    #[inline(always)]
    fn scale<W: Wide>(&self, wide: W) -> f32 {
        let dim = self.row.len() * LANES - self.padding;
        let (mut squares, mut loudest) = (wide.splat(0.0), wide.splat(0.0));
        for x in self.row {
            let x = wide.load(x);
            squares = wide.mul_add(x, x, squares);
            let size = wide.select(wide.less(x, wide.splat(0.0)), wide.flip(x, u16::MAX), x);
            loudest = wide.select(wide.less(loudest, size), size, loudest);
        }
        let deviation = (total(wide, squares) / dim as f32).sqrt();
        let normal = match self.bits {
            4 => UNIT / deviation,
            bits => 1.0 / (STEPS[bits as usize - 2] * deviation),
        };
        // The scale at which nothing is cut off.
        let whole = largest(self.bits) / greatest(wide, loudest);
        let mut best = (whole, self.closeness(wide, whole));
        // The levels of four bits are made for normal deviates.
        let coarse = if self.bits == 4 { &COARSE[2..5] } else { &COARSE };
        for factor in coarse {
            best = self.better(wide, best, normal * factor);
        }
        let mut apart = APART.sqrt();
        for _ in 0..ROUNDS {
            let middle = best.0;
            best = self.better(wide, best, middle * apart);
            best = self.better(wide, best, middle / apart);
            apart = apart.sqrt();
        }
        best.0
    }

    #[inline(always)]
    fn better<W: Wide>(&self, wide: W, best: (f32, f32), scale: f32) -> (f32, f32) {
        let closeness = self.closeness(wide, scale);
        if closeness > best.1 { (scale, closeness) } else { best }
    }

    /// The squared cosine between the row and its code for a scale, times |row|^2.
    #[inline(always)]
    fn closeness<W: Wide>(&self, wide: W, scale: f32) -> f32 {
        let limit = wide.splat(largest(self.bits));
        let scale = wide.splat(scale);
        let (mut product, mut square) = (wide.splat(0.0), wide.splat(0.0));
        for x in self.row {
            let x = wide.load(x);
            let level = level(wide, self.bits, x, scale, limit);
            product = wide.mul_add(x, level, product);
            square = wide.mul_add(level, level, square);
        }
        // A zero of the padding has the least positive level.
        let least = if self.bits == 4 { f32::from(LEVELS[0]) } else { 0.5 };
        let square = total(wide, square) - least * least * self.padding as f32;
        let product = total(wide, product);
        product * product / square
    }
}

/// The level nearest to x * scale.
#[inline(always)]
fn level<W: Wide>(wide: W, bits: u32, x: W::Lanes, scale: W::Lanes, limit: W::Lanes) -> W::Lanes {
    let (half, round) = (wide.splat(0.5), wide.splat(ROUND));
    let scaled = wide.mul(x, scale);
    if bits == 4 {
        return level_of_four(wide, scaled);
    }
    // What is beyond the limits is cut off before it is rounded: it may be too large for that.
    let low = wide.flip(limit, u16::MAX);
    let scaled = wide.select(wide.less(scaled, low), low, scaled);
    let scaled = wide.select(wide.less(limit, scaled), limit, scaled);
    let rounded = wide.sub(wide.add(wide.sub(scaled, half), round), round);
    wide.add(rounded, half)
}

/// The level of four bits nearest to x.
#[inline(always)]
fn level_of_four<W: Wide>(wide: W, x: W::Lanes) -> W::Lanes {
    let negative = wide.less(x, wide.splat(0.0));
    let size = wide.select(negative, wide.flip(x, u16::MAX), x);
    let mut level = wide.splat(f32::from(LEVELS[0]));
    for pair in LEVELS.windows(2) {
        let (below, above) = (f32::from(pair[0]), f32::from(pair[1]));
        let edge = wide.splat((below + above) / 2.0);
        level = wide.select(wide.less(edge, size), wide.splat(above), level);
    }
    wide.select(negative, wide.flip(level, u16::MAX), level)
}

/// The sum of all lanes, as a tree.
#[inline(always)]
fn total<W: Wide>(wide: W, lanes: W::Lanes) -> f32 {
    let pairs = wide.add(lanes, wide.partner::<8>(lanes));
    let fours = wide.add(pairs, wide.partner::<4>(pairs));
    let eights = wide.add(fours, wide.partner::<2>(fours));
    let mut out = [0.0; LANES];
    wide.store(wide.add(eights, wide.partner::<1>(eights)), &mut out);
    out[0]
}

/// The largest of all lanes.
#[inline(always)]
fn greatest<W: Wide>(wide: W, lanes: W::Lanes) -> f32 {
    let mut out = [0.0; LANES];
    wide.store(lanes, &mut out);
    out.into_iter().fold(0.0, f32::max)
}
