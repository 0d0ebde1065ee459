//! Code planes over some blocks of a source in memory.

use std::cmp::Ordering;
use std::ops::Range;

use ambit_search::{CodedPart, DenseBlock, DenseSource, Metric, RowRef, SourceError};
use ambit_vector::kernels;
use ambit_vector::planes::groups::{self, Following, GROUPS_LEN};
use ambit_vector::planes::{BLOCK_ROWS, Encoder, ListParts, Lists, Model};

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
    /// The row of each place, counted from `first`.
    order: Vec<u32>,
    lists: Option<Lists>,
    groups: Vec<u8>,
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

    /// Planes over each range of blocks, list by list, leaders before followers.
    pub fn ordered(memory: &'a Memory, model: &'a Model, ranges: &[Range<usize>]) -> Self {
        let part = |range: &Range<usize>| Planes::ordered(memory, model, range.clone());
        Self { memory, parts: ranges.iter().map(part).collect() }
    }

    /// Makes the planes of one part unreadable.
    pub fn unreadable(mut self, part: usize) -> Self {
        self.parts[part].is_readable = false;
        self
    }
}

impl<'a> Planes<'a> {
    fn new(memory: &'a Memory, model: &'a Model, blocks: Range<usize>) -> Self {
        let rows = memory.rows_of(&blocks);
        let order = (0..rows.len() as u32).collect();
        Self::coded(memory, model, blocks, order)
    }

    fn coded(memory: &'a Memory, model: &'a Model, blocks: Range<usize>, order: Vec<u32>) -> Self {
        let layout = *model.layout();
        let Range { start: first, end } = memory.rows_of(&blocks);
        let mut encoder = Encoder::new(model);
        let (mut coarse, mut fine) = (Vec::new(), Vec::new());
        let row = |place: &u32| memory.row(first as u32 + place).to_vec();
        let vectors: Vec<f32> = order.iter().flat_map(row).collect();
        for rows in vectors.chunks(BLOCK_ROWS * memory.dim) {
            let (c, f) = (coarse.len(), fine.len());
            coarse.resize(c + layout.coarse_block_len(), 0);
            fine.resize(f + rows.len() / memory.dim * layout.fine_len(), 0);
            encoder.encode(rows, &mut coarse[c..], &mut fine[f..]);
        }
        let (rows, lists, groups, is_readable) = (end - first, None, Vec::new(), true);
        Self { memory, blocks, first, rows, model, coarse, fine, order, lists, groups, is_readable }
    }

    /// In two lists, of the rows nearer to the first row or to the last.
    fn ordered(memory: &'a Memory, model: &'a Model, blocks: Range<usize>) -> Self {
        let Range { start: first, end } = memory.rows_of(&blocks);
        if first == end {
            return Self::new(memory, model, blocks);
        }
        let (dim, metric) = (memory.dim, model.metric());
        let unit = |row: u32| {
            let row = memory.row(first as u32 + row);
            let norm = kernels().norm_sq_f64(row).sqrt();
            let is_usable = metric == Metric::Cosine && norm > 1e-300 && norm.is_finite();
            let scale = if is_usable { 1.0 / norm } else { 1.0 };
            row.iter().map(|&x| (f64::from(x) * scale) as f32).collect::<Vec<f32>>()
        };
        let rows = (end - first) as u32;
        let centroids = [unit(0), unit(rows - 1)];
        let is_nearer = |row: &u32| {
            let row = unit(*row);
            let [near, far] = [0, 1].map(|list: usize| kernels().l2sq_f64(&row, &centroids[list]));
            near < far
        };
        let lists: (Vec<u32>, Vec<u32>) = (0..rows).partition(is_nearer);
        let (mut order, mut counts, mut followers) = (Vec::new(), Vec::new(), Vec::new());
        let mut starts = vec![0];
        for list in [lists.0, lists.1] {
            let mut following = Following::default();
            let vectors: Vec<f32> = list.iter().flat_map(|&row| unit(row)).collect();
            match metric {
                Metric::Euclidean => {
                    following.leaders = (0..list.len() as u32).collect();
                    following.of = following.leaders.iter().map(|&leader| (leader, 0.0)).collect();
                }
                _ => following.find(&vectors, dim),
            }
            let before = order.len();
            order.extend(following.leaders.iter().map(|&at| list[at as usize]));
            counts.resize(order.len(), (0u8, 0.0f32));
            for (row, (leader, radius)) in list.iter().zip(&following.of) {
                let leader = before + *leader as usize;
                if order[leader] != *row {
                    counts[leader].0 += 1;
                    counts[leader].1 = counts[leader].1.max(*radius);
                    followers.push((leader, *row));
                }
            }
            starts.push(order.len() as u32);
        }
        followers.sort_unstable();
        order.extend(followers.iter().map(|(_, row)| *row));
        let group_unit = counts.iter().fold(0.0f32, |most, count| most.max(count.1));
        let mut planes = Self::coded(memory, model, blocks, order);
        groups::encode(&counts, group_unit, &mut |block| planes.groups.extend_from_slice(block));
        let centroids = centroids.concat();
        let (ranks, held_out) = (vec![0, 0, 0, 1], 1);
        let parts = ListParts { dim, centroids, starts, ranks, held_out, group_unit };
        planes.lists = Some(Lists::new(parts).unwrap());
        planes
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

    fn leaders(&self) -> usize {
        self.lists.as_ref().map_or(self.rows, Lists::leaders)
    }

    fn lists(&self) -> Option<&Lists> {
        self.lists.as_ref()
    }

    fn groups(&self, blocks: Range<usize>, take: &mut dyn FnMut(&[u8])) -> Result<(), SourceError> {
        take(&self.groups[blocks.start * GROUPS_LEN..blocks.end * GROUPS_LEN]);
        Ok(())
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
        Ok(self.first as u32 + self.order[position])
    }

    fn is_dead(&self, number: u32) -> bool {
        self.memory.dead[number as usize]
    }

    fn vector(&self, position: usize, take: &mut dyn FnMut(&[f32])) -> Result<(), SourceError> {
        take(self.memory.row(self.first as u32 + self.order[position]));
        Ok(())
    }
}
