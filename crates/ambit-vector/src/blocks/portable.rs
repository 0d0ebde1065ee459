//! The kernels as plain loops: the oracle, and what runs where nothing better is known.

use super::layout::{Field, ROWS, fields_len, nibble, tables_len};

/// `out[block][row]` = the sum over groups of the byte that the row's nibble picks.
pub(super) fn tables(tables: &[[u8; 16]], codes: &[u8], stride: usize, out: &mut [[u32; ROWS]]) {
    for (block, out) in codes.chunks(stride).zip(out) {
        let block = &block[..tables_len(tables.len())];
        *out = [0; ROWS];
        for (group, table) in tables.iter().enumerate() {
            for (row, sum) in out.iter_mut().enumerate() {
                *sum += u32::from(table[usize::from(nibble(block, group, row))]);
            }
        }
    }
}

/// `out[block][row]` = the sum over parts of the byte that the row's byte picks.
pub(super) fn bytes(tables: &[[u8; 256]], codes: &[u8], stride: usize, out: &mut [[u32; ROWS]]) {
    for (block, out) in codes.chunks(stride).zip(out) {
        *out = [0; ROWS];
        for (table, codes) in tables.iter().zip(block.as_chunks::<ROWS>().0) {
            for (sum, code) in out.iter_mut().zip(codes) {
                *sum += u32::from(table[usize::from(*code)]);
            }
        }
    }
}

/// `out[row]` += the products of the row's numbers and the query's, shifted.
pub(super) fn fields(
    field: Field,
    query: &[[i8; 4]],
    block: &[u8],
    shift: u32,
    out: &mut [i32; ROWS],
) {
    let (bits, fields) = (field.bits(), 8 / field.bits());
    let mask = (0xFFu32 >> (8 - bits)) as u8;
    let block = &block[..fields_len(field, 4 * query.len())];
    let mut sums = [0i32; ROWS];
    for (chunk, query) in block.chunks_exact(4 * ROWS).zip(query.chunks(fields)) {
        for (i, query) in query.iter().enumerate() {
            for (sum, four) in sums.iter_mut().zip(chunk.as_chunks::<4>().0) {
                for (byte, weight) in four.iter().zip(query) {
                    *sum += i32::from(*byte >> (i * bits) & mask) * i32::from(*weight);
                }
            }
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        *out += sum << shift;
    }
}

/// `out[row]` += the products of what the row's nibbles pick from the table and the query's numbers.
pub(super) fn levels(table: &[u8; 16], query: &[[i8; 4]], block: &[u8], out: &mut [i32; ROWS]) {
    let block = &block[..fields_len(Field::Four, 4 * query.len())];
    for (chunk, query) in block.chunks_exact(4 * ROWS).zip(query.chunks(2)) {
        for (i, query) in query.iter().enumerate() {
            for (sum, four) in out.iter_mut().zip(chunk.as_chunks::<4>().0) {
                for (byte, weight) in four.iter().zip(query) {
                    let level = table[usize::from(*byte >> (4 * i) & 0xF)];
                    *sum += i32::from(level) * i32::from(*weight);
                }
            }
        }
    }
}
