//! How are rows turned into codes? Plain code, compiled for each instruction set.
//!
//! Elements are taken sixteen at a time as arrays, so that compilers make registers of them, and
//! what is added up keeps sixteen lanes. Nothing is fused or reordered, so every instruction set
//! gives the same bytes. What a code says is never rounded: x' = offset + step k is taken as the
//! real number, and differences from it are computed in f64, where step k is exact (24 + 8 of 53
//! bits); callers round the error bound up by far more than the rest can lose.

use super::CodeWidth;
use crate::half::Half;

/// Elements that are taken at once.
const STEP: usize = 16;

type Lanes = [f32; STEP];
type Sums = [f64; STEP];

/// Where the levels of elements lie.
#[derive(Clone, Copy)]
pub(crate) enum Grid<'a> {
    /// All elements alike: `offset` is the middle level, `inverse` = 1 / `step`.
    Row { offset: f32, step: f32, inverse: f32 },
    /// Each element its own.
    Dimensions { offsets: &'a [f32], steps: &'a [f32], inverses: &'a [f32] },
}

/// Sixteen elements from `at` on; 0 behind the last.
#[inline(always)]
fn take(from: &[f32], at: usize) -> Lanes {
    let rest = &from[at..];
    match rest.first_chunk::<STEP>() {
        Some(lanes) => *lanes,
        None => {
            let mut lanes = [0.0; STEP];
            lanes[..rest.len()].copy_from_slice(rest);
            lanes
        }
    }
}

/// The sum of all lanes, in one order.
#[inline(always)]
fn total(sums: Sums) -> f64 {
    let mut total = 0.0;
    for sum in sums {
        total += sum;
    }
    total
}

/// The smallest and the largest number; what is NaN is passed over.
#[inline(always)]
pub(super) fn range(row: &[f32]) -> (f32, f32) {
    let (mut low, mut high) = ([f32::INFINITY; STEP], [f32::NEG_INFINITY; STEP]);
    let (whole, rest) = row.as_chunks::<STEP>();
    for lanes in whole {
        for j in 0..STEP {
            low[j] = if lanes[j] < low[j] { lanes[j] } else { low[j] };
            high[j] = if lanes[j] > high[j] { lanes[j] } else { high[j] };
        }
    }
    for (j, &x) in rest.iter().enumerate() {
        low[j] = if x < low[j] { x } else { low[j] };
        high[j] = if x > high[j] { x } else { high[j] };
    }
    (
        low.into_iter().fold(f32::INFINITY, f32::min),
        high.into_iter().fold(f32::NEG_INFINITY, f32::max),
    )
}

/// The nearest levels of sixteen elements, and the squares of what is left.
///
/// Levels go from 0 to `top`, and `middle` is the one at the offset. A NaN is level 0.
#[inline(always)]
fn levels(x: Lanes, grid: [Lanes; 3], width: CodeWidth) -> ([u8; STEP], Sums) {
    let [offset, step, inverse] = grid;
    let (top, middle) = (f32::from(width.max_level()), i32::from(width.max_level() / 2 + 1));
    let (mut codes, mut squares) = ([0; STEP], [0.0; STEP]);
    for j in 0..STEP {
        let place = (x[j] - offset[j]) * inverse[j] + (middle as f32 + 0.5);
        let place = if place > 0.0 { place } else { 0.0 };
        let place = if place < top { place } else { top };
        // SAFETY: `place` is in [0, 255], as a NaN fails the first comparison.
        let level = unsafe { place.to_int_unchecked::<i32>() };
        codes[j] = level as u8;
        let said = f64::from(offset[j]) + f64::from(step[j]) * f64::from(level - middle);
        let off = f64::from(x[j]) - said;
        squares[j] = off * off;
    }
    (codes, squares)
}

impl Grid<'_> {
    #[inline(always)]
    fn at(&self, at: usize) -> [Lanes; 3] {
        match *self {
            Self::Row { offset, step, inverse } => [[offset; STEP], [step; STEP], [inverse; STEP]],
            Self::Dimensions { offsets, steps, inverses } => {
                [take(offsets, at), take(steps, at), take(inverses, at)]
            }
        }
    }
}

/// Writes levels of `row[from..to]`, one a byte, and adds the squares of what is left.
#[inline(always)]
fn level_bytes(
    row: &[f32],
    at: std::ops::Range<usize>,
    grid: Grid<'_>,
    width: CodeWidth,
    out: &mut [u8],
    sums: &mut Sums,
) {
    let row = &row[..at.end];
    for (out, at) in out.chunks_mut(STEP).zip(at.step_by(STEP)) {
        let (codes, squares) = levels(take(row, at), grid.at(at), width);
        let count = out.len().min(row.len() - at);
        if let Some(out) = out.first_chunk_mut::<STEP>().filter(|_| count == STEP) {
            *out = codes;
            for j in 0..STEP {
                sums[j] += squares[j];
            }
        } else {
            out[..count].copy_from_slice(&codes[..count]);
            for j in 0..count {
                sums[j] += squares[j];
            }
        }
    }
}

