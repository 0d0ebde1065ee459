//! Numbers for tests.
#![allow(dead_code, reason = "each test file uses some of it")]

/// A small generator, so that a failure can be replayed from its seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// In [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    pub fn vector(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.unit()).collect()
    }

    /// Any finite f32 with an exponent in a window of `spread` powers of two around `middle`.
    pub fn scaled(&mut self, len: usize, middle: i32, spread: u64) -> Vec<f32> {
        let vector = (0..len).map(|_| {
            let power = middle + (self.next() % (2 * spread + 1)) as i32 - spread as i32;
            (f64::from(self.unit()) * 2f64.powi(power)) as f32
        });
        vector.collect()
    }
}

/// Lengths that take every path through the loops; fewer under an interpreter.
pub fn lengths() -> Vec<usize> {
    if cfg!(miri) {
        return vec![0, 1, 7, 15, 16, 17, 31, 33, 63, 64, 65, 130];
    }
    (0..=300).chain([383, 384, 511, 512, 513, 1000, 1536, 4095, 4096, 65_536]).collect()
}
