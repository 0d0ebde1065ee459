//! Exact scores of int8, int4 and bits: their table of functions, behind safe methods.
//!
//! A row is bytes. An int8 is one of them. Of levels 0 to 15, byte k holds element k in its low
//! four bits and element k + ceil(dim / 2) in its high ones ([`CodeWidth::Four`]). Of bits, byte
//! k holds elements 8 k to 8 k + 7, lowest first. Bits of a row that belong to no element must
//! be 0.
//!
//! Scores are exact modulo 2^32, and the same from every table; so they are exact for rows of
//! up to 65,536 int8, and for weighted rows wherever dim times the largest level times the
//! largest weight is below 2^31.

use super::Kernels;
use super::bytes::WeightsAt;
use super::plain::Plain;
use super::table::{check_block, count};
use super::walk::{Beside, Rows};
use super::weights::Weights;
use crate::quantizer::RowTerms;

type Scan<Q> = unsafe fn(Q, Rows, *mut i32);
type Block = unsafe fn(*const u8, usize, usize, *const u8, usize, *mut i32);

/// The functions of one instruction set; all need that instruction set.
pub(super) struct Integers {
    pub(super) detected: fn() -> bool,
    pub(super) dot_i8: Integer,
    pub(super) l2sq_i8: Integer,
    pub(super) dot_u4: Integer,
    pub(super) l2sq_u4: Integer,
    pub(super) hamming: Integer,
    pub(super) weighted_u8: Scan<WeightsAt>,
    pub(super) weighted_u4: Scan<[WeightsAt; 2]>,
    pub(super) weighted_bits: Scan<WeightsAt>,
    pub(super) plain: Plain,
}

/// One measure: a query with rows, and a block of queries with rows.
pub(super) struct Integer {
    pub(super) rows: Scan<*const u8>,
    pub(super) block: Block,
}

