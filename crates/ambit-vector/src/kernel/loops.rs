//! How are rows walked? The loops without bounds checks, written once for every register.
//!
//! A scan with one query is bound by memory, so it walks several streams at once: the rows are
//! cut into `R` equal stretches and row i of each stretch is scored together. That keeps more
//! cache lines in flight than one stream does, and the query register is loaded once for `R`
//! rows. Lines are asked for ahead of use, because hardware prefetchers stop at 4 KiB pages.
//! A block of queries is bound by arithmetic, so it keeps a tile of `Q` x `R` accumulators in
//! registers and a group of queries in the first-level cache.
//!
//! Each row is summed in at least 4 lanes, which [`crate::bounds`] counts on. Plain loops, no
//! `map` or `from_fn` around registers: a closure has not the instruction set of its caller, so
//! the compiler would call each instruction as a function.

use super::lanes::{Element, Lanes};

/// How far ahead of use a stream asks for its lines, in bytes: four streams together ask for
/// about as many lines as a core can wait for; more would wait themselves.
const AHEAD: usize = 1024;

/// Bytes of queries that stay in the first-level cache while a block of rows passes.
const QUERY_GROUP_BYTES: usize = 24 << 10;

/// What is added up over the elements of two vectors.
pub(super) trait Term {
    /// `sum` plus this term of `a` and `b`.
    ///
    /// # Safety
    ///
    /// The instruction set of `L` is present.
    unsafe fn accumulate<L: Lanes>(sum: L, a: L, b: L) -> L;
}

/// The product: inner products.
pub(super) struct Product;

impl Term for Product {
    #[inline(always)]
    unsafe fn accumulate<L: Lanes>(sum: L, a: L, b: L) -> L {
        // SAFETY: the caller vouches for the instruction set of `L`.
        unsafe { sum.add_product(a, b) }
    }
}

/// The squared difference: squared euclidean distances.
pub(super) struct SquaredDifference;

impl Term for SquaredDifference {
    #[inline(always)]
    unsafe fn accumulate<L: Lanes>(sum: L, a: L, b: L) -> L {
        // SAFETY: the caller vouches for the instruction set of `L`.
        unsafe {
            let difference = a.sub(b);
            sum.add_product(difference, difference)
        }
    }
}

/// `out[i]` = sum of terms of `query` and row i, whose elements become f32 as they are loaded;
/// `R` streams.
///
/// # Safety
///
/// The instruction set of `L` is present; `query` has `dim` readable floats, `rows` has
/// `n * dim` elements, `out` has `n` writable ones that overlap neither.
#[inline(always)]
pub(super) unsafe fn score_rows<L: Lanes, E: Element, T: Term, const R: usize>(
    query: *const f32,
    dim: usize,
    rows: *const E,
    out: *mut f32,
    n: usize,
) {
    let stretch = n / R;
    for i in 0..stretch {
        // SAFETY: r * stretch + i < R * stretch <= n, so each pointer starts a row of `dim`
        // readable floats, and each place of `out` is one of its n.
        unsafe {
            let mut starts = [rows; R];
            for (r, start) in starts.iter_mut().enumerate() {
                *start = rows.add((r * stretch + i) * dim);
            }
            let sums = score_group::<L, E, T, R>(query, dim, starts);
            for (r, sum) in sums.into_iter().enumerate() {
                *out.add(r * stretch + i) = sum;
            }
        }
    }
    for i in stretch * R..n {
        // SAFETY: i < n: a row of `dim` readable floats, and a place of `out`.
        unsafe {
            let [sum] = score_group::<L, E, T, 1>(query, dim, [rows.add(i * dim)]);
            *out.add(i) = sum;
        }
    }
}

/// Asks for the lines that two registers of elements are loaded from, [`AHEAD`] bytes later.
///
/// # Safety
///
/// The instruction set of `L` is present; `here` may be any address.
#[inline(always)]
unsafe fn ask_for<L: Lanes, E: Element>(here: *const E) {
    let ahead = here.cast::<u8>().wrapping_add(AHEAD);
    // SAFETY: prefetch takes any address.
    unsafe {
        L::prefetch(ahead);
        if 2 * L::WIDTH * size_of::<E>() > 64 {
            L::prefetch(ahead.wrapping_add(64));
        }
    }
}

