//! The ways that a cache can go.
//!
//! No way is best everywhere. Bursts of recency want LRU, mixes of one-timers and popular keys
//! S3-FIFO, loops larger than the cache LIRS, and objects of very different sizes
//! GreedyDual-Size-Frequency, where hits count and not bytes.

/// A way to choose who goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// S3-FIFO with a small queue of 15 % of the bytes.
    S3Fifo,
    /// Low inter-reference recency: LIRS (Jiang and Zhang, SIGMETRICS 2002).
    Lirs,
    /// Least recently used, with lazy promotion.
    Lru,
    /// GreedyDual-Size-Frequency (Cherkasova, 1998).
    Value,
    /// S3-FIFO with a small queue of 40 %: half way to LRU, until more is known.
    Cautious,
}

impl Way {
    /// The ways that are tried on samples.
    pub(crate) const TRIED: [Self; 4] = [Self::S3Fifo, Self::Lirs, Self::Lru, Self::Value];

    /// Where the votes for it are counted.
    pub(crate) const fn vote(self) -> usize {
        match self {
            Self::S3Fifo | Self::Cautious => 0,
            Self::Lirs => 1,
            Self::Lru => 2,
            Self::Value => 3,
        }
    }

    /// The small queue's part of the bytes, in hundredths.
    pub(crate) const fn small_share(self) -> u64 {
        match self {
            Self::S3Fifo => 15,
            Self::Cautious => 40,
            Self::Lirs => 1,
            Self::Lru | Self::Value => 100,
        }
    }

    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    pub(crate) const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::S3Fifo,
            1 => Self::Lirs,
            2 => Self::Lru,
            3 => Self::Value,
            _ => Self::Cautious,
        }
    }
}
