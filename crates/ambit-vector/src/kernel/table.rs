//! Which kernels run on this processor? Tables of functions, detected once, behind safe methods.
//!
//! [`kernels`] is what everybody uses; [`Kernels::available`] lists all tables that this
//! processor can run, fastest first, so that tests and benchmarks can hold them against each
//! other. Every method checks its lengths, then calls a loop without bounds checks.
//!
//! Invariant: a table leaves this module only after its instructions were detected.

use std::sync::OnceLock;

use super::checked::Cut;

type Pair = unsafe fn(*const f32, *const f32, usize) -> f32;
type Scan = unsafe fn(*const f32, usize, *const f32, *mut f32, usize);
type Block = unsafe fn(*const f32, usize, usize, *const f32, usize, *mut f32);
type Checked = unsafe fn(&[f32], &[f32]) -> f64;
type Filter = unsafe fn(&[f32], &[f32], Cut, usize) -> usize;
type Read = unsafe fn(*const f32, usize) -> f32;

/// The functions of one instruction set; all need that instruction set.
pub(super) struct Functions {
    pub(super) name: &'static str,
    pub(super) detected: fn() -> bool,
    pub(super) dot: Pair,
    pub(super) l2sq: Pair,
    pub(super) dot_rows: Scan,
    pub(super) l2sq_rows: Scan,
    pub(super) dot_block: Block,
    pub(super) l2sq_block: Block,
    pub(super) dot_f64: Checked,
    pub(super) l2sq_f64: Checked,
    pub(super) next_reaching: Filter,
    pub(super) read: [(usize, Read); 4],
}

