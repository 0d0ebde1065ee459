//! Rows become planes.
//!
//! Each group is coded with the best of a few clips: values are divided evenly between -clip and
//! clip, the scale is then the one that leaves the least, and what is left is measured in f64.

use super::bound::{
    BFLOAT16_INFINITY, BFLOAT16_NOWHERE, LARGEST_NORM, UNDERFLOW, bfloat16, bfloat16_up, rounded_up,
};
use super::kernel::Unit;
use super::layout::{BLOCK_ROWS, Layout, STRETCH};
use super::model::Model;
use crate::half::Half;
use crate::{Metric, kernels};

/// Clips of 4-bit codes, in root mean squares.
const CLIPS_4: [f32; 6] = [1.6, 2.0, 2.4, 2.8, 3.3, 4.0];
/// Clips of 2-bit codes.
const CLIPS_2: [f32; 6] = [1.0, 1.3, 1.6, 2.0, 2.5, 3.2];

/// Codes rows with one model.
///
/// Cost of a row of 384 dimensions: about 10 us. It keeps 16 rows of scratch
/// ([`Encoder::footprint`]).
#[derive(Debug)]
pub struct Encoder<'m> {
    model: &'m Model,
    /// BLOCK_ROWS x dim: the rows as they are coded.
    rows: Vec<f32>,
    /// components x BLOCK_ROWS.
    turned: Vec<f32>,
    /// One row's components; what the coarse plane leaves of them; codes.
    values: Vec<f32>,
    codes: Vec<u8>,
    /// Of the rows so far: how many, and the sum of what the coarse plane left of each, relative to
    /// its norm.
    coded: u64,
    left: f64,
}

/// What a row is besides its components.
#[derive(Debug, Clone, Copy)]
struct Length {
    /// Of the row as it is coded.
    norm: f64,
    /// Bounds of it cannot be computed.
    is_open: bool,
}

impl<'m> Encoder<'m> {
    /// Takes the scratch.
    pub fn new(model: &'m Model) -> Self {
        let components = model.layout.components();
        Self {
            model,
            rows: vec![0.0; BLOCK_ROWS * model.layout.dim],
            turned: vec![0.0; BLOCK_ROWS * components],
            values: vec![0.0; components],
            codes: vec![0; components],
            coded: 0,
            left: 0.0,
        }
    }

    /// What the coarse plane leaves of a row, on average of those coded so far, relative to its norm:
    /// how well the model fits the data. 0.25 is usual; 0 before the first row.
    pub fn mean_left(&self) -> f64 {
        self.left / self.coded.max(1) as f64
    }

    /// Bytes that an encoder of this layout holds.
    pub fn footprint(layout: &Layout) -> usize {
        let components = layout.components();
        4 * BLOCK_ROWS * (layout.dim + components) + 5 * components
    }

    /// Codes up to 16 rows (n x dim, row-major f32, any values): one block of the coarse plane,
    /// n rows of the fine one. What a short block has no rows for is never reached by a search.
    ///
    /// # Panics
    /// If `rows` is not 1 to 16 whole rows, or a plane is not of the size that [`Layout`] gives.
    pub fn encode(&mut self, rows: &[f32], coarse: &mut [u8], fine: &mut [u8]) {
        let layout = self.model.layout;
        let n = rows.len() / layout.dim;
        assert!(rows.len().is_multiple_of(layout.dim) && (1..=BLOCK_ROWS).contains(&n), "rows");
        assert_eq!(coarse.len(), layout.coarse_block_len(), "bytes of the coarse plane");
        assert_eq!(fine.len(), n * layout.fine_len(), "bytes of the fine plane");
        let mut lengths = [Length { norm: 0.0, is_open: false }; BLOCK_ROWS];
        for (row, length) in rows.chunks_exact(layout.dim).zip(&mut lengths) {
            *length = self.model.length(row);
        }
        self.turn(rows, &lengths[..n]);
        coarse.fill(0);
        for (row, fine) in fine.chunks_exact_mut(layout.fine_len()).enumerate() {
            for (component, value) in self.values.iter_mut().enumerate() {
                *value = self.turned[component * n + row];
            }
            self.row(row, lengths[row], coarse, fine);
        }
        for row in n..BLOCK_ROWS {
            for factor in 2..5 {
                put_factor(coarse, &layout, factor, row, BFLOAT16_NOWHERE);
            }
        }
    }

    /// Fills `turned` with the components (components x n) of the rows as they are coded.
    fn turn(&mut self, rows: &[f32], lengths: &[Length]) {
        let layout = self.model.layout;
        let n = lengths.len();
        let own = &mut self.rows[..rows.len()];
        let pairs = rows.chunks_exact(layout.dim).zip(own.chunks_exact_mut(layout.dim));
        for ((row, own), length) in pairs.zip(lengths) {
            let scale = match self.model.metric {
                Metric::Cosine if !length.is_open => 1.0 / length.norm,
                _ if length.is_open => 0.0,
                _ => 1.0,
            };
            for (to, &from) in own.iter_mut().zip(row) {
                *to = if length.is_open { 0.0 } else { (f64::from(from) * scale) as f32 };
            }
        }
        let turned = &mut self.turned[..layout.components() * n];
        kernels().dot_block(layout.dim, &self.model.basis, own, turned);
    }

