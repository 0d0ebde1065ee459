//! What changed from one snapshot to a later one?

use std::collections::HashMap;
use std::time::Duration;

use super::site::{Estimate, Site};
use super::snapshot::Snapshot;
use crate::{Bytes, OverBudget, Reservation};

/// What changed from one snapshot to a later one.
#[derive(Debug)]
pub struct SnapshotDiff {
    between: Duration,
    sites: Vec<SiteChange>,
    live_before: Estimate,
    live_after: Estimate,
    held: Reservation,
}

/// What changed at a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteChange {
    /// Where.
    pub site: Site,
    /// Allocated between the snapshots.
    pub allocated: Estimate,
    /// Freed between the snapshots.
    pub freed: Estimate,
    /// Alive at the earlier one.
    pub live_before: Estimate,
    /// Alive at the later one.
    pub live_after: Estimate,
}

impl SiteChange {
    /// Bytes alive more than before, or less.
    pub fn growth(&self) -> i64 {
        growth(self.live_before, self.live_after)
    }
}

fn growth(before: Estimate, after: Estimate) -> i64 {
    let signed = |estimate: Estimate| i64::try_from(estimate.bytes.get()).unwrap_or(i64::MAX);
    signed(after) - signed(before)
}

impl Snapshot {
    /// What changed since an earlier snapshot. One of an earlier run of the profiler counts as
    /// empty: nothing that was allocated then is known now.
    ///
    /// # Errors
    /// [`OverBudget`] where the changes do not fit the account of this snapshot.
    pub fn diff(&self, earlier: &Self) -> Result<SnapshotDiff, OverBudget> {
        let mut held = self.account.reserve(Bytes::ZERO)?;
        let is_same_run = self.run == earlier.run;
        let before: HashMap<&Site, _> = (earlier.sites().iter().filter(|_| is_same_run))
            .map(|before| (&before.site, before))
            .collect();
        let mut sites = Vec::new();
        for after in self.sites() {
            let before = before.get(&after.site);
            let of = |read: fn(&super::SiteUse) -> Estimate| {
                before.map_or(Estimate::default(), |before| read(before))
            };
            let change = SiteChange {
                site: after.site.clone(),
                allocated: after.allocated.since(of(|site| site.allocated)),
                freed: after.freed.since(of(|site| site.freed)),
                live_before: of(|site| site.live),
                live_after: after.live,
            };
            if change.allocated.samples > 0 || change.freed.samples > 0 || change.growth() != 0 {
                let frames = size_of_val(&*change.site.frames);
                held.grow(Bytes::of(2 * size_of::<SiteChange>() + frames))?;
                sites.push(change);
            }
        }
        sites.sort_by_key(|change| std::cmp::Reverse(change.growth()));
        let live_before = if is_same_run { earlier.live() } else { Estimate::default() };
        let between =
            self.at().saturating_sub(if is_same_run { earlier.at() } else { Duration::ZERO });
        Ok(SnapshotDiff { between, sites, live_before, live_after: self.live(), held })
    }
}

impl SnapshotDiff {
    /// Time between the snapshots.
    pub fn between(&self) -> Duration {
        self.between
    }

    /// The sites at which something changed, those that grew most first.
    pub fn sites(&self) -> &[SiteChange] {
        &self.sites
    }

    /// Bytes alive more than before, or less.
    pub fn growth(&self) -> i64 {
        growth(self.live_before, self.live_after)
    }

    /// Everything alive, before and after.
    pub fn live(&self) -> [Estimate; 2] {
        [self.live_before, self.live_after]
    }

    /// Bytes that the diff keeps.
    pub fn footprint(&self) -> Bytes {
        self.held.bytes()
    }
}
