//! Who goes first when bytes are short?
//!
//! Every account has a priority. A lower one is refused earlier: it may not use the last part of
//! the limit, its headroom, so that a foreground write finds room at the moment when caches and
//! queries have filled theirs. The headroom is a share of the limit, held against all bytes
//! in use, whoever holds them. Priority also bounds whom a request may push out: reclaimers of
//! accounts of the same or a lower priority only.

use crate::Bytes;

/// Who goes first when bytes are short.
///
/// | priority | may use | headroom left to others |
/// |---|---|---|
/// | `Write` | the whole limit | none |
/// | `Query` | all but 1/32 | `limit / 32` |
/// | `Cache` | all but 1/16 | `limit / 16` |
/// | `Prefetch` | all but 1/8 | `limit / 8` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Speculative reads.
    Prefetch,
    /// What could be read again.
    Cache,
    /// A running query.
    Query,
    /// A foreground write.
    Write,
}

impl Priority {
    /// The part of `limit` that this priority leaves to higher ones, rounded down.
    pub const fn headroom(self, limit: Bytes) -> Bytes {
        match self.share() {
            Some(share) => Bytes::new(limit.get() / share),
            None => Bytes::ZERO,
        }
    }

    /// The most bytes that may be in use after a reservation of this priority.
    pub const fn line(self, limit: Bytes) -> Bytes {
        limit.saturating_sub(self.headroom(limit))
    }

    /// The smallest limit whose line is at least `bytes`; [`Bytes::MAX`] where there is none.
    pub(crate) fn limit_for(self, bytes: Bytes) -> Bytes {
        let Some(share) = self.share() else {
            return bytes;
        };
        // line(L) = L - floor(L / s) >= L (s - 1) / s, so this start is never too large; the
        // line gains at least one byte in two steps, so a few steps correct the rounding.
        let start = u128::from(bytes.get()) * u128::from(share) / u128::from(share - 1);
        let mut limit = Bytes::new(u64::try_from(start).unwrap_or(u64::MAX).saturating_sub(2));
        while self.line(limit) < bytes && limit < Bytes::MAX {
            limit = limit.saturating_add(Bytes::new(1));
        }
        limit
    }

    const fn share(self) -> Option<u64> {
        match self {
            Self::Write => None,
            Self::Query => Some(32),
            Self::Cache => Some(16),
            Self::Prefetch => Some(8),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Priority; 4] =
        [Priority::Prefetch, Priority::Cache, Priority::Query, Priority::Write];

    #[test]
    fn headroom_is_the_documented_share() {
        let limit = Bytes::kib(64);
        assert_eq!(ALL.map(|p| p.headroom(limit).get()), [8192, 4096, 2048, 0]);
    }

    proptest! {
        #[test]
        fn limit_for_is_the_smallest_limit_that_fits(bytes in 0_u64..1 << 50) {
            let bytes = Bytes::new(bytes);
            for priority in ALL {
                let limit = priority.limit_for(bytes);
                prop_assert!(priority.line(limit) >= bytes);
                if let Some(below) = limit.checked_sub(Bytes::new(1)) {
                    prop_assert!(priority.line(below) < bytes);
                }
            }
        }
    }

    #[test]
    fn limit_for_what_fits_nowhere_is_the_maximum() {
        assert_eq!(Priority::Prefetch.limit_for(Bytes::MAX), Bytes::MAX);
    }
}
