//! Which loops run on this processor, behind methods that check every length.
//!
//! All loops give the same integers; the few operations in f32 that follow may differ by
//! roundings that [`super::super::bound`] has room for.

use std::sync::OnceLock;

use super::super::layout::{BLOCK_ROWS, Layout};
use super::super::query::Query;

/// Scans whole blocks: query, bytes, cut, and where rows, estimates go; returns how many there
/// are and the highest upper end among the others.
pub(super) type ScanBlocks = unsafe fn(&Query, &[u8], f32, &mut [u32], &mut [f32]) -> (usize, f32);
/// The sum of codes times high and low parts of z, of one row's codes.
pub(super) type ScoreCodes = unsafe fn(&Query, &[u8]) -> (i32, i32);

/// The loops for one instruction set.
pub(super) struct Functions {
    pub(super) name: &'static str,
    pub(super) is_detected: fn() -> bool,
    pub(super) scan: ScanBlocks,
    pub(super) score: ScoreCodes,
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

/// What a scan of the coarse plane left.
#[derive(Debug, Clone)]
pub struct Scanned {
    /// Room for the rows of the largest scan, and one block.
    rows: Vec<u32>,
    estimates: Vec<f32>,
    len: usize,
    /// The highest upper end of a row that was left out; -infinity where none was.
    pub left_out: f32,
}

impl Scanned {
    /// Room for scans of up to `rows` rows.
    pub fn with_capacity(rows: usize) -> Self {
        let room = rows.next_multiple_of(BLOCK_ROWS) + BLOCK_ROWS;
        Self {
            rows: vec![0; room],
            estimates: vec![0.0; room],
            len: 0,
            left_out: f32::NEG_INFINITY,
        }
    }

    /// Bytes that [`Scanned::with_capacity`] takes.
    pub fn footprint(rows: usize) -> usize {
        8 * (rows.next_multiple_of(BLOCK_ROWS) + BLOCK_ROWS)
    }

    /// Numbers of the rows that may reach the cut, counted from the first row scanned,
    /// ascending.
    pub fn rows(&self) -> &[u32] {
        &self.rows[..self.len]
    }

    /// For each of them, what [`Fine::refine`] goes on with: the estimate, without the bound on
    /// what the codes left out.
    pub fn estimates(&self) -> &[f32] {
        &self.estimates[..self.len]
    }
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

    /// Finds the rows whose upper end is not below `cut` ([`Query::cut`]).
    ///
    /// # Panics
    /// If `found` has no room for the rows, or `query` is of another layout.
    ///
    /// # Cost
    /// One pass over the bytes; with AVX-512 VNNI about 2.5 ns a row of 384 dimensions.
    pub fn scan(&self, unit: Unit, query: &Query, cut: f32, found: &mut Scanned) {
        assert_eq!(query.layout, self.layout, "a query of another model");
        let room = self.rows.next_multiple_of(BLOCK_ROWS) + BLOCK_ROWS;
        assert!(room <= found.rows.len(), "no room for {} rows", self.rows);
        // SAFETY: the unit was detected; the query is of this layout, the bytes are whole blocks
        // of it, and there is room for one block more than they hold.
        let (len, left_out) =
            unsafe { (unit.0.scan)(query, self.bytes, cut, &mut found.rows, &mut found.estimates) };
        found.left_out = left_out;
        // What a block that is not full has beyond its rows may have been found with a cut of
        // -infinity.
        let rows = &found.rows[..len];
        found.len = rows.partition_point(|&row| (row as usize) < self.rows);
    }
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
        let number = |at: usize| {
            f32::from_bits(u32::from(u16::from_le_bytes([factors[at], factors[at + 1]])) << 16)
        };
        let (scale, error) = (number(0), number(2));
        let fine = &query.fine;
        let odd = (2 * high) as f32 * 256.0 + (2 * low) as f32 + fine.offset;
        let estimate = estimate + scale * (fine.unit * odd);
        (estimate, estimate + (scale * fine.k + error * fine.norm))
    }
}

/// bfloat16 factor `factor` of row `row` of a block, whose factors begin at `factors`.
pub(super) fn factor(factors: &[u8], factor: usize, row: usize) -> f32 {
    let at = 2 * (factor * BLOCK_ROWS + row);
    f32::from_bits(u32::from(u16::from_le_bytes([factors[at], factors[at + 1]])) << 16)
}
