//! By how much can an f32 score be wrong? Proved bounds that hold for every kernel.
//!
//! Notation: u = 2^-24 is the unit roundoff of f32, g(m) = m u / (1 - m u), and "fl" what a
//! kernel returns. N. Higham, Accuracy and Stability of Numerical Algorithms (2nd ed., 2002),
//! lemma 3.1: a product of m factors (1 + d), |d| <= u, is 1 + t with |t| <= g(m).
//!
//! Chain. A kernel adds the terms of a row of n elements in L >= 4 lanes, each lane a chain of
//! at most ceil(n / L) multiply-adds, and then adds the lanes (and, in scans, two registers) in
//! a tree of depth at most 5. Padding with zeros adds no rounding. So each term meets at most
//! 1 rounding as a product, ceil(n / 4) as it is added up, and 5 in the tree: fewer than
//! m = ceil(n / 4) + 8 ([`chain`]; a squared difference meets 2 more in the difference, which
//! counts twice, and stays within m).
//!
//! Inner product. fl = sum a_i b_i (1 + t_i) with |t_i| <= g(m), so by Cauchy-Schwarz
//! |fl - a.b| <= g(m) sum |a_i b_i| <= g(m) |a| |b|. Underflow adds at most 2^-150 for each
//! product (sums are exact when they underflow), n times, grown by at most 1 + g(m) < 2: n 2^-149.
//!
//! Squared distance. All terms are >= 0, so the bound is relative: |fl - d| <= g(m) d + n 2^-149.
//!
//! f64. The checked scores obey the same proof with u = 2^-53 and L = 8, and never underflow;
//! [`dot_error`] and [`l2sq_error`] include that, so they bound |fl - checked score| as well.
//!
//! All of it holds while nothing overflows: a finite fl is proof of that, since an infinity or
//! NaN in any partial result survives to the end.

/// The unit roundoff of f32.
pub const UNIT_ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;

/// The longest chain of roundings that a term of a row of `dim` elements meets.
pub fn chain(dim: usize) -> usize {
    dim.div_ceil(4) + 8
}

/// g such that |fl(dot(a, b)) - dot(a, b)| <= g |a| |b| + [`underflow`], for any kernel and also
/// against the checked f64 score; infinite for a dimension (over 2^25) that has no such bound.
pub fn dot_error(dim: usize) -> f64 {
    let roundings = chain(dim) as f64 * UNIT_ROUNDOFF;
    if roundings >= 0.5 {
        return f64::INFINITY;
    }
    // The f64 score is off by at most (n / 8 + 8) 2^-53 |a| |b| more: below chain * 2^-52.
    let checked = chain(dim) as f64 * f64::EPSILON;
    (roundings / (1.0 - roundings) + checked) * (1.0 + 1e-12)
}

/// g such that |fl(l2sq(a, b)) - l2sq(a, b)| <= g l2sq(a, b) + [`underflow`], for any kernel and
/// also against the checked f64 score.
pub fn l2sq_error(dim: usize) -> f64 {
    dot_error(dim)
}

/// The absolute part of both bounds: what products below the smallest normal f32 can lose.
pub fn underflow(dim: usize) -> f64 {
    dim as f64 * f64::from(f32::from_bits(1))
}
