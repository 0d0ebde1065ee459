//! Which loops run on this processor, behind methods that check every length.
//!
//! All loops give the same integers; the few operations in f32 that follow may differ by
//! roundings that [`super::super::bound`] has room for.

use std::sync::OnceLock;

use super::super::layout::{BLOCK_ROWS, Layout};
use super::super::query::Query;
use crate::half::Half;

/// Scans whole blocks: query, bytes, and where the upper ends and estimates of all rows go.
pub(super) type ScanBlocks = unsafe fn(&Query, &[u8], &mut [f32], &mut [f32]);
/// Queries that are scanned for together: their sums stay in registers.
pub(super) const TOGETHER: usize = 4;
/// As [`ScanBlocks`], for several queries of one layout.
pub(super) type ScanTogether =
    unsafe fn([&Query; TOGETHER], &[u8], [&mut [f32]; TOGETHER], [&mut [f32]; TOGETHER]);
/// Finds the first value from an index on that is not below a cut, and the largest before it.
pub(super) type FindNext = unsafe fn(&[f32], f32, usize) -> (usize, f32);
/// The sum of codes times high and low parts of z, of one row's codes.
pub(super) type ScoreCodes = unsafe fn(&Query, &[u8]) -> (i32, i32);

/// See [`super::quantize::fit`].
pub(super) type Fit = unsafe fn(&[f32], f32, f32) -> (f32, f32);
/// See [`super::quantize::apply`].
pub(super) type Apply = unsafe fn(&mut [f32], f32, f32, f32, &mut [u8]) -> f64;

/// The loops for one instruction set.
pub(super) struct Functions {
    pub(super) name: &'static str,
    pub(super) is_detected: fn() -> bool,
    pub(super) scan: ScanBlocks,
    /// None where it would be no faster.
    pub(super) scan_together: Option<ScanTogether>,
    pub(super) next: FindNext,
    pub(super) score: ScoreCodes,
    pub(super) fit: Fit,
    pub(super) apply: Apply,
}

/// The loops of one instruction set that this processor has.
#[derive(Clone, Copy)]
pub struct Unit(&'static Functions);

impl Unit {
    /// The fastest, chosen at the first call.
    pub fn best() -> Self {
        static BEST: OnceLock<Unit> = OnceLock::new();
        *BEST.get_or_init(|| units().first().copied().unwrap_or(Unit(&super::portable::PORTABLE)))
    }

    /// Of codes of `values` with this step, -most to most - 1: the sum of value x odd, and of odd x
    /// odd, odd = 2 code + 1.
    pub(in super::super) fn fit(&self, values: &[f32], step: f32, most: f32) -> (f32, f32) {
        // SAFETY: the unit was detected; the function checks its bounds.
        unsafe { (self.0.fit)(values, step, most) }
    }

    /// Writes the codes of `values`, counted from 0, leaves in `values` what scale x odd leaves, and
    /// returns the sum of its squares. `codes`: as many.
    pub(in super::super) fn apply(
        &self,
        values: &mut [f32],
        step: f32,
        most: f32,
        scale: f32,
        codes: &mut [u8],
    ) -> f64 {
        // SAFETY: the unit was detected; the function checks its bounds.
        unsafe { (self.0.apply)(values, step, most, scale, codes) }
    }

    /// The first of `values` from `from` on that is not below `cut` (a NaN is not), or their number;
    /// and the largest of those before it, -infinity where there are none.
    ///
    /// # Cost
    /// With AVX-512 about 0.1 ns for each value that is passed over.
    #[inline]
    pub fn next_reaching(&self, values: &[f32], cut: f32, from: usize) -> (usize, f32) {
        // SAFETY: the unit was detected; the function checks its bounds.
        unsafe { (self.0.next)(values, cut, from) }
    }

    /// Its name: `avx512vnni`, `avx2` or `portable`.
    pub fn name(&self) -> &'static str {
        self.0.name
    }
}

impl std::fmt::Debug for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Unit").field(&self.0.name).finish()
    }
}

/// All that this processor has, fastest first.
pub fn units() -> Vec<Unit> {
    let compiled: &[&'static Functions] = &[
        #[cfg(target_arch = "x86_64")]
        &super::avx512::AVX512,
        #[cfg(target_arch = "x86_64")]
        &super::avx2::AVX2,
        &super::portable::PORTABLE,
    ];
    compiled
        .iter()
        .filter(|functions| (functions.is_detected)())
        .map(|functions| Unit(functions))
        .collect()
}

/// Some blocks of the coarse plane.
#[derive(Debug, Clone, Copy)]
pub struct Coarse<'a> {
    layout: Layout,
    bytes: &'a [u8],
    rows: usize,
}

impl<'a> Coarse<'a> {
    /// The blocks in `bytes`, which hold `rows` rows, the last block perhaps not full.
    ///
    /// # Panics
    /// If `bytes` are not the blocks of that many rows.
    pub fn new(layout: Layout, bytes: &'a [u8], rows: usize) -> Self {
        let blocks = rows.div_ceil(BLOCK_ROWS);
        assert_eq!(bytes.len(), blocks * layout.coarse_block_len(), "bytes of {rows} coarse rows");
        Self { layout, bytes, rows }
    }

