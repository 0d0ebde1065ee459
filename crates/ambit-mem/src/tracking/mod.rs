//! Counting what the process allocates: how much, how fast, under which tag, and from where.
//!
//! [`TrackingAllocator`] wraps any allocator and counts what goes through it; a [`Tag`] says on
//! whose behalf; a profiler is told of one allocation in so many bytes through `hook`. What a
//! thread is about (its slot, its tag, may it be sampled) is one word of `local`.

mod allocator;
#[allow(dead_code, reason = "for the profiler")]
pub(crate) mod hook;
#[allow(dead_code, reason = "for the allocator's counters")]
mod local;
mod tag;

pub use allocator::{AllocatorStats, TrackingAllocator};
pub use tag::{Tag, TagScope, TooManyTags};
