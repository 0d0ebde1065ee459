//! The embedding of a sparse space, and how it lies in cells.

use ambit_store::engine::{RowRef, TableView};

use crate::collection::Collection;
use crate::entity::corrupt;
use crate::error::{Error, Result};
use crate::schema::{SpaceKind, norm_column, vector_column};
use crate::store::id_at;

/// Some terms with a weight each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseVector {
    /// The terms, ascending, each once, below the space's dim; n u32.
    pub ids: Vec<u32>,
    /// Their weights, finite; n f32.
    pub weights: Vec<f32>,
}

/// Takes exported rows: an entity's id and its terms, bit for bit what was stored.
pub type EachSparse<'a> = &'a mut dyn FnMut(u64, &SparseVector) -> Result<()>;

impl SparseVector {
    /// Holds it against a space of `dim` terms; says what is wrong.
    pub(crate) fn check(&self, dim: u32) -> std::result::Result<(), String> {
        let Self { ids, weights } = self;
        if ids.len() != weights.len() {
            return Err(format!(
                "{} ids and {} weights; give a weight for each id",
                ids.len(),
                weights.len()
            ));
        }
        if let Some(at) = ids.windows(2).position(|pair| pair[0] >= pair[1]) {
            let (id, next) = (ids[at], ids[at + 1]);
            return Err(format!(
                "id {next} at position {} stands after {id}; give ids ascending, each once",
                at + 1
            ));
        }
        if let Some(id) = ids.last().filter(|&&id| id >= dim) {
            return Err(format!("id {id}; the space has {dim} terms, so ids are below that"));
        }
        match weights.iter().position(|weight| !weight.is_finite()) {
            Some(at) => {
                Err(format!("weight {} of id {}; weights are finite", weights[at], ids[at]))
            }
            None => Ok(()),
        }
    }
}

/// The terms of a row in the space at `position`; none where it has no embedding there.
pub(crate) fn vector_at(
    view: &TableView,
    row: RowRef,
    position: usize,
) -> Result<Option<SparseVector>> {
    let ids = view.cell(row, vector_column(position))?;
    let weights = view.cell(row, norm_column(position))?;
    let (Some(ids), Some(weights)) = (ids, weights) else {
        return Ok(None);
    };
    if ids.len() != weights.len() || !ids.len().is_multiple_of(4) {
        let (ids, weights) = (ids.len(), weights.len());
        return Err(corrupt(format!("row {row:?} has {ids} bytes of ids, {weights} of weights")));
    }
    Ok(Some(SparseVector {
        ids: bytemuck::allocation::pod_collect_to_vec(&ids),
        weights: bytemuck::allocation::pod_collect_to_vec(&weights),
    }))
}

/// Live rows with an embedding in the sparse space at `position`.
pub(crate) fn count(view: &TableView, position: usize) -> Result<u64> {
    let mut count = 0;
    for part in 0..view.parts() {
        view.scan_part(part, 0, &mut |row| {
            count += u64::from(view.cell(row, vector_column(position))?.is_some());
            Ok(true)
        })?;
    }
    Ok(count)
}

impl Collection {
    /// Calls `each` with the terms of every entity in a sparse space, in the order of writing.
    ///
    /// # Errors
    /// Not found (space), invalid where it is not sparse; corrupt, I/O, and those of `each`.
    pub fn export_sparse(&self, space: &str, each: EachSparse<'_>) -> Result<()> {
        let position = self.position(space)?;
        if !matches!(self.spaces()[position].kind, SpaceKind::Sparse { .. }) {
            return Err(Error::invalid(format!("space {space} is not sparse")));
        }
        let view = self.view();
        for part in 0..view.parts() {
            let mut outcome = Ok(());
            view.scan_part(part, 0, &mut |row| {
                outcome = vector_at(view, row, position).and_then(|vector| match vector {
                    Some(vector) => each(id_at(view, row)?.0, &vector),
                    None => Ok(()),
                });
                Ok(outcome.is_ok())
            })?;
            outcome?;
        }
        Ok(())
    }
}
