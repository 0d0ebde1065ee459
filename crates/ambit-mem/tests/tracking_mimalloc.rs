//! A process whose global allocator is tracked, over `MiMalloc`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ambit_mem::TrackingAllocator;
use mimalloc::MiMalloc;

mod tracking;

#[global_allocator]
static ALLOCATOR: TrackingAllocator<MiMalloc> = TrackingAllocator::new(MiMalloc);

/// It zeroes blocks that it uses again, pages and all.
const ZEROES_LAZILY: bool = false;