/// Writes the levels of a row, packed; returns the square of the distance between row and code.
#[inline(always)]
fn pack(row: &[f32], grid: Grid<'_>, width: CodeWidth, code: &mut [u8]) -> f64 {
    const CHUNK: usize = 4 * STEP;
    let mut sums = [0.0; STEP];
    if width == CodeWidth::Eight {
        level_bytes(row, 0..row.len(), grid, width, code, &mut sums);
        return total(sums);
    }
    let half = row.len().div_ceil(2);
    for (code, at) in code.chunks_mut(CHUNK).zip((0..half).step_by(CHUNK)) {
        let (mut low, mut high) = ([0; CHUNK], [0; CHUNK]);
        let end = half.min(at + CHUNK);
        level_bytes(row, at..end, grid, width, &mut low[..end - at], &mut sums);
        let (second, last) = (half + at, (half + end).min(row.len()));
        if second < last {
            level_bytes(row, second..last, grid, width, &mut high[..last - second], &mut sums);
        }
        for ((code, low), high) in code.iter_mut().zip(low).zip(high) {
            *code = low | high << 4;
        }
    }
    total(sums)
}

/// [`pack`], with the grid and the width known to the compiler.
#[inline(always)]
pub(super) fn encode(row: &[f32], grid: Grid<'_>, width: CodeWidth, code: &mut [u8]) -> f64 {
    match (grid, width) {
        (Grid::Row { offset, step, inverse }, CodeWidth::Eight) => {
            pack(row, Grid::Row { offset, step, inverse }, CodeWidth::Eight, code)
        }
        (Grid::Row { offset, step, inverse }, _) => {
            pack(row, Grid::Row { offset, step, inverse }, CodeWidth::Four, code)
        }
        (grid, CodeWidth::Eight) => pack(row, grid, CodeWidth::Eight, code),
        (grid, _) => pack(row, grid, CodeWidth::Four, code),
    }
}

/// Writes a bit for each element that is not below its centre; returns the sum of the distances
/// from the centres and the sum of their squares.
#[inline(always)]
pub(super) fn signs(row: &[f32], centres: &[f32], code: &mut [u8]) -> (f64, f64) {
    let (mut sizes, mut squares) = ([0.0; STEP], [0.0; STEP]);
    for (code, at) in code.chunks_mut(STEP / 8).zip((0..row.len()).step_by(STEP)) {
        let (x, centre) = (take(row, at), take(centres, at));
        let mut bits = 0u16;
        for j in 0..STEP {
            // Behind the last element both are 0, which must not set a bit.
            bits |= u16::from(x[j] >= centre[j]) << j;
            let off = f64::from(x[j]) - f64::from(centre[j]);
            sizes[j] += off.abs();
            squares[j] += off * off;
        }
        let count = row.len() - at;
        let kept = if count < STEP { bits & ((1 << count) - 1) } else { bits };
        code.copy_from_slice(&kept.to_le_bytes()[..code.len()]);
    }
    (total(sizes), total(squares))
}

/// Writes the row times `up`, a power of two, as half floats in little-endian order; returns the
/// square of the distance between the row and what they say.
#[inline(always)]
fn halves(half: Half, row: &[f32], up: f32, code: &mut [u8]) -> f64 {
    let down = 1.0 / f64::from(up);
    let mut sums = [0.0; STEP];
    for (code, at) in code.chunks_mut(2 * STEP).zip((0..row.len()).step_by(STEP)) {
        let x = take(row, at);
        let mut bytes = [0; 2 * STEP];
        for j in 0..STEP {
            let bits = half.narrow(x[j] * up);
            let off = f64::from(x[j]) - f64::from(half.value(bits)) * down;
            sums[j] += off * off;
            [bytes[2 * j], bytes[2 * j + 1]] = bits.to_le_bytes();
        }
        let len = code.len();
        code.copy_from_slice(&bytes[..len]);
    }
    total(sums)
}

/// [`halves`], with the format known to the compiler.
#[inline(always)]
pub(super) fn narrow(half: Half, row: &[f32], up: f32, code: &mut [u8]) -> f64 {
    match half {
        Half::F16 => halves(Half::F16, row, up, code),
        Half::Bf16 => halves(Half::Bf16, row, up, code),
    }
}
