//! Every instruction set against the plain loops, and those against numbers written by hand.

use proptest::prelude::*;

use super::*;
use crate::draws::Draws;

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut draws = Draws::new(seed);
    std::iter::repeat_with(|| draws.next_u64() as u8).take(len).collect()
}

/// Around what fits a sum of 16 bits.
const LONG: &[usize] = if cfg!(miri) { &[] } else { &[255, 256, 257, 300] };

fn check_tables(groups: usize, blocks: usize, extra: usize, seed: u64) {
    let stride = tables_len(groups) + extra;
    let codes = bytes(stride * blocks, seed);
    let tables: Vec<[u8; 16]> = (0..groups)
        .map(|group| match seed % 3 {
            0 => [255; 16],
            _ => bytes(16, seed ^ group as u64).try_into().unwrap(),
        })
        .collect();
    let slow = |block: usize, row: usize| -> u32 {
        let block = &codes[block * stride..];
        let one = |group: usize| u32::from(tables[group][usize::from(nibble(block, group, row))]);
        (0..groups).map(one).sum()
    };
    for set in Blocks::available() {
        let mut out = vec![[7; ROWS]; blocks];
        set.tables(&tables, &codes, stride, &mut out);
        for (block, sums) in out.iter().enumerate() {
            for (row, sum) in sums.iter().enumerate() {
                assert_eq!(*sum, slow(block, row), "{set:?}, {groups} groups, row {row}");
            }
        }
    }
}

#[test]
fn every_number_of_groups_adds_up() {
    let step = if cfg!(miri) { 37 } else { 1 };
    for groups in (1..=70).step_by(step).chain(LONG.iter().copied()) {
        check_tables(groups, 2, groups % 5, groups as u64);
    }
}

#[test]
fn every_number_of_parts_and_blocks_adds_up() {
    let step = if cfg!(miri) { 13 } else { 1 };
    for parts in (1..=20).step_by(step).chain(LONG.iter().copied()) {
        for blocks in 0..4 {
            let stride = parts * ROWS + parts % 3;
            let codes = bytes(stride * blocks, parts as u64);
            let table = |part| bytes(256, 900 + part as u64).try_into().unwrap();
            let tables: Vec<[u8; 256]> = (0..parts)
                .map(|part| if parts == 256 { [255; 256] } else { table(part) })
                .collect();
            for set in Blocks::available() {
                let mut out = vec![[7; ROWS]; blocks];
                set.bytes(&tables, &codes, stride, &mut out);
                for (block, sums) in out.iter().enumerate() {
                    for (row, sum) in sums.iter().enumerate() {
                        let code = |part: usize| codes[block * stride + part * ROWS + row];
                        let one = |part: usize| u32::from(tables[part][usize::from(code(part))]);
                        assert_eq!(*sum, (0..parts).map(one).sum(), "{set:?}, {parts} parts");
                    }
                }
            }
        }
    }
}

const WIDTHS: [Field; 4] = [Field::One, Field::Two, Field::Four, Field::Eight];

fn check_fields(dim: usize, seed: u64, extreme: bool) {
    let padded = dim.div_ceil(4);
    for field in WIDTHS {
        let mask = (0xFFu32 >> (8 - field.bits())) as u8;
        let rows: Vec<Vec<u8>> = (0..ROWS)
            .map(|row| bytes(dim, seed ^ row as u64).iter().map(|x| x & mask).collect())
            .collect();
        let rows: Vec<Vec<u8>> = if extreme { vec![vec![mask; dim]; ROWS] } else { rows };
        let mut query: Vec<i8> = bytes(dim, !seed).iter().map(|x| (*x as i8).max(-127)).collect();
        if extreme {
            query.fill(if seed.is_multiple_of(2) { 127 } else { -127 });
        }
        query.resize(4 * padded, 0);
        // What was there before is overwritten.
        let mut block = vec![0xFF; fields_len(field, dim)];
        for (row, numbers) in rows.iter().enumerate() {
            put_field(field, &mut block, row, numbers);
        }
        for (row, numbers) in rows.iter().enumerate() {
            let mut found = vec![0; dim];
            get_field(field, &block, row, &mut found);
            assert_eq!(found, *numbers, "{field:?}, dim {dim}, row {row}");
        }
        // The query ends with its last four numbers, the block with its last chunk.
        let query = query.as_chunks::<4>().0;
        for set in Blocks::available() {
            let mut out = [5; ROWS];
            set.fields(field, query, &block, 1, &mut out);
            for (row, numbers) in rows.iter().enumerate() {
                let product = |(a, b): (&u8, &i8)| i32::from(*a) * i32::from(*b);
                let sum: i32 = numbers.iter().zip(query.as_flattened()).map(product).sum();
                assert_eq!(out[row], 5 + 2 * sum, "{set:?}, {field:?}, dim {dim}, row {row}");
            }
        }
    }
}

