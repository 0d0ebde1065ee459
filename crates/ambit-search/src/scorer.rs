//! Which rows can be skipped without a doubt? Scores, and the cut that a threshold implies.
//!
//! The score of a row is computed in f64 in one fixed order ([`Kernels::dot_f64`]):
//! inner product = dot; cosine = dot / sqrt(qq xx), NaN for a row of zeros; euclidean =
//! sqrt(l2sq). Let t be the k-th best score of any k rows already scored, s the f32 score of
//! another row x, q the query. The final k-th best is at least as good as t, so a row that is
//! strictly worse than t is not in the answer; equal ones are kept, because keys decide there.
//! Claim: a row below the cut of `t` is strictly worse than t. With G and h from
//! [`ambit_vector::bounds`], which cover the rounding of both s and the f64 score:
//!
//! - inner product: score <= s + G |q||x| + h, so s < t - h - G |q||x| suffices;
//! - cosine: score <= (s + h) / |q||x| + G', where G' adds the f64 rounding of the norms, root
//!   and quotient, so s < (t - G') |q||x| - h suffices;
//! - euclidean: l2sq >= (s - h) / (1 + G), so s > t^2 (1 + G)(1 + 2^-30) + h suffices, where
//!   2^-30 covers the root and the square of t in f64.
//!
//! Each is a line in |x|: s < slope |x| + offset ([`Cut`]). It is evaluated in f32 with the
//! stored norm n, |n - |x|| <= 2u |x| + 2^-149, u = 2^-24, and two roundings, which move it by
//! at most 5u |slope| n + 2u |offset| + 2^-149 (|slope| + 2). So both are lowered by 16u of
//! themselves and `offset` by 2^-148 |slope| + 2^-140 more, then rounded down to f32. What is
//! not finite (f32 overflow, NaN or infinite rows) is never skipped. A NaN is no threshold.

use ambit_vector::{Cut, Kernels, Metric, bounds, kernels};

/// The order of scores as one number: larger is better, NaN is worst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goodness(f64);

impl Goodness {
    /// The goodness of this number; not for NaN.
    pub(crate) fn of(value: f64) -> Self {
        Self(value)
    }

    /// The number that it was made of.
    pub(crate) fn value(self) -> f64 {
        self.0
    }

    /// That of a score.
    fn of_score(metric: Metric, score: f64) -> Self {
        Self(if metric == Metric::Euclidean { -score } else { score })
    }

    /// Compares so that the better score is greater; zeros of both signs are equal, and so are
    /// all NaN.
    pub(crate) fn compare(self, other: Self) -> std::cmp::Ordering {
        self.0.partial_cmp(&other.0).unwrap_or_else(|| other.0.is_nan().cmp(&self.0.is_nan()))
    }

    /// A threshold that this goodness proves: itself, or none for NaN.
    pub(crate) fn threshold(self) -> f64 {
        if self.0.is_nan() { f64::NEG_INFINITY } else { self.0 }
    }
}

/// The score of a vector for a query, as searches give it, in f64: inner product, cosine (NaN where one is zero), or
/// euclidean distance. Both have dim f32.
pub fn score(query: &[f32], vector: &[f32], metric: Metric) -> f64 {
    let scorer = Scorer::new(query, metric);
    scorer.score(scorer.goodness(vector))
}

/// Compares two scores of a metric so that the better one is greater; NaN is worst.
pub fn compare_scores(metric: Metric, a: f64, b: f64) -> std::cmp::Ordering {
    Goodness::of_score(metric, a).compare(Goodness::of_score(metric, b))
}

/// One query, ready to score rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scorer<'q> {
    kernels: Kernels,
    metric: Metric,
    vector: &'q [f32],
    norm_sq: f64,
}

