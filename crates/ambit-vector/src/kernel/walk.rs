//! How are rows of bytes walked? The loops without bounds checks, and what they add up.
//!
//! As `loops` does for floats: several streams for one query, because that is bound by memory;
//! tiles of queries and rows for a block, because that is bound by arithmetic. A [`Term`] says
//! what one register of a row adds to the sum. Every sum counts modulo 2^32.

use super::bytes::{Bytes, WeightsAt};
use super::lanes::padded;

/// How far ahead of use a stream asks for its lines, in bytes: four streams together ask for
/// about as many lines as a core can wait for; more would wait themselves.
const AHEAD: usize = 1024;

/// Bytes of queries that stay in the first-level cache while a block of rows passes.
const QUERY_GROUP_BYTES: usize = 16 << 10;

/// The most queries of such a group.
const QUERY_GROUP: usize = 64;

/// What is added up over the bytes of a row.
///
/// # Safety
///
/// Every method may run only where the instruction set of `B` is present. `rest` is at least 1,
/// and [`Term::STEP`] where that many bytes are left.
pub(super) trait Term<B: Bytes> {
    /// Bytes of a row that are added at once.
    const STEP: usize;
    /// Where the query lies.
    type Query: Copy;
    /// What the query has for one step.
    type Loaded: Copy;
    /// The sums of one row.
    type Sum: Copy;

    /// Nothing added yet.
    unsafe fn zero() -> Self::Sum;

    /// The query for the `rest` bytes of a row from `at` on, which are readable there.
    unsafe fn load(query: Self::Query, at: usize, rest: usize) -> Self::Loaded;

    /// `sum` plus what `rest` readable bytes of a row give.
    unsafe fn add(sum: Self::Sum, query: Self::Loaded, row: *const u8, rest: usize) -> Self::Sum;

    /// The sums in lanes.
    unsafe fn finish(sum: Self::Sum) -> B::Sum;

    /// What every sum of this query lacks; the query is readable for `len` bytes of a row.
    #[inline(always)]
    unsafe fn correction(query: Self::Query, len: usize) -> i32 {
        let _ = (query, len);
        0
    }
}

