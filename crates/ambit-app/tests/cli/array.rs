//! `.npy` files for the tests, made by hand so that they can also be wrong.

use crate::ambit::Ambit;

/// A whole file: header as NumPy writes it, then `data`.
pub fn npy(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

/// Rows of float32.
pub fn rows(values: &[f32], columns: usize) -> Vec<u8> {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    npy("<f4", "False", &format!("({}, {columns})", values.len() / columns), &data)
}

/// `count` rows of four numbers that all differ.
pub fn numbered(count: usize) -> Vec<u8> {
    let values: Vec<f32> = (0..count)
        .flat_map(|row| {
            let row = row as f32;
            [1.0, row.sin(), row.cos(), row / 1000.0]
        })
        .collect();
    rows(&values, 4)
}

/// The elements of a file that the binary wrote.
pub fn elements<const SIZE: usize>(ambit: &Ambit, name: &str) -> Vec<[u8; SIZE]> {
    ambit.read(name)[128..].as_chunks::<SIZE>().0.to_vec()
}