/// The sums of terms of `query` and `R` rows, two accumulators a row.
///
/// # Safety
///
/// The instruction set of `L` is present; `query` and each of `rows` have `dim` readable floats.
#[inline(always)]
unsafe fn score_group<L: Lanes, E: Element, T: Term, const R: usize>(
    query: *const f32,
    dim: usize,
    rows: [*const E; R],
) -> [f32; R] {
    // SAFETY: full loads read [at, at + WIDTH) with at + WIDTH <= dim, the head load reads
    // [at, dim) with dim - at < WIDTH; prefetch takes any address (`wrapping_add` forms it
    // without claiming that it is in bounds).
    unsafe {
        let mut even = [L::zero(); R];
        let mut odd = [L::zero(); R];
        let mut at = 0;
        while at + 2 * L::WIDTH <= dim {
            let q0 = L::load(query.add(at));
            let q1 = L::load(query.add(at + L::WIDTH));
            for r in 0..R {
                ask_for::<L, E>(rows[r].wrapping_add(at));
                even[r] = T::accumulate(even[r], q0, E::load(rows[r].add(at)));
                odd[r] = T::accumulate(odd[r], q1, E::load(rows[r].add(at + L::WIDTH)));
            }
            at += 2 * L::WIDTH;
        }
        if at + L::WIDTH <= dim {
            let q0 = L::load(query.add(at));
            for r in 0..R {
                L::prefetch(rows[r].wrapping_add(at).cast::<u8>().wrapping_add(AHEAD));
                even[r] = T::accumulate(even[r], q0, E::load(rows[r].add(at)));
            }
            at += L::WIDTH;
        }
        if at < dim {
            let q0 = L::load_head(query.add(at), dim - at);
            for r in 0..R {
                L::prefetch(rows[r].wrapping_add(at).cast::<u8>().wrapping_add(AHEAD));
                odd[r] = T::accumulate(odd[r], q0, E::load_head(rows[r].add(at), dim - at));
            }
        }
        for r in 0..R {
            even[r] = even[r].add(odd[r]);
        }
        sums(even)
    }
}

/// `out[q * n + i]` = sum of terms of query q and row i; tiles of `Q` queries x `R` rows.
///
/// # Safety
///
/// The instruction set of `L` is present; `queries` has `m * dim` readable floats, `rows` has
/// `n * dim`, `out` has `m * n` writable ones that overlap neither.
#[inline(always)]
pub(super) unsafe fn score_block<L: Lanes, E: Element, T: Term, const Q: usize, const R: usize>(
    queries: *const f32,
    m: usize,
    dim: usize,
    rows: *const E,
    n: usize,
    out: *mut f32,
) {
    let group = (QUERY_GROUP_BYTES / (4 * dim.max(1))).max(Q) / Q * Q;
    let mut first = 0;
    while first < m {
        let end = m.min(first + group);
        let mut row = 0;
        while row < n {
            // SAFETY: queries [first, end) and rows [row, row + R or row + 1) lie inside m and
            // n, and the places of `out` that the strip writes are theirs.
            unsafe {
                if row + R <= n {
                    score_strip::<L, E, T, Q, R>(queries, first, end, dim, rows, row, n, out);
                    row += R;
                } else {
                    score_strip::<L, E, T, Q, 1>(queries, first, end, dim, rows, row, n, out);
                    row += 1;
                }
            }
        }
        first = end;
    }
}

/// Scores queries [first, end) with rows [row, row + R), tile by tile.
///
/// # Safety
///
/// As [`score_block`], with `end` <= m and `row + R` <= n.
#[expect(clippy::too_many_arguments, reason = "raw parts of three matrices, inlined away")]
#[inline(always)]
unsafe fn score_strip<L: Lanes, E: Element, T: Term, const Q: usize, const R: usize>(
    queries: *const f32,
    first: usize,
    end: usize,
    dim: usize,
    rows: *const E,
    row: usize,
    n: usize,
    out: *mut f32,
) {
    let mut query = first;
    // SAFETY: every tile starts at query < end <= m and ends at or before `end`; row + R <= n.
    unsafe {
        let rows = rows.add(row * dim);
        while query + Q <= end {
            let tile = score_tile::<L, E, T, Q, R>(queries.add(query * dim), dim, rows);
            for (q, sums) in tile.into_iter().enumerate() {
                for (r, sum) in sums.into_iter().enumerate() {
                    *out.add((query + q) * n + row + r) = sum;
                }
            }
            query += Q;
        }
        while query < end {
            let [sums] = score_tile::<L, E, T, 1, R>(queries.add(query * dim), dim, rows);
            for (r, sum) in sums.into_iter().enumerate() {
                *out.add(query * n + row + r) = sum;
            }
            query += 1;
        }
    }
}