/// A term of two registers of bytes, `$add` of [`Bytes`].
macro_rules! pair_term {
    ($(#[$doc:meta])* $term:ident, |$sum:ident, $a:ident, $b:ident| $add:expr $(, $correction:ident)?) => {
        $(#[$doc])*
        pub(super) struct $term;

        impl<B: Bytes> Term<B> for $term {
            const STEP: usize = B::WIDTH;
            type Query = *const u8;
            type Loaded = B;
            type Sum = B::Sum;

            #[inline(always)]
            unsafe fn zero() -> B::Sum {
                // SAFETY: as the caller vouches.
                unsafe { B::zero() }
            }

            #[inline(always)]
            unsafe fn load(query: *const u8, at: usize, rest: usize) -> B {
                // SAFETY: the caller vouches for `rest` bytes at `at`.
                unsafe { load(query.add(at), rest) }
            }

            #[inline(always)]
            unsafe fn add($sum: B::Sum, $b: B, row: *const u8, rest: usize) -> B::Sum {
                // SAFETY: the caller vouches for `rest` bytes at `row`.
                unsafe {
                    let $a = load::<B>(row, rest);
                    $add
                }
            }

            #[inline(always)]
            unsafe fn finish(sum: B::Sum) -> B::Sum {
                sum
            }

            $(
                #[inline(always)]
                unsafe fn correction(query: *const u8, len: usize) -> i32 {
                    // SAFETY: as the caller vouches.
                    unsafe { B::$correction(query, len) }
                }
            )?
        }
    };
}

pair_term!(
    /// Products of int8.
    SignedProduct,
    |sum, a, b| B::add_signed_products(sum, a, b),
    signed_correction
);
pair_term!(
    /// Squared differences of int8.
    SignedSquare,
    |sum, a, b| B::add_signed_squares(sum, a, b)
);
pair_term!(
    /// Products of levels 0 to 15, two a byte.
    LevelProduct,
    |sum, a, b| B::add_level_products(
        B::add_level_products(sum, a.low(), b.low()),
        a.high(),
        b.high()
    )
);
pair_term!(
    /// Squared differences of levels 0 to 15, two a byte.
    LevelSquare,
    |sum, a, b| B::add_level_squares(
        B::add_level_squares(sum, a.low(), b.low()),
        a.high(),
        b.high()
    )
);
pair_term!(
    /// Bits that differ.
    DifferingBits,
    |sum, a, b| B::add_differing_bits(sum, a, b)
);

/// Levels 0 to 255, one a byte, times weights.
pub(super) struct WeightedBytes;

/// Levels 0 to 15, two a byte, times weights: those of the low halves, those of the high halves.
pub(super) struct WeightedLevels;

/// Bits, eight a byte, times weights.
pub(super) struct WeightedBits;

impl<B: Bytes> Term<B> for WeightedBytes {
    const STEP: usize = B::WIDTH;
    type Query = WeightsAt;
    type Loaded = B::Weights;
    type Sum = B::Weighted;

    #[inline(always)]
    unsafe fn zero() -> B::Weighted {
        // SAFETY: as the caller vouches.
        unsafe { B::zero_weighted() }
    }

    #[inline(always)]
    unsafe fn load(query: WeightsAt, at: usize, _: usize) -> B::Weights {
        // SAFETY: weights are readable for whole registers; the caller vouches for `at`.
        unsafe { B::load_weights(query.skip(at)) }
    }

    #[inline(always)]
    unsafe fn add(sum: B::Weighted, query: B::Weights, row: *const u8, rest: usize) -> B::Weighted {
        // SAFETY: the caller vouches for `rest` bytes at `row`.
        unsafe { B::add_weighted(sum, query, load(row, rest)) }
    }

    #[inline(always)]
    unsafe fn finish(sum: B::Weighted) -> B::Sum {
        // SAFETY: as the caller vouches.
        unsafe { B::unweighted(sum) }
    }
}

impl<B: Bytes> Term<B> for WeightedLevels {
    const STEP: usize = B::WIDTH;
    type Query = [WeightsAt; 2];
    type Loaded = [B::Weights; 2];
    type Sum = B::Weighted;

    #[inline(always)]
    unsafe fn zero() -> B::Weighted {
        // SAFETY: as the caller vouches.
        unsafe { B::zero_weighted() }
    }

    #[inline(always)]
    unsafe fn load(query: [WeightsAt; 2], at: usize, _: usize) -> [B::Weights; 2] {
        // SAFETY: weights are readable for whole registers; the caller vouches for `at`.
        unsafe { [B::load_weights(query[0].skip(at)), B::load_weights(query[1].skip(at))] }
    }

    #[inline(always)]
    unsafe fn add(
        sum: B::Weighted,
        query: [B::Weights; 2],
        row: *const u8,
        rest: usize,
    ) -> B::Weighted {
        // SAFETY: the caller vouches for `rest` bytes at `row`.
        unsafe {
            let levels = load::<B>(row, rest);
            let sum = B::add_weighted(sum, query[0], levels.low());
            B::add_weighted(sum, query[1], levels.high())
        }
    }

    #[inline(always)]
    unsafe fn finish(sum: B::Weighted) -> B::Sum {
        // SAFETY: as the caller vouches.
        unsafe { B::unweighted(sum) }
    }
}

impl<B: Bytes> Term<B> for WeightedBits {
    const STEP: usize = B::WIDTH / 8;
    type Query = WeightsAt;
    type Loaded = B::Weights;
    type Sum = B::Weighted;

    #[inline(always)]
    unsafe fn zero() -> B::Weighted {
        // SAFETY: as the caller vouches.
        unsafe { B::zero_weighted() }
    }

    #[inline(always)]
    unsafe fn load(query: WeightsAt, at: usize, _: usize) -> B::Weights {
        // SAFETY: weights are readable for whole registers; the caller vouches for `at`.
        unsafe { B::load_weights(query.skip(8 * at)) }
    }

    #[inline(always)]
    unsafe fn add(sum: B::Weighted, query: B::Weights, row: *const u8, rest: usize) -> B::Weighted {
        // SAFETY: the caller vouches for `rest` bytes at `row`; the copy has 8, and no register
        // has more bits.
        unsafe {
            let bits = if rest >= B::WIDTH / 8 {
                B::load_bits(row)
            } else {
                B::load_bits(padded::<u8, 8>(row, rest).as_ptr())
            };
            B::add_weighted(sum, query, bits)
        }
    }

    #[inline(always)]
    unsafe fn finish(sum: B::Weighted) -> B::Sum {
        // SAFETY: as the caller vouches.
        unsafe { B::unweighted(sum) }
    }
}

/// A register of `rest` bytes, or of as many as it has.
///
/// # Safety
///
/// The instruction set of `B` is present; `from` has `rest` readable bytes.
#[inline(always)]
unsafe fn load<B: Bytes>(from: *const u8, rest: usize) -> B {
    // SAFETY: a whole register only where there is one.
    unsafe { if rest >= B::WIDTH { B::load(from) } else { B::load_head(from, rest) } }
}

/// What is read beside the rows soon after them: `step` bytes a row, asked for as they are scored.
#[derive(Clone, Copy)]
pub(super) struct Beside {
    pub(super) start: *const u8,
    pub(super) step: usize,
}

impl Beside {
    /// Nothing: one line, asked for in vain.
    pub(super) fn nothing(line: *const u8) -> Self {
        Self { start: line, step: 0 }
    }
}

/// Rows that are scored.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) start: *const u8,
    /// Bytes of a row.
    pub(super) len: usize,
    pub(super) count: usize,
    pub(super) beside: Beside,
}

/// `out[i]` = sum of terms of `query` and row i; `R` rows at once, each in a stream of its own,
/// or, where a row is shorter than a cache line, neighbours of one stream after the other.
///
/// # Safety
///
/// The instruction set of `B` is present; `query` is readable for rows of `len` bytes, `rows`
/// has `count * len` readable bytes, `out` has `count` writable sums that overlap neither.
#[inline(always)]
pub(super) unsafe fn score_rows<B: Bytes, T: Term<B>, const R: usize>(
    query: T::Query,
    rows: Rows,
    out: *mut i32,
) {
    let Rows { start, len, count, .. } = rows;
    // SAFETY: the caller vouches for all of it; each of the two scores the first rows, and says
    // how many.
    unsafe {
        let correction = T::correction(query, len);
        let done = if len < 64 {
            score_short::<B, T, R>(query, correction, rows, out)
        } else {
            score_streams::<B, T, R>(query, correction, rows, out)
        };
        for i in done..count {
            let [total] = score_group::<B, T, 1>(query, len, [start.add(i * len)]);
            *out.add(i) = total.wrapping_add(correction);
        }
    }
}

/// Scores the first rows, a multiple of `R`: one row of each of `R` streams at once.
///
/// # Safety
///
/// As [`score_rows`].
#[inline(always)]
unsafe fn score_streams<B: Bytes, T: Term<B>, const R: usize>(
    query: T::Query,
    correction: i32,
    Rows { start, len, count, beside }: Rows,
    out: *mut i32,
) -> usize {
    let stretch = count / R;
    for i in 0..stretch {
        // SAFETY: r * stretch + i < R * stretch <= count, so each pointer starts a row of `len`
        // readable bytes, and each place of `out` is one of its `count`; hints take any address.
        unsafe {
            let mut starts = [start; R];
            for (r, start) in starts.iter_mut().enumerate() {
                *start = start.add((r * stretch + i) * len);
                let mut line = 0;
                while line < len {
                    B::prefetch(start.wrapping_add(line + AHEAD));
                    line += 64;
                }
            }
            B::prefetch(beside.start.wrapping_add(R * i * beside.step));
            let totals = score_group::<B, T, R>(query, len, starts);
            for (r, total) in totals.into_iter().enumerate() {
                *out.add(r * stretch + i) = total.wrapping_add(correction);
            }
        }
    }
    stretch * R
}

/// Streams of short rows.
const SHORT_STREAMS: usize = 4;

/// Scores the first rows, a multiple of `R`: `R` neighbours of each stream in turn.
///
/// # Safety
///
/// As [`score_rows`].
#[inline(always)]
unsafe fn score_short<B: Bytes, T: Term<B>, const R: usize>(
    query: T::Query,
    correction: i32,
    Rows { start, len, count, beside }: Rows,
    out: *mut i32,
) -> usize {
    let groups = count / (SHORT_STREAMS * R);
    for group in 0..groups {
        for stream in 0..SHORT_STREAMS {
            let first = (stream * groups + group) * R;
            // SAFETY: first + R <= SHORT_STREAMS * groups * R <= count, so all are rows of `len`
            // readable bytes and places of `out`; hints take any address.
            unsafe {
                let rows = start.add(first * len);
                let mut line = 0;
                while line < R * len {
                    B::prefetch(rows.wrapping_add(line + AHEAD));
                    line += 64;
                }
                B::prefetch(beside.start.wrapping_add((first + 2 * R) * beside.step));
                let mut starts = [rows; R];
                for (r, start) in starts.iter_mut().enumerate() {
                    *start = rows.add(r * len);
                }
                let totals = score_group::<B, T, R>(query, len, starts);
                for (r, total) in totals.into_iter().enumerate() {
                    *out.add(first + r) = total.wrapping_add(correction);
                }
            }
        }
    }
    groups * SHORT_STREAMS * R
}

/// The sums of terms of `query` and `R` rows, without the correction.
///
/// # Safety
///
/// The instruction set of `B` is present; `query` is readable for rows of `len` bytes, and each
/// of `rows` has `len` readable bytes.
#[inline(always)]
unsafe fn score_group<B: Bytes, T: Term<B>, const R: usize>(
    query: T::Query,
    len: usize,
    rows: [*const u8; R],
) -> [i32; R] {
    // SAFETY: steps read [at, at + STEP) with at + STEP <= len, the last one [at, len).
    unsafe {
        let mut sums = [T::zero(); R];
        let mut at = 0;
        while at + T::STEP <= len {
            let loaded = T::load(query, at, T::STEP);
            for r in 0..R {
                sums[r] = T::add(sums[r], loaded, rows[r].add(at), T::STEP);
            }
            at += T::STEP;
        }
        if at < len {
            let rest = len - at;
            let loaded = T::load(query, at, rest);
            for r in 0..R {
                sums[r] = T::add(sums[r], loaded, rows[r].add(at), rest);
            }
        }
        totals::<B, T, R>(sums)
    }
}

/// The total of each row.
///
/// # Safety
///
/// The instruction set of `B` is present.
#[inline(always)]
unsafe fn totals<B: Bytes, T: Term<B>, const R: usize>(sums: [T::Sum; R]) -> [i32; R] {
    let mut out = [0; R];
    let mut at = 0;
    // SAFETY: the caller vouches for the instruction set of `B`.
    unsafe {
        while at + 4 <= R {
            let four = B::total_four([
                T::finish(sums[at]),
                T::finish(sums[at + 1]),
                T::finish(sums[at + 2]),
                T::finish(sums[at + 3]),
            ]);
            out[at..at + 4].copy_from_slice(&four);
            at += 4;
        }
        while at < R {
            out[at] = B::total(T::finish(sums[at]));
            at += 1;
        }
    }
    out
}

/// `out[q * n + i]` = sum of terms of query q and row i; tiles of `Q` queries x `R` rows.
///
/// # Safety
///
/// The instruction set of `B` is present; `queries` has `m * len` readable bytes, `rows` has
/// `n * len`, `out` has `m * n` writable sums that overlap neither.
#[inline(always)]
pub(super) unsafe fn score_block<B, T, const Q: usize, const R: usize>(
    queries: *const u8,
    m: usize,
    len: usize,
    rows: *const u8,
    n: usize,
    out: *mut i32,
) where
    B: Bytes,
    T: Term<B, Query = *const u8>,
{
    let group = (QUERY_GROUP_BYTES / len.max(1)).clamp(Q, QUERY_GROUP) / Q * Q;
    let mut first = 0;
    while first < m {
        let count = group.min(m - first);
        let mut corrections = [0; QUERY_GROUP];
        // SAFETY: queries [first, first + count) and rows [row, row + R or row + 1) lie inside m
        // and n, so do the places of `out` from first * n + row on, n apart.
        unsafe {
            let queries = queries.add(first * len);
            for (q, correction) in corrections[..count].iter_mut().enumerate() {
                *correction = T::correction(queries.add(q * len), len);
            }
            let group = Group { queries, corrections: &corrections[..count], len, n };
            let mut row = 0;
            while row + R <= n {
                score_strip::<B, T, Q, R>(&group, rows.add(row * len), out.add(first * n + row));
                row += R;
            }
            while row < n {
                score_strip::<B, T, Q, 1>(&group, rows.add(row * len), out.add(first * n + row));
                row += 1;
            }
        }
        first += count;
    }
}

/// Queries that pass over a strip of rows together, one for each correction.
struct Group<'a> {
    queries: *const u8,
    corrections: &'a [i32],
    len: usize,
    n: usize,
}

