//! Which rotation is it? A dimension and a seed, and the signs that follow from them.

use std::fmt;
use std::ops::Range;

use super::hadamard::{Turn, Way};
use crate::draws::Draws;
use crate::wide::Set;

/// The longest vector that is rotated.
pub const MAX_DIM: usize = 65_536;

/// Bits that a dimension's signs are padded to.
const WORD: usize = 32;

/// Why there is no such rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RotationError {
    /// The dimension is 0 or above [`MAX_DIM`].
    Dimension {
        /// What was asked for.
        dim: usize,
    },
}

impl fmt::Display for RotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Dimension { dim } => {
                write!(f, "vectors of {dim} numbers; 1 to {MAX_DIM} are rotated")
            }
        }
    }
}

impl std::error::Error for RotationError {}

/// What follows from the dimension alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) dim: usize,
    /// The largest power of two that is at most `dim`.
    pub(super) window: usize,
    /// 1 / sqrt(window), rounded.
    pub(super) scale: f32,
    pub(super) rounds: usize,
}

impl Plan {
    pub(super) fn of(dim: usize) -> Self {
        let window = 1 << dim.max(1).ilog2();
        let rounds = if window == dim { 3 } else { 6 };
        Self { dim, window, scale: (1.0 / (window as f64).sqrt()) as f32, rounds }
    }

    /// Words of signs of one round.
    pub(super) fn words(&self) -> usize {
        self.dim.div_ceil(WORD)
    }

    /// The words of round `round`.
    pub(super) fn signs<'a>(&self, signs: &'a [u32], round: usize) -> &'a [u32] {
        &signs[round * self.words()..][..self.words()]
    }

    /// The elements that round `round` transforms: the front and the back by turns.
    pub(super) fn window(&self, round: usize) -> Range<usize> {
        if round.is_multiple_of(2) { 0..self.window } else { self.dim - self.window..self.dim }
    }

    /// Roundings that an element meets, as the proof of the error counts them.
    pub(super) fn roundings(&self) -> u32 {
        let planes = if self.window == self.dim { 0 } else { 3 };
        self.rounds as u32 * (2 + self.window.ilog2() + planes)
    }
}

/// A random rotation of vectors of one dimension, found again from its seed.
///
/// Elements must be finite: a NaN or an infinity spreads over the whole row.
#[derive(Debug, Clone)]
pub struct Rotation {
    plan: Plan,
    seed: u64,
    /// rounds x words bits, 1 = negate.
    signs: Box<[u32]>,
}

impl Rotation {
    /// The rotation of `seed` for vectors of `dim` numbers.
    ///
    /// # Errors
    /// A dimension of 0 or above [`MAX_DIM`].
    ///
    /// # Cost
    /// Holds [`Rotation::footprint_of`] `dim` bytes.
    ///
    /// # Example
    /// ```
    /// use ambit_vector::rotation::Rotation;
    ///
    /// let (mut a, mut b) = ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]);
    /// Rotation::new(3, 1)?.apply(&mut a);
    /// Rotation::new(3, 1)?.apply(&mut b);
    /// assert_eq!(a, b);
    /// # Ok::<(), ambit_vector::rotation::RotationError>(())
    /// ```
    pub fn new(dim: usize, seed: u64) -> Result<Self, RotationError> {
        if dim == 0 || dim > MAX_DIM {
            return Err(RotationError::Dimension { dim });
        }
        let plan = Plan::of(dim);
        let mut draws = Draws::new(seed);
        let signs = (0..plan.rounds * plan.words()).map(|_| (draws.next_u64() >> 32) as u32);
        Ok(Self { plan, seed, signs: signs.collect() })
    }

    /// Numbers of a vector.
    pub fn dim(&self) -> usize {
        self.plan.dim
    }

    /// What the signs were drawn from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Bytes that this rotation holds, itself included.
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + size_of_val::<[u32]>(&self.signs)
    }

    /// Bytes that a rotation of `dim` holds: half a byte a dimension, and itself.
    pub fn footprint_of(dim: usize) -> usize {
        let plan = Plan::of(dim);
        size_of::<Self>() + size_of::<u32>() * plan.rounds * plan.words()
    }

    /// Rotates rows in place.
    ///
    /// `rows`: n x dim, row-major f32, finite. See [`error`](super::error) for how exact it is.
    ///
    /// # Panics
    /// If `rows` is no whole number of rows.
    ///
    /// # Cost
    /// About dim log2(dim) additions a round, 3 rounds where dim is a power of two, else 6: about
    /// a nanosecond a number with AVX-512. Allocates nothing.
    pub fn apply(&self, rows: &mut [f32]) {
        self.turn(Set::best(), Way::Forward, rows);
    }

    /// Rotates rows back, in place; what [`Rotation::apply`] has done is undone up to rounding.
    ///
    /// # Panics
    /// If `rows` is no whole number of rows.
    ///
    /// # Cost
    /// As [`Rotation::apply`].
    pub fn invert(&self, rows: &mut [f32]) {
        self.turn(Set::best(), Way::Back, rows);
    }

    pub(super) fn turn(&self, set: Set, way: Way, rows: &mut [f32]) {
        assert_eq!(rows.len() % self.plan.dim, 0, "not a whole number of rows");
        set.run(Turn { plan: &self.plan, signs: &self.signs, rows, way });
    }

    #[cfg(test)]
    pub(super) fn parts(&self) -> (&Plan, &[u32]) {
        (&self.plan, &self.signs)
    }
}
