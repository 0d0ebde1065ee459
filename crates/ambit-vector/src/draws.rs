//! Where do repeatable random numbers come from? SplitMix64 (Steele, Lea and Flood, "Fast
//! splittable pseudorandom number generators", 2014).
//!
//! The same seed gives the same stream on every processor and in every version: rotations and
//! trained codes are found again from a seed alone.

/// A stream of draws.
#[derive(Debug, Clone)]
pub(crate) struct Draws {
    state: u64,
}

impl Draws {
    /// The stream of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::Draws;

    #[test]
    fn the_stream_of_a_seed_is_the_published_one() {
        // The reference implementation (S. Vigna, splitmix64.c) with seed 1234567.
        let mut draws = Draws::new(1_234_567);
        assert_eq!(draws.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(draws.next_u64(), 3_203_168_211_198_807_973);
    }
}
