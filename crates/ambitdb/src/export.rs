//! Vectors out again, in the order of entity ids.

use std::borrow::Cow;

use ambit_mem::{Bytes, Priority};
use ambit_store::engine::{RowRef, TableView};

use crate::collection::{Collection, EachRows};
use crate::entity::corrupt;
use crate::error::Result;
use crate::store::{Store, id_at};

/// Values that are handed over in one call, at most.
const BATCH: usize = 64 << 10;

pub(crate) fn export(
    store: &Store,
    collection: &Collection,
    space: &str,
    each: EachRows<'_>,
) -> Result<()> {
    let (column, space) = collection.vectors(space)?;
    let view = collection.view();
    let rows = (BATCH / space.dim).max(1);
    if ascends(view, column, rows)? {
        return stream(view, column, rows, each);
    }
    let mut order = Vec::new();
    let account = store.budget().account("query/export", Priority::Query);
    let _charge = account.reserve(Bytes::of(usize::try_from(view.len()).unwrap_or(0) * 16))?;
    each_row(view, column, rows, &mut |id, row| order.push((id, row)))?;
    order.sort_unstable_by_key(|&(id, _)| id);
    for run in order.chunks(rows) {
        let mut vectors = Vec::with_capacity(run.len() * space.dim);
        for &(id, row) in run {
            let cell = view.cell(row, column)?;
            let cell = cell.ok_or_else(|| corrupt(format!("entity {id} lost its vector")))?;
            vectors.extend(bytemuck::allocation::pod_collect_to_vec::<u8, f32>(&cell));
        }
        let ids: Vec<u64> = run.iter().map(|&(id, _)| id).collect();
        each(&ids, &vectors)?;
    }
    Ok(())
}

/// Do ids ascend in the order of writing?
fn ascends(view: &TableView, column: usize, rows: usize) -> Result<bool> {
    let mut last = None;
    let mut ascends = true;
    each_row(view, column, rows, &mut |id, _| {
        ascends &= last.is_none_or(|last| last < id);
        last = Some(id);
    })?;
    Ok(ascends)
}

/// Calls `f` with id and place of every vector, in the order of writing.
fn each_row(
    view: &TableView,
    column: usize,
    rows: usize,
    f: &mut dyn FnMut(u64, RowRef),
) -> Result<()> {
    for block in view.blocks(column, rows as u64) {
        let mut live = Vec::new();
        // The norms are present in the same rows, and narrow.
        view.visit(&block, &[column + 1], &mut |cells| {
            let seen = (0..cells.rows.len()).filter(|&index| !cells.is_dead(index));
            live.extend(seen.map(|index| RowRef { part: block.part, row: cells.rows.row(index) }));
        })?;
        for row in live {
            f(id_at(view, row)?.0, row);
        }
    }
    Ok(())
}

fn stream(view: &TableView, column: usize, rows: usize, each: EachRows<'_>) -> Result<()> {
    for block in view.blocks(column, rows as u64) {
        let mut live = Vec::new();
        let mut vectors: Vec<f32> = Vec::new();
        view.visit(&block, &[column], &mut |cells| {
            let Some(&bytes) = cells.cells.first() else {
                return;
            };
            let len = cells.rows.len();
            let floats: Cow<'_, [f32]> = match bytemuck::try_cast_slice(bytes) {
                Ok(floats) => Cow::Borrowed(floats),
                Err(_) => Cow::Owned(bytemuck::allocation::pod_collect_to_vec(bytes)),
            };
            for (index, vector) in floats.chunks_exact(floats.len() / len.max(1)).enumerate() {
                if !cells.is_dead(index) {
                    live.push(RowRef { part: block.part, row: cells.rows.row(index) });
                    vectors.extend_from_slice(vector);
                }
            }
        })?;
        let ids = live.iter().map(|&row| Ok(id_at(view, row)?.0)).collect::<Result<Vec<_>>>()?;
        if !ids.is_empty() {
            each(&ids, &vectors)?;
        }
    }
    Ok(())
}
