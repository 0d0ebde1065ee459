//! What is alive now, where was it allocated, and how old is it?
//!
//! A snapshot is one pass over the table of live samples while the program goes on: what is
//! alive all the while is in it, what comes or goes meanwhile may be. It holds addresses;
//! names are looked up when it is written out, so taking one is quick.

use std::collections::BTreeMap;
use std::time::Duration;

use super::age::AgeHistogram;
use super::recorder::Recorder;
use super::running::Run;
use super::sampling::Rate;
use super::series::Point;
use super::site::{Estimate, Metric, Site, SiteUse, ThreadUse};
use super::stacks::Amount;
use crate::sync::Arc;
use crate::{Account, Bytes, OverBudget, Reservation, Tag};

/// What is alive, by site, at one time.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) run: u64,
    pub(crate) at_us: u64,
    pub(crate) interval: Bytes,
    sites: Vec<SiteUse>,
    threads: Vec<ThreadUse>,
    ages: AgeHistogram,
    series: Vec<Point>,
    live: Estimate,
    peak: Bytes,
    lost: u64,
    pub(crate) account: Account,
    held: Reservation,
}

impl Snapshot {
    /// Time since the profiler started.
    pub fn at(&self) -> Duration {
        Duration::from_micros(self.at_us)
    }

    /// The mean interval between samples.
    pub fn interval(&self) -> Bytes {
        self.interval
    }

    /// Every site that allocated, most bytes alive first.
    pub fn sites(&self) -> &[SiteUse] {
        &self.sites
    }

    /// The `most` sites of the highest `metric`, highest first.
    pub fn hot_sites(&self, metric: Metric, most: usize) -> Vec<&SiteUse> {
        let mut sites: Vec<&SiteUse> =
            self.sites.iter().filter(|site| site.value(metric) > 0).collect();
        sites.sort_by_key(|site| std::cmp::Reverse(site.value(metric)));
        sites.truncate(most);
        sites
    }

    /// What is alive, by the thread that allocated it, in order of their numbers.
    pub fn threads(&self) -> &[ThreadUse] {
        &self.threads
    }

    /// Live bytes by age.
    pub fn ages(&self) -> &AgeHistogram {
        &self.ages
    }

    /// Bytes allocated and freed over time, oldest first, this snapshot last.
    pub fn series(&self) -> &[Point] {
        &self.series
    }

    /// Everything that is alive and was allocated since the start.
    pub fn live(&self) -> Estimate {
        self.live
    }

    /// The most that was alive at any sample.
    pub fn peak(&self) -> Bytes {
        self.peak
    }

    /// Samples for which there was no room; estimates are too low by about as many.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Bytes that the snapshot keeps.
    pub fn footprint(&self) -> Bytes {
        self.held.bytes()
    }
}

/// What one pass over the live samples counts.
pub(crate) struct Scan {
    pub at_us: u64,
    /// By stack number.
    pub stacks: Vec<Seen>,
    /// Live by stack number and window of birth, `windows` each.
    pub cohorts: Vec<Cohort>,
    pub windows: usize,
    threads: BTreeMap<u16, Amount>,
    ages: AgeHistogram,
}

/// What is alive of one stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub live: Amount,
    pub oldest_us: u64,
}

/// What is alive of one stack and was born in one window of time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Cohort {
    pub samples: u32,
    pub count: f32,
    pub bytes: f32,
}

impl std::ops::AddAssign for Cohort {
    fn add_assign(&mut self, other: Self) {
        self.samples += other.samples;
        self.count += other.count;
        self.bytes += other.bytes;
    }
}

