//! Which allocations are looked at, and how many does each of them stand for?
//!
//! Imagine a coin for every byte that is allocated, which comes up with probability 1 / r, r
//! being the mean interval; an allocation is sampled if a coin of one of its bytes comes up.
//! Instead of tossing, a thread draws the number of bytes up to the next success (a geometric
//! number) and counts down. As the geometric distribution forgets, drawing anew after each
//! sample changes nothing. An allocation of s bytes is sampled with probability
//! p(s) = 1 - (1 - 1/r)^s, so counting each sampled one as 1 / p(s) allocations of s bytes
//! makes every sum over samples an unbiased estimate of the sum over all allocations (the
//! estimator of Horvitz and Thompson, 1952). At an interval of one byte everything is sampled,
//! and counts once.

/// The chance of a coin, and what follows from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// ln(1 - 1/r); minus infinity at one byte.
    ln_miss: f64,
}

impl Rate {
    /// A mean interval of `interval` bytes, at least 1.
    pub(crate) fn new(interval: u64) -> Self {
        Self { ln_miss: (-1.0 / interval.max(1) as f64).ln_1p() }
    }

    /// Bytes up to and with the next success, at least 1.
    pub(crate) fn draw(self, random: &mut SplitMix) -> u64 {
        // (0, 1]: the logarithm is finite.
        let uniform = ((random.next() >> 11) + 1) as f64 * (1.0 / (1u64 << 53) as f64);
        let bytes = (uniform.ln() / self.ln_miss).ceil();
        (bytes as u64).max(1)
    }

    /// How many allocations of `size` bytes a sampled one stands for; infinite for none.
    pub(crate) fn weight(self, size: u64) -> f64 {
        -1.0 / (self.ln_miss * size as f64).exp_m1()
    }
}

/// Numbers that look random, from a seed (Steele, Lea, Flood: Fast splittable pseudorandom
/// number generators, 2014).
#[derive(Debug, Clone, Copy)]
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

/// Spreads every bit of `word` over all bits.
pub(crate) const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts down through a program that allocates `sizes` in turn, and estimates its totals.
    fn estimate(sizes: &[u64], interval: u64, seed: u64) -> (f64, f64) {
        let (rate, mut random) = (Rate::new(interval), SplitMix::new(seed));
        let mut left = rate.draw(&mut random);
        let (mut count, mut bytes) = (0.0, 0.0);
        for &size in sizes {
            if size < left {
                left -= size;
                continue;
            }
            count += rate.weight(size);
            bytes += rate.weight(size) * size as f64;
            left = rate.draw(&mut random);
        }
        (count, bytes)
    }

    #[test]
    fn estimates_over_seeds_have_no_bias_and_the_variance_of_the_theory() {
        let sizes: Vec<u64> =
            (0..2000).map(|index| [16, 48, 200, 4096, 70_000][index % 5]).collect();
        let (seeds, interval) = (if cfg!(miri) { 4 } else { 4000 }, 8192);
        let rate = Rate::new(interval);
        // Each allocation is an independent trial: the variance of count / p is (1 - p) / p.
        let per_size = |value: fn(f64) -> f64| -> (f64, f64) {
            sizes.iter().fold((0.0, 0.0), |(sum, variance), &size| {
                let weight = rate.weight(size);
                let worth = value(size as f64);
                (sum + worth, variance + worth * worth * (weight - 1.0))
            })
        };
        let (counts, bytes): (Vec<f64>, Vec<f64>) =
            (0..seeds).map(|seed| estimate(&sizes, interval, mix(seed))).unzip();
        for (estimates, (truth, variance)) in
            [(counts, per_size(|_| 1.0)), (bytes, per_size(|size| size))]
        {
            let n = seeds as f64;
            let mean = estimates.iter().sum::<f64>() / n;
            let seen = estimates.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let error = (mean - truth) / (variance / n).sqrt();
            assert!(error.abs() < 4.0, "mean {mean}, truth {truth}: {error} standard errors");
            if !cfg!(miri) {
                assert!((0.85..1.15).contains(&(seen / variance)), "{seen} for {variance}");
            }
        }
    }

    #[test]
    fn an_interval_of_one_byte_takes_everything_once() {
        let sizes = [1, 2, 3, 1 << 40];
        let (count, bytes) = estimate(&sizes, 1, 7);
        // Miri's logarithms and exponentials are off by a little, on purpose.
        let off = if cfg!(miri) { 1e-9 } else { 0.0 };
        assert!((count / 4.0 - 1.0).abs() <= off, "{count}");
        assert!((bytes / (6.0 + (1u64 << 40) as f64) - 1.0).abs() <= off, "{bytes}");
    }

    #[test]
    fn the_mean_interval_is_the_mean_of_what_is_drawn() {
        for interval in [2, 100, 512 << 10] {
            let (rate, mut random) = (Rate::new(interval), SplitMix::new(interval));
            let n = if cfg!(miri) { 100 } else { 100_000 };
            let mean = (0..n).map(|_| rate.draw(&mut random) as f64).sum::<f64>() / f64::from(n);
            let off = (mean / interval as f64 - 1.0).abs() * f64::from(n).sqrt();
            assert!(off < 4.5, "{mean} for {interval}");
        }
    }
}
