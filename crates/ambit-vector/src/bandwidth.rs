//! How fast can one thread read this memory? The ceiling that a scan is held against.
//!
//! The buffer is summed with the widest loads, in 1, 2, 4 and 8 parallel streams, and the best
//! time of several passes counts. Measured on the caller's own buffer, so that a scan of the
//! same buffer has the same pages, caches and neighbours.

use std::hint::black_box;
use std::time::Instant;

use crate::kernel::Kernels;

/// What one thread reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bandwidth {
    /// Bytes per second of the best pass.
    pub bytes_per_second: f64,
    /// Parallel streams of the best pass.
    pub streams: usize,
}

/// The best of `passes` passes over `buffer` for each number of streams, at least one.
///
/// Cost: reads the buffer 4 x `passes` times; allocates nothing.
pub fn measure(kernels: Kernels, buffer: &[f32], passes: usize) -> Bandwidth {
    let mut best = Bandwidth { bytes_per_second: 0.0, streams: 0 };
    for _ in 0..passes.max(1) {
        for streams in kernels.read_streams() {
            let start = Instant::now();
            black_box(kernels.read(black_box(buffer), streams));
            let seconds = start.elapsed().as_secs_f64().max(1e-9);
            let bytes_per_second = size_of_val(buffer) as f64 / seconds;
            if bytes_per_second > best.bytes_per_second {
                best = Bandwidth { bytes_per_second, streams };
            }
        }
    }
    best
}
