//! What of each window of time was still alive at each later snapshot?
//!
//! For every stack a triangle: row n is snapshot n, column c counts what was born between
//! snapshots c - 1 and c and is alive at snapshot n. It tells growth from turnover: a leak's
//! columns stay as they are, a cache's empty as its new ones fill. When there are [`MOST`]
//! snapshots, each two neighbours become one, exactly: their columns add up, and of their rows
//! the later one stays. So the whole run is kept in a fixed number of cells.

use std::collections::BTreeMap;

use super::snapshot::{Cohort, Scan};
use crate::{Account, Bytes, OverBudget, Reservation};

/// Snapshots that are kept.
pub(crate) const MOST: usize = 20;
const CELLS: usize = MOST * (MOST + 1) / 2;

/// The triangle of one stack.
#[derive(Debug, Clone)]
pub(crate) struct Triangle {
    cells: Box<[Cohort; CELLS]>,
    /// When the oldest was born that was alive at the last snapshot.
    pub oldest_us: u64,
}

impl Triangle {
    /// What one takes, its entry in the history's map included.
    const FOOTPRINT: usize = size_of::<[Cohort; CELLS]>() + 2 * size_of::<(u32, Self)>();

    pub(crate) fn new() -> Self {
        Self { cells: Box::new([Cohort::default(); CELLS]), oldest_us: u64::MAX }
    }

    /// What was alive at snapshot `row` of what was born in window `column`, at most `row`.
    pub(crate) fn at(&self, row: usize, column: usize) -> Cohort {
        self.cells[cell(row, column)]
    }

    /// What was alive at snapshot `row`.
    pub(crate) fn row(&self, row: usize) -> Cohort {
        let mut sum = Cohort::default();
        self.cells[cell(row, 0)..=cell(row, row)].iter().for_each(|cohort| sum += *cohort);
        sum
    }

    pub(crate) fn set(&mut self, row: usize, column: usize, cohort: Cohort) {
        self.cells[cell(row, column)] = cohort;
    }

    fn halve(&mut self) {
        for row in 0..MOST / 2 {
            for column in 0..=row {
                let mut sum = self.at(row * 2 + 1, column * 2);
                sum += self.at(row * 2 + 1, column * 2 + 1);
                self.set(row, column, sum);
            }
        }
        self.cells[cell(MOST / 2, 0)..].fill(Cohort::default());
    }
}

const fn cell(row: usize, column: usize) -> usize {
    row * (row + 1) / 2 + column
}

/// The triangles of all stacks that were alive at any kept snapshot.
#[derive(Debug)]
pub(crate) struct History {
    /// Times of the snapshots, and how many had been taken by then, those that were merged
    /// into others since included.
    times_us: Vec<u64>,
    counts: Vec<u64>,
    taken: u64,
    triangles: BTreeMap<u32, Triangle>,
    held: Reservation,
}

impl History {
    /// What it takes beside its triangles.
    const BASE: usize = 2 * MOST * size_of::<u64>();

    pub(crate) fn new(account: &Account) -> Result<Self, OverBudget> {
        let held = account.reserve(Bytes::of(Self::BASE))?;
        let room = || Vec::with_capacity(MOST);
        let (times_us, counts) = (room(), room());
        Ok(Self { times_us, counts, taken: 0, triangles: BTreeMap::new(), held })
    }

    /// Times of the snapshots that are kept, in microseconds since the start.
    pub(crate) fn times_us(&self) -> &[u64] {
        &self.times_us
    }

    /// How many snapshots had been taken at each of [`History::times_us`], itself included.
    pub(crate) fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The stacks and their triangles; the rows are those of [`History::times_us`].
    pub(crate) fn triangles(&self) -> impl Iterator<Item = (u32, &Triangle)> {
        self.triangles.iter().map(|(number, triangle)| (*number, triangle))
    }