    /// Codes the row whose components are in `values`.
    fn row(&mut self, row: usize, length: Length, coarse: &mut [u8], fine: &mut [u8]) {
        let layout = self.model.layout;
        let dim = layout.dim;
        let norm = if self.model.metric == Metric::Cosine { 1.0 } else { length.norm };
        let basis = self.model.slack * norm + UNDERFLOW;
        let bound = |left: f64| match length.is_open {
            true => BFLOAT16_INFINITY,
            false => bfloat16_up(left * (1.0 + 1e-9) + basis),
        };
        let (middle, tail) = (layout.head, layout.head + layout.middle);

        let (scale, left) = self.group(0..middle, 4);
        let mut all = left * left;
        for (component, &code) in self.codes[..middle].iter().enumerate() {
            let at = component / 8 * 64 + row * 4 + component % 4;
            coarse[at] |= code << (component / 4 % 2 * 4);
        }
        put_factor(coarse, &layout, 0, row, scale);
        put_factor(coarse, &layout, 2, row, bound(left));

        let (scale, left) = self.group(middle..tail, 2);
        all += left * left;
        for (component, &code) in self.codes[middle..tail].iter().enumerate() {
            let at = layout.middle_at() + component / 16 * 64 + row * 4 + component % 4;
            coarse[at] |= code << (component / 4 % 4 * 2);
        }
        put_factor(coarse, &layout, 1, row, scale);
        put_factor(coarse, &layout, 3, row, bound(left));

        let left = norm_of(&self.values[tail.min(dim)..dim]);
        put_factor(coarse, &layout, 4, row, bound(left));
        all += left * left;
        if norm > 0.0 && !length.is_open {
            self.coded += 1;
            self.left += all.sqrt() / norm;
        }
        if layout.has_norms {
            let stored = if length.is_open { 0.0 } else { rounded_up(length.norm) };
            let at = layout.norms_at() + 4 * row;
            coarse[at..at + 4].copy_from_slice(&stored.to_le_bytes());
        }

        let (scale, left) = self.group(0..dim, 4);
        let codes_len = layout.fine_codes_len();
        pack_fine(&self.codes[..dim], &mut fine[..codes_len]);
        fine[codes_len..codes_len + 2].copy_from_slice(&scale.to_le_bytes());
        fine[codes_len + 2..].copy_from_slice(&bound(left).to_le_bytes());
    }

    /// Codes the values of a range of components in `bits` bits each, and leaves in `values`
    /// what the codes leave; returns the scale's bits and the norm of what is left. Components
    /// from the dimension on get codes, but do not count.
    fn group(&mut self, range: std::ops::Range<usize>, bits: u32) -> (u16, f64) {
        let real = range.start..range.end.min(self.model.layout.dim).max(range.start);
        self.codes[range.clone()].fill(0);
        let values = &self.values[real.clone()];
        let squares: f64 = values.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
        let root_mean_square = (squares / real.len().max(1) as f64).sqrt() as f32;
        let (clips, most) = if bits == 4 { (CLIPS_4, 8.0) } else { (CLIPS_2, 2.0) };
        let unit = Unit::best();
        // With all codes 0 or -1 and a scale of 0, everything is left.
        let (mut best, mut scale, mut step) = (0.0f64, 0.0, 0.0);
        for clip in clips {
            let trial = most / (clip * root_mean_square);
            if !trial.is_finite() {
                continue;
            }
            let (product, square) = unit.fit(values, trial, most);
            let (product, square) = (f64::from(product), f64::from(square));
            if product > 0.0 && product * product / square > best {
                (best, scale, step) = (product * product / square, product / square, trial);
            }
        }
        let stored = bfloat16(scale);
        let scale = Half::Bf16.value(stored);
        let values = &mut self.values[real.clone()];
        let left = unit.apply(values, step, most, scale, &mut self.codes[real]);
        // That the rest is kept in f32 moves the fine plane's bound by 2^-24 of it, which the slack
        // of the model has room for.
        (stored, left.sqrt())
    }
}

impl Model {
    /// Length of a row as it is coded.
    fn length(&self, row: &[f32]) -> Length {
        let norm = kernels().norm_sq_f64(row).sqrt();
        let least = if self.metric == Metric::Cosine { f64::MIN_POSITIVE } else { 0.0 };
        Length { norm, is_open: !(least..LARGEST_NORM).contains(&norm) }
    }
}

/// Writes 4-bit codes in the order of the fine plane.
fn pack_fine(codes: &[u8], to: &mut [u8]) {
    for (stretch, to) in codes.chunks(STRETCH).zip(to.chunks_mut(STRETCH / 2)) {
        let (low, high) = stretch.split_at(to.len());
        for ((to, &low), high) in to.iter_mut().zip(low).zip(high.iter().chain(&[0])) {
            *to = low | high << 4;
        }
    }
}

/// Writes one of the five numbers that a block keeps of each row.
fn put_factor(coarse: &mut [u8], layout: &Layout, factor: usize, row: usize, bits: u16) {
    let at = layout.factors_at() + 2 * (factor * BLOCK_ROWS + row);
    coarse[at..at + 2].copy_from_slice(&bits.to_le_bytes());
}

fn norm_of(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}