/// The sums of terms of `Q` queries and `R` rows, both adjacent in memory.
///
/// # Safety
///
/// The instruction set of `L` is present; `queries` has `Q * dim` readable floats, `rows` has
/// `R * dim`.
#[inline(always)]
unsafe fn score_tile<L: Lanes, E: Element, T: Term, const Q: usize, const R: usize>(
    queries: *const f32,
    dim: usize,
    rows: *const E,
) -> [[f32; R]; Q] {
    // SAFETY: query q and row r start at q * dim and r * dim; full loads read [at, at + WIDTH)
    // with at + WIDTH <= dim of them, head loads [at, dim) with dim - at < WIDTH.
    unsafe {
        let mut tile = [[L::zero(); R]; Q];
        let mut at = 0;
        while at + L::WIDTH <= dim {
            let mut loaded = [L::zero(); R];
            for (r, row) in loaded.iter_mut().enumerate() {
                *row = E::load(rows.add(r * dim + at));
            }
            for (q, sums) in tile.iter_mut().enumerate() {
                let query = L::load(queries.add(q * dim + at));
                for r in 0..R {
                    sums[r] = T::accumulate(sums[r], query, loaded[r]);
                }
            }
            at += L::WIDTH;
        }
        if at < dim {
            let rest = dim - at;
            let mut loaded = [L::zero(); R];
            for (r, row) in loaded.iter_mut().enumerate() {
                *row = E::load_head(rows.add(r * dim + at), rest);
            }
            for (q, sums) in tile.iter_mut().enumerate() {
                let query = L::load_head(queries.add(q * dim + at), rest);
                for r in 0..R {
                    sums[r] = T::accumulate(sums[r], query, loaded[r]);
                }
            }
        }
        let mut out = [[0.0; R]; Q];
        for (out, row) in out.iter_mut().zip(tile) {
            *out = sums(row);
        }
        out
    }
}

/// The sum of each register.
///
/// # Safety
///
/// The instruction set of `L` is present.
#[inline(always)]
unsafe fn sums<L: Lanes, const R: usize>(lanes: [L; R]) -> [f32; R] {
    let mut out = [0.0; R];
    let mut at = 0;
    // SAFETY: the caller vouches for the instruction set of `L`.
    unsafe {
        while at + 4 <= R {
            let four = L::sum_four([lanes[at], lanes[at + 1], lanes[at + 2], lanes[at + 3]]);
            out[at..at + 4].copy_from_slice(&four);
            at += 4;
        }
        while at < R {
            out[at] = lanes[at].sum();
            at += 1;
        }
    }
    out
}

/// The sum of all floats, read in `R` streams; only the time that it takes is of interest.
///
/// # Safety
///
/// The instruction set of `L` is present; `from` has `len` readable floats.
#[inline(always)]
pub(super) unsafe fn read<L: Lanes, const R: usize>(from: *const f32, len: usize) -> f32 {
    let step = 2 * L::WIDTH;
    let stretch = len / R / step * step;
    // SAFETY: r * stretch + at + step <= R * stretch <= len for every load; prefetch takes any
    // address.
    unsafe {
        let mut even = [L::zero(); R];
        let mut odd = [L::zero(); R];
        let mut at = 0;
        while at < stretch {
            for r in 0..R {
                let here = from.add(r * stretch + at);
                ask_for::<L, f32>(here);
                even[r] = even[r].add(L::load(here));
                odd[r] = odd[r].add(L::load(here.add(L::WIDTH)));
            }
            at += step;
        }
        let mut total = 0.0;
        for r in 0..R {
            total += even[r].add(odd[r]).sum();
        }
        for i in R * stretch..len {
            total += *from.add(i);
        }
        total
    }
}