    /// Takes a pass in whose windows ended at [`History::times_us`].
    pub(crate) fn push(&mut self, scan: &Scan) -> Result<(), OverBudget> {
        let row = self.times_us.len();
        debug_assert_eq!(scan.windows, row + 1, "the windows of this history");
        let new = (scan.stacks.iter().enumerate()).filter(|(number, seen)| {
            seen.live.samples > 0 && !self.triangles.contains_key(&(*number as u32))
        });
        let new: Vec<u32> = new.map(|(number, _)| number as u32).collect();
        self.held.grow(Bytes::of(new.len() * Triangle::FOOTPRINT))?;
        self.triangles.extend(new.into_iter().map(|number| (number, Triangle::new())));
        for (number, triangle) in &mut self.triangles {
            let cohorts = scan.cohorts.iter().skip(*number as usize * scan.windows);
            for (column, cohort) in cohorts.take(scan.windows).enumerate() {
                triangle.set(row, column, *cohort);
            }
            triangle.oldest_us =
                scan.stacks.get(*number as usize).map_or(u64::MAX, |seen| seen.oldest_us);
        }
        self.times_us.push(scan.at_us);
        self.taken += 1;
        self.counts.push(self.taken);
        if self.times_us.len() == MOST {
            self.halve();
        }
        Ok(())
    }

    fn halve(&mut self) {
        self.triangles.values_mut().for_each(Triangle::halve);
        for column in [&mut self.times_us, &mut self.counts] {
            let mut row = 0;
            column.retain(|_| {
                row += 1;
                row % 2 == 0
            });
        }
        let before = self.triangles.len();
        let rows = self.times_us.len();
        // Stacks of which nothing was alive at any snapshot that is left.
        self.triangles.retain(|_, triangle| {
            (0..rows).any(|row| (0..=row).any(|column| triangle.at(row, column).samples > 0))
        });
        let gone = before - self.triangles.len();
        self.held.shrink(Bytes::of(gone * Triangle::FOOTPRINT));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::profile::ProfileConfig;
    use crate::profile::recorder::{Allocation, Recorder};
    use crate::{Budget, Priority};

    /// Births and deaths, the slow way: every object with both times.
    #[derive(Debug, Default)]
    struct Log(Vec<(u64, Option<u64>)>);

    impl Log {
        /// Born after `from` and not after `to`, and alive at `at`.
        fn count(&self, from: Option<u64>, to: u64, at: u64) -> u32 {
            let is_counted = |(birth, death): &&(u64, Option<u64>)| {
                from.is_none_or(|from| *birth > from)
                    && *birth <= to
                    && death.is_none_or(|death| death > at)
            };
            self.0.iter().filter(is_counted).count() as u32
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 48 }))]
        #[test]
        fn triangles_are_exact_however_often_they_were_halved(
            steps in prop::collection::vec(prop::collection::vec((0usize..3, 0usize..40), 0..12), 1..if cfg!(miri) { 24 } else { 70 }),
        ) {
            let config = ProfileConfig {
                interval: Bytes::new(1),
                live_samples: if cfg!(miri) { 300 } else { 1024 },
                stacks: 4,
                depth: 2,
                points: 2,
                seed: 0,
            };
            let recorder = Recorder::new(&config).unwrap();
            let account = Budget::new(Bytes::mib(8)).account("history", Priority::Write);
            let mut history = History::new(&account).unwrap();
            let mut log = Log::default();
            let mut now = 0;
            for step in steps {
                for (what, which) in step {
                    now += 1;
                    let alive = log.0.get(which).is_some_and(|object| object.1.is_none());
                    if what > 0 || !alive {
                        let address = 4096 + log.0.len() * 16;
                        let frames = &[1];
                        let born =
                            Allocation { address, size: 10, at_us: now, tag: 0, thread: 0, frames };
                        prop_assert!(recorder.allocate(&born));
                        log.0.push((now, None));
                    } else {
                        recorder.free(4096 + which * 16);
                        log.0[which].1 = Some(now);
                    }
                }
                now += 1;
                history.push(&Scan::of(&recorder, now, history.times_us())).unwrap();
                prop_assert!(history.times_us().len() < MOST);
                prop_assert_eq!(history.times_us().last(), Some(&now));
            }
            let times = history.times_us();
            for (number, triangle) in history.triangles() {
                prop_assert_eq!(number, 1);
                for (row, at) in times.iter().enumerate() {
                    for column in 0..=row {
                        let from = column.checked_sub(1).map(|before| times[before]);
                        let expected = log.count(from, times[column], *at);
                        let cohort = triangle.at(row, column);
                        prop_assert_eq!(cohort.samples, expected);
                        prop_assert_eq!(cohort.bytes, 10.0 * expected as f32);
                    }
                }
            }
            let triangles = history.triangles().count();
            let held = History::BASE + triangles * Triangle::FOOTPRINT;
            prop_assert_eq!(account.used(), Bytes::of(held));
        }
    }
}
