//! How closely to look, and how much memory to look with.

use std::fmt;

use super::capture;
use super::recorder::Recorder;
use crate::{Bytes, OverBudget, TooManyTags};

/// How closely to look, and how much memory to look with.
///
/// ```
/// use ambit_mem::Bytes;
/// use ambit_mem::profile::ProfileConfig;
///
/// let closer = ProfileConfig { interval: Bytes::kib(64), ..ProfileConfig::default() };
/// assert!(closer.footprint() < Bytes::mib(4));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileConfig {
    /// One byte in so many is looked at, on average, and the allocation that it belongs to is
    /// sampled. At 1, every allocation is. Default: 512 KiB.
    pub interval: Bytes,
    /// Sampled allocations that can be alive together; those beyond are counted as lost.
    /// Default: 32,768, enough for 16 GiB alive at the default interval.
    pub live_samples: usize,
    /// Distinct stacks; those beyond are reported as one. Default: 4,096.
    pub stacks: usize,
    /// Frames of a stack, at most 128; the innermost are kept. Default: 48.
    pub depth: usize,
    /// Points of the temporal series. Default: 1,024.
    pub points: usize,
    /// Seed of the samples: a program with one thread that does the same has the same samples
    /// again. Default: 0.
    pub seed: u64,
}

impl Default for ProfileConfig {
    fn default() -> Self {
        Self {
            interval: Bytes::kib(512),
            live_samples: 32_768,
            stacks: 4_096,
            depth: 48,
            points: 1_024,
            seed: 0,
        }
    }
}

impl ProfileConfig {
    /// Most that each of the tables may be asked to hold.
    const MOST: usize = 1 << 27;

    /// What the profiler's tables take, from start to stop.
    pub fn footprint(&self) -> Bytes {
        Recorder::footprint(&self.checked())
    }

    /// With every number in its range.
    pub(crate) fn checked(self) -> Self {
        Self {
            interval: Bytes::new(self.interval.get().clamp(1, 1 << 40)),
            live_samples: self.live_samples.clamp(1, Self::MOST),
            stacks: self.stacks.clamp(1, Self::MOST >> 7),
            depth: self.depth.clamp(1, capture::MOST),
            points: self.points.clamp(2, Self::MOST),
            seed: self.seed,
        }
    }
}

/// Why the profiler does not start, or does not profile a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProfileError {
    /// The process has a profiler already.
    Running,
    /// No allocation of this thread goes through a [`TrackingAllocator`](crate::TrackingAllocator).
    NotInstalled,
    /// The tables, or a report, do not fit the budget.
    OverBudget(OverBudget),
    /// No tag is left for a name.
    TooManyTags(TooManyTags),
    /// The system has no memory for the tables.
    NoMemory(Bytes),
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str(
                "a memory profiler is running in this process; stop it before another is started",
            ),
            Self::NotInstalled => f.write_str(
                "no memory to profile: make `ambit_mem::TrackingAllocator` the global allocator \
                 of this program",
            ),
            Self::OverBudget(refusal) => write!(f, "the memory profiler is {refusal}"),
            Self::TooManyTags(error) => error.fmt(f),
            Self::NoMemory(bytes) => {
                write!(f, "the system has no {bytes} for the profiler's tables")
            }
        }
    }
}

impl std::error::Error for ProfileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::OverBudget(refusal) => Some(refusal),
            Self::TooManyTags(error) => Some(error),
            _ => None,
        }
    }
}

impl From<TooManyTags> for ProfileError {
    fn from(error: TooManyTags) -> Self {
        Self::TooManyTags(error)
    }
}

impl From<OverBudget> for ProfileError {
    fn from(refusal: OverBudget) -> Self {
        Self::OverBudget(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let config = ProfileConfig::default();
        assert_eq!(config.interval, Bytes::kib(512));
        let numbers = (config.live_samples, config.stacks, config.depth, config.points);
        assert_eq!((numbers, config.seed), ((32_768, 4_096, 48, 1_024), 0));
        assert_eq!(config, config.checked());
        assert!((Bytes::mib(3)..Bytes::mib(4)).contains(&config.footprint()));
    }

    #[test]
    fn numbers_out_of_range_are_brought_into_it() {
        let none = ProfileConfig {
            interval: Bytes::ZERO,
            live_samples: 0,
            stacks: 0,
            depth: 0,
            points: 0,
            seed: 0,
        };
        let least = none.checked();
        assert_eq!((least.interval, least.live_samples, least.depth), (Bytes::new(1), 1, 1));
        assert!(Recorder::new(&least).is_some());
        let most = ProfileConfig { depth: 1000, ..none }.checked();
        assert_eq!(most.depth, 128);
    }
}