impl<'q> Scorer<'q> {
    /// `vector`: dim f32, all finite.
    pub(crate) fn new(vector: &'q [f32], metric: Metric) -> Self {
        let kernels = kernels();
        Self { kernels, metric, vector, norm_sq: kernels.norm_sq_f64(vector) }
    }

    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }

    pub(crate) fn vector(&self) -> &'q [f32] {
        self.vector
    }

    pub(crate) fn dim(&self) -> usize {
        self.vector.len()
    }

    /// Whether the metric is undefined for this query.
    pub(crate) fn is_undefined(&self) -> bool {
        self.metric == Metric::Cosine && self.norm_sq == 0.0
    }

    /// The f32 scores of n rows: inner products, or squared distances under euclidean.
    pub(crate) fn scan(&self, rows: &[f32], out: &mut [f32]) {
        match self.metric {
            Metric::Euclidean => self.kernels.l2sq_rows(self.vector, rows, out),
            _ => self.kernels.dot_rows(self.vector, rows, out),
        }
    }

    /// The f32 scores of m queries and n rows, m x n; like [`Scorer::scan`].
    pub(crate) fn scan_block(&self, queries: &[f32], rows: &[f32], out: &mut [f32]) {
        match self.metric {
            Metric::Euclidean => self.kernels.l2sq_block(self.dim(), queries, rows, out),
            _ => self.kernels.dot_block(self.dim(), queries, rows, out),
        }
    }

    /// The first row at or after `from` that `cut` does not skip.
    pub(crate) fn next(&self, scores: &[f32], norms: &[f32], cut: Cut, from: usize) -> usize {
        self.kernels.next_reaching(scores, norms, cut, from)
    }

    /// The goodness of a row, from its score in f64.
    pub(crate) fn goodness(&self, row: &[f32]) -> Goodness {
        Goodness(match self.metric {
            Metric::Euclidean => -self.kernels.l2sq_f64(self.vector, row).sqrt(),
            Metric::Cosine => {
                let norms = self.norm_sq * self.kernels.norm_sq_f64(row);
                self.kernels.dot_f64(self.vector, row) / norms.sqrt()
            }
            _ => self.kernels.dot_f64(self.vector, row),
        })
    }

    /// The goodness that has this score.
    pub(crate) fn goodness_of(&self, score: f64) -> Goodness {
        Goodness::of_score(self.metric, score)
    }

    /// The score that has this goodness.
    pub(crate) fn score(&self, goodness: Goodness) -> f64 {
        match self.metric {
            _ if goodness.0.is_nan() => f64::NAN,
            Metric::Euclidean => goodness.0.abs(),
            _ => goodness.0,
        }
    }

    /// The cut below which rows are strictly worse than `threshold`, a goodness.
    pub(crate) fn cut(&self, threshold: f64) -> Cut {
        let error = bounds::dot_error(self.dim());
        if threshold == f64::NEG_INFINITY || !error.is_finite() {
            return Cut::NONE;
        }
        let norm = self.norm_sq.sqrt();
        let lost = bounds::underflow(self.dim());
        match self.metric {
            Metric::Euclidean => {
                let error = bounds::l2sq_error(self.dim());
                let margin = 1.0 + 1.0 / f64::from(1u32 << 30);
                let reach = threshold * threshold * (1.0 + error) * margin + lost;
                line(-1.0, 0.0, -reach)
            }
            Metric::Cosine => {
                let checked = (bounds::chain(self.dim()) + 8) as f64 * 4.0 * f64::EPSILON;
                line(1.0, (threshold - error - checked) * norm, -lost)
            }
            _ => line(1.0, -error * norm, threshold - lost),
        }
    }
}

/// The cut of this line, lowered by what its evaluation in f32 can add.
fn line(sign: f32, slope: f64, offset: f64) -> Cut {
    let sixteen_u = 16.0 * bounds::UNIT_ROUNDOFF;
    let norm_rounding = slope.abs() * 2f64.powi(-148) + 2f64.powi(-140);
    Cut {
        sign,
        slope: rounded_down(slope - slope.abs() * sixteen_u),
        offset: rounded_down(offset - offset.abs() * sixteen_u - norm_rounding),
    }
}

