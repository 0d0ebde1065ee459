//! A process whose global allocator is tracked, over `Jemalloc`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ambit_mem::TrackingAllocator;
use tikv_jemallocator::Jemalloc;

mod tracking;

#[global_allocator]
static ALLOCATOR: TrackingAllocator<Jemalloc> = TrackingAllocator::new(Jemalloc);

/// It leaves the pages of a large zeroed block untouched.
const ZEROES_LAZILY: bool = true;
