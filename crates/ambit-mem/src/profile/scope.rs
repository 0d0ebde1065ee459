//! What did this piece of work allocate, and where?
//!
//! The work runs under a tag of its name, on the thread that runs it, or, for a future, while it
//! is polled; what it hands to other threads is not counted, unless they enter the tag too. The
//! report is the difference of what the stacks under this tag had allocated before and after.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use super::ProfileError;
use super::diff::SiteChange;
use super::profiler::MemoryProfiler;
use super::running::Run;
use super::site::Estimate;
use super::snapshot::site;
use super::stacks::Amount;
use crate::tracking::hook;
use crate::{Account, Bytes, Reservation, Tag};

/// What a piece of work allocated, estimated from samples.
#[derive(Debug)]
pub struct ProfileReport {
    name: &'static str,
    took: Duration,
    allocated: Estimate,
    freed: Estimate,
    sites: Vec<SiteChange>,
    held: Reservation,
}

impl ProfileReport {
    /// Sites that a report keeps, at most.
    pub const SITES: usize = 32;

    /// The name it was given.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// From its beginning to its end; for a future, waiting included.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// What was allocated.
    pub fn allocated(&self) -> Estimate {
        self.allocated
    }

    /// What was freed meanwhile, of what was ever allocated under this name.
    pub fn freed(&self) -> Estimate {
        self.freed
    }

    /// Where, most bytes allocated first; at most [`ProfileReport::SITES`].
    pub fn sites(&self) -> &[SiteChange] {
        &self.sites
    }

    /// Bytes that the report keeps.
    pub fn footprint(&self) -> Bytes {
        self.held.bytes()
    }
}

impl MemoryProfiler {
    /// Runs `work` and says what it allocated on this thread. Within `work`, the tag of this name
    /// is the thread's tag; one that `work` enters takes its place meanwhile.
    ///
    /// # Errors
    /// [`ProfileError::TooManyTags`] and [`ProfileError::OverBudget`], before `work` is run.
    pub fn profile<R>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> R,
    ) -> Result<(R, ProfileReport), ProfileError> {
        let before = Before::new(&self.run, &self.account, name)?;
        let scope = before.tag.enter();
        let result = work();
        drop(scope);
        Ok((result, before.report(&self.run)))
    }

    /// Awaits `future` and says what was allocated while it was polled.
    ///
    /// # Errors
    /// As for [`MemoryProfiler::profile`], before `future` is polled.
    pub async fn profile_async<F: Future>(
        &self,
        name: &'static str,
        future: F,
    ) -> Result<(F::Output, ProfileReport), ProfileError> {
        let before = Before::new(&self.run, &self.account, name)?;
        let mut future = pin!(future);
        let result = std::future::poll_fn(|context| {
            let _scope = before.tag.enter();
            future.as_mut().poll(context)
        })
        .await;
        Ok((result, before.report(&self.run)))
    }
}

/// What the stacks of a tag had done when a piece of work began.
struct Before {
    name: &'static str,
    tag: Tag,
    start: Instant,
    /// By number, in order: allocated and freed.
    stacks: Vec<(u32, [Amount; 2])>,
    held: Reservation,
}

impl Before {
    fn new(run: &Run, account: &Account, name: &'static str) -> Result<Self, ProfileError> {
        hook::unsampled(|| {
            let tag = Tag::named(name)?;
            let stacks = of_tag(run, tag);
            let kept = size_of_val(&*stacks) + ProfileReport::SITES * size_of::<SiteChange>();
            let frames = ProfileReport::SITES * run.depth() * size_of::<usize>();
            let held = account.reserve(Bytes::of(kept + frames))?;
            Ok(Self { name, tag, start: Instant::now(), stacks, held })
        })
    }

    fn report(mut self, run: &Run) -> ProfileReport {
        let took = self.start.elapsed();
        hook::unsampled(|| {
            let mut changes: Vec<(u32, [Estimate; 2])> = of_tag(run, self.tag)
                .into_iter()
                .map(|(number, after)| (number, self.since(number, after)))
                .filter(|(_, [allocated, freed])| allocated.samples + freed.samples > 0)
                .collect();
            let sum = |which: usize| {
                let of = |(_, change): &(u32, [Estimate; 2])| change[which];
                changes.iter().map(of).fold(Estimate::default(), Estimate::plus)
            };
            let (allocated, freed) = (sum(0), sum(1));
            changes.sort_by_key(|(_, [allocated, _])| std::cmp::Reverse(allocated.bytes));
            changes.truncate(ProfileReport::SITES);
            let sites: Vec<SiteChange> = changes
                .into_iter()
                .map(|(number, [allocated, freed])| {
                    let live_before = self.live_before(number);
                    let live_after = live_before.plus(allocated).since(freed);
                    SiteChange {
                        site: site(run, number),
                        allocated,
                        freed,
                        live_before,
                        live_after,
                    }
                })
                .collect();
            let frames: usize = sites.iter().map(|one| size_of_val(&*one.site.frames)).sum();
            let kept = Bytes::of(sites.capacity() * size_of::<SiteChange>() + frames);
            self.held.shrink(self.held.bytes().saturating_sub(kept));
            ProfileReport { name: self.name, took, allocated, freed, sites, held: self.held }
        })
    }

    fn at(&self, number: u32) -> [Amount; 2] {
        let found = self.stacks.binary_search_by_key(&number, |(number, _)| *number);
        found.map_or([Amount::default(); 2], |at| self.stacks[at].1)
    }

    fn since(&self, number: u32, after: [Amount; 2]) -> [Estimate; 2] {
        let before = self.at(number);
        [0, 1].map(|which| Estimate::from(after[which]).since(before[which].into()))
    }

    fn live_before(&self, number: u32) -> Estimate {
        let [allocated, freed] = self.at(number).map(Estimate::from);
        allocated.since(freed)
    }
}

/// Stacks under a tag, with what they allocated and what of that was freed.
fn of_tag(run: &Run, tag: Tag) -> Vec<(u32, [Amount; 2])> {
    let stacks = &run.recorder.stacks;
    (0..stacks.end())
        .filter(|number| stacks.tag(*number) == tag.number())
        .map(|number| {
            let (allocated, freed) = stacks.amounts(number);
            (number, [allocated, freed])
        })
        .collect()
}
