//! How old is what is alive?

use crate::Bytes;

/// Buckets of an [`AgeHistogram`].
const BUCKETS: usize = 32;

/// Live bytes by age, in buckets that double.
///
/// Bucket 0 holds what is younger than one millisecond; bucket i holds ages from 2^(i-1) to 2^i
/// milliseconds; the last one everything older. Bytes are estimated from samples.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AgeHistogram {
    bytes: [f64; BUCKETS],
}

/// One bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize))]
pub struct AgeBucket {
    /// Ages are at least this, in milliseconds.
    pub from_ms: u64,
    /// Ages are below this, in milliseconds; the last bucket has no end.
    pub to_ms: Option<u64>,
    /// Live bytes of these ages.
    pub live_bytes: u64,
}

impl AgeHistogram {
    pub(crate) fn add(&mut self, age_us: u64, bytes: f64) {
        let bucket = (u64::BITS - (age_us / 1000).leading_zeros()) as usize;
        self.bytes[bucket.min(BUCKETS - 1)] += bytes;
    }

    /// The buckets that hold something, youngest first.
    pub fn buckets(&self) -> impl Iterator<Item = AgeBucket> + '_ {
        self.bytes.iter().enumerate().filter(|(_, bytes)| **bytes > 0.0).map(|(at, bytes)| {
            AgeBucket {
                from_ms: if at == 0 { 0 } else { 1 << (at - 1) },
                to_ms: (at + 1 < BUCKETS).then_some(1 << at),
                live_bytes: bytes.round() as u64,
            }
        })
    }

    /// Live bytes of all ages.
    pub fn total(&self) -> Bytes {
        Bytes::new(self.bytes.iter().sum::<f64>().round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_fall_into_buckets_that_double_and_edges_belong_to_the_older() {
        for (age_us, from_ms, to_ms) in [
            (0, 0, Some(1)),
            (999, 0, Some(1)),
            (1000, 1, Some(2)),
            (1999, 1, Some(2)),
            (2000, 2, Some(4)),
            (60_000_000, 32768, Some(65536)),
            (u64::MAX, 1 << 30, None),
        ] {
            let mut ages = AgeHistogram::default();
            ages.add(age_us, 5.0);
            let expected = AgeBucket { from_ms, to_ms, live_bytes: 5 };
            assert_eq!(ages.buckets().collect::<Vec<_>>(), [expected], "{age_us}");
            assert_eq!(ages.total(), Bytes::new(5));
        }
    }
}
