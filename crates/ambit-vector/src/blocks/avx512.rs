//! The kernels with AVX-512 (BW, VNNI): four tables in a register, four products in a lane.

use std::arch::x86_64::*;

use super::layout::{Field, ROWS, tables_len};

/// Groups whose bytes fit a sum of 16 bits: 256 x 255 < 2^16.
const GROUPS: usize = 256;

/// As `portable::tables`.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn tables(tables: &[[u8; 16]], codes: &[u8], stride: usize, out: &mut [[u32; ROWS]]) {
    for (block, out) in codes.chunks(stride).zip(out) {
        let block = &block[..tables_len(tables.len())];
        *out = [0; ROWS];
        for (block, tables) in block.chunks(GROUPS * 16).zip(tables.chunks(GROUPS)) {
            add_tables(tables, block, out);
        }
    }
}

/// Adds the sums of up to [`GROUPS`] groups of one block.
#[target_feature(enable = "avx512f,avx512bw")]
fn add_tables(tables: &[[u8; 16]], block: &[u8], out: &mut [u32; ROWS]) {
    let low = _mm512_set1_epi8(0xF);
    // Bytes of even rows with those of odd rows above them, and of odd rows alone.
    let mut both = [_mm512_setzero_si512(); 2];
    let mut odd = [_mm512_setzero_si512(); 2];
    let mut add = |codes, table| {
        let rows = [
            _mm512_shuffle_epi8(table, _mm512_and_si512(codes, low)),
            _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16::<4>(codes), low)),
        ];
        for half in 0..2 {
            both[half] = _mm512_add_epi16(both[half], rows[half]);
            odd[half] = _mm512_add_epi16(odd[half], _mm512_srli_epi16::<8>(rows[half]));
        }
    };
    let (tables, tables_rest) = tables.as_chunks::<4>();
    let (block, block_rest) = block.as_chunks::<64>();
    for (table, codes) in tables.iter().zip(block) {
        // SAFETY: both are arrays of 64 bytes.
        let (codes, table) = unsafe {
            (_mm512_loadu_si512(codes.as_ptr().cast()), _mm512_loadu_si512(table.as_ptr().cast()))
        };
        add(codes, table);
    }
    if !tables_rest.is_empty() {
        // Two words of 8 bytes a group; a table that is not there is 0 and adds nothing.
        let mask = (1u16 << (2 * tables_rest.len())) as u8 - 1;
        assert_eq!(block_rest.len(), 16 * tables_rest.len(), "a table for each group");
        // SAFETY: words outside the mask are not read; inside it are 16 bytes for each of 1 to 3
        // tables, and as many of the block, as was asserted.
        let (codes, table) = unsafe {
            (
                _mm512_maskz_loadu_epi64(mask, block_rest.as_ptr().cast()),
                _mm512_maskz_loadu_epi64(mask, tables_rest.as_ptr().cast()),
            )
        };
        add(codes, table);
    }
    for half in 0..2 {
        let even = _mm512_sub_epi16(both[half], _mm512_slli_epi16::<8>(odd[half]));
        let (even, odd) = (lanes_sum(even), lanes_sum(odd[half]));
        let rows = [_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)];
        let rows = _mm512_cvtepu16_epi32(_mm256_set_m128i(rows[1], rows[0]));
        let out = &mut out[half * 16..][..16];
        // SAFETY: `out` has 16 integers.
        unsafe {
            let before = _mm512_loadu_si512(out.as_ptr().cast());
            _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_add_epi32(before, rows));
        }
    }
}

/// The sum of the four quarters of a register.
#[target_feature(enable = "avx512f,avx512bw")]
fn lanes_sum(x: __m512i) -> __m128i {
    let halves = _mm256_add_epi16(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x));
    _mm_add_epi16(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
}

