//! Where the score of a row surely is.

/// The score lies in [`low`, `high`]; everywhere, where nothing is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// No score is below.
    pub low: f32,
    /// No score is above.
    pub high: f32,
}

impl Interval {
    /// What is known of a score without any code.
    pub const ANYWHERE: Self = Self { low: f32::NEG_INFINITY, high: f32::INFINITY };

    /// Whether a score lies in it; an undefined score (NaN) lies only where nothing is known.
    pub fn contains(self, score: f64) -> bool {
        if score.is_nan() {
            return self == Self::ANYWHERE;
        }
        f64::from(self.low) <= score && score <= f64::from(self.high)
    }
}
