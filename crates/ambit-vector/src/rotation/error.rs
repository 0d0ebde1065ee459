//! By how much can a computed rotation be wrong? A proved bound that holds everywhere.
//!
//! Let R be the exact rotation of a seed: signs, Hadamard matrices over the root of their size,
//! planes turned by 45 degrees, all in real numbers. Let u = 2^-24, and fl what is computed.
//!
//! Every step of a round is a matrix that keeps lengths up to a factor that is the same for all
//! vectors (on the window; the rest stays as it is), and each element that it computes meets one
//! rounding: fl(S v) = (I + D) S v with D diagonal, |D_ii| <= u. A scaling meets two, its own and
//! that of the stored constant. If v is a computed and w the exact vector before the step, then
//! |fl(S v) - S w| <= (1 + u) |S (v - w)| + u |S w|, so by induction over m steps
//! |fl(R x) - R x| <= ((1 + u)^m - 1) |x| <= m u / (1 - m u) |x|: [`error`].
//! A round has 2 steps for its scale, one for each level of the transform, and 3 for the planes
//! where the dimension is no power of two. The same count holds for the inverse.
//!
//! Products below the smallest normal f32 lose up to 2^-150 each (sums are exact when they
//! underflow). A transform of p elements grows that by sqrt(p) <= sqrt(dim), planes by sqrt(2);
//! the norm over dim elements adds another sqrt(dim): at most 2 dim 2^-150 a round, 6 rounds,
//! grown by at most 4 / 3 through later rounding: 16 dim 2^-150, [`underflow`].
//!
//! So inner products move by at most (2 g + g^2) |x| |y| with g = `error(dim)`, while nothing
//! underflows. All of it holds for finite elements whose norm is a finite f32.

use super::random::Plan;
use crate::bounds::UNIT_ROUNDOFF;

/// g such that |computed - exact| <= g |x| + [`underflow`], euclidean norms, for
/// [`Rotation::apply`](super::Rotation::apply) and [`Rotation::invert`](super::Rotation::invert).
///
/// 384: 4.7e-6. `dim`: 1 to [`MAX_DIM`](super::MAX_DIM).
pub fn error(dim: usize) -> f64 {
    let roundings = f64::from(Plan::of(dim).roundings()) * UNIT_ROUNDOFF;
    roundings / (1.0 - roundings) * (1.0 + 1e-12)
}

/// The absolute part of the bound: what products below the smallest normal f32 can lose.
pub fn underflow(dim: usize) -> f64 {
    // 16 dim 2^-150 = 8 dim 2^-149.
    8.0 * dim as f64 * f64::from(f32::from_bits(1))
}