/// Instantiates the loops for one register type: a table `$table` of [`Functions`].
macro_rules! kernels_of {
    ($table:ident, $name:literal, $lanes:ty, streams: $streams:literal,
     tile: $queries:literal x $rows:literal $(, $feature:tt)?) => {
        pub(super) static $table: super::table::Functions = {
            use super::checked::{self, Cut};
            use super::loops::{Product, SquaredDifference, read, score_block, score_rows};

            // SAFETY, of every block below: the callers vouch for the instruction set (the
            // table is given out only where it was detected) and for the memory, in the terms
            // of the loop that is called.
            $(#[target_feature(enable = $feature)])?
            unsafe fn dot(a: *const f32, b: *const f32, dim: usize) -> f32 {
                let mut out = 0.0;
                // SAFETY: as above; `out` is one writable float.
                unsafe { score_rows::<$lanes, Product, 1>(a, dim, b, &raw mut out, 1) };
                out
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn l2sq(a: *const f32, b: *const f32, dim: usize) -> f32 {
                let mut out = 0.0;
                // SAFETY: as above; `out` is one writable float.
                unsafe { score_rows::<$lanes, SquaredDifference, 1>(a, dim, b, &raw mut out, 1) };
                out
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn dot_rows(q: *const f32, dim: usize, rows: *const f32, out: *mut f32, n: usize) {
                // SAFETY: as above.
                unsafe { score_rows::<$lanes, Product, $streams>(q, dim, rows, out, n) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn l2sq_rows(q: *const f32, dim: usize, rows: *const f32, out: *mut f32, n: usize) {
                // SAFETY: as above.
                unsafe { score_rows::<$lanes, SquaredDifference, $streams>(q, dim, rows, out, n) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn dot_block(
                q: *const f32, m: usize, dim: usize, rows: *const f32, n: usize, out: *mut f32,
            ) {
                // SAFETY: as above.
                unsafe { score_block::<$lanes, Product, $queries, $rows>(q, m, dim, rows, n, out) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn l2sq_block(
                q: *const f32, m: usize, dim: usize, rows: *const f32, n: usize, out: *mut f32,
            ) {
                // SAFETY: as above.
                unsafe {
                    score_block::<$lanes, SquaredDifference, $queries, $rows>(q, m, dim, rows, n, out)
                }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn dot_f64(a: &[f32], b: &[f32]) -> f64 {
                checked::dot(a, b)
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn l2sq_f64(a: &[f32], b: &[f32]) -> f64 {
                checked::l2sq(a, b)
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn next_reaching(s: &[f32], norms: &[f32], cut: Cut, from: usize) -> usize {
                checked::next_reaching(s, norms, cut, from)
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn read_one(from: *const f32, len: usize) -> f32 {
                // SAFETY: as above.
                unsafe { read::<$lanes, 1>(from, len) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn read_two(from: *const f32, len: usize) -> f32 {
                // SAFETY: as above.
                unsafe { read::<$lanes, 2>(from, len) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn read_four(from: *const f32, len: usize) -> f32 {
                // SAFETY: as above.
                unsafe { read::<$lanes, 4>(from, len) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn read_eight(from: *const f32, len: usize) -> f32 {
                // SAFETY: as above.
                unsafe { read::<$lanes, 8>(from, len) }
            }

            super::table::Functions {
                name: $name,
                detected: || super::table::detected!($($feature)?),
                dot,
                l2sq,
                dot_rows,
                l2sq_rows,
                dot_block,
                l2sq_block,
                dot_f64,
                l2sq_f64,
                next_reaching,
                read: [(1, read_one), (2, read_two), (4, read_four), (8, read_eight)],
            }
        };
    };
}

/// Whether this processor has the named instructions.
macro_rules! detected {
    () => {
        true
    };
    ("avx512f") => {
        std::arch::is_x86_feature_detected!("avx512f")
    };
    ("avx2,fma") => {
        std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
    };
    ("neon") => {
        std::arch::is_aarch64_feature_detected!("neon")
    };
}

pub(super) use {detected, kernels_of};

/// All tables that were compiled, fastest first.
fn compiled() -> impl Iterator<Item = &'static Functions> {
    [
        #[cfg(target_arch = "x86_64")]
        &super::avx512::AVX512,
        #[cfg(target_arch = "x86_64")]
        &super::avx2::AVX2,
        #[cfg(target_arch = "aarch64")]
        &super::neon::NEON,
        &super::portable::PORTABLE,
    ]
    .into_iter()
}

/// The best kernels of this processor, chosen at the first call.
///
/// Cost: one atomic load after the first call.
pub fn kernels() -> Kernels {
    static CHOSEN: OnceLock<Kernels> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let best = compiled().find(|functions| (functions.detected)());
        Kernels { functions: best.unwrap_or(&super::portable::PORTABLE) }
    })
}

/// The kernels of one instruction set that this processor has.
///
/// Vectors are row-major f32, any alignment, any values. Scores in f32 are within the bounds of
/// [`crate::bounds`] wherever they are finite; an intermediate overflow gives an infinity or a
/// NaN, so that a score that is not finite must be computed again in f64. The floating-point
/// environment is the default one (round to nearest, subnormals kept), as Rust requires.
#[derive(Clone, Copy)]
pub struct Kernels {
    functions: &'static Functions,
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kernels").field(&self.functions.name).finish()
    }
}

impl Kernels {
    /// Every table that this processor can run, fastest first; the last one is `portable`.
    pub fn available() -> Vec<Kernels> {
        compiled()
            .filter(|functions| (functions.detected)())
            .map(|functions| Kernels { functions })
            .collect()
    }

    /// The instruction set: `avx512`, `avx2`, `neon` or `portable`.
    pub fn name(&self) -> &'static str {
        self.functions.name
    }

    /// The inner product of two vectors of one length.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    pub fn dot(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "vectors of different lengths");
        // SAFETY: the instruction set was detected; both have `a.len()` floats.
        unsafe { (self.functions.dot)(a.as_ptr(), b.as_ptr(), a.len()) }
    }

    /// The squared euclidean distance of two vectors of one length.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    pub fn l2sq(&self, a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len(), "vectors of different lengths");
        // SAFETY: the instruction set was detected; both have `a.len()` floats.
        unsafe { (self.functions.l2sq)(a.as_ptr(), b.as_ptr(), a.len()) }
    }

    /// The squared euclidean norm of a vector.
    pub fn norm_sq(&self, a: &[f32]) -> f32 {
        self.dot(a, a)
    }

    /// `out[i]` = inner product of `query` and row i of `rows`, n = `out.len()`.
    ///
    /// `query`: dim; `rows`: n x dim. Bound by memory bandwidth when `rows` is not in a cache.
    ///
    /// # Panics
    ///
    /// If `rows` is not `out.len()` times as long as `query`.
    pub fn dot_rows(&self, query: &[f32], rows: &[f32], out: &mut [f32]) {
        check_block(1, query.len(), rows, out.len(), out.len());
        let (q, dim, n) = (query.as_ptr(), query.len(), out.len());
        // SAFETY: the instruction set was detected; the lengths were checked, and `out` is
        // borrowed mutably, so it overlaps neither input.
        unsafe { (self.functions.dot_rows)(q, dim, rows.as_ptr(), out.as_mut_ptr(), n) }
    }

    /// `out[i]` = squared euclidean distance of `query` and row i of `rows`, n = `out.len()`.
    ///
    /// `query`: dim; `rows`: n x dim. Bound by memory bandwidth when `rows` is not in a cache.
    ///
    /// # Panics
    ///
    /// If `rows` is not `out.len()` times as long as `query`.
    pub fn l2sq_rows(&self, query: &[f32], rows: &[f32], out: &mut [f32]) {
        check_block(1, query.len(), rows, out.len(), out.len());
        let (q, dim, n) = (query.as_ptr(), query.len(), out.len());
        // SAFETY: the instruction set was detected; the lengths were checked, and `out` is
        // borrowed mutably, so it overlaps neither input.
        unsafe { (self.functions.l2sq_rows)(q, dim, rows.as_ptr(), out.as_mut_ptr(), n) }
    }

    /// `out[j * n + i]` = inner product of query j and row i.
    ///
    /// `queries`: m x `dim`; `rows`: n x `dim`; `out`: m x n. Bound by arithmetic when a few
    /// hundred rows at a time stay in the second-level cache.
    ///
    /// # Panics
    ///
    /// If `dim` is 0, `queries` or `rows` is not a multiple of it, or `out` is not m x n.
    pub fn dot_block(&self, dim: usize, queries: &[f32], rows: &[f32], out: &mut [f32]) {
        let (m, n) = (count(queries, dim), count(rows, dim));
        check_block(m, dim, rows, n, out.len());
        let (q, x) = (queries.as_ptr(), rows.as_ptr());
        // SAFETY: the instruction set was detected; the lengths were checked, and `out` is
        // borrowed mutably, so it overlaps neither input.
        unsafe { (self.functions.dot_block)(q, m, dim, x, n, out.as_mut_ptr()) }
    }

    /// `out[j * n + i]` = squared euclidean distance of query j and row i.
    ///
    /// `queries`: m x `dim`; `rows`: n x `dim`; `out`: m x n.
    ///
    /// # Panics
    ///
    /// If `dim` is 0, `queries` or `rows` is not a multiple of it, or `out` is not m x n.
    pub fn l2sq_block(&self, dim: usize, queries: &[f32], rows: &[f32], out: &mut [f32]) {
        let (m, n) = (count(queries, dim), count(rows, dim));
        check_block(m, dim, rows, n, out.len());
        let (q, x) = (queries.as_ptr(), rows.as_ptr());
        // SAFETY: the instruction set was detected; the lengths were checked, and `out` is
        // borrowed mutably, so it overlaps neither input.
        unsafe { (self.functions.l2sq_block)(q, m, dim, x, n, out.as_mut_ptr()) }
    }

    /// The inner product in f64, added up in one order on every processor: the same bits from
    /// every table. Overflow is impossible for finite elements; a NaN is `f64::NAN`.
    ///
    /// Eight lanes; lane j adds elements j, j + 8, j + 16, ...; then
    /// ((0+4) + (2+6)) + ((1+5) + (3+7)). Products of f32 are exact in f64.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    pub fn dot_f64(&self, a: &[f32], b: &[f32]) -> f64 {
        assert_eq!(a.len(), b.len(), "vectors of different lengths");
        // SAFETY: the instruction set was detected; the function checks its bounds.
        unsafe { (self.functions.dot_f64)(a, b) }
    }

    /// The squared euclidean distance in f64, in the order of [`Kernels::dot_f64`]: the same
    /// bits from every table. Differences and squares are rounded to f64, never fused.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    pub fn l2sq_f64(&self, a: &[f32], b: &[f32]) -> f64 {
        assert_eq!(a.len(), b.len(), "vectors of different lengths");
        // SAFETY: the instruction set was detected; the function checks its bounds.
        unsafe { (self.functions.l2sq_f64)(a, b) }
    }

    /// The squared euclidean norm in f64, in the order of [`Kernels::dot_f64`].
    pub fn norm_sq_f64(&self, a: &[f32]) -> f64 {
        self.dot_f64(a, a)
    }

    /// The norm that is kept beside a row: the root of [`Kernels::norm_sq_f64`], rounded to
    /// f32. It is 0 exactly for a row of zeros, and infinite where the norm exceeds f32.
    pub fn norm(&self, a: &[f32]) -> f32 {
        self.norm_sq_f64(a).sqrt() as f32
    }

    /// The first row at or after `from` that reaches `cut`, or n = `scores.len()` if none does.
    ///
    /// `scores` and `norms`: one f32 a row. Cost: well under a nanosecond a skipped row.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    pub fn next_reaching(&self, scores: &[f32], norms: &[f32], cut: Cut, from: usize) -> usize {
        assert_eq!(scores.len(), norms.len(), "one norm per score");
        // SAFETY: the instruction set was detected; the function checks its bounds.
        unsafe { (self.functions.next_reaching)(scores, norms, cut, from) }
    }

    /// The numbers of parallel streams that [`Kernels::read`] offers.
    pub fn read_streams(&self) -> [usize; 4] {
        self.functions.read.map(|(streams, _)| streams)
    }

    /// The sum of `buffer`, read with the widest loads in `streams` parallel streams, one of
    /// [`Kernels::read_streams`] (others read in one stream). For measuring bandwidth: the
    /// order of the sum is not specified.
    pub fn read(&self, buffer: &[f32], streams: usize) -> f32 {
        let [one, ..] = self.functions.read;
        let offered = self.functions.read.into_iter().find(|(offered, _)| *offered == streams);
        let (_, read) = offered.unwrap_or(one);
        // SAFETY: the instruction set was detected; `buffer` has `buffer.len()` floats.
        unsafe { read(buffer.as_ptr(), buffer.len()) }
    }
}

/// Rows of `dim` floats in `rows`.
fn count(rows: &[f32], dim: usize) -> usize {
    assert!(dim > 0, "rows of dimension 0");
    assert_eq!(rows.len() % dim, 0, "not a whole number of rows of dimension {dim}");
    rows.len() / dim
}

fn check_block(m: usize, dim: usize, rows: &[f32], n: usize, out: usize) {
    assert_eq!(n.checked_mul(dim), Some(rows.len()), "rows are not {n} x {dim}");
    assert_eq!(m.checked_mul(n), Some(out), "scores are not {m} x {n}");
}
