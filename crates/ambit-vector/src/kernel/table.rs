//! Which kernels run on this processor? Tables of functions, detected once, behind safe methods.
//!
//! [`kernels`] is what everybody uses; [`Kernels::available`] lists all tables that this
//! processor can run, fastest first, so that tests and benchmarks can hold them against each
//! other. Every method checks its lengths, then calls a loop without bounds checks.
//!
//! Invariant: a table leaves this module only after its instructions were detected.

use std::sync::OnceLock;

use super::checked::Cut;
use super::integers::Integers;
use super::lanes::{Bf16, Element, F16};

type Checked = unsafe fn(&[f32], &[f32]) -> f64;
type Filter = unsafe fn(&[f32], &[f32], Cut, usize) -> usize;
type Read = unsafe fn(*const f32, usize) -> f32;

/// The functions of one instruction set; all need that instruction set.
pub(super) struct Functions {
    pub(super) name: &'static str,
    pub(super) detected: fn() -> bool,
    pub(super) f32: Scores<f32>,
    pub(super) f16: Scores<F16>,
    pub(super) bf16: Scores<Bf16>,
    pub(super) dot_f64: Checked,
    pub(super) l2sq_f64: Checked,
    pub(super) next_reaching: Filter,
    pub(super) read: [(usize, Read); 4],
}

/// How rows of `E` are scored.
pub(super) struct Scores<E> {
    pub(super) dot: Measure<E>,
    pub(super) l2sq: Measure<E>,
}

/// One measure: a query with rows, and a block of queries with rows.
pub(super) struct Measure<E> {
    pub(super) rows: unsafe fn(*const f32, usize, *const E, *mut f32, usize),
    pub(super) block: unsafe fn(*const f32, usize, usize, *const E, usize, *mut f32),
}