impl Scan {
    /// Passes over the live samples. `ends_us` are the ends of all windows but the last.
    pub(crate) fn of(recorder: &Recorder, at_us: u64, ends_us: &[u64]) -> Self {
        let windows = ends_us.len() + 1;
        let mut weights = Weights::new(recorder.rate);
        let none = Seen { live: Amount::default(), oldest_us: u64::MAX };
        let mut stacks = vec![none; recorder.stacks.end() as usize];
        let mut cohorts = vec![Cohort::default(); stacks.len() * windows];
        let mut threads: Vec<(u16, Amount)> = Vec::new();
        let mut ages = AgeHistogram::default();
        recorder.live.for_each(|sample| {
            let stack = sample.stack as usize;
            if stack >= stacks.len() {
                // A stack that is newer than this pass.
                stacks.resize(stack + 1, none);
                cohorts.resize(stacks.len() * windows, Cohort::default());
            }
            let amount = Amount::one(sample.size, weights.of(sample.size));
            let seen = &mut stacks[stack];
            seen.live += amount;
            seen.oldest_us = seen.oldest_us.min(sample.birth_us);
            let window = ends_us.partition_point(|end| *end < sample.birth_us);
            cohorts[stack * windows + window] +=
                Cohort { samples: 1, count: amount.count as f32, bytes: amount.bytes as f32 };
            ages.add(at_us.saturating_sub(sample.birth_us), amount.bytes);
            match threads.iter_mut().find(|(number, _)| *number == sample.thread) {
                Some((_, live)) => *live += amount,
                None => threads.push((sample.thread, amount)),
            }
        });
        Self { at_us, stacks, cohorts, windows, threads: threads.into_iter().collect(), ages }
    }

    /// Everything that is known at this moment, held by `account`.
    pub(crate) fn snapshot(
        &self,
        run: &Run,
        interval: Bytes,
        account: &Account,
    ) -> Result<Snapshot, OverBudget> {
        let recorder = &run.recorder;
        let mut held = account.reserve(Bytes::ZERO)?;
        recorder.series.offer(recorder.point(self.at_us));
        held.grow(Bytes::of(recorder.series.most() * size_of::<Point>()))?;
        let series = recorder.series.read();
        held.grow(Bytes::of(self.stacks.len() * SiteUse::FOOTPRINT))?;
        let mut sites = Vec::with_capacity(self.stacks.len());
        for (number, seen) in self.stacks.iter().enumerate() {
            let (allocated, freed) = recorder.stacks.amounts(number as u32);
            if allocated.samples == 0 && seen.live.samples == 0 {
                continue;
            }
            let site = site(run, number as u32);
            held.grow(Bytes::of(size_of_val(&*site.frames)))?;
            sites.push(SiteUse {
                site,
                allocated: allocated.into(),
                freed: freed.into(),
                live: seen.live.into(),
                oldest: Duration::from_micros(self.at_us.saturating_sub(seen.oldest_us)),
            });
        }
        sites.sort_by_key(|site| std::cmp::Reverse(site.live.bytes));
        held.grow(Bytes::of(self.threads.len() * size_of::<ThreadUse>()))?;
        let threads = self
            .threads
            .iter()
            .map(|(number, live)| ThreadUse { number: *number, live: (*live).into() });
        let mut live = Amount::default();
        self.stacks.iter().for_each(|seen| live += seen.live);
        Ok(Snapshot {
            run: run.number(),
            at_us: self.at_us,
            interval,
            sites,
            threads: threads.collect(),
            ages: self.ages,
            series,
            live: live.into(),
            peak: recorder.peak(),
            lost: recorder.lost(),
            account: account.clone(),
            held,
        })
    }
}

/// Tag and frames of a stack.
pub(crate) fn site(run: &Run, number: u32) -> Site {
    let mut frames = Vec::new();
    let tag = run.recorder.stacks.read(number, &mut frames);
    Site { tag: Tag::from_number(tag), frames: Arc::from(frames) }
}

/// Weights of sizes, the last of each kept: programs allocate few sizes again and again.
struct Weights {
    rate: Rate,
    known: [(u64, f64); Self::KNOWN],
}

impl Weights {
    const KNOWN: usize = 256;

    fn new(rate: Rate) -> Self {
        Self { rate, known: [(0, f64::INFINITY); Self::KNOWN] }
    }

    fn of(&mut self, size: u64) -> f64 {
        let slot = &mut self.known[(size ^ size >> 8) as usize % Self::KNOWN];
        if slot.0 != size {
            *slot = (size, self.rate.weight(size));
        }
        slot.1
    }
}
