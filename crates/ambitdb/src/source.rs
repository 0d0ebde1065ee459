//! One dense space of one snapshot, as the search reads it.

use std::cmp::Ordering;
use std::sync::Arc;

use ambit_search::{CodedPart, DenseBlock, DenseSource, RowRef, Rows, SourceError};
use ambit_store::engine::{BlockRef, Derived, FixedBlock, RowList, RowRef as StoredRow, TableView};
use ambit_store::{ErrorKind as StoreErrorKind, StoreError};

use crate::codes::{Models, SegmentCodes};
use crate::filter::Matches;
use crate::key::compare_keys;
use crate::schema::{norm_column, vector_column};

/// Bytes of vectors in a block.
const BLOCK: usize = 1 << 20;

pub(crate) struct SpaceSource<'a> {
    view: &'a TableView,
    columns: [usize; 2],
    dim: usize,
    blocks: Vec<BlockRef>,
    coded: Vec<Arc<SegmentCodes<'a>>>,
    matches: Option<&'a Matches<'a>>,
    has_damaged_codes: bool,
}

impl<'a> SpaceSource<'a> {
    /// The space at position `space`, with the code planes that there are. Rows that do not meet `matches`
    /// are as if deleted.
    ///
    /// # Errors
    /// I/O. Planes that are damaged, or for whose model the budget has no room, are left out.
    pub(crate) fn new(
        view: &'a TableView,
        space: usize,
        dim: usize,
        models: &Models,
        matches: Option<&'a Matches<'a>>,
    ) -> Result<Self, StoreError> {
        let columns = [vector_column(space), norm_column(space)];
        let rows = (BLOCK / (dim * 4)).max(1) as u64;
        let blocks = view.blocks(columns[0], rows);
        let (mut coded, mut has_damaged_codes) = (Vec::new(), false);
        for of_part in blocks.chunk_by(|a, b| a.part == b.part) {
            let Some(part) = of_part.first().map(|block| block.part) else {
                continue;
            };
            if view.segment_id(part).is_none() {
                continue;
            }
            let first = blocks.partition_point(|block| block.part < part);
            let of_part = first..first + of_part.len();
            match SegmentCodes::of(view, part, space, of_part, models, matches) {
                Ok(Derived::Ready(codes)) => coded.push(codes),
                Ok(Derived::Missing) => {}
                Ok(Derived::Damaged(_)) => has_damaged_codes = true,
                Err(error) if error.kind() == StoreErrorKind::OverBudget => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { view, columns, dim, blocks, coded, matches, has_damaged_codes })
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
            outcome = give(block.part, &cells, self.matches, take);
        })?;
        outcome
    }

    fn coded(&self) -> Vec<&dyn CodedPart> {
        self.coded.iter().map(|codes| &**codes as &dyn CodedPart).collect()
    }

    fn has_damaged_codes(&self) -> bool {
        self.has_damaged_codes
    }

    fn few(&self) -> Option<&[RowRef]> {
        self.matches?.few()
    }

    fn vector(&self, row: RowRef, take: &mut dyn FnMut(&[f32])) -> Result<(), SourceError> {
        let row = StoredRow { part: row.part, row: row.row };
        let Some(cell) = self.view.cell(row, self.columns[0])? else {
            return Ok(());
        };
        let vector: Vec<f32> = bytemuck::allocation::pod_collect_to_vec(&cell);
        take(&vector);
        Ok(())
    }

    fn compare_keys(&self, a: RowRef, b: RowRef) -> Result<Ordering, SourceError> {
        let key = |row: RowRef| self.view.key(StoredRow { part: row.part, row: row.row });
        Ok(compare_keys(&key(a)?, &key(b)?))
    }
}

fn give(
    part: u32,
    cells: &FixedBlock<'_>,
    matches: Option<&Matches<'_>>,
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
    let is_dead = |row: u32| {
        let is_deleted = cells.dead.is_some()
            && match rows {
                Rows::Range { first, .. } => cells.is_dead((row - first) as usize),
                Rows::List(list) => {
                    list.binary_search(&row).is_ok_and(|index| cells.is_dead(index))
                }
            };
        is_deleted || matches.is_some_and(|matches| !matches.meets(part, row))
    };
    let asks = cells.dead.is_some() || matches.is_some();
    take(DenseBlock {
        part,
        rows,
        vectors: floats(vectors)?,
        norms: floats(norms)?,
        dead: asks.then_some(&is_dead as &dyn Fn(u32) -> bool),
    });
    Ok(())
}
