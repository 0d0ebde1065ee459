//! Repeatable numbers: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
//! generators", 2014), and normal deviates from it by Box and Muller (1958).

/// A stream of draws; the same seed gives the same stream everywhere.
pub struct Noise {
    state: u64,
    spare: Option<f32>,
}

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self { state: seed, spare: None }
    }

    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A draw from the normal distribution of mean 0 and deviation 1.
    pub fn normal(&mut self) -> f32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let bits = self.next_u64();
        // In (0, 1]: the logarithm is finite.
        let radius = ((bits >> 40) as f32 + 1.0) / (1 << 24) as f32;
        let angle = (bits & 0xFF_FFFF) as f32 / (1 << 24) as f32 * std::f32::consts::TAU;
        let length = (-2.0 * radius.ln()).sqrt();
        let (sin, cos) = angle.sin_cos();
        self.spare = Some(length * sin);
        length * cos
    }
}

/// Divides `row` by its euclidean length, unless that is 0.
pub fn normalise(row: &mut [f32]) {
    let length = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length > 0.0 {
        row.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_repeat_and_have_the_moments_of_the_normal_distribution() {
        let draw = |seed| {
            let mut noise = Noise::new(seed);
            (0..100_000).map(|_| noise.normal()).collect::<Vec<f32>>()
        };
        assert_eq!(draw(1), draw(1));
        let draws = draw(2);
        let mean = draws.iter().sum::<f32>() / draws.len() as f32;
        let variance = draws.iter().map(|x| x * x).sum::<f32>() / draws.len() as f32;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
