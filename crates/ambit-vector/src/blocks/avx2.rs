//! The kernels with AVX2: two tables in a register, pairs of products in 16 bits.

use std::arch::x86_64::*;

use super::layout::{Field, ROWS, tables_len};

/// Groups whose bytes fit a sum of 16 bits: 256 x 255 < 2^16.
const GROUPS: usize = 256;

/// As `portable::tables`.
#[target_feature(enable = "avx2")]
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
#[target_feature(enable = "avx2")]
fn add_tables(tables: &[[u8; 16]], block: &[u8], out: &mut [u32; ROWS]) {
    let low = _mm256_set1_epi8(0xF);
    // Bytes of even rows with those of odd rows above them, and of odd rows alone.
    let mut both = [_mm256_setzero_si256(); 2];
    let mut odd = [_mm256_setzero_si256(); 2];
    let mut add = |codes, table| {
        let rows = [
            _mm256_shuffle_epi8(table, _mm256_and_si256(codes, low)),
            _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(codes), low)),
        ];
        for half in 0..2 {
            both[half] = _mm256_add_epi16(both[half], rows[half]);
            odd[half] = _mm256_add_epi16(odd[half], _mm256_srli_epi16::<8>(rows[half]));
        }
    };
    let (tables, tables_rest) = tables.as_chunks::<2>();
    let (block, block_rest) = block.as_chunks::<32>();
    for (table, codes) in tables.iter().zip(block) {
        // SAFETY: both are arrays of 32 bytes.
        let (codes, table) = unsafe {
            (_mm256_loadu_si256(codes.as_ptr().cast()), _mm256_loadu_si256(table.as_ptr().cast()))
        };
        add(codes, table);
    }
    if let ([table], Some(codes)) = (tables_rest, block_rest.first_chunk::<16>()) {
        // SAFETY: both are arrays of 16 bytes.
        let (codes, table) = unsafe {
            (_mm_loadu_si128(codes.as_ptr().cast()), _mm_loadu_si128(table.as_ptr().cast()))
        };
        // The table of the upper half is 0 and adds nothing.
        add(_mm256_zextsi128_si256(codes), _mm256_zextsi128_si256(table));
    }
    for half in 0..2 {
        let even = _mm256_sub_epi16(both[half], _mm256_slli_epi16::<8>(odd[half]));
        let (even, odd) = (lanes_sum(even), lanes_sum(odd[half]));
        let rows = [_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)];
        let out = out[half * 16..][..16].as_chunks_mut::<8>().0;
        for (rows, out) in rows.into_iter().zip(out) {
            // SAFETY: `out` has 8 integers.
            unsafe {
                let out: *mut __m256i = out.as_mut_ptr().cast();
                let sum = _mm256_add_epi32(_mm256_loadu_si256(out), _mm256_cvtepu16_epi32(rows));
                _mm256_storeu_si256(out, sum);
            }
        }
    }
}

/// The sum of both halves of a register.
#[target_feature(enable = "avx2")]
fn lanes_sum(x: __m256i) -> __m128i {
    _mm_add_epi16(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x))
}

/// As `portable::fields`.
#[target_feature(enable = "avx2")]
pub(super) fn fields(
    field: Field,
    query: &[[i8; 4]],
    block: &[u8],
    shift: u32,
    out: &mut [i32; ROWS],
) {
    match field {
        Field::One => width::<1>(query, block, shift, out),
        Field::Two => width::<2>(query, block, shift, out),
        Field::Four => width::<4>(query, block, shift, out),
        Field::Eight => width::<8>(query, block, shift, out),
    }
}

