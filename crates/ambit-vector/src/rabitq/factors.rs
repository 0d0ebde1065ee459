//! What stands beside the bits of a row? A scale, an error, perhaps a norm, in arrays of 32.
//!
//! In a block they follow the planes: 32 scales (f32), 32 errors (the upper half of an f32,
//! rounded up) and, unless the metric is the inner product, 32 norms (f32): the squared norm of
//! the row minus the centroid for euclidean distance, the norm of the row for the cosine.

use crate::blocks::ROWS;

const SCALES: usize = 4 * ROWS;
const ERRORS: usize = 2 * ROWS;
const NORMS: usize = 4 * ROWS;

/// Bytes of the factors of a block.
pub(super) const fn factors_len(norms: bool) -> usize {
    SCALES + ERRORS + if norms { NORMS } else { 0 }
}

/// The factors of one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Factors {
    /// f: the row minus the centroid is about f times its levels.
    pub(super) scale: f32,
    /// At least the distance between the row and what its code stands for.
    pub(super) error: f32,
    /// See the module; 0 for the inner product.
    pub(super) norm: f32,
}

impl Factors {
    /// Of a row of which nothing is known.
    pub(super) const UNKNOWN: Self = Self { scale: 0.0, error: f32::INFINITY, norm: f32::INFINITY };

    /// Writes the factors of `row`.
    pub(super) fn put(self, factors: &mut [u8], row: usize) {
        factors[4 * row..][..4].copy_from_slice(&self.scale.to_le_bytes());
        factors[SCALES + 2 * row..][..2].copy_from_slice(&up(self.error).to_le_bytes());
        if let Some(norm) = factors.get_mut(SCALES + ERRORS + 4 * row..).filter(|f| !f.is_empty()) {
            norm[..4].copy_from_slice(&self.norm.to_le_bytes());
        }
    }

    /// Reads the factors of `row`.
    pub(super) fn get(factors: &[u8], row: usize) -> Self {
        let float = |at: usize| {
            let bytes = factors.get(at..).and_then(|bytes| bytes.first_chunk::<4>());
            bytes.map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
        };
        let at = SCALES + 2 * row;
        let error = u16::from_le_bytes([factors[at], factors[at + 1]]);
        Self {
            scale: float(4 * row),
            error: f32::from_bits(u32::from(error) << 16),
            norm: float(SCALES + ERRORS + 4 * row),
        }
    }
}

/// All scales of a block.
pub(super) fn scales(factors: &[u8]) -> &[[u8; 4]] {
    factors[..SCALES].as_chunks::<4>().0
}

/// All norms of a block.
pub(super) fn norms(factors: &[u8]) -> &[[u8; 4]] {
    factors[SCALES + ERRORS..].as_chunks::<4>().0
}

/// The upper half of an f32 that is at least `error`, which is not negative.
fn up(error: f32) -> u16 {
    let bits = error.to_bits();
    if bits >= f32::INFINITY.to_bits() {
        return (f32::INFINITY.to_bits() >> 16) as u16;
    }
    (bits.saturating_add(0xFFFF) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn errors_are_rounded_up_by_less_than_a_hundredth(bits in 0u32..0x7F80_0000) {
            let error = f32::from_bits(bits);
            let stored = f32::from_bits(u32::from(up(error)) << 16);
            prop_assert!(stored >= error);
            prop_assert!(error < 1e-30 || stored <= error * 1.008 || stored == f32::INFINITY);
        }
    }

    #[test]
    fn what_is_not_finite_has_no_bound() {
        for error in [f32::INFINITY, f32::NAN, f32::MAX] {
            assert_eq!(f32::from_bits(u32::from(up(error)) << 16), f32::INFINITY);
        }
        assert_eq!(up(0.0), 0);
    }
}
