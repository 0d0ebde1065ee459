//! What an allocator has handed out, and how fast.

use super::Tag;
use crate::Bytes;

/// What an allocator has handed out. Bytes are those asked for, not those that it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AllocatorStats {
    /// Bytes allocated and not freed.
    pub current: Bytes,
    /// The most that `current` ever was, or was since the peak was reset; exact to within 64 KiB
    /// for each thread that allocates.
    pub peak: Bytes,
    /// Allocations, growths and shrinkages included.
    pub allocations: u64,
    /// Frees, growths and shrinkages included.
    pub frees: u64,
    /// Bytes allocated so far, freed ones included.
    pub allocated: Bytes,
    /// Bytes freed so far.
    pub freed: Bytes,
    /// Microseconds from the first call that was counted to these figures.
    pub age_us: u64,
}

/// How fast something allocates.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AllocatorRate {
    /// Bytes allocated per second.
    pub bytes: f64,
    /// Allocations per second.
    pub allocations: f64,
}

impl AllocatorStats {
    /// The rate from the first call on; zero before any time has passed.
    pub fn rate(&self) -> AllocatorRate {
        self.rate_since(&Self::default())
    }

    /// The rate between `earlier` figures of the same allocator and these; zero where no time has
    /// passed.
    pub fn rate_since(&self, earlier: &Self) -> AllocatorRate {
        let us = self.age_us.saturating_sub(earlier.age_us);
        if us == 0 {
            return AllocatorRate::default();
        }
        let per_second = |now: u64, then: u64| now.saturating_sub(then) as f64 * 1e6 / us as f64;
        AllocatorRate {
            bytes: per_second(self.allocated.get(), earlier.allocated.get()),
            allocations: per_second(self.allocations, earlier.allocations),
        }
    }
}

/// What was allocated under one tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagStats {
    /// The tag.
    pub tag: Tag,
    /// Its figures.
    pub stats: AllocatorStats,
}

/// Microseconds on a clock that never goes back.
pub(super) fn now_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the write.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000 + time.tv_nsec.cast_unsigned() / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_came_in_between_by_the_time_in_between() {
        let earlier = AllocatorStats {
            allocated: Bytes::new(1_000),
            allocations: 10,
            age_us: 500_000,
            ..AllocatorStats::default()
        };
        let later = AllocatorStats {
            allocated: Bytes::new(4_000),
            allocations: 16,
            age_us: 2_000_000,
            ..AllocatorStats::default()
        };
        assert_eq!(later.rate_since(&earlier), AllocatorRate { bytes: 2_000.0, allocations: 4.0 });
        assert_eq!(later.rate(), AllocatorRate { bytes: 2_000.0, allocations: 8.0 });
        assert_eq!(later.rate_since(&later), AllocatorRate::default());
        assert_eq!(earlier.rate_since(&later), AllocatorRate::default());
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let first = now_us();
        assert!(first > 0);
        assert!(now_us() >= first);
    }
}