    /// Writes the upper end of each row's score ([`Query::cut`]) and the estimate that
    /// [`Fine::refine`] goes on with: n floats each, and up to whole blocks of 16 more, which are
    /// -infinity or NaN where there is no row.
    ///
    /// # Panics
    /// If `uppers` or `estimates` are shorter than whole blocks, or `query` is of another layout.
    ///
    /// # Cost
    /// One pass over the bytes; with AVX-512 VNNI about 2.3 ns a row of 384 dimensions.
    pub fn scan(&self, unit: Unit, query: &Query, uppers: &mut [f32], estimates: &mut [f32]) {
        assert_eq!(query.layout, self.layout, "a query of another model");
        let room = self.rows.next_multiple_of(BLOCK_ROWS);
        assert!(room <= uppers.len().min(estimates.len()), "no room for {} rows", self.rows);
        // SAFETY: the unit was detected; the query is of this layout, the bytes are whole blocks
        // of it, and there is room for all their rows.
        unsafe { (unit.0.scan)(query, self.bytes, uppers, estimates) }
    }

    /// [`Coarse::scan`] for each of `strips`, with the same bits.
    ///
    /// # Panics
    /// As [`Coarse::scan`].
    ///
    /// # Cost
    /// With AVX-512 VNNI codes are read and unpacked once for four queries.
    pub fn scan_all(&self, unit: Unit, strips: &mut [Strip<'_>]) {
        let room = self.rows.next_multiple_of(BLOCK_ROWS);
        let (fours, rest) = match unit.0.scan_together {
            Some(together) => {
                let (fours, rest) = strips.as_chunks_mut::<TOGETHER>();
                (Some((together, fours)), rest)
            }
            None => (None, strips),
        };
        if let Some((together, fours)) = fours {
            for four in fours {
                for strip in four.iter() {
                    assert_eq!(strip.query.layout, self.layout, "a query of another model");
                    let least = strip.uppers.len().min(strip.estimates.len());
                    assert!(room <= least, "no room for {} rows", self.rows);
                }
                let [a, b, c, d] = four;
                let queries = [a.query, b.query, c.query, d.query];
                let uppers = [&mut *a.uppers, b.uppers, c.uppers, d.uppers];
                let estimates = [&mut *a.estimates, b.estimates, c.estimates, d.estimates];
                // SAFETY: the unit was detected; the queries are of this layout, the bytes are whole
                // blocks of it, and there is room for all their rows.
                unsafe { together(queries, self.bytes, uppers, estimates) }
            }
        }
        for strip in rest {
            self.scan(unit, strip.query, strip.uppers, strip.estimates);
        }
    }
}

/// Where a scan for one of several queries goes.
#[derive(Debug)]
pub struct Strip<'a> {
    /// The query.
    pub query: &'a Query,
    /// As of [`Coarse::scan`].
    pub uppers: &'a mut [f32],
    /// As of [`Coarse::scan`].
    pub estimates: &'a mut [f32],
}

/// Some rows of the fine plane.
#[derive(Debug, Clone, Copy)]
pub struct Fine<'a> {
    layout: Layout,
    bytes: &'a [u8],
}

impl<'a> Fine<'a> {
    /// The rows in `bytes`.
    ///
    /// # Panics
    /// If `bytes` are not whole rows.
    pub fn new(layout: Layout, bytes: &'a [u8]) -> Self {
        assert!(bytes.len().is_multiple_of(layout.fine_len()), "not whole fine rows");
        Self { layout, bytes }
    }

    /// Asks for the bytes of a row, which [`Fine::refine`] will read soon; nothing where there is no such
    /// row.
    #[inline]
    pub fn prefetch(&self, row: usize) {
        let len = self.layout.fine_len();
        let at = row.saturating_mul(len);
        let bytes = self.bytes.get(at..at.saturating_add(len)).unwrap_or_default();
        #[cfg(target_arch = "x86_64")]
        for line in bytes.chunks(64).chain(bytes.last().map(std::slice::from_ref)) {
            // SAFETY: a hint; it never faults, whatever the address.
            unsafe {
                std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
                    line.as_ptr().cast(),
                );
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = bytes;
    }

    /// The better estimate of a row whose coarse `estimate` is known, and its upper end.
    ///
    /// # Panics
    /// If there is no such row, or `query` is of another layout.
    ///
    /// # Cost
    /// With AVX-512 VNNI about 10 ns for 384 dimensions in a cache.
    #[inline]
    pub fn refine(&self, unit: Unit, query: &Query, row: usize, estimate: f32) -> (f32, f32) {
        assert_eq!(query.layout, self.layout, "a query of another model");
        let len = self.layout.fine_len();
        let bytes = &self.bytes[row * len..(row + 1) * len];
        let (codes, factors) = bytes.split_at(len - 4);
        // SAFETY: the unit was detected; the query is of this layout, and these are its codes.
        let (high, low) = unsafe { (unit.0.score)(query, codes) };
        let (scale, error) = (bfloat16_at(factors, 0), bfloat16_at(factors, 2));
        let fine = &query.fine;
        let odd = (2 * high) as f32 * 256.0 + (2 * low) as f32 + fine.offset;
        let estimate = estimate + scale * (fine.unit * odd);
        (estimate, estimate + (scale * fine.k + error * fine.norm))
    }
}

/// bfloat16 factor `factor` of row `row` of a block, whose factors begin at `factors`.
pub(super) fn factor(factors: &[u8], factor: usize, row: usize) -> f32 {
    bfloat16_at(factors, 2 * (factor * BLOCK_ROWS + row))
}

/// The bfloat16 whose two bytes begin at `at`.
#[inline(always)]
fn bfloat16_at(bytes: &[u8], at: usize) -> f32 {
    Half::Bf16.value(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}
