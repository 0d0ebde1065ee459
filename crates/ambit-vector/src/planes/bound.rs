//! Why a row below the cut cannot be in the answer: the proof, and its constants.
//!
//! x is a row, q a query; under cosine both are divided by their norms first, in f64, and
//! rounded, which moves each by at most 2^-24 of itself. B is the basis, one component a row,
//! eta >= |BB' - I| (Frobenius, so also spectral; for square B the same as |B'B - I|). u = 2^-24.
//!
//! **Basis.** With y = Bx and p = Bq exactly, |<q,x> - <p,y>| <= eta |q||x|. Computed
//! components are off by at most g = sqrt(components) (1 + eta) times
//! [`dot_error`](crate::bounds::dot_error) of |x| or |q|, and by underflow. So for the computed p and y,
//! |<q,x> - <p,y>| <= sigma |p||x| + underflow with sigma = [`basis_slack`], which is
//! eta + 2g + 4u and a hundredth more for products of small quantities. A model with
//! sigma > [`MAX_SLACK`] is refused. The encoder adds sigma |x| to the stored error of each
//! group, and |p| <= sum of |p_g| over the groups g, so what follows may take <p,y> for <q,x>.
//!
//! **Coarse.** Head and middle are coded as y' = s c, with c odd integers and s a bfloat16; the
//! query as p' = t z, with z of 8 bits and t a float32; both exact by definition. In a group,
//! <p,y> = <p',y'> + <p - p', y'> + <p, y - y'>. The first is an integer times s t. The second
//! is at most |p - p'||y'|, and |y'| <= (1 + 2^-8)|y| because s is the best scale but for
//! its rounding to 9 bits, and |y| <= |x| (1 + sigma). The third is at most |p_g| e_g, e_g the
//! stored error. The tail has the third alone, with y' = 0.
//!
//! **Fine.** What the coarse plane left of all groups, y - y', is coded as w = s2 c2, and e2 >=
//! |y - y' - w| is stored. The query is z of 16 bits: <p,y> is at most the coarse estimate +
//! <p'',w> + |p - p''||w| + |p| e2, and |w| <= 15 s2 sqrt(dim).
//!
//! **Rounding.** An estimate is a sum of products of at most 8 roundings each, whose magnitudes
//! add up to at most 1.1 sum |p_g| |x|; [`ROUNDING`] of sum |p_g| |x| is 32 u and more than
//! covers them. Bounds are sums of products of non-negative numbers, each rounded up in its
//! last place when it is stored, and then enlarged by [`ENLARGE`], more than their roundings.
//! So upper end = estimate + k n + sum |p_g| e_g, with k = sum |p_g - p'_g| (1 + 2^-7) +
//! 32 u sum |p_g|, and n = 1 under cosine, the stored norm (rounded up) otherwise.
//!
//! **Cut.** Inner product and cosine: the f64 score of a row differs from <q,x> by less than
//! [`ROUNDING`] of |q||x|, which k contains, so a row whose upper end is below the k-th best score
//! is worse than it. Euclidean: |q - x|^2 = |q|^2 + |x|^2 - 2 <q,x>, so what is bounded is <q,x> -
//! |x|^2 / 2, and the cut is (|q|^2 - d^2) / 2, d the k-th smallest distance; the square is
//! taken [`HALF_SQUARE`] times, less than a half by more than its roundings.
//!
//! **Followers.** Under inner product and cosine, a row x within distance r of a row l has <q,x> =
//! <q,l> + <q,x - l> <= upper end of l + |q| r. The f64 score of x may pass <q,x> by a rounding of
//! |q||x| <= |q|(|l| + r): that of |q||l| and of the sum in f32 is in l's upper end, whose k has room for
//! 32 u and needs less than 12, that of |q| r is in [`REACH`]. Distances are of rows as they are coded; r has
//! room for what rounding them to length 1 moves.
//!
//! What is not finite: the error of a row with an element or norm that is not finite, or is so
//! large that its square is not, or (under cosine) zero, is infinite; a NaN is never below the cut.

use crate::half::Half;

/// Added to k for each unit of sum |p_g|: 2^-19.
pub(super) const ROUNDING: f64 = 1.0 / (1 << 19) as f64;

/// By what the terms of a bound are enlarged: 1 + 2^-20.
pub(super) const ENLARGE: f64 = 1.0 + 1.0 / (1 << 20) as f64;

/// How often the square of a norm is taken where a half is meant: (1 - 2^-18) / 2.
pub(super) const HALF_SQUARE: f64 = 0.5 - 0.5 / (1 << 18) as f64;

/// How often |q| r is taken: 1 + 2^-16.
pub(super) const REACH: f64 = 1.0 + 1.0 / (1 << 16) as f64;

/// The largest norm whose square is surely finite in f32.
pub(super) const LARGEST_NORM: f64 = 1e18;

/// The smallest scale that is kept: below it a bfloat16 has fewer than 8 bits.
pub(super) const SMALLEST_SCALE: f64 = 1e-30;

/// What underflow can add to a component, to an error or to k.
pub(super) const UNDERFLOW: f64 = 1e-32;

/// By what the cut is lowered for products that underflow in a scan: each of fewer than 32 loses
/// 2^-149 at most.
pub(super) const SUBNORMAL: f64 = 1e-42;

/// The largest sigma of a model.
pub const MAX_SLACK: f64 = 1e-3;

/// sigma, for a basis of this `eta`, of `components` x `dim`.
pub(super) fn basis_slack(eta: f64, dim: usize, components: usize) -> f64 {
    let computed = crate::bounds::dot_error(dim) * (components as f64).sqrt() * (1.0 + eta);
    1.01 * (eta + 2.0 * computed + 4.0 * crate::bounds::UNIT_ROUNDOFF)
}

/// The smallest f32 that is not below `value`, which is not negative or NaN.
pub(super) fn rounded_up(value: f64) -> f32 {
    let nearest = value as f32;
    if f64::from(nearest) < value { nearest.next_up() } else { nearest }
}

/// The largest f32 that is not above `value`; a NaN is -infinity, the cut that cuts nothing.
pub(super) fn rounded_down(value: f64) -> f32 {
    if value.is_nan() {
        return f32::NEG_INFINITY;
    }
    let nearest = value as f32;
    if f64::from(nearest) > value { nearest.next_down() } else { nearest }
}

/// The bits of the smallest bfloat16 that is not below `value` >= 0; infinity for a NaN.
pub(super) fn bfloat16_up(value: f64) -> u16 {
    if value.is_nan() {
        return BFLOAT16_INFINITY;
    }
    let bits = rounded_up(value).to_bits();
    // Adding carries into the exponent, and from the largest finite number to infinity.
    let up = bits.saturating_add(0xffff) >> 16;
    up.min(u32::from(BFLOAT16_INFINITY)) as u16
}

/// The bits of the bfloat16 next to `value` >= 0; 0 where [`SMALLEST_SCALE`] says so.
pub(super) fn bfloat16(value: f64) -> u16 {
    if value.is_nan() || value < SMALLEST_SCALE {
        return 0;
    }
    Half::Bf16.narrow(value as f32)
}

/// Bits of infinity.
pub(super) const BFLOAT16_INFINITY: u16 = 0x7f80;

/// Bits of -infinity: the error of a row that is not there.
pub(super) const BFLOAT16_NOWHERE: u16 = 0xff80;
