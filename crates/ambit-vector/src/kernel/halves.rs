//! Scores of f32 queries with rows of half floats.
//!
//! A half float is widened as it is loaded, which is exact, so these are the scores of the
//! widened rows, with the bounds of [`crate::bounds`]. Arithmetic in half precision is not used:
//! a scan is bound by memory, and sums in 11 bits have no useful bound.

use super::Kernels;
use super::lanes::{Bf16, F16};
use super::table::{Scores, block_of, pair_of, rows_of};
use crate::half::Half;

/// Half floats in memory; `size_of_val` of the slice is twice their number.
trait Bits {
    /// Where they begin, and how many they are.
    fn halves(&self) -> (*const u8, usize);
}

impl Bits for [u16] {
    fn halves(&self) -> (*const u8, usize) {
        (self.as_ptr().cast(), self.len())
    }
}

impl Bits for [u8] {
    fn halves(&self) -> (*const u8, usize) {
        (self.as_ptr(), self.len() / 2)
    }
}

fn f16s<B: Bits + ?Sized>(bits: &B) -> &[F16] {
    let (start, len) = bits.halves();
    // SAFETY: an `F16` is any two bytes, and `len` of them lie in what `bits` borrows.
    unsafe { std::slice::from_raw_parts(start.cast(), len) }
}

fn bf16s<B: Bits + ?Sized>(bits: &B) -> &[Bf16] {
    let (start, len) = bits.halves();
    // SAFETY: a `Bf16` is any two bytes, and `len` of them lie in what `bits` borrows.
    unsafe { std::slice::from_raw_parts(start.cast(), len) }
}

impl Kernels {
    fn f16(&self) -> &'static Scores<F16> {
        &self.functions().f16
    }

    fn bf16(&self) -> &'static Scores<Bf16> {
        &self.functions().bf16
    }

    /// The inner product of `a` and the half floats of `b`, one length; see [`Kernels::dot`].
    pub fn dot_half(&self, half: Half, a: &[f32], b: &[u16]) -> f32 {
        match half {
            Half::F16 => pair_of(&self.f16().dot, a, f16s(b)),
            Half::Bf16 => pair_of(&self.bf16().dot, a, bf16s(b)),
        }
    }

    /// The squared distance of `a` and the half floats of `b`, one length; see [`Kernels::l2sq`].
    pub fn l2sq_half(&self, half: Half, a: &[f32], b: &[u16]) -> f32 {
        match half {
            Half::F16 => pair_of(&self.f16().l2sq, a, f16s(b)),
            Half::Bf16 => pair_of(&self.bf16().l2sq, a, bf16s(b)),
        }
    }

    /// [`Kernels::dot_rows`] with rows of half floats, n x dim.
    pub fn dot_half_rows(&self, half: Half, query: &[f32], rows: &[u16], out: &mut [f32]) {
        match half {
            Half::F16 => rows_of(&self.f16().dot, query, f16s(rows), out),
            Half::Bf16 => rows_of(&self.bf16().dot, query, bf16s(rows), out),
        }
    }

    /// [`Kernels::dot_half_rows`] with rows that lie as bytes, of any alignment.
    pub(crate) fn dot_half_bytes(&self, half: Half, query: &[f32], rows: &[u8], out: &mut [f32]) {
        match half {
            Half::F16 => rows_of(&self.f16().dot, query, f16s(rows), out),
            Half::Bf16 => rows_of(&self.bf16().dot, query, bf16s(rows), out),
        }
    }

    /// [`Kernels::l2sq_rows`] with rows of half floats, n x dim.
    pub fn l2sq_half_rows(&self, half: Half, query: &[f32], rows: &[u16], out: &mut [f32]) {
        match half {
            Half::F16 => rows_of(&self.f16().l2sq, query, f16s(rows), out),
            Half::Bf16 => rows_of(&self.bf16().l2sq, query, bf16s(rows), out),
        }
    }

    /// [`Kernels::dot_block`] with rows of half floats, n x dim, where dim = `queries.len()` / m
    /// and m = `out.len()` / n.
    pub fn dot_half_block(&self, rows: HalfRows<'_>, queries: &[f32], out: &mut [f32]) {
        let HalfRows { half, dim, bits } = rows;
        match half {
            Half::F16 => block_of(&self.f16().dot, dim, queries, f16s(bits), out),
            Half::Bf16 => block_of(&self.bf16().dot, dim, queries, bf16s(bits), out),
        }
    }

    /// [`Kernels::l2sq_block`] with rows of half floats.
    pub fn l2sq_half_block(&self, rows: HalfRows<'_>, queries: &[f32], out: &mut [f32]) {
        let HalfRows { half, dim, bits } = rows;
        match half {
            Half::F16 => block_of(&self.f16().l2sq, dim, queries, f16s(bits), out),
            Half::Bf16 => block_of(&self.bf16().l2sq, dim, queries, bf16s(bits), out),
        }
    }
}

/// Rows of half floats, for blocks of queries.
#[derive(Debug, Clone, Copy)]
pub struct HalfRows<'a> {
    /// What the bits mean.
    pub half: Half,
    /// Elements of a row.
    pub dim: usize,
    /// n x dim, row-major.
    pub bits: &'a [u16],
}
