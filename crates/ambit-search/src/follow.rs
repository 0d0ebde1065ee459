//! Which followers need a look? Those whose leader's upper end and radius reach the cut.
//!
//! The groups of the leaders that were scored first are looked at at once: if a leader is among the
//! best, so may be what follows it, and the threshold rises. Of the others a leader's coarse upper end
//! mostly decides, then its fine one. Followers that are left are looked at like all rows: coarse
//! plane, fine plane, f64. A deleted leader still says where its followers are.

use std::ops::Range;

use ambit_vector::planes::groups::{GROUPS_LEN, Group, MAX_FOLLOWERS, groups, has_followers};
use ambit_vector::planes::{BLOCK_ROWS, Coarse, Fine, Query as PlaneQuery, Unit};

use crate::certified::{
    Context, Portion, Prepared, Reaching, Sieve, cut_of, unreadable, wrong_length,
};
use crate::error::SearchError;
use crate::plan::Plan;
use crate::refine::Best;
use crate::source::{CodedPart, DenseSource};

/// Rows of the blocks that the followers of one leader touch, at most.
const ROOM: usize = (MAX_FOLLOWERS + 2 * BLOCK_ROWS).next_multiple_of(BLOCK_ROWS);

/// Upper ends and estimates of the followers of one leader.
#[derive(Debug)]
pub(crate) struct Near {
    uppers: Vec<f32>,
    estimates: Vec<f32>,
    order: Vec<u32>,
}

impl Near {
    /// Bytes that [`Near::new`] takes.
    pub(crate) const FOOTPRINT: usize = 12 * ROOM;

    pub(crate) fn new() -> Self {
        let order = Vec::with_capacity(ROOM);
        Self { uppers: vec![0.0; ROOM], estimates: vec![0.0; ROOM], order }
    }
}

/// A chunk of leaders whose strips are filled.
pub(crate) struct Led<'a> {
    pub(crate) part: usize,
    pub(crate) leaders: Range<usize>,
    /// From the first leader of the chunk on.
    pub(crate) uppers: &'a [f32],
    pub(crate) estimates: &'a [f32],
    /// Place of the chunk in its portion.
    pub(crate) offset: usize,
    /// Leaders of the portion whose groups were looked at, by their place in it, ascending.
    pub(crate) scored: &'a [(f32, u32)],
}

/// Do rows of this part follow others?
pub(crate) fn leads(part: &dyn CodedPart) -> bool {
    part.leaders() < part.rows() && part.lists().is_some()
}

impl Sieve {
    /// Looks at what follows the leaders in `scored`.
    ///
    /// # Errors
    /// As [`Sieve::sift`].
    pub(crate) fn follow_favoured<S: DenseSource + ?Sized>(
        &mut self,
        portion: &Portion,
        prepared: &Prepared,
        scored: &[(f32, u32)],
        near: &mut Near,
        best: &mut Best<'_>,
        context: &mut Context<'_, S>,
    ) -> Result<(), SearchError> {
        let coded = context.plan.parts()[portion.part];
        let Some(lists) = coded.lists() else {
            return Ok(());
        };
        for (_, row) in scored {
            let place = portion.rows.start + *row as usize;
            let mut group = None;
            let block = place / BLOCK_ROWS;
            read_groups(context.plan, coded, block..block + 1, &mut |bytes| {
                group = groups(bytes, lists.group_unit()).nth(place % BLOCK_ROWS);
            })?;
            if let Some(group) = group.filter(|group| !group.places.is_empty()) {
                self.look(portion.part, group, prepared, near, best, context)?;
            }
        }
        Ok(())
    }

    /// Looks at what follows the leaders of a chunk, where they are near enough.
    ///
    /// # Errors
    /// As [`Sieve::sift`].
    pub(crate) fn follow<S: DenseSource + ?Sized>(
        &mut self,
        led: &Led<'_>,
        prepared: &Prepared,
        near: &mut Near,
        best: &mut Best<'_>,
        context: &mut Context<'_, S>,
    ) -> Result<(), SearchError> {
        let coded = context.plan.parts()[led.part];
        let (Some(lists), Some(query)) = (coded.lists(), prepared.query(led.part)) else {
            return Ok(());
        };
        let layout = *coded.model().layout();
        let blocks = led.leaders.start / BLOCK_ROWS..led.leaders.end.div_ceil(BLOCK_ROWS);
        let (mut outcome, mut fine_outcome) = (Ok(()), Ok(()));
        let plan = context.plan;
        let fine = coded.fine(led.leaders.clone(), &mut |fine| {
            if fine.len() != led.leaders.len() * layout.fine_len() {
                let source = wrong_length("fine", fine.len(), led.leaders.len());
                fine_outcome = Err(unreadable(plan, coded, source));
                return;
            }
            let fine = Fine::new(layout, fine);
            let read = read_groups(plan, coded, blocks.clone(), &mut |bytes| {
                for (block, bytes) in bytes.chunks_exact(GROUPS_LEN).enumerate() {
                    if outcome.is_ok() && has_followers(bytes) {
                        let groups = groups(bytes, lists.group_unit());
                        let first = block * BLOCK_ROWS;
                        outcome = (first..).zip(groups).try_for_each(|(at, group)| {
                            self.judge(led, at, group, query, &fine, prepared, near, best, context)
                        });
                    }
                }
            });
            if let Err(error) = read {
                outcome = Err(error);
            }
        });
        fine.map_err(|source| unreadable(plan, coded, source))?;
        fine_outcome.and(outcome)
    }