/// Scores the queries of a group with `R` adjacent rows, tile by tile.
///
/// # Safety
///
/// The instruction set of `B` is present; the queries are readable, `rows` has `R * len`
/// readable bytes, and `out` is writable for `R` sums at each multiple of n below the number of
/// queries times n.
#[inline(always)]
unsafe fn score_strip<B, T, const Q: usize, const R: usize>(
    group: &Group<'_>,
    rows: *const u8,
    out: *mut i32,
) where
    B: Bytes,
    T: Term<B, Query = *const u8>,
{
    let Group { queries, corrections, len, n } = *group;
    let mut query = 0;
    // SAFETY: every tile starts at a query below the number of queries and ends at or before it.
    unsafe {
        while query + Q <= corrections.len() {
            let tile = score_tile::<B, T, Q, R>(queries.add(query * len), len, rows);
            for (q, totals) in tile.into_iter().enumerate() {
                for (r, total) in totals.into_iter().enumerate() {
                    *out.add((query + q) * n + r) = total.wrapping_add(corrections[query + q]);
                }
            }
            query += Q;
        }
        while query < corrections.len() {
            let [totals] = score_tile::<B, T, 1, R>(queries.add(query * len), len, rows);
            for (r, total) in totals.into_iter().enumerate() {
                *out.add(query * n + r) = total.wrapping_add(corrections[query]);
            }
            query += 1;
        }
    }
}

