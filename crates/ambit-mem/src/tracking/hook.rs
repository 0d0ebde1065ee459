//! What a profiler hears from the allocator: one allocation in so many bytes, and its end.
//!
//! Each thread counts the bytes it allocates. After as many as [`Hook::interval`] said, the
//! allocation that reaches that count is offered to [`Hook::sampled`]; where it is kept, the
//! block is marked, and [`Hook::freed`] is called when it is freed, on the thread that frees it
//! and before its address can be handed out again. Blocks without the mark cost nothing.
//! `realloc` of a marked block is its end and a new allocation, which may be sampled again.
//!
//! Promises to the functions of a hook: they are never entered twice by a thread (what they
//! allocate and free themselves is counted, never sampled, and frees of marked blocks are
//! reported all the same: do not hold on to blocks that were sampled); no lock of the allocator
//! is held; they may run in a thread that is ending.
//! What they must keep: no panic, and no lock that their own thread could be holding already.
//!
//! Threads notice that a hook was installed within 64 KiB of allocation each, and draw a new
//! interval then, so that no sample comes from an interval drawn before. After [`remove`], calls
//! that are under way still end in the old functions, and marked blocks are still alive: with no
//! hook, their end is not reported.

use super::{Tag, local};
use crate::sync::{AtomicPtr, AtomicU64, Ordering};

static HOOK: AtomicPtr<Hook> = AtomicPtr::new(std::ptr::null_mut());
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Held by tests that install a hook, use up slots, or would notice if another one did.
#[cfg(test)]
pub(crate) static ALONE: crate::sync::Mutex<()> = crate::sync::Mutex::new(());

/// An allocation that was chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Where the block begins.
    pub address: usize,
    /// Bytes asked for.
    pub size: usize,
    /// The tag that it is counted under.
    pub tag: Tag,
}

/// The functions of a profiler.
#[derive(Debug)]
pub(crate) struct Hook {
    /// Bytes that this thread allocates until its next sample; at least 1.
    pub interval: fn() -> u64,
    /// Takes a sample; says whether its end is to be reported.
    pub sampled: fn(&Sample) -> bool,
    /// The end of a sample that was kept, by its address.
    pub freed: fn(usize),
}

/// Has samples offered to `hook`, in place of the hook before.
pub(crate) fn install(hook: &'static Hook) {
    HOOK.store(std::ptr::from_ref(hook).cast_mut(), Ordering::Release);
    GENERATION.fetch_add(1, Ordering::Release);
}

/// Ends sampling.
pub(crate) fn remove() {
    HOOK.store(std::ptr::null_mut(), Ordering::Release);
}

/// The hook in place.
pub(super) fn installed() -> Option<&'static Hook> {
    // SAFETY: the pointer is null or comes from a `&'static Hook`, in `install`.
    unsafe { HOOK.load(Ordering::Acquire).as_ref() }
}

/// How often a hook was installed so far.
pub(super) fn generation() -> u64 {
    GENERATION.load(Ordering::Acquire)
}

/// Whether this thread has allocated through a [`super::TrackingAllocator`], as far as it has a
/// slot of its own.
#[cfg_attr(not(feature = "profile"), expect(dead_code, reason = "for the profiler"))]
pub(crate) fn is_used() -> bool {
    local::Local::get().own_slot().is_some()
}

/// Runs `work` with sampling off on this thread: what a profiler does for itself.
pub(crate) fn unsampled<R>(work: impl FnOnce() -> R) -> R {
    local::unsampled(work)
}