    /// Looks at one group, unless its leader, at `at` in the chunk, is too far.
    #[expect(clippy::too_many_arguments, reason = "the parts of a search, borrowed apart")]
    fn judge<S: DenseSource + ?Sized>(
        &mut self,
        led: &Led<'_>,
        at: usize,
        group: Group,
        query: &PlaneQuery,
        fine: &Fine<'_>,
        prepared: &Prepared,
        near: &mut Near,
        best: &mut Best<'_>,
        context: &mut Context<'_, S>,
    ) -> Result<(), SearchError> {
        let row = (led.offset + at) as u32;
        if group.places.is_empty()
            || at >= led.leaders.len()
            || led.scored.binary_search_by_key(&row, |(_, row)| *row).is_ok()
        {
            return Ok(());
        }
        let (cut, reach) = (cut_of(query, best), query.reach(group.radius));
        // A NaN is not far.
        let is_far = |bound: f32| bound < cut;
        let mut bound = led.uppers[at] + reach;
        if !is_far(bound) {
            self.refined += 1;
            let (_, upper) = fine.refine(Unit::best(), query, at, led.estimates[at]);
            bound = upper + reach;
        }
        if is_far(bound) {
            self.left_out = self.left_out.max(bound);
            self.skipped += group.places.len() as u64;
            return Ok(());
        }
        self.look(led.part, group, prepared, near, best, context)
    }

    /// Looks at the rows of one group as at all rows.
    fn look<S: DenseSource + ?Sized>(
        &mut self,
        part: usize,
        group: Group,
        prepared: &Prepared,
        near: &mut Near,
        best: &mut Best<'_>,
        context: &mut Context<'_, S>,
    ) -> Result<(), SearchError> {
        let plan = context.plan;
        let coded = plan.parts()[part];
        let Some(query) = prepared.query(part) else {
            return Ok(());
        };
        let places = group.places;
        if places.end > coded.rows() || places.start < coded.leaders() {
            let what = format!("followers at {places:?} of {} rows", coded.rows());
            return Err(unreadable(plan, coded, what.into()));
        }
        self.followed += places.len() as u64;
        let layout = *coded.model().layout();
        let first = places.start / BLOCK_ROWS * BLOCK_ROWS;
        let rows = first..places.end.next_multiple_of(BLOCK_ROWS).min(coded.rows());
        let expected = rows.len().div_ceil(BLOCK_ROWS) * layout.coarse_block_len();
        let Near { uppers, estimates, order } = near;
        let mut outcome = Ok(());
        let read = coded.coarse(rows.clone(), &mut |bytes| {
            if bytes.len() != expected {
                outcome = Err(wrong_length("coarse", bytes.len(), expected));
                return;
            }
            Coarse::new(layout, bytes, rows.len()).scan(Unit::best(), query, uppers, estimates);
        });
        read.and(outcome).map_err(|source| unreadable(plan, coded, source))?;
        let own = places.start - first..places.end - first;
        let (uppers, estimates) = (&uppers[own.clone()], &estimates[own]);
        self.reach(uppers, cut_of(query, best), order);
        if order.is_empty() {
            return Ok(());
        }
        let expected = places.len() * layout.fine_len();
        let mut outcome = Ok(());
        let read = coded.fine(places.clone(), &mut |bytes| {
            if bytes.len() != expected {
                let source = wrong_length("fine", bytes.len(), expected);
                outcome = Err(unreadable(plan, coded, source));
                return;
            }
            let reaching = Reaching {
                rows: order,
                values: uppers,
                estimates,
                scored: &[],
                offset: 0,
                start: places.start as u32,
                part: part as u32,
                fine: Fine::new(layout, bytes),
            };
            outcome = self.refine(&reaching, prepared, best, context);
        });
        read.map_err(|source| unreadable(plan, coded, source))?;
        outcome
    }
}

/// Gives the groups of some blocks, of the right length, to `take`.
fn read_groups(
    plan: &Plan<'_>,
    coded: &dyn CodedPart,
    blocks: Range<usize>,
    take: &mut dyn FnMut(&[u8]),
) -> Result<(), SearchError> {
    let expected = blocks.len() * GROUPS_LEN;
    let mut outcome = Ok(());
    let read = coded.groups(blocks, &mut |bytes| match bytes.len() == expected {
        true => take(bytes),
        false => outcome = Err(wrong_length("groups", bytes.len(), expected)),
    });
    read.and(outcome).map_err(|source| unreadable(plan, coded, source))
}