/// The sums of terms of `Q` queries and `R` rows, both adjacent in memory.
///
/// # Safety
///
/// The instruction set of `B` is present; `queries` has `Q * len` readable bytes, `rows` has
/// `R * len`.
#[inline(always)]
unsafe fn score_tile<B, T, const Q: usize, const R: usize>(
    queries: *const u8,
    len: usize,
    rows: *const u8,
) -> [[i32; R]; Q]
where
    B: Bytes,
    T: Term<B, Query = *const u8>,
{
    // SAFETY: query q and row r start at q * len and r * len; steps read [at, at + STEP) of them
    // with at + STEP <= len, the last one [at, len).
    unsafe {
        let mut tile = [[T::zero(); R]; Q];
        let mut at = 0;
        while at < len {
            let rest = if at + T::STEP <= len { T::STEP } else { len - at };
            for (q, sums) in tile.iter_mut().enumerate() {
                let loaded = T::load(queries.add(q * len), at, rest);
                for (r, sum) in sums.iter_mut().enumerate() {
                    *sum = T::add(*sum, loaded, rows.add(r * len + at), rest);
                }
            }
            at += T::STEP;
        }
        let mut out = [[0; R]; Q];
        for (out, sums) in out.iter_mut().zip(tile) {
            *out = totals::<B, T, R>(sums);
        }
        out
    }
}