/// Instantiates the loops for one register type: a table `$table` of [`Functions`].
macro_rules! kernels_of {
    ($table:ident, $name:literal, $lanes:ty, streams: $streams:literal,
     tile: $queries:literal x $rows:literal $(, $feature:tt)?) => {
        pub(in super::super) static $table: super::super::table::Functions = {
            use super::super::checked::{self, Cut};
            use super::super::lanes::Element;
            use super::super::loops::{Product, SquaredDifference, Term, read, score_block, score_rows};
            use super::super::table::{Functions, Measure, Scores, detected};

            // SAFETY, of every block below: the callers vouch for the instruction set (the
            // table is given out only where it was detected) and for the memory, in the terms
            // of the loop that is called.
            $(#[target_feature(enable = $feature)])?
            unsafe fn rows<E: Element, T: Term>(
                q: *const f32, dim: usize, rows: *const E, out: *mut f32, n: usize,
            ) {
                // SAFETY: as above.
                unsafe { score_rows::<$lanes, E, T, $streams>(q, dim, rows, out, n) }
            }
            $(#[target_feature(enable = $feature)])?
            unsafe fn block<E: Element, T: Term>(
                q: *const f32, m: usize, dim: usize, rows: *const E, n: usize, out: *mut f32,
            ) {
                // SAFETY: as above.
                unsafe { score_block::<$lanes, E, T, $queries, $rows>(q, m, dim, rows, n, out) }
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
            unsafe fn read_in<const R: usize>(from: *const f32, len: usize) -> f32 {
                // SAFETY: as above.
                unsafe { read::<$lanes, R>(from, len) }
            }
            const fn scores<E: Element>() -> Scores<E> {
                Scores {
                    dot: Measure { rows: rows::<E, Product>, block: block::<E, Product> },
                    l2sq: Measure {
                        rows: rows::<E, SquaredDifference>,
                        block: block::<E, SquaredDifference>,
                    },
                }
            }

            Functions {
                name: $name,
                detected: || detected!($($feature)?),
                f32: scores(),
                f16: scores(),
                bf16: scores(),
                dot_f64,
                l2sq_f64,
                next_reaching,
                read: [(1, read_in::<1>), (2, read_in::<2>), (4, read_in::<4>), (8, read_in::<8>)],
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
    ("avx2,fma,f16c") => {
        std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("fma")
            && std::arch::is_x86_feature_detected!("f16c")
    };
    ("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vpopcntdq") => {
        std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("avx512vnni")
            && std::arch::is_x86_feature_detected!("avx512vpopcntdq")
    };
    ("neon") => {
        std::arch::is_aarch64_feature_detected!("neon")
    };
}

pub(super) use {detected, kernels_of};

/// All tables that were compiled, fastest first: those of floats, each with that of bytes that
/// belongs to it.
fn compiled() -> impl Iterator<Item = (&'static Functions, &'static Integers)> {
    [
        #[cfg(target_arch = "x86_64")]
        (&super::avx512::AVX512, &super::avx512::AVX512_BYTES),
        #[cfg(target_arch = "x86_64")]
        (&super::avx2::AVX2, &super::avx2::AVX2_BYTES),
        #[cfg(target_arch = "aarch64")]
        (&super::neon::NEON, &super::neon::NEON_BYTES),
        (&super::portable::PORTABLE, &super::portable::PORTABLE_BYTES),
    ]
    .into_iter()
}

/// The kernels of this processor, fastest first. Where the table of bytes needs more than the
/// table of floats has (AVX-512 without VNNI), the next one steps in.
fn detected_kernels() -> impl Iterator<Item = Kernels> {
    compiled().enumerate().filter(|(_, (functions, _))| (functions.detected)()).map(
        |(rank, (functions, _))| {
            let mut slower = compiled().skip(rank).map(|(_, integers)| integers);
            let integers = slower.find(|integers| (integers.detected)());
            let integers = integers.unwrap_or(&super::portable::PORTABLE_BYTES);
            Kernels { functions, integers }
        },
    )
}

/// The best kernels of this processor, chosen at the first call.
///
/// Cost: one atomic load after the first call.
pub fn kernels() -> Kernels {
    static CHOSEN: OnceLock<Kernels> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let portable = Kernels {
            functions: &super::portable::PORTABLE,
            integers: &super::portable::PORTABLE_BYTES,
        };
        detected_kernels().next().unwrap_or(portable)
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
    integers: &'static Integers,
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kernels").field(&self.functions.name).finish()
    }
}

impl Kernels {
    /// Every table that this processor can run, fastest first; the last one is `portable`.
    pub fn available() -> Vec<Kernels> {
        detected_kernels().collect()
    }

    pub(super) fn functions(&self) -> &'static Functions {
        self.functions
    }

    pub(super) fn integers(&self) -> &'static Integers {
        self.integers
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
        pair_of(&self.functions.f32.dot, a, b)
    }

    /// The squared euclidean distance of two vectors of one length.
    ///
    /// # Panics
    ///
    /// If the lengths differ.
    pub fn l2sq(&self, a: &[f32], b: &[f32]) -> f32 {
        pair_of(&self.functions.f32.l2sq, a, b)
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
        rows_of(&self.functions.f32.dot, query, rows, out);
    }

    /// `out[i]` = squared euclidean distance of `query` and row i of `rows`, n = `out.len()`.
    ///
    /// `query`: dim; `rows`: n x dim. Bound by memory bandwidth when `rows` is not in a cache.
    ///
    /// # Panics
    ///
    /// If `rows` is not `out.len()` times as long as `query`.
    pub fn l2sq_rows(&self, query: &[f32], rows: &[f32], out: &mut [f32]) {
        rows_of(&self.functions.f32.l2sq, query, rows, out);
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
        block_of(&self.functions.f32.dot, dim, queries, rows, out);
    }

    /// `out[j * n + i]` = squared euclidean distance of query j and row i.
    ///
    /// `queries`: m x `dim`; `rows`: n x `dim`; `out`: m x n.
    ///
    /// # Panics
    ///
    /// If `dim` is 0, `queries` or `rows` is not a multiple of it, or `out` is not m x n.
    pub fn l2sq_block(&self, dim: usize, queries: &[f32], rows: &[f32], out: &mut [f32]) {
        block_of(&self.functions.f32.l2sq, dim, queries, rows, out);
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

/// The score of two vectors.
///
/// `measure` is of a table that was detected, as all that [`Kernels`] holds are.
pub(super) fn pair_of<E: Element>(measure: &Measure<E>, a: &[f32], b: &[E]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of different lengths");
    let mut out = 0.0;
    // SAFETY: the instruction set was detected; both have `a.len()` elements, `out` is one.
    unsafe { (measure.rows)(a.as_ptr(), a.len(), b.as_ptr(), &raw mut out, 1) };
    out
}

/// The scores of a query with n = `out.len()` rows; `measure` as in [`pair_of`].
pub(super) fn rows_of<E: Element>(
    measure: &Measure<E>,
    query: &[f32],
    rows: &[E],
    out: &mut [f32],
) {
    check_block(1, query.len(), rows.len(), out.len(), out.len());
    let (q, dim, n) = (query.as_ptr(), query.len(), out.len());
    // SAFETY: the instruction set was detected; the lengths were checked, and `out` is
    // borrowed mutably, so it overlaps neither input.
    unsafe { (measure.rows)(q, dim, rows.as_ptr(), out.as_mut_ptr(), n) }
}

/// The scores of m queries with n rows; `measure` as in [`pair_of`].
pub(super) fn block_of<E: Element>(
    measure: &Measure<E>,
    dim: usize,
    queries: &[f32],
    rows: &[E],
    out: &mut [f32],
) {
    let (m, n) = (count(queries.len(), dim), count(rows.len(), dim));
    check_block(m, dim, rows.len(), n, out.len());
    let (q, x) = (queries.as_ptr(), rows.as_ptr());
    // SAFETY: the instruction set was detected; the lengths were checked, and `out` is
    // borrowed mutably, so it overlaps neither input.
    unsafe { (measure.block)(q, m, dim, x, n, out.as_mut_ptr()) }
}

/// Rows of `dim` elements in `len` elements.
pub(super) fn count(len: usize, dim: usize) -> usize {
    assert!(dim > 0, "rows of dimension 0");
    assert_eq!(len % dim, 0, "not a whole number of rows of dimension {dim}");
    len / dim
}

pub(super) fn check_block(m: usize, dim: usize, rows: usize, n: usize, out: usize) {
    assert_eq!(n.checked_mul(dim), Some(rows), "rows are not {n} x {dim}");
    assert_eq!(m.checked_mul(n), Some(out), "scores are not {m} x {n}");
}
