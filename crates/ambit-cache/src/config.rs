//! How a cache is set up.

use std::time::Duration;

use ambit_mem::Bytes;

use crate::policy::Adaptive;
use crate::times::Clock;

/// How a cache is set up.
///
/// ```
/// use ambit_cache::CacheConfig;
/// use ambit_mem::Bytes;
/// use std::time::Duration;
///
/// let config: CacheConfig = CacheConfig { ttl: Some(Duration::from_secs(60)), ..CacheConfig::new(Bytes::mib(8)) };
/// assert_eq!(config.cap, Bytes::mib(8));
/// ```
#[derive(Debug, Clone)]
pub struct CacheConfig<P = Adaptive> {
    /// The most bytes that it may have: keys, values, and everything that it keeps for itself.
    pub cap: Bytes,
    /// Who goes next.
    pub policy: P,
    /// How long an entry lives after it came in, at most; to an eighth of a second. Eight bytes an
    /// entry more where this or `idle` is set.
    pub ttl: Option<Duration>,
    /// How long an entry lives after it was asked for last, at most.
    pub idle: Option<Duration>,
    /// Parts with a lock each, rounded up to a power of two; by default four for each processor, but
    /// none below 64 KiB, and at most 64.
    pub parts: Option<usize>,
    /// Where it takes the time from.
    pub clock: Clock,
}

impl<P: Default> CacheConfig<P> {
    /// A cap, and defaults for the rest.
    pub fn new(cap: Bytes) -> Self {
        Self {
            cap,
            policy: P::default(),
            ttl: None,
            idle: None,
            parts: None,
            clock: Clock::default(),
        }
    }
}

/// The smallest part that is worth a lock of its own.
const LEAST_PART: u64 = 64 << 10;
/// The most parts.
const MOST_PARTS: usize = 64;

impl<P> CacheConfig<P> {
    pub(crate) fn part_count(&self) -> usize {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let most = (self.cap.get() / LEAST_PART).clamp(1, 4 * processors as u64) as usize;
        let wanted = self.parts.map_or(most, |parts| parts.max(1).next_power_of_two());
        let wanted = wanted.min(MOST_PARTS);
        if wanted.is_power_of_two() { wanted } else { wanted.next_power_of_two() / 2 }
    }
}
