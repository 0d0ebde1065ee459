//! What must an instruction set offer so that codes can be scored?
//!
//! One register of `WIDTH` bytes and one of i32 sums. A byte is an int8, a level 0 to 255, two
//! levels 0 to 15 (`low` and `high`), or eight bits. Sums count modulo 2^32 in any order, so
//! every instruction set gives the same result, and it is exact where the true sum fits.
//! What the loops do with registers is not known here.

/// Weights of a query for the loops: the same integers in two forms.
///
/// `words` has them as they are, `high` and `low` as 128 high + low with low in [-64, 63]; each
/// is readable for `WIDTH` weights from wherever a loop loads.
#[derive(Clone, Copy)]
pub(super) struct WeightsAt {
    pub(super) words: *const i16,
    pub(super) high: *const i8,
    pub(super) low: *const i8,
}

impl WeightsAt {
    /// The weights from `count` on.
    ///
    /// # Safety
    ///
    /// There are at least `count` weights.
    #[inline(always)]
    pub(super) unsafe fn skip(self, count: usize) -> Self {
        // SAFETY: the caller vouches that each of the three has `count` elements.
        unsafe {
            Self {
                words: self.words.add(count),
                high: self.high.add(count),
                low: self.low.add(count),
            }
        }
    }
}

/// One register of bytes.
///
/// # Safety
///
/// Every method may run only where the instruction set of the implementor is present; the
/// loads also need the memory that they name.
pub(super) trait Bytes: Copy {
    /// Bytes in a register: 16, 32 or 64.
    const WIDTH: usize;
    /// Lanes of i32 sums.
    type Sum: Copy;
    /// `WIDTH` weights.
    type Weights: Copy;
    /// Sums of bytes times weights.
    type Weighted: Copy;

    /// All sums 0.
    unsafe fn zero() -> Self::Sum;

    /// All weighted sums 0.
    unsafe fn zero_weighted() -> Self::Weighted;

    /// Byte i = `from[i]`; `WIDTH` readable bytes, any alignment.
    unsafe fn load(from: *const u8) -> Self;

    /// Byte i = `from[i]` for i < `len`, else 0; `len` readable bytes, `len` < `WIDTH`.
    unsafe fn load_head(from: *const u8, len: usize) -> Self;

    /// Byte i = bit i, lowest first, 0 or 1; `WIDTH / 8` readable bytes.
    unsafe fn load_bits(from: *const u8) -> Self;

    /// `WIDTH` weights of those that are readable there.
    unsafe fn load_weights(from: WeightsAt) -> Self::Weights;

    /// The low four bits of each byte.
    unsafe fn low(self) -> Self;

    /// The high four bits of each byte.
    unsafe fn high(self) -> Self;

    /// `sum` plus products of int8; with [`Bytes::signed_correction`] of all of `b` added once.
    unsafe fn add_signed_products(sum: Self::Sum, a: Self, b: Self) -> Self::Sum;

    /// What sums of [`Bytes::add_signed_products`] lack, for `len` readable bytes at `b`.
    #[inline(always)]
    unsafe fn signed_correction(b: *const u8, len: usize) -> i32 {
        let _ = (b, len);
        0
    }

    /// `sum` plus squared differences of int8.
    unsafe fn add_signed_squares(sum: Self::Sum, a: Self, b: Self) -> Self::Sum;

    /// `sum` plus products of levels 0 to 15.
    unsafe fn add_level_products(sum: Self::Sum, a: Self, b: Self) -> Self::Sum;

    /// `sum` plus squared differences of levels 0 to 15.
    unsafe fn add_level_squares(sum: Self::Sum, a: Self, b: Self) -> Self::Sum;

    /// `sum` plus the number of bits that differ.
    unsafe fn add_differing_bits(sum: Self::Sum, a: Self, b: Self) -> Self::Sum;

    /// `sum` plus products of bytes 0 to 255 and weights.
    unsafe fn add_weighted(
        sum: Self::Weighted,
        weights: Self::Weights,
        bytes: Self,
    ) -> Self::Weighted;

    /// Weighted sums as sums.
    unsafe fn unweighted(sum: Self::Weighted) -> Self::Sum;

    /// The sum of all lanes.
    unsafe fn total(sum: Self::Sum) -> i32;

    /// The totals of four registers.
    #[inline(always)]
    unsafe fn total_four(four: [Self::Sum; 4]) -> [i32; 4] {
        // SAFETY: the caller vouches for the instruction set, which is all that `total` needs.
        unsafe {
            [Self::total(four[0]), Self::total(four[1]), Self::total(four[2]), Self::total(four[3])]
        }
    }

    /// Asks for the cache line at `at`, which may be any address; a hint.
    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        let _ = at;
    }
}