/// As `portable::bytes`: a table of 256 bytes in four registers, two blocks at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn bytes(tables: &[[u8; 256]], codes: &[u8], stride: usize, out: &mut [[u32; ROWS]]) {
    let pairs = codes.chunks(2 * stride).zip(out.chunks_mut(2));
    for (blocks, out) in pairs {
        out.fill([0; ROWS]);
        // The last block may be alone: it is then looked up twice and counted once.
        let first = blocks[..tables.len() * ROWS].as_chunks::<ROWS>().0;
        let second = blocks.get(stride..).filter(|second| !second.is_empty()).unwrap_or(blocks);
        let second = second[..tables.len() * ROWS].as_chunks::<ROWS>().0;
        let parts = first.chunks(GROUPS).zip(second.chunks(GROUPS));
        for ((first, second), tables) in parts.zip(tables.chunks(GROUPS)) {
            add_bytes(tables, first, second, out);
        }
    }
}

/// Adds the sums of up to [`GROUPS`] parts of two blocks, or of the first one alone.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn add_bytes(
    tables: &[[u8; 256]],
    first: &[[u8; ROWS]],
    second: &[[u8; ROWS]],
    out: &mut [[u32; ROWS]],
) {
    let low = _mm512_set1_epi16(0xFF);
    // Even and odd rows of both blocks.
    let mut sums = [_mm512_setzero_si512(); 2];
    for ((table, first), second) in tables.iter().zip(first).zip(second) {
        // SAFETY: a table has 256 bytes, four times 64; the codes of a part are arrays of 32.
        let (table, codes) = unsafe {
            let from: *const __m512i = table.as_ptr().cast();
            let quarter = |i| _mm512_loadu_si512(from.add(i));
            let (first, second) = (first.as_ptr().cast(), second.as_ptr().cast());
            let first = _mm512_castsi256_si512(_mm256_loadu_si256(first));
            let both = _mm512_inserti64x4::<1>(first, _mm256_loadu_si256(second));
            ([quarter(0), quarter(1), quarter(2), quarter(3)], both)
        };
        let lower = _mm512_permutex2var_epi8(table[0], codes, table[1]);
        let upper = _mm512_permutex2var_epi8(table[2], codes, table[3]);
        let found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), lower, upper);
        sums[0] = _mm512_add_epi16(sums[0], _mm512_and_si512(found, low));
        sums[1] = _mm512_add_epi16(sums[1], _mm512_srli_epi16::<8>(found));
    }
    let mut rows = [[0u16; 32]; 2];
    for (rows, sums) in rows.iter_mut().zip(sums) {
        // SAFETY: `rows` has 32 integers of 16 bits.
        unsafe { _mm512_storeu_si512(rows.as_mut_ptr().cast(), sums) };
    }
    for (block, out) in out.iter_mut().enumerate() {
        for (row, sum) in out.iter_mut().enumerate() {
            *sum += u32::from(rows[row % 2][block * 16 + row / 2]);
        }
    }
}

/// As `portable::fields`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn fields(
    field: Field,
    query: &[[i8; 4]],
    block: &[u8],
    shift: u32,
    out: &mut [i32; ROWS],
) {
    match field {
        Field::One => width::<1, 8>(query, block, shift, out),
        Field::Two => width::<2, 4>(query, block, shift, out),
        Field::Four => width::<4, 2>(query, block, shift, out),
        Field::Eight => width::<8, 1>(query, block, shift, out),
    }
}

/// `F` fields of `W` bits in a byte.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn width<const W: usize, const F: usize>(
    query: &[[i8; 4]],
    block: &[u8],
    shift: u32,
    out: &mut [i32; ROWS],
) {
    let mut sums = [_mm512_setzero_si512(); 4];
    let (chunks, _) = block.as_chunks::<128>();
    let (whole, rest) = query.as_chunks::<F>();
    for (chunk, query) in chunks.iter().zip(whole) {
        add_chunk::<W, F>(chunk, query, &mut sums);
    }
    if let (false, Some(chunk)) = (rest.is_empty(), chunks.get(whole.len())) {
        let mut query = [[0; 4]; F];
        query[..rest.len()].copy_from_slice(rest);
        add_chunk::<W, F>(chunk, &query, &mut sums);
    }
    let shift = _mm_cvtsi32_si128(shift as i32);
    let sums = sums.as_chunks::<2>().0;
    for (out, sums) in out.as_chunks_mut::<16>().0.iter_mut().zip(sums) {
        let sum = _mm512_sll_epi32(_mm512_add_epi32(sums[0], sums[1]), shift);
        // SAFETY: `out` has 16 integers.
        unsafe {
            let before = _mm512_loadu_si512(out.as_ptr().cast());
            _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_add_epi32(before, sum));
        }
    }
}

