//! One dense space of one snapshot, as the search reads it.

use std::cmp::Ordering;

use ambit_search::{DenseBlock, DenseSource, RowRef, Rows, SourceError};
use ambit_store::engine::{BlockRef, FixedBlock, RowList, RowRef as StoredRow, TableView};

use crate::key::compare_keys;
use crate::schema::{norm_column, vector_column};

/// Bytes of vectors in a block.
const BLOCK: usize = 1 << 20;

pub(crate) struct SpaceSource<'a> {
    view: &'a TableView,
    columns: [usize; 2],
    dim: usize,
    blocks: Vec<BlockRef>,
}

impl<'a> SpaceSource<'a> {
    pub(crate) fn new(view: &'a TableView, space: usize, dim: usize) -> Self {
        let columns = [vector_column(space), norm_column(space)];
        let rows = (BLOCK / (dim * 4)).max(1) as u64;
        Self { view, columns, dim, blocks: view.blocks(columns[0], rows) }
    }
}

impl DenseSource for SpaceSource<'_> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn blocks(&self) -> usize {
        self.blocks.len()
    }

    fn visit(&self, block: usize, take: &mut dyn FnMut(DenseBlock<'_>)) -> Result<(), SourceError> {
        let block = &self.blocks[block];
        let mut outcome = Ok(());
        self.view.visit(block, &self.columns, &mut |cells| {
            outcome = give(block.part, &cells, take);
        })?;
        outcome
    }

    fn compare_keys(&self, a: RowRef, b: RowRef) -> Result<Ordering, SourceError> {
        let key = |row: RowRef| self.view.key(StoredRow { part: row.part, row: row.row });
        Ok(compare_keys(&key(a)?, &key(b)?))
    }
}

fn give(
    part: u32,
    cells: &FixedBlock<'_>,
    take: &mut dyn FnMut(DenseBlock<'_>),
) -> Result<(), SourceError> {
    let [vectors, norms] = cells.cells else {
        return Ok(());
    };
    let floats = |bytes| bytemuck::try_cast_slice(bytes).map_err(|error| error.to_string());
    let rows = match cells.rows {
        RowList::Range { first, len } => Rows::Range { first, len: len as usize },
        RowList::List(rows) => Rows::List(rows),
    };
    let is_dead = |row: u32| match rows {
        Rows::Range { first, .. } => cells.is_dead((row - first) as usize),
        Rows::List(list) => list.binary_search(&row).is_ok_and(|index| cells.is_dead(index)),
    };
    take(DenseBlock {
        part,
        rows,
        vectors: floats(vectors)?,
        norms: floats(norms)?,
        dead: cells.dead.map(|_| &is_dead as &dyn Fn(u32) -> bool),
    });
    Ok(())
}
