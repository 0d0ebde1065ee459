//! How are many rows multiplied by one matrix? With the tiles of the k-means kernel.
//!
//! Lanes are sixteen numbers of the result, so no sum across lanes is needed; each is added up in
//! order, fused: the same bits on every processor.

use crate::kmeans::tile_sums;
use crate::wide::{Job, LANES, Set, Wide};

/// A matrix of `outputs` x `inputs`, packed for multiplying rows with it.
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    inputs: usize,
    outputs: usize,
    /// Panels of sixteen outputs x inputs.
    panels: Vec<[f32; LANES]>,
}

impl Matrix {
    /// Packs a matrix; `at(output, input)` is an element.
    pub(super) fn pack(outputs: usize, inputs: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut panels = vec![[0.0; LANES]; outputs.div_ceil(LANES) * inputs];
        for output in 0..outputs {
            let panel = &mut panels[output / LANES * inputs..][..inputs];
            for (input, register) in panel.iter_mut().enumerate() {
                register[output % LANES] = at(output, input);
            }
        }
        Self { inputs, outputs, panels }
    }

    /// Bytes that a packed matrix holds beside itself.
    pub(super) const fn bytes(outputs: usize, inputs: usize) -> usize {
        size_of::<[f32; LANES]>() * outputs.div_ceil(LANES) * inputs
    }

    /// An element.
    pub(super) fn at(&self, output: usize, input: usize) -> f32 {
        self.panels[output / LANES * self.inputs + input][output % LANES]
    }

    /// `out` (n x outputs) = `rows` (n x inputs) times the transposed matrix.
    pub(super) fn multiply(&self, rows: &[f32], out: &mut [f32]) {
        let (inputs, outputs, panels) = (self.inputs, self.outputs, &self.panels);
        Set::best().run(Multiply { inputs, outputs, panels, rows, out });
    }
}

struct Multiply<'a> {
    inputs: usize,
    outputs: usize,
    panels: &'a [[f32; LANES]],
    rows: &'a [f32],
    out: &'a mut [f32],
}

impl Job for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<W: Wide>(self, wide: W) {
        let panels = self.panels.chunks_exact(self.inputs);
        for (number, panel) in panels.enumerate() {
            let first = number * LANES;
            let width = LANES.min(self.outputs - first);
            if W::REGISTERS >= 32 {
                strip::<W, 12>(wide, &self.sizes(first, width), panel, self.rows, self.out);
            } else {
                strip::<W, 4>(wide, &self.sizes(first, width), panel, self.rows, self.out);
            }
        }
    }
}

/// Which columns of the output are written.
struct Sizes {
    inputs: usize,
    outputs: usize,
    first: usize,
    width: usize,
}

impl Multiply<'_> {
    #[inline(always)]
    fn sizes(&self, first: usize, width: usize) -> Sizes {
        Sizes { inputs: self.inputs, outputs: self.outputs, first, width }
    }
}

/// One panel with all rows, `R` at a time.
#[inline(always)]
fn strip<W: Wide, const R: usize>(
    wide: W,
    sizes: &Sizes,
    panel: &[[f32; LANES]],
    rows: &[f32],
    out: &mut [f32],
) {
    let Sizes { inputs, outputs, first, width } = *sizes;
    let zero = [0.0; LANES];
    let mut lanes = [0.0; LANES];
    let (blocks, rests) = (rows.chunks(R * inputs), out.chunks_mut(R * outputs));
    for (rows, out) in blocks.zip(rests) {
        if rows.len() == R * inputs {
            let tile: [&[f32]; R] = std::array::from_fn(|r| &rows[r * inputs..][..inputs]);
            let sums = tile_sums::<W, R, 1>(wide, inputs, &[panel], &[&zero], &tile);
            for ([sum], out) in sums.into_iter().zip(out.chunks_mut(outputs)) {
                wide.store(sum, &mut lanes);
                out[first..][..width].copy_from_slice(&lanes[..width]);
            }
        } else {
            for (row, out) in rows.chunks(inputs).zip(out.chunks_mut(outputs)) {
                let [[sum]] = tile_sums::<W, 1, 1>(wide, inputs, &[panel], &[&zero], &[row]);
                wide.store(sum, &mut lanes);
                out[first..][..width].copy_from_slice(&lanes[..width]);
            }
        }
    }
}
