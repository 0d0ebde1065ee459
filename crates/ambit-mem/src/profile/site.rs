//! An allocation site, and what is estimated of it.

use std::time::Duration;

use super::stacks::Amount;
use crate::sync::Arc;
use crate::{Bytes, Tag};

/// Allocations, as estimated from samples.
///
/// The estimate has no bias. Its relative standard error is about `1 / sqrt(samples)`: 100
/// samples are good to 10 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Estimate {
    /// Samples that it rests on.
    pub samples: u64,
    /// Allocations.
    pub count: u64,
    /// Bytes.
    pub bytes: Bytes,
}

impl Estimate {
    /// What `self` has more than `earlier`; zero where it has less.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            samples: self.samples.saturating_sub(earlier.samples),
            count: self.count.saturating_sub(earlier.count),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            samples: self.samples + other.samples,
            count: self.count.saturating_add(other.count),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl From<Amount> for Estimate {
    fn from(amount: Amount) -> Self {
        let (count, bytes) = (amount.count.round() as u64, amount.bytes.round() as u64);
        Self { samples: amount.samples, count, bytes: Bytes::new(bytes) }
    }
}

/// Where memory is allocated: a stack, under a tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site {
    /// The tag that the allocating thread was in.
    pub tag: Tag,
    /// Return addresses, innermost first, those of the allocator and of the profiler included.
    /// Empty for the site that stands for all stacks that did not fit the table.
    pub frames: Arc<[usize]>,
}

impl Site {
    /// Does it stand for all stacks that did not fit the profiler's table?
    pub fn is_others(&self) -> bool {
        self.frames.is_empty()
    }
}

/// A site and what was allocated there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteUse {
    /// Where.
    pub site: Site,
    /// Since the profiler started.
    pub allocated: Estimate,
    /// Of that, freed.
    pub freed: Estimate,
    /// Alive.
    pub live: Estimate,
    /// Age of the oldest sample that is alive; zero where none is.
    pub oldest: Duration,
}

/// What sites are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Bytes alive.
    LiveBytes,
    /// Allocations alive.
    LiveCount,
    /// Bytes allocated since the start, freed or not.
    AllocatedBytes,
    /// Allocations since the start, freed or not.
    AllocatedCount,
}

impl SiteUse {
    /// The site's value of a metric.
    pub fn value(&self, metric: Metric) -> u64 {
        match metric {
            Metric::LiveBytes => self.live.bytes.get(),
            Metric::LiveCount => self.live.count,
            Metric::AllocatedBytes => self.allocated.bytes.get(),
            Metric::AllocatedCount => self.allocated.count,
        }
    }

    /// Most bytes that one of them takes beside its frames.
    pub(crate) const FOOTPRINT: usize = size_of::<Self>() + 2 * size_of::<usize>();
}

/// What the threads that were born `number`-th allocated and is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadUse {
    /// Order in which the profiler saw the thread, modulo 65,536.
    pub number: u16,
    /// Alive, whoever holds it now.
    pub live: Estimate,
}
