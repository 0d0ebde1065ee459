//! An allocator that counts: bytes and calls, now, at most, by tag and by time.
//!
//! It wraps any other allocator. The path of most calls is: one word of the thread ("has a slot,
//! no tag, may be sampled"), one comparison ("is anything due?"), two plain additions to counters
//! that only this thread writes. No lock, no atomic read-modify-write, and no allocation. All
//! else (tags, large blocks, alignments of 16 and more, a thread's first call, reporting to the
//! peak, samples) takes the slow path, which has no lock and no allocation either.

use std::fmt;

use super::figure::Figure;
use super::hook::{self, Hook};
use super::listed::Listed;
use super::local::{self, Local, SLOTS};
use super::mark::Mark;
use super::stats::{AllocatorStats, TagStats, now_us};
use super::tag::{TAGS, Tag};
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Whether an allocator counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// It counts; the state that it starts in.
    On,
    /// It hands calls on.
    Off,
}

/// Counts what goes through the allocator `A`.
///
/// It belongs in a static: its counters take 1.4 MiB of zeroed memory, of which pages are used as
/// threads and tags are. A library never installs an allocator; a binary does.
///
/// # Cost
/// About 20 instructions for `alloc` and as many for `dealloc`; in bytes, nothing for blocks
/// without a tag, except that blocks below 16 bytes take 16 and those aligned to 16 take 2 more;
/// 8 bytes for each block under a tag that is smaller than 64 KiB.
///
/// # Example
/// ```
/// use ambit_mem::{Bytes, Tag, TrackingAllocator};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);
///
/// let index = Tag::named("index")?;
/// let scope = index.enter();
/// let kept = vec![0u8; 1 << 20];
/// drop(scope);
/// assert!(ALLOCATOR.stats().current >= Bytes::mib(1));
/// assert_eq!(ALLOCATOR.tags()[0].stats.current, Bytes::mib(1));
/// drop(kept);
/// assert_eq!(ALLOCATOR.tags()[0].stats.current, Bytes::ZERO);
/// assert_eq!(ALLOCATOR.tags()[0].stats.peak, Bytes::mib(1));
/// # Ok::<(), ambit_mem::TooManyTags>(())
/// ```
pub struct TrackingAllocator<A> {
    pub(super) inner: A,
    is_off: AtomicBool,
    /// When the first call was counted; zero before.
    started_us: AtomicU64,
    /// The first is everything, tagged or not; the others are those of their tags.
    pub(super) figures: [Figure; TAGS],
    samplers: [Sampler; SLOTS + 1],
    pub(super) listed: Listed,
}

/// When is the next sample of a slot due?
#[derive(Debug)]
struct Sampler {
    /// At so many bytes allocated.
    at: AtomicU64,
    /// The hook's generation that drew it.
    generation: AtomicU64,
}

impl<A> TrackingAllocator<A> {
    /// Counts for `inner`.
    pub const fn new(inner: A) -> Self {
        Self {
            inner,
            is_off: AtomicBool::new(false),
            started_us: AtomicU64::new(0),
            figures: [const { Figure::new() }; TAGS],
            samplers: [const { Sampler { at: AtomicU64::new(0), generation: AtomicU64::new(0) } };
                SLOTS + 1],
            listed: Listed::new(),
        }
    }

    /// The allocator that it counts for.
    pub const fn inner(&self) -> &A {
        &self.inner
    }

    /// Turns counting on or off. This thread follows at once; others do, too, but for calls that
    /// are under way: one of these may have its thread go on counting for 64 KiB more.
    ///
    /// While off, nothing new is counted; blocks that were counted under a tag are still deducted
    /// when they are freed, so that the figures of tags are exact for what was allocated while
    /// on. Without a tag, a block does not know whether it was counted: `current` then misses
    /// what was allocated while off and keeps what was freed while off, but is never negative.
    pub fn set(&self, tracking: Tracking) {
        self.is_off.store(tracking == Tracking::Off, Ordering::Relaxed);
        if tracking == Tracking::Off {
            (0..SLOTS).for_each(|slot| self.figures[0].disarm(slot));
        }
    }

    /// Whether it counts.
    pub fn tracking(&self) -> Tracking {
        if self.is_off() { Tracking::Off } else { Tracking::On }
    }

    /// The numbers now, tagged or not.
    ///
    /// # Cost
    /// Reads 129 cache lines. Calls of other threads that happen meanwhile may be counted in part.
    pub fn stats(&self) -> AllocatorStats {
        self.figures[0].stats(self.age_us())
    }

    /// The numbers of one tag; those of [`Tag::UNTAGGED`] are all of [`TrackingAllocator::stats`].
    /// Allocates nothing.
    pub fn tag(&self, tag: Tag) -> AllocatorStats {
        self.figures[tag.index()].stats(self.age_us())
    }

