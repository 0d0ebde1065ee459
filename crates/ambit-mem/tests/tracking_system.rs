//! A process whose global allocator is tracked, over `System`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::System;

use ambit_mem::TrackingAllocator;

mod tracking;

#[global_allocator]
static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);

/// It leaves the pages of a large zeroed block untouched.
const ZEROES_LAZILY: bool = true;
