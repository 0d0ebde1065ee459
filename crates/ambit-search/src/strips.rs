//! Upper ends and estimates of many rows at once: the scratch of a search by codes.
//!
//! A strip has one upper end and one estimate for each row of a portion. One pass over the coarse
//! plane fills the strips of a few queries, while each chunk of it is in the second-level cache.

use std::ops::{Range, RangeInclusive};

use ambit_vector::planes::{BLOCK_ROWS, Coarse, Strip, Unit};

use crate::certified::{Prepared, unreadable, wrong_length};
use crate::error::SearchError;
use crate::follow::Near;
use crate::plan::Plan;

/// Rows of the best estimates that are looked at first, beside four times k.
const FIRST_ROWS: usize = 64;

/// Upper ends and estimates of a portion's rows, for a few queries at a time.
pub(crate) struct Strips {
    pub(crate) rows: usize,
    pub(crate) uppers: Vec<f32>,
    pub(crate) estimates: Vec<f32>,
    /// Rows of the portion of the best estimates; then rows of a chunk that reach the cut.
    pub(crate) order: Vec<u32>,
    /// Of those, what the fine plane says: estimate and row.
    pub(crate) favoured: Vec<(f32, u32)>,
    /// For the followers of one leader.
    pub(crate) near: Near,
}

impl Strips {
    /// Bytes that [`Strips::new`] takes.
    pub(crate) fn footprint(plan: &Plan<'_>, queries: usize, k: usize) -> usize {
        let rows = plan.most_rows();
        Near::FOOTPRINT
            + 8 * rows * queries
            + 4 * room_for_order(plan, rows, k)
            + 8 * room_for_favoured(rows, k)
    }

    /// For portions of `plan` and so many queries at a time; the caller has reserved
    /// [`Strips::footprint`].
    pub(crate) fn new(plan: &Plan<'_>, queries: usize, k: usize) -> Self {
        let rows = plan.most_rows();
        let room = room_for_favoured(rows, k);
        Self {
            rows,
            uppers: vec![0.0; rows * queries],
            estimates: vec![0.0; rows * queries],
            order: Vec::with_capacity(room_for_order(plan, rows, k)),
            favoured: Vec::with_capacity(room),
            near: Near::new(),
        }
    }

    /// Reads the coarse plane of some rows of a part for each of `prepared`, which are at most as
    /// many as there is room for.
    ///
    /// # Errors
    /// `Source` where the codes cannot be read; the plan remembers it.
    pub(crate) fn fill(
        &mut self,
        plan: &Plan<'_>,
        part: usize,
        rows: Range<usize>,
        prepared: &[Prepared],
    ) -> Result<(), SearchError> {
        let coded = plan.parts()[part];
        let layout = *coded.model().layout();
        let unit = Unit::best();
        let first = rows.start;
        for chunk in plan.chunks(part, rows) {
            let expected = chunk.len().div_ceil(BLOCK_ROWS) * layout.coarse_block_len();
            let mut outcome = Ok(());
            let read = coded.coarse(chunk.clone(), &mut |bytes| {
                if bytes.len() != expected {
                    outcome = Err(wrong_length("coarse", bytes.len(), expected));
                    return;
                }
                let coarse = Coarse::new(layout, bytes, chunk.len());
                let uppers = self.uppers.chunks_exact_mut(self.rows);
                let estimates = self.estimates.chunks_exact_mut(self.rows);
                let at = chunk.start - first;
                let strips = prepared.iter().zip(uppers).zip(estimates);
                let strips = strips.filter_map(|((prepared, uppers), estimates)| {
                    let (uppers, estimates) = (&mut uppers[at..], &mut estimates[at..]);
                    prepared.query(part).map(|query| Strip { query, uppers, estimates })
                });
                let mut strips: Vec<Strip<'_>> = strips.collect();
                coarse.scan_all(unit, &mut strips);
            });
            read.and(outcome).map_err(|source| unreadable(plan, coded, source))?;
        }
        Ok(())
    }
}

/// Rows that are ordered at a time.
fn room_for_favoured(rows: usize, k: usize) -> usize {
    most_favoured(k).saturating_mul(2).min(rows)
}

/// A chunk's rows are ordered in the same place.
fn room_for_order(plan: &Plan<'_>, rows: usize, k: usize) -> usize {
    room_for_favoured(rows, k).max(plan.most_chunk_rows())
}

/// Rows of the best estimates that are looked at first.
pub(crate) fn most_favoured(k: usize) -> usize {
    k.saturating_mul(4).saturating_add(FIRST_ROWS)
}

/// The rows of the best estimates, at most `most`, none outside `places`, into `order`.
pub(crate) fn favour(
    estimates: &[f32],
    places: RangeInclusive<f32>,
    most: usize,
    order: &mut Vec<u32>,
) {
    order.clear();
    let by_estimate = |a: &u32, b: &u32| estimates[*b as usize].total_cmp(&estimates[*a as usize]);
    let most = most.min(estimates.len());
    let (mut least, mut at) = (*places.start(), 0);
    loop {
        (at, _) = Unit::best().next_reaching(estimates, least, at);
        if at >= estimates.len() {
            break;
        }
        if estimates[at] > *places.end() {
            at += 1;
            continue;
        }
        order.push(at as u32);
        at += 1;
        if order.len() == 2 * most {
            let (_, worst, _) = order.select_nth_unstable_by(most - 1, by_estimate);
            least = estimates[*worst as usize];
            order.truncate(most);
        }
    }
    if order.len() > most {
        order.select_nth_unstable_by(most - 1, by_estimate);
        order.truncate(most);
    }
}
