//! Which score counts, and which rows cannot reach it? Plain code, compiled for each kernel.
//!
//! Scores in double precision have one order of summation on every processor: lane j of eight
//! adds the elements j, j + 8, j + 16, ... in that order, and the lanes are added as
//! ((0+4) + (2+6)) + ((1+5) + (3+7)). The product of two f32 is exact in f64 (48 of 53 bits,
//! exponents from -298 to 256), so a fused multiply-add could not change a bit of an inner
//! product; a squared difference is rounded after the difference, after the square and after
//! the sum, and is never fused. A NaN is always returned as the one `f64::NAN`, because the
//! sign and payload of a computed NaN depend on the processor. So every kernel returns the same
//! bits for the same input.

/// Terms of two vectors of one length, added up in the order of the module.
#[inline(always)]
fn sum_in_order(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0f64; 8];
    let (a_whole, a_rest) = a.as_chunks::<8>();
    let (b_whole, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for j in 0..8 {
            lanes[j] += term(f64::from(a[j]), f64::from(b[j]));
        }
    }
    for (j, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[j] += term(f64::from(a), f64::from(b));
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    let sum = ((a + e) + (c + g)) + ((b + f) + (d + h));
    if sum.is_nan() { f64::NAN } else { sum }
}

/// The inner product in double precision.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    sum_in_order(a, b, |a, b| a * b)
}

/// The squared euclidean distance in double precision.
#[inline(always)]
pub(super) fn l2sq(a: &[f32], b: &[f32]) -> f64 {
    sum_in_order(a, b, |a, b| {
        let difference = a - b;
        difference * difference
    })
}

/// A line below which a row is out, as a function of its norm.
///
/// A row is skipped if `sign * score < slope * norm + offset`, all in f32, and both sides are
/// finite. Every other row reaches the cut: a NaN or an infinity on either side says nothing
/// about the true score, so it never skips a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// 1.0 where large scores are good, -1.0 where small ones are.
    pub sign: f32,
    /// Change of the line with the norm of the row.
    pub slope: f32,
    /// The line at norm 0.
    pub offset: f32,
}

impl Cut {
    /// The cut that every row reaches.
    pub const NONE: Self = Self { sign: 1.0, slope: 0.0, offset: f32::NEG_INFINITY };

    /// Whether a row with this f32 score and norm is not skipped.
    #[inline(always)]
    pub fn reached(self, score: f32, norm: f32) -> bool {
        let score = self.sign * score;
        let line = self.slope * norm + self.offset;
        let skipped = (score < line) & (score >= f32::MIN) & (line <= f32::MAX);
        !skipped
    }
}

/// The first i >= `from` whose row reaches the cut, or the number of rows.
#[inline(always)]
pub(super) fn next_reaching(scores: &[f32], norms: &[f32], cut: Cut, from: usize) -> usize {
    const STEP: usize = 32;
    let n = scores.len().min(norms.len());
    let mut at = from;
    while at + STEP <= n {
        let (scores, norms) = (&scores[at..at + STEP], &norms[at..at + STEP]);
        let mut any = 0u32;
        for i in 0..STEP {
            any |= u32::from(cut.reached(scores[i], norms[i]));
        }
        if any != 0 {
            break;
        }
        at += STEP;
    }
    while at < n && !cut.reached(scores[at], norms[at]) {
        at += 1;
    }
    at
}
