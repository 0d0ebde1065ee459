//! How does a row become a code, and back?
//!
//! Lanes are sixteen rows: each centroid is scored against all of them with one multiply-add a
//! number, and the best one is kept with a comparison; no sum or search across lanes. Of equal
//! centroids the lower one wins, so the codes are the same on every processor.
//!
//! The bound of a row is |x - x'| in f64, for the x' that [`Product::decode`] returns. With a
//! learned rotation R, x' = R^T y, and |x - R^T y| <= |x - R^T R x| + |R^T| |R x - y|, at most
//! off |x| + sqrt(1 + off) |R x - y|, where off bounds the spectral norm of R^T R - 1. A number of
//! the computed R x is off by g |R_i| |x| with g = dim u / (1 - dim u), so R x is by g |R|_F |x|,
//! where |R|_F <= sqrt(dim (1 + off)); and R^T y likewise by g |R|_F |y|.

use super::model::Product;
use super::options::Bits;
use crate::Metric;
use crate::blocks::{ROWS, nibble, put_nibble};
use crate::bounds::UNIT_ROUNDOFF;
use crate::quantizer::CodeError;
use crate::wide::{Job, LANES, Set, Wide};

/// Rows that are coded at a time.
const BATCH: usize = 64;

/// Sixteen rows of one part against its centroids.
struct Nearest<'a> {
    /// Panels x numbers of the part.
    book: &'a [[f32; LANES]],
    starts: &'a [[f32; LANES]],
    /// Numbers of the part x sixteen rows.
    rows: &'a [[f32; LANES]],
    nearest: &'a mut [f32; LANES],
}

impl Nearest<'_> {
    #[inline(always)]
    fn go<W: Wide>(self, wide: W) {
        let len = self.rows.len();
        let (mut best, mut which) = (wide.splat(f32::NEG_INFINITY), wide.splat(0.0));
        let panels = self.book.chunks_exact(len).zip(self.starts);
        for (number, (panel, start)) in panels.enumerate() {
            for lane in 0..LANES {
                let mut sum = wide.splat(start[lane]);
                for (x, register) in self.rows.iter().zip(panel) {
                    sum = wide.mul_add(wide.load(x), wide.splat(register[lane]), sum);
                }
                let better = wide.less(best, sum);
                best = wide.select(better, sum, best);
                which = wide.select(better, wide.splat((number * LANES + lane) as f32), which);
            }
        }
        wide.store(which, self.nearest);
    }
}

/// All parts of up to sixteen rows.
struct Codes<'a> {
    product: &'a Product,
    /// n x dim, n <= 16.
    rows: &'a [f32],
    /// The numbers of a part x sixteen rows, for the longest part.
    turned: &'a mut [[f32; LANES]],
    /// parts x sixteen rows.
    codes: &'a mut [[u8; LANES]],
}

impl Job for Codes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<W: Wide>(self, wide: W) {
        let product = self.product;
        let panels = product.options.bits.centroids() / LANES;
        let mut nearest = [0.0; LANES];
        for (part, codes) in self.codes.iter_mut().enumerate() {
            let (start, len) = (product.start(part), product.part_len(part));
            let turned = &mut self.turned[..len];
            for (r, row) in self.rows.chunks_exact(product.options.dim).enumerate() {
                for (register, x) in turned.iter_mut().zip(&row[start..start + len]) {
                    register[r] = *x;
                }
            }
            let starts = &product.starts[part * panels..][..panels];
            let book = product.book(part);
            Nearest { book, starts, rows: turned, nearest: &mut nearest }.go(wide);
            for (code, nearest) in codes.iter_mut().zip(nearest) {
                *code = nearest as i32 as u8;
            }
        }
    }
}

impl Product {
    /// Bytes that [`Product::encode`] and [`Product::decode`] hold while they run.
    pub fn coding_bytes(&self) -> usize {
        let longest_part = self.part_len(0);
        let turned = if self.learned.is_some() { 4 * self.options.dim * BATCH } else { 0 };
        LANES * (4 * longest_part + self.options.parts) + turned + 8 * self.options.dim
    }