/// The largest f32 that is not above `value`, never +infinity.
fn rounded_down(value: f64) -> f32 {
    if value >= f64::from(f32::MAX) {
        return f32::MAX;
    }
    let nearest = value as f32;
    if f64::from(nearest) > value { nearest.next_down() } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Holds the claim where it is sharpest: a row as good as the threshold is not skipped,
    /// with the f32 score of any kernel, in a scan or in a block.
    fn assert_reaches_its_own_cut(query: &[f32], row: &[f32]) {
        for kernels in Kernels::available() {
            for metric in Metric::ALL {
                let scorer = Scorer { kernels, ..Scorer::new(query, metric) };
                if scorer.is_undefined() {
                    continue;
                }
                let goodness = scorer.goodness(row);
                let cut = scorer.cut(goodness.threshold());
                let (mut scan, mut block) = ([0.0], [0.0]);
                scorer.scan(row, &mut scan);
                scorer.scan_block(query, row, &mut block);
                for score in [scan[0], block[0]] {
                    let reached = cut.reached(score, kernels.norm(row));
                    assert!(reached, "{metric} {kernels:?} {score} {goodness:?} {cut:?}");
                }
            }
        }
    }

    fn scaled(parts: &[(i8, i8)], power: i32) -> Vec<f32> {
        let element = |(value, shift): &(i8, i8)| {
            let value = f64::from(*value) + f64::from(*shift) / 1000.0;
            (value * 2f64.powi(power + i32::from(*shift) / 16)) as f32
        };
        parts.iter().map(element).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_row_reaches_the_cut_of_its_own_score(
            query in prop::collection::vec(any::<(i8, i8)>(), 40),
            row in prop::collection::vec(any::<(i8, i8)>(), 40),
            dim in 1usize..41,
            powers in (-150i32..118, -150i32..118),
        ) {
            let query = scaled(&query[..dim], powers.0);
            let near: Vec<f32> = query.iter().map(|element| element.next_up()).collect();
            assert_reaches_its_own_cut(&query, &near);
            assert_reaches_its_own_cut(&query, &scaled(&row[..dim], powers.1));
            assert_reaches_its_own_cut(&query, &scaled(&row[..dim], powers.0));
        }

        #[test]
        fn a_row_of_ordinary_size_reaches_the_cut_of_its_own_score(
            query in prop::collection::vec(-1f32..1.0, 400),
            row in prop::collection::vec(-1f32..1.0, 400),
            dim in 1usize..400,
        ) {
            assert_reaches_its_own_cut(&query[..dim], &row[..dim]);
        }
    }

    #[test]
    fn a_row_of_any_bits_reaches_the_cut_of_its_own_score() {
        let query = [1.5, -2.0, 1e-40, 3e38];
        let strange = [0.0, -0.0, 1.0, -1e-45, 1e-38, 3e38, f32::MIN, f32::INFINITY, f32::NAN];
        for row in 0..9usize.pow(4) {
            let row = [row, row / 9, row / 81, row / 729].map(|pick| strange[pick % 9]);
            assert_reaches_its_own_cut(&query, &row);
            assert_reaches_its_own_cut(&query[..3], &row[..3]);
            assert_reaches_its_own_cut(&query[2..3], &row[..1]);
        }
    }

    #[test]
    fn a_score_that_overflows_on_the_way_is_not_skipped() {
        // The product of the first elements is below the range of f32, the sum is not.
        assert_reaches_its_own_cut(&[1e3, 1.0], &[-4e35, 3e38]);
        assert_reaches_its_own_cut(&[1e3, 1.0], &[4e35, -3e38]);
    }

    #[test]
    fn better_scores_compare_greater_and_nan_is_worst() {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let order = |a, b| Goodness(a).compare(Goodness(b));
        assert_eq!(order(1.0, 0.5), Greater);
        assert_eq!(order(-0.0, 0.0), Equal);
        assert_eq!(order(f64::NAN, f64::NEG_INFINITY), Less);
        assert_eq!(order(f64::NEG_INFINITY, f64::NAN), Greater);
        assert_eq!(order(f64::NAN, -f64::NAN), Equal);
    }

    #[test]
    fn rounding_down_never_rounds_up() {
        for value in [0.1, -0.1, 1e300, -1e300, 1e-320, -1e-320, f64::NEG_INFINITY, 1e38] {
            assert!(f64::from(rounded_down(value)) <= value, "{value}");
        }
        assert_eq!(rounded_down(f64::INFINITY), f32::MAX);
    }
}