/// Instantiates the loops for one register type: a table `$table` of [`Integers`].
macro_rules! integers_of {
    ($table:ident, $bytes:ty, streams: $streams:literal,
     tile: $queries:literal x $rows:literal $(, $feature:tt)?) => {
        pub(in super::super) static $table: super::super::integers::Integers = {
            use super::super::integers::{Integer, Integers};
            use super::super::table::detected;
            use super::super::walk::{
                DifferingBits, LevelProduct, LevelSquare, Rows, SignedProduct, SignedSquare, Term,
                WeightedBits, WeightedBytes, WeightedLevels, score_block, score_rows,
            };

            // SAFETY, of every block below: the callers vouch for the instruction set (the
            // table is given out only where it was detected) and for the memory, in the terms
            // of the loop that is called.
            $(#[target_feature(enable = $feature)])?
            unsafe fn rows<T: Term<$bytes>>(q: T::Query, rows: Rows, out: *mut i32) {
                // SAFETY: as above.
                unsafe { score_rows::<$bytes, T, $streams>(q, rows, out) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn block<T: Term<$bytes, Query = *const u8>>(
                q: *const u8, m: usize, len: usize, rows: *const u8, n: usize, out: *mut i32,
            ) {
                // SAFETY: as above.
                unsafe { score_block::<$bytes, T, $queries, $rows>(q, m, len, rows, n, out) }
            }
            const fn integer<T: Term<$bytes, Query = *const u8>>() -> Integer {
                Integer { rows: rows::<T>, block: block::<T> }
            }

            Integers {
                detected: || detected!($($feature)?),
                dot_i8: integer::<SignedProduct>(),
                l2sq_i8: integer::<SignedSquare>(),
                dot_u4: integer::<LevelProduct>(),
                l2sq_u4: integer::<LevelSquare>(),
                hamming: integer::<DifferingBits>(),
                weighted_u8: rows::<WeightedBytes>,
                weighted_u4: rows::<WeightedLevels>,
                weighted_bits: rows::<WeightedBits>,
                plain: super::super::plain::plain_of!($($feature)?),
            }
        };
    };
}

pub(super) use integers_of;

/// How many bits a code has for each element, and how they lie in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeWidth {
    /// Eight elements a byte, lowest bit first.
    One,
    /// Two elements a byte: element k in the low half of byte k, element k + ceil(dim / 2) in
    /// its high half.
    Four,
    /// One element a byte.
    Eight,
}

impl CodeWidth {
    /// Bits of an element.
    pub const fn bits(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// The largest level, 2^bits - 1.
    pub const fn max_level(self) -> u8 {
        u8::MAX >> (8 - self.bits())
    }

    /// Bytes of a row of `dim` elements.
    pub const fn row_len(self, dim: usize) -> usize {
        match self {
            Self::One => dim.div_ceil(8),
            Self::Four => dim.div_ceil(2),
            Self::Eight => dim,
        }
    }
}

/// Bytes of int8.
fn bytes_of(values: &[i8]) -> &[u8] {
    // SAFETY: i8 and u8 have one size and alignment, and every value of one is one of the other.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

/// One score; `integer` is of a table that was detected, as all that [`Kernels`] holds are.
fn pair_of(integer: &Integer, a: &[u8], b: &[u8]) -> i32 {
    assert_eq!(a.len(), b.len(), "rows of different lengths");
    let mut out = 0;
    let beside = Beside::nothing(a.as_ptr());
    let rows = Rows { start: b.as_ptr(), len: b.len(), count: 1, beside };
    // SAFETY: the instruction set was detected; both have `a.len()` bytes, `out` is one sum.
    unsafe { (integer.rows)(a.as_ptr(), rows, &raw mut out) };
    out
}

/// The scores of a query with n = `out.len()` rows; `integer` as in [`pair_of`].
fn rows_of(integer: &Integer, query: &[u8], rows: &[u8], out: &mut [i32]) {
    check_block(1, query.len(), rows.len(), out.len(), out.len());
    let (q, len, count) = (query.as_ptr(), query.len(), out.len());
    let rows = Rows { start: rows.as_ptr(), len, count, beside: Beside::nothing(q) };
    // SAFETY: the instruction set was detected; the lengths were checked, and `out` is borrowed
    // mutably, so it overlaps neither input.
    unsafe { (integer.rows)(q, rows, out.as_mut_ptr()) }
}

/// The scores of m queries with n rows; `integer` as in [`pair_of`].
fn block_of(integer: &Integer, len: usize, queries: &[u8], rows: &[u8], out: &mut [i32]) {
    let (m, n) = (count(queries.len(), len), count(rows.len(), len));
    check_block(m, len, rows.len(), n, out.len());
    // SAFETY: the instruction set was detected; the lengths were checked, and `out` is borrowed
    // mutably, so it overlaps neither input.
    unsafe { (integer.block)(queries.as_ptr(), m, len, rows.as_ptr(), n, out.as_mut_ptr()) }
}

/// Scores of int8, of levels and of bits. Rows are row-major bytes of any alignment; lengths
/// that do not fit panic, as for floats.
impl Kernels {
    /// The inner product of two vectors of int8 of one length.
    pub fn dot_i8(&self, a: &[i8], b: &[i8]) -> i32 {
        pair_of(&self.integers().dot_i8, bytes_of(a), bytes_of(b))
    }

    /// The squared euclidean distance of two vectors of int8 of one length.
    pub fn l2sq_i8(&self, a: &[i8], b: &[i8]) -> u32 {
        pair_of(&self.integers().l2sq_i8, bytes_of(a), bytes_of(b)).cast_unsigned()
    }

    /// The cosine of two vectors of int8: NaN where one of them is zero.
    ///
    /// Inner product and norms are exact; the quotient is rounded in f64, then to f32.
    pub fn cosine_i8(&self, a: &[i8], b: &[i8]) -> f32 {
        let norms = f64::from(self.dot_i8(a, a)) * f64::from(self.dot_i8(b, b));
        (f64::from(self.dot_i8(a, b)) / norms.sqrt()) as f32
    }

    /// `out[i]` = inner product of `query` and row i; `query`: dim, `rows`: n x dim int8.
    pub fn dot_i8_rows(&self, query: &[i8], rows: &[i8], out: &mut [i32]) {
        rows_of(&self.integers().dot_i8, bytes_of(query), bytes_of(rows), out);
    }

    /// `out[i]` = squared euclidean distance of `query` and row i; `query`: dim, `rows`: n x dim
    /// int8. Sums are those of u32, as an i32 of the same bits.
    pub fn l2sq_i8_rows(&self, query: &[i8], rows: &[i8], out: &mut [i32]) {
        rows_of(&self.integers().l2sq_i8, bytes_of(query), bytes_of(rows), out);
    }

    /// `out[j * n + i]` = inner product of query j and row i; m x `dim` and n x `dim` int8.
    pub fn dot_i8_block(&self, dim: usize, queries: &[i8], rows: &[i8], out: &mut [i32]) {
        block_of(&self.integers().dot_i8, dim, bytes_of(queries), bytes_of(rows), out);
    }

    /// `out[j * n + i]` = squared euclidean distance of query j and row i, as in
    /// [`Kernels::l2sq_i8_rows`]; m x `dim` and n x `dim` int8.
    pub fn l2sq_i8_block(&self, dim: usize, queries: &[i8], rows: &[i8], out: &mut [i32]) {
        block_of(&self.integers().l2sq_i8, dim, bytes_of(queries), bytes_of(rows), out);
    }

    /// The inner product of two rows of levels 0 to 15, packed as [`CodeWidth::Four`].
    pub fn dot_u4(&self, a: &[u8], b: &[u8]) -> i32 {
        pair_of(&self.integers().dot_u4, a, b)
    }

    /// The squared euclidean distance of two rows of levels, packed as [`CodeWidth::Four`].
    pub fn l2sq_u4(&self, a: &[u8], b: &[u8]) -> i32 {
        pair_of(&self.integers().l2sq_u4, a, b)
    }

    /// The cosine of two rows of levels: NaN where one of them is zero.
    pub fn cosine_u4(&self, a: &[u8], b: &[u8]) -> f32 {
        let norms = f64::from(self.dot_u4(a, a)) * f64::from(self.dot_u4(b, b));
        (f64::from(self.dot_u4(a, b)) / norms.sqrt()) as f32
    }

    /// `out[i]` = inner product of `query` and row i, all packed as [`CodeWidth::Four`].
    pub fn dot_u4_rows(&self, query: &[u8], rows: &[u8], out: &mut [i32]) {
        rows_of(&self.integers().dot_u4, query, rows, out);
    }

    /// `out[i]` = squared distance of `query` and row i, all packed as [`CodeWidth::Four`].
    pub fn l2sq_u4_rows(&self, query: &[u8], rows: &[u8], out: &mut [i32]) {
        rows_of(&self.integers().l2sq_u4, query, rows, out);
    }

    /// `out[j * n + i]` = inner product of query j and row i of `len` bytes each, packed as
    /// [`CodeWidth::Four`].
    pub fn dot_u4_block(&self, len: usize, queries: &[u8], rows: &[u8], out: &mut [i32]) {
        block_of(&self.integers().dot_u4, len, queries, rows, out);
    }

    /// `out[j * n + i]` = squared distance of query j and row i of `len` bytes each, packed as
    /// [`CodeWidth::Four`].
    pub fn l2sq_u4_block(&self, len: usize, queries: &[u8], rows: &[u8], out: &mut [i32]) {
        block_of(&self.integers().l2sq_u4, len, queries, rows, out);
    }

    /// The number of bits that differ.
    pub fn hamming(&self, a: &[u8], b: &[u8]) -> i32 {
        pair_of(&self.integers().hamming, a, b)
    }

    /// `out[i]` = number of bits in which `query` and row i differ.
    pub fn hamming_rows(&self, query: &[u8], rows: &[u8], out: &mut [i32]) {
        rows_of(&self.integers().hamming, query, rows, out);
    }

    /// `out[j * n + i]` = number of bits in which query j and row i, of `len` bytes each, differ.
    pub fn hamming_block(&self, len: usize, queries: &[u8], rows: &[u8], out: &mut [i32]) {
        block_of(&self.integers().hamming, len, queries, rows, out);
    }

    /// `out[i]` = sum over the elements of row i of level times weight; rows are packed as
    /// [`Weights::width`] says. Bits of a row that belong to no element weigh nothing.
    ///
    /// # Panics
    ///
    /// If `rows` is not `out.len()` rows of [`Weights::row_len`] bytes.
    pub fn weighted_rows(&self, weights: &Weights, rows: &[u8], out: &mut [i32]) {
        let [first, _] = weights.places();
        self.weigh(weights, rows, Beside::nothing(first.words.cast()), out);
    }

    /// [`Kernels::weighted_rows`], asking for `terms` of the same rows meanwhile.
    pub(super) fn weighted_rows_beside(
        &self,
        weights: &Weights,
        rows: &[u8],
        terms: &[RowTerms],
        out: &mut [i32],
    ) {
        let beside = Beside { start: terms.as_ptr().cast(), step: size_of::<RowTerms>() };
        self.weigh(weights, rows, beside, out);
    }

    fn weigh(&self, weights: &Weights, rows: &[u8], beside: Beside, out: &mut [i32]) {
        let (len, count) = (weights.row_len(), out.len());
        check_block(1, len, rows.len(), count, count);
        let rows = Rows { start: rows.as_ptr(), len, count, beside };
        let (out, integers) = (out.as_mut_ptr(), self.integers());
        let [first, second] = weights.places();
        // SAFETY: the instruction set was detected; the lengths were checked, `out` is borrowed
        // mutably; the weights of a row of `len` bytes are there, and whole registers of them.
        unsafe {
            match weights.width() {
                CodeWidth::One => (integers.weighted_bits)(first, rows, out),
                CodeWidth::Four => (integers.weighted_u4)([first, second], rows, out),
                CodeWidth::Eight => (integers.weighted_u8)(first, rows, out),
            }
        }
    }
}