    /// The numbers of each registered tag, in the order of registration. The rest of
    /// [`TrackingAllocator::stats`] was allocated without a tag.
    pub fn tags(&self) -> Vec<TagStats> {
        let age_us = self.age_us();
        Tag::registered()
            .map(|tag| TagStats { tag, stats: self.figures[tag.index()].stats(age_us) })
            .collect()
    }

    /// Large blocks whose tag or sample was lost, because too many were alive: they count as
    /// untagged. Blocks are large from 64 KiB or an alignment above 16 on; 32,768 have room, 8 of
    /// those whose addresses share a hash.
    pub fn lost_marks(&self) -> u64 {
        self.listed.lost()
    }

    /// Starts the peaks anew, of all figures, from what is in use now.
    pub fn reset_peak(&self) {
        self.figures.iter().for_each(Figure::reset_peak);
    }

    #[inline]
    pub(super) fn is_off(&self) -> bool {
        self.is_off.load(Ordering::Relaxed)
    }

    fn age_us(&self) -> u64 {
        match self.started_us.load(Ordering::Relaxed) {
            0 => 0,
            started => now_us().saturating_sub(started),
        }
    }

    /// This thread's slot, or the shared one.
    pub(super) fn slot(&self, local: Local) -> usize {
        local.own_slot().unwrap_or_else(|| {
            if self.started_us.load(Ordering::Relaxed) == 0 {
                let now = now_us().max(1);
                let _ =
                    self.started_us.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
            }
            local::claim()
        })
    }

    pub(super) fn count_alloc(&self, slot: usize, size: usize, mark: Mark) {
        self.figures[0].alloc(slot, size, || self.settle(slot));
        if mark.tag() != 0 {
            let figure = &self.figures[mark.tag()];
            figure.alloc(slot, size, || figure.settle(slot, u64::MAX));
        }
    }

    pub(super) fn count_free(&self, slot: usize, size: usize, mark: Mark) {
        self.figures[0].free(slot, size, || self.settle(slot));
        if mark.tag() != 0 {
            let figure = &self.figures[mark.tag()];
            figure.free(slot, size, || figure.settle(slot, u64::MAX));
        }
    }

    /// Reports what a slot has counted, and says when to look at it again.
    fn settle(&self, slot: usize) {
        self.figures[0].settle(slot, self.until_sample(slot));
        if self.is_off() {
            self.figures[0].disarm(slot);
        }
    }

    /// Bytes of allocations until a slot's next sample.
    fn until_sample(&self, slot: usize) -> u64 {
        let sampler = &self.samplers[slot];
        if hook::installed().is_none()
            || sampler.generation.load(Ordering::Relaxed) != hook::generation()
        {
            return u64::MAX;
        }
        sampler.at.load(Ordering::Relaxed).saturating_sub(self.figures[0].allocated(slot))
    }

    /// The hook to offer the next allocation to, if it reaches the slot's next sample.
    #[inline]
    pub(super) fn due(&self, slot: usize, size: usize, local: Local) -> Option<&'static Hook> {
        let hook = hook::installed()?;
        let sampler = &self.samplers[slot];
        let at = sampler.at.load(Ordering::Relaxed);
        let is_stale = sampler.generation.load(Ordering::Relaxed) != hook::generation();
        if !local.is_sampled() {
            // What a profiler allocates for itself does not bring the next sample nearer.
            sampler.at.store(at.wrapping_add(size as u64), Ordering::Relaxed);
            return None;
        }
        let after = self.figures[0].allocated(slot).wrapping_add(size as u64);
        if after < at && !is_stale {
            return None;
        }
        let is_mine = self.draw(hook, slot, Drawn { at, after });
        (is_mine && !is_stale).then_some(hook)
    }

    /// Says when the next sample is due: an interval after `after`. False where another thread of
    /// the shared slot did.
    #[cold]
    fn draw(&self, hook: &Hook, slot: usize, Drawn { at, after }: Drawn) -> bool {
        let sampler = &self.samplers[slot];
        let interval = local::unsampled(hook.interval).max(1);
        let next = after.wrapping_add(interval);
        sampler.generation.store(hook::generation(), Ordering::Relaxed);
        let is_mine =
            sampler.at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        self.settle(slot);
        is_mine
    }
}

/// The count at which a sample was due, and that which the next interval begins at.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    at: u64,
    after: u64,
}

impl<A: fmt::Debug> fmt::Debug for TrackingAllocator<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackingAllocator")
            .field("inner", &self.inner)
            .field("tracking", &self.tracking())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
