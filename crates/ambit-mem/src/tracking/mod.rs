//! Counting what the process allocates: how much, how fast, under which tag, and from where.
//!
//! [`TrackingAllocator`] wraps any allocator and counts what goes through it in [`figure`]s; a
//! [`Tag`] says on whose behalf, and blocks allocated under one carry a [`mark`], so that their
//! bytes are deducted where they were added. A profiler is told of one allocation in so many
//! bytes through [`hook`]. What a thread is about (its slot of the counters, its tag, may it be
//! sampled) is one word of [`local`].

mod allocator;
mod calls;
mod figure;
#[cfg_attr(not(feature = "profile"), allow(dead_code, reason = "the profiler is its user"))]
pub(crate) mod hook;
mod listed;
mod local;
mod mark;
mod monitored;
mod stats;
mod tag;
mod tagged;
#[cfg(test)]
mod tests;

pub use allocator::{Tracking, TrackingAllocator};
pub use monitored::MonitoredAllocator;
pub use stats::{AllocatorRate, AllocatorStats, TagStats};
pub use tag::{Tag, TagScope, TooManyTags};
pub use tagged::Tagged;
