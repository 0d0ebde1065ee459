//! The table kernel with NEON: one table in a register.

use std::arch::aarch64::*;

use super::layout::{ROWS, tables_len};

/// Groups whose bytes fit a sum of 16 bits: 256 x 255 < 2^16.
const GROUPS: usize = 256;

/// As `portable::tables`.
#[target_feature(enable = "neon")]
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
#[target_feature(enable = "neon")]
fn add_tables(tables: &[[u8; 16]], block: &[u8], out: &mut [u32; ROWS]) {
    let mut sums = [vdupq_n_u16(0); 4];
    for (table, codes) in tables.iter().zip(block.as_chunks::<16>().0) {
        // SAFETY: both are arrays of 16 bytes.
        let (codes, table) = unsafe { (vld1q_u8(codes.as_ptr()), vld1q_u8(table.as_ptr())) };
        let low = vqtbl1q_u8(table, vandq_u8(codes, vdupq_n_u8(0xF)));
        let high = vqtbl1q_u8(table, vshrq_n_u8::<4>(codes));
        sums[0] = vaddw_u8(sums[0], vget_low_u8(low));
        sums[1] = vaddw_high_u8(sums[1], low);
        sums[2] = vaddw_u8(sums[2], vget_low_u8(high));
        sums[3] = vaddw_high_u8(sums[3], high);
    }
    for (out, sum) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
        let mut rows = [0u16; 8];
        // SAFETY: `rows` has 8 integers.
        unsafe { vst1q_u16(rows.as_mut_ptr(), sum) };
        for (out, row) in out.iter_mut().zip(rows) {
            *out += u32::from(row);
        }
    }
}