    /// Codes rows as numbers `first`, `first` + 1, ... of `codes`.
    ///
    /// `rows`: n x dim, row-major f32; `codes`: whole blocks, as [`Product::codes_len`] says for
    /// `first` + n rows or more. Other rows stay as they are.
    ///
    /// # Errors
    /// Slices of other lengths.
    ///
    /// # Cost
    /// centroids x (dim + 3 x parts) / 16 instructions of AVX-512 a row, and dim^2 multiply-adds
    /// with a learned rotation. Holds [`Product::coding_bytes`].
    pub fn encode(&self, first: usize, rows: &[f32], codes: &mut [u8]) -> Result<(), CodeError> {
        let dim = self.options.dim;
        let count = rows.len() / dim;
        self.check_rows(rows.len(), count)?;
        self.check_codes(codes.len(), first.saturating_add(count))?;
        let mut turned = match self.learned {
            Some(_) => vec![0.0; dim * BATCH.min(count)],
            None => Vec::new(),
        };
        let mut scratch = vec![[0.0; LANES]; self.part_len(0)];
        let mut found = vec![[0; LANES]; self.options.parts];
        let mut decoded = vec![0.0; dim];
        for (batch, original) in rows.chunks(BATCH * dim).enumerate() {
            let rows = match &self.learned {
                Some(learned) => {
                    let turned = &mut turned[..original.len()];
                    learned.forward.multiply(original, turned);
                    &*turned
                }
                None => original,
            };
            let sixteens = rows.chunks(LANES * dim).zip(original.chunks(LANES * dim));
            for (sixteen, (rows, original)) in sixteens.enumerate() {
                Set::best().run(Codes {
                    product: self,
                    rows,
                    turned: &mut scratch,
                    codes: &mut found,
                });
                let first = first + batch * BATCH + sixteen * LANES;
                let pairs = rows.chunks_exact(dim).zip(original.chunks_exact(dim));
                for (r, (row, original)) in pairs.enumerate() {
                    let number = first + r;
                    let block = &mut codes[number / ROWS * self.block_len()..][..self.block_len()];
                    self.put(block, number % ROWS, &found, r);
                    let bound = self.bound(row, original, &found, r, &mut decoded);
                    self.put_beside(block, number % ROWS, bound, original);
                }
            }
        }
        Ok(())
    }

    /// Writes the codes of a row.
    fn put(&self, block: &mut [u8], place: usize, codes: &[[u8; LANES]], r: usize) {
        match self.options.bits {
            Bits::Four => {
                for (part, codes) in codes.iter().enumerate() {
                    put_nibble(block, part, place, codes[r]);
                }
            }
            Bits::Eight => {
                for (codes, block) in codes.iter().zip(block.as_chunks_mut::<ROWS>().0) {
                    block[place] = codes[r];
                }
            }
        }
    }

    /// Writes what stands beside the code of a row.
    fn put_beside(&self, block: &mut [u8], place: usize, bound: f32, original: &[f32]) {
        let beside = &mut block[self.parts_len()..];
        let bits = bound.to_bits();
        let up =
            if bound.is_finite() { bits.saturating_add(0xFFFF) } else { f32::INFINITY.to_bits() };
        beside[2 * place..][..2].copy_from_slice(&((up >> 16) as u16).to_le_bytes());
        if self.options.metric == Metric::Cosine {
            let norm = crate::kernels().norm(original);
            beside[2 * ROWS + 4 * place..][..4].copy_from_slice(&norm.to_le_bytes());
        }
    }

    /// At least |x - x'|; infinite for a row that is not finite.
    fn bound(
        &self,
        row: &[f32],
        original: &[f32],
        codes: &[[u8; LANES]],
        r: usize,
        decoded: &mut [f32],
    ) -> f32 {
        self.rebuild(|part| codes[part][r], decoded);
        let distance = crate::kernels().l2sq_f64(row, decoded).sqrt();
        let bound = match &self.learned {
            None => distance,
            Some(learned) => {
                let norm = crate::kernels().dot_f64(original, original).sqrt();
                let code = crate::kernels().dot_f64(decoded, decoded).sqrt();
                let rounding = self.turning_error(learned.off) * (norm + code);
                learned.off * norm + (1.0 + learned.off) * (distance + rounding)
            }
        };
        // The f64 arithmetic, and what is lost as the bound becomes an f32.
        let bound = (bound * (1.0 + 1e-9)) as f32;
        if bound.is_finite() { bound.next_up() } else { f32::INFINITY }
    }