/// Fields of `W` bits. Two products of a nibble and a signed byte fit 16 bits; those of a byte do
/// not, so its nibbles are multiplied one after the other.
#[target_feature(enable = "avx2")]
fn width<const W: usize>(query: &[[i8; 4]], block: &[u8], shift: u32, out: &mut [i32; ROWS]) {
    let ones = _mm256_set1_epi16(1);
    let mask = _mm256_set1_epi8(if W == 8 { 0xF } else { (0xFFu32 >> (8 - W)) as i8 });
    let mut sums = [_mm256_setzero_si256(); 4];
    let (chunks, _) = block.as_chunks::<128>();
    for (chunk, query) in chunks.iter().zip(query.chunks(8 / W)) {
        for (quarter, sum) in chunk.as_chunks::<32>().0.iter().zip(&mut sums) {
            // SAFETY: the quarter has 32 bytes.
            let mut codes = unsafe { _mm256_loadu_si256(quarter.as_ptr().cast()) };
            for query in query {
                let query = _mm256_set1_epi32(i32::from_le_bytes(query.map(|x| x as u8)));
                let low = _mm256_maddubs_epi16(_mm256_and_si256(codes, mask), query);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(low, ones));
                codes = match W {
                    1 => _mm256_srli_epi32::<1>(codes),
                    2 => _mm256_srli_epi32::<2>(codes),
                    _ => _mm256_srli_epi32::<4>(codes),
                };
                if W == 8 {
                    let high = _mm256_maddubs_epi16(_mm256_and_si256(codes, mask), query);
                    let high = _mm256_slli_epi32::<4>(_mm256_madd_epi16(high, ones));
                    *sum = _mm256_add_epi32(*sum, high);
                }
            }
        }
    }
    let shift = _mm_cvtsi32_si128(shift as i32);
    for (out, sum) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
        // SAFETY: `out` has 8 integers.
        unsafe {
            let out: *mut __m256i = out.as_mut_ptr().cast();
            let sum = _mm256_add_epi32(_mm256_loadu_si256(out), _mm256_sll_epi32(sum, shift));
            _mm256_storeu_si256(out, sum);
        }
    }
}

/// As `portable::levels`. Two products of a byte do not fit 16 bits, those of a number from -127
/// to 127 do: levels are looked up less 128, and 128 times the sum of the query is added at the end.
#[target_feature(enable = "avx2")]
pub(super) fn levels(table: &[u8; 16], query: &[[i8; 4]], block: &[u8], out: &mut [i32; ROWS]) {
    let ones = _mm256_set1_epi16(1);
    let mask = _mm256_set1_epi8(0xF);
    let table = table.map(|level| level ^ 0x80);
    // SAFETY: the table has 16 bytes.
    let table = _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) });
    let mut sums = [_mm256_setzero_si256(); 4];
    let (chunks, _) = block.as_chunks::<128>();
    for (chunk, query) in chunks.iter().zip(query.chunks(2)) {
        for (quarter, sum) in chunk.as_chunks::<32>().0.iter().zip(&mut sums) {
            // SAFETY: the quarter has 32 bytes.
            let mut codes = unsafe { _mm256_loadu_si256(quarter.as_ptr().cast()) };
            for query in query {
                let query = _mm256_set1_epi32(i32::from_le_bytes(query.map(|x| x as u8)));
                let levels = _mm256_shuffle_epi8(table, _mm256_and_si256(codes, mask));
                let signed = _mm256_sign_epi8(query, levels);
                let products = _mm256_maddubs_epi16(_mm256_abs_epi8(levels), signed);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(products, ones));
                codes = _mm256_srli_epi16::<4>(codes);
            }
        }
    }
    let total: i32 = query.as_flattened().iter().map(|x| i32::from(*x)).sum();
    let total = _mm256_set1_epi32(128 * total);
    for (out, sum) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
        // SAFETY: `out` has 8 integers.
        unsafe {
            let out: *mut __m256i = out.as_mut_ptr().cast();
            let sum = _mm256_add_epi32(sum, total);
            _mm256_storeu_si256(out, _mm256_add_epi32(_mm256_loadu_si256(out), sum));
        }
    }
}
