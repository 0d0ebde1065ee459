//! Code planes over some blocks of a source in memory.

use std::cmp::Ordering;
use std::ops::Range;

use ambit_search::{CodedPart, DenseBlock, DenseSource, Metric, RowRef, SourceError};
use ambit_vector::planes::{BLOCK_ROWS, Encoder, Model};

use super::Memory;

/// The rows of some blocks as planes.
pub struct Planes<'a> {
    memory: &'a Memory,
    blocks: Range<usize>,
    first: usize,
    rows: usize,
    model: &'a Model,
    coarse: Vec<u8>,
    fine: Vec<u8>,
    is_readable: bool,
}

/// A source with planes.
pub struct Coded<'a> {
    memory: &'a Memory,
    parts: Vec<Planes<'a>>,
}

/// A model that was trained on the rows of `memory`.
pub fn model(memory: &Memory, metric: Metric) -> Model {
    Model::train(&memory.vectors, memory.dim, metric, 11).unwrap()
}

impl<'a> Coded<'a> {
    /// Planes over each range of blocks, all of one model.
    pub fn new(memory: &'a Memory, model: &'a Model, ranges: &[Range<usize>]) -> Self {
        let parts = ranges.iter().map(|range| Planes::new(memory, model, range.clone())).collect();
        Self { memory, parts }
    }

    /// Planes over all blocks.
    pub fn whole(memory: &'a Memory, model: &'a Model) -> Self {
        Self { memory, parts: vec![Planes::new(memory, model, 0..memory.blocks())] }
    }

    /// Makes the planes of one part unreadable.
    pub fn unreadable(mut self, part: usize) -> Self {
        self.parts[part].is_readable = false;
        self
    }
}

impl<'a> Planes<'a> {
    fn new(memory: &'a Memory, model: &'a Model, blocks: Range<usize>) -> Self {
        let layout = *model.layout();
        let all = memory.norms.len();
        let first = (blocks.start * memory.rows_per_block).min(all);
        let end = (blocks.end * memory.rows_per_block).min(all);
        let mut encoder = Encoder::new(model);
        let (mut coarse, mut fine) = (Vec::new(), Vec::new());
        let vectors = &memory.vectors[first * memory.dim..end * memory.dim];
        for rows in vectors.chunks(BLOCK_ROWS * memory.dim) {
            let (c, f) = (coarse.len(), fine.len());
            coarse.resize(c + layout.coarse_block_len(), 0);
            fine.resize(f + rows.len() / memory.dim * layout.fine_len(), 0);
            encoder.encode(rows, &mut coarse[c..], &mut fine[f..]);
        }
        let rows = end - first;
        Self { memory, blocks, first, rows, model, coarse, fine, is_readable: true }
    }
}

impl DenseSource for Coded<'_> {
    fn dim(&self) -> usize {
        self.memory.dim()
    }

    fn blocks(&self) -> usize {
        self.memory.blocks()
    }

    fn visit(&self, block: usize, take: &mut dyn FnMut(DenseBlock<'_>)) -> Result<(), SourceError> {
        self.memory.visit(block, take)
    }

    fn coded(&self) -> Vec<&dyn CodedPart> {
        // Not in the order of their blocks.
        self.parts.iter().rev().map(|part| part as &dyn CodedPart).collect()
    }

    fn compare_keys(&self, a: RowRef, b: RowRef) -> Result<Ordering, SourceError> {
        self.memory.compare_keys(a, b)
    }
}

impl CodedPart for Planes<'_> {
    fn part(&self) -> u32 {
        3
    }

    fn blocks(&self) -> Range<usize> {
        self.blocks.clone()
    }

    fn model(&self) -> &Model {
        self.model
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn coarse(&self, rows: Range<usize>, take: &mut dyn FnMut(&[u8])) -> Result<(), SourceError> {
        if !self.is_readable {
            return Err("the planes are damaged".into());
        }
        assert!(rows.start.is_multiple_of(BLOCK_ROWS) && rows.end <= self.rows);
        let block = self.model.layout().coarse_block_len();
        let blocks = rows.start / BLOCK_ROWS..rows.end.div_ceil(BLOCK_ROWS);
        take(&self.coarse[blocks.start * block..blocks.end * block]);
        Ok(())
    }

    fn fine(&self, rows: Range<usize>, take: &mut dyn FnMut(&[u8])) -> Result<(), SourceError> {
        let row = self.model.layout().fine_len();
        take(&self.fine[rows.start * row..rows.end * row]);
        Ok(())
    }

    fn number(&self, position: usize) -> Result<u32, SourceError> {
        Ok((self.first + position) as u32)
    }

    fn is_dead(&self, number: u32) -> bool {
        self.memory.dead[number as usize]
    }

    fn vector(&self, position: usize, take: &mut dyn FnMut(&[f32])) -> Result<(), SourceError> {
        take(self.memory.row((self.first + position) as u32));
        Ok(())
    }
}