/// Adds the products of one chunk: two sums for each half of the rows, by turns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn add_chunk<const W: usize, const F: usize>(
    chunk: &[u8; 128],
    query: &[[i8; 4]; F],
    sums: &mut [__m512i; 4],
) {
    let mask = _mm512_set1_epi8((0xFFu32 >> (8 - W)) as i8);
    // SAFETY: the chunk has 128 bytes, twice 64.
    let mut codes = unsafe {
        let from: *const __m512i = chunk.as_ptr().cast();
        [_mm512_loadu_si512(from), _mm512_loadu_si512(from.add(1))]
    };
    for (i, query) in query.iter().enumerate() {
        let query = _mm512_set1_epi32(i32::from_le_bytes(query.map(|x| x as u8)));
        for half in 0..2 {
            let numbers = if W == 8 { codes[half] } else { _mm512_and_si512(codes[half], mask) };
            let sum = &mut sums[2 * half + i % 2];
            *sum = _mm512_dpbusd_epi32(*sum, numbers, query);
            codes[half] = match W {
                1 => _mm512_srli_epi32::<1>(codes[half]),
                2 => _mm512_srli_epi32::<2>(codes[half]),
                _ => _mm512_srli_epi32::<4>(codes[half]),
            };
        }
    }
}

/// As `portable::levels`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn levels(table: &[u8; 16], query: &[[i8; 4]], block: &[u8], out: &mut [i32; ROWS]) {
    // SAFETY: the table has 16 bytes.
    let table = _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(table.as_ptr().cast()) });
    let mask = _mm512_set1_epi8(0xF);
    let mut sums = [_mm512_setzero_si512(); 4];
    let mut add = |chunk: &[u8; 128], query: [[i8; 4]; 2]| {
        let [low, high] =
            query.map(|four| _mm512_set1_epi32(i32::from_le_bytes(four.map(|x| x as u8))));
        for half in 0..2 {
            // SAFETY: the chunk has 128 bytes, twice 64.
            let codes = unsafe { _mm512_loadu_si512(chunk.as_ptr().cast::<__m512i>().add(half)) };
            let lower = _mm512_shuffle_epi8(table, _mm512_and_si512(codes, mask));
            let codes = _mm512_srli_epi16::<4>(codes);
            let upper = _mm512_shuffle_epi8(table, _mm512_and_si512(codes, mask));
            sums[2 * half] = _mm512_dpbusd_epi32(sums[2 * half], lower, low);
            sums[2 * half + 1] = _mm512_dpbusd_epi32(sums[2 * half + 1], upper, high);
        }
    };
    let (chunks, _) = block.as_chunks::<128>();
    let (whole, rest) = query.as_chunks::<2>();
    for (chunk, query) in chunks.iter().zip(whole) {
        add(chunk, *query);
    }
    if let ([four], Some(chunk)) = (rest, chunks.get(whole.len())) {
        add(chunk, [*four, [0; 4]]);
    }
    let sums = sums.as_chunks::<2>().0;
    for (out, sums) in out.as_chunks_mut::<16>().0.iter_mut().zip(sums) {
        let sum = _mm512_add_epi32(sums[0], sums[1]);
        // SAFETY: `out` has 16 integers.
        unsafe {
            let before = _mm512_loadu_si512(out.as_ptr().cast());
            _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_add_epi32(before, sum));
        }
    }
}