#[test]
fn every_dimension_of_every_width_is_multiplied() {
    let step = if cfg!(miri) { 77 } else { 1 };
    for dim in (1..=140).step_by(step) {
        check_fields(dim, dim as u64, false);
        check_fields(dim, dim as u64, true);
    }
}

#[test]
fn every_dimension_of_levels_is_multiplied() {
    let step = if cfg!(miri) { 29 } else { 1 };
    for dim in (1..=80).step_by(step) {
        for table in [[255; 16], [1; 16], std::array::from_fn(|i| (i * 17).max(1) as u8)] {
            let rows: Vec<Vec<u8>> = (0..ROWS)
                .map(|row| bytes(dim, row as u64).iter().map(|x| x & 0xF).collect())
                .collect();
            let mut query: Vec<i8> = bytes(dim, 5).iter().map(|x| (*x as i8).max(-127)).collect();
            if dim.is_multiple_of(3) {
                query.fill(if dim.is_multiple_of(2) { 127 } else { -127 });
            }
            query.resize(dim.div_ceil(4) * 4, 0);
            let mut block = vec![0; fields_len(Field::Four, dim)];
            for (row, numbers) in rows.iter().enumerate() {
                put_field(Field::Four, &mut block, row, numbers);
            }
            for set in Blocks::available() {
                let mut out = [5; ROWS];
                set.levels(&table, query.as_chunks::<4>().0, &block, &mut out);
                for (row, numbers) in rows.iter().enumerate() {
                    let level = |number: &u8| i32::from(table[usize::from(*number)]);
                    let product = |(a, b): (&u8, &i8)| level(a) * i32::from(*b);
                    let sum: i32 = numbers.iter().zip(&query).map(product).sum();
                    assert_eq!(out[row], 5 + sum, "{set:?}, dim {dim}, row {row}");
                }
            }
        }
    }
}

#[test]
fn the_largest_sum_fits() {
    if !cfg!(miri) {
        let block = vec![0xFF; fields_len(Field::Eight, 65_536)];
        let query = vec![[127i8; 4]; 65_536 / 4];
        for set in Blocks::available() {
            let mut out = [0; ROWS];
            set.fields(Field::Eight, &query, &block, 0, &mut out);
            assert_eq!(out, [255 * 127 * 65_536; ROWS]);
        }
    }
}

#[test]
fn nibbles_are_found_again() {
    let mut block = bytes(tables_len(3), 1);
    for row in 0..ROWS {
        for group in 0..3 {
            put_nibble(&mut block, group, row, (row * 3 + group) as u8 % 16);
        }
    }
    for row in 0..ROWS {
        for group in 0..3 {
            assert_eq!(nibble(&block, group, row), (row * 3 + group) as u8 % 16);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 64 }))]

    #[test]
    fn any_tables_and_fields_give_the_sums_of_the_plain_loops(
        groups in 1usize..40, blocks in 0usize..4, dim in 1usize..100, seed: u64,
    ) {
        check_tables(groups, blocks, 3, seed);
        check_fields(dim, seed, false);
    }
}