    /// By how much a computed R x is wrong, relative to |x|: see the module.
    pub(super) fn turning_error(&self, off: f64) -> f64 {
        let dim = self.options.dim as f64;
        let g = dim * UNIT_ROUNDOFF / (1.0 - dim * UNIT_ROUNDOFF);
        g * (dim * (1.0 + off)).sqrt()
    }

    /// The centroids of a code, one after the other.
    pub(super) fn rebuild(&self, code: impl Fn(usize) -> u8, row: &mut [f32]) {
        for part in 0..self.options.parts {
            let (start, len) = (self.start(part), self.part_len(part));
            let code = usize::from(code(part)) % self.options.bits.centroids();
            let panel = &self.book(part)[code / LANES * len..][..len];
            for (x, register) in row[start..][..len].iter_mut().zip(panel) {
                *x = register[code % LANES];
            }
        }
    }

    /// The code of a part of a row of a block.
    pub(super) fn code(&self, block: &[u8], place: usize, part: usize) -> u8 {
        match self.options.bits {
            Bits::Four => nibble(block, part, place),
            Bits::Eight => block[part * ROWS + place],
        }
    }

    /// What the codes from number `first` on stand for, as many as `rows` holds.
    ///
    /// `rows`: n x dim.
    ///
    /// # Errors
    /// Slices of other lengths.
    ///
    /// # Cost
    /// A copy of dim numbers, and dim^2 multiply-adds with a learned rotation. Holds
    /// [`Product::coding_bytes`].
    pub fn decode(&self, first: usize, codes: &[u8], rows: &mut [f32]) -> Result<(), CodeError> {
        let dim = self.options.dim;
        let count = rows.len() / dim;
        self.check_rows(rows.len(), count)?;
        self.check_codes(codes.len(), first.saturating_add(count))?;
        let mut decoded = if self.learned.is_some() { vec![0.0; dim] } else { Vec::new() };
        for (number, row) in rows.chunks_exact_mut(dim).enumerate() {
            let (block, place) = self.place(codes, first + number);
            match &self.learned {
                None => self.rebuild(|part| self.code(block, place, part), row),
                Some(learned) => {
                    self.rebuild(|part| self.code(block, place, part), &mut decoded);
                    learned.back.multiply(&decoded, row);
                }
            }
        }
        Ok(())
    }

    /// An upper bound on the euclidean distance between row `row` and what its code stands for;
    /// infinite for a row that is not finite.
    ///
    /// # Errors
    /// Codes of fewer rows.
    pub fn error_bound(&self, codes: &[u8], row: usize) -> Result<f32, CodeError> {
        self.check_codes(codes.len(), row.saturating_add(1))?;
        let (block, place) = self.place(codes, row);
        Ok(self.stored_bound(block, place))
    }

    pub(super) fn stored_bound(&self, block: &[u8], place: usize) -> f32 {
        let at = self.parts_len() + 2 * place;
        f32::from_bits(u32::from(u16::from_le_bytes([block[at], block[at + 1]])) << 16)
    }

    /// The norms of the rows of a block, where the metric is the cosine.
    pub(super) fn stored_norms<'a>(&self, block: &'a [u8]) -> &'a [[u8; 4]] {
        block[self.parts_len() + 2 * ROWS..].as_chunks::<4>().0
    }

    /// The block of a row, and its place there.
    pub(super) fn place<'a>(&self, codes: &'a [u8], row: usize) -> (&'a [u8], usize) {
        (&codes[row / ROWS * self.block_len()..][..self.block_len()], row % ROWS)
    }

    fn check_rows(&self, found: usize, count: usize) -> Result<(), CodeError> {
        if count * self.options.dim == found {
            return Ok(());
        }
        Err(CodeError::Shape { what: "rows", expected: (count + 1) * self.options.dim, found })
    }

    /// Whether codes are whole blocks, of `rows` rows or more.
    pub(super) fn check_codes(&self, found: usize, rows: usize) -> Result<(), CodeError> {
        let expected = self.codes_len(rows);
        if found >= expected && found.is_multiple_of(self.block_len()) {
            return Ok(());
        }
        Err(CodeError::Shape { what: "codes", expected, found })
    }
}
