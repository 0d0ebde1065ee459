//! Arrays of numbers in the .npy format, version 1.0: a magic, a Python dictionary as text, then
//! the numbers (NEP 1, "A Simple File Format for NumPy Arrays", Kern, 2007).
//!
//! Only what the benchmarks write and read: two dimensions, C order, little-endian.

use std::fs::File;
use std::io::{BufWriter, Read as _, Write};
use std::path::Path;

use crate::error::BenchError;

const MAGIC: &[u8; 8] = b"\x93NUMPY\x01\x00";

/// An array in memory: `rows` x `columns`, row-major.
pub struct Array<T> {
    pub rows: usize,
    pub columns: usize,
    pub values: Vec<T>,
}

/// The numbers that arrays hold, by their name in the format.
pub trait Element: bytemuck::Pod {
    const NAME: &'static str;
}

impl Element for f32 {
    const NAME: &'static str = "<f4";
}

impl Element for i64 {
    const NAME: &'static str = "<i8";
}

/// Reads a whole array.
pub fn read<T: Element>(path: &Path) -> Result<Array<T>, BenchError> {
    let mut file = File::open(path).map_err(|error| BenchError::at(path, error))?;
    let mut start = [0; 10];
    file.read_exact(&mut start).map_err(|error| BenchError::at(path, error))?;
    if &start[..8] != MAGIC {
        return Err(BenchError::at(path, "not a .npy file of version 1.0"));
    }
    let mut header = vec![0; usize::from(u16::from_le_bytes([start[8], start[9]]))];
    file.read_exact(&mut header).map_err(|error| BenchError::at(path, error))?;
    let header = String::from_utf8_lossy(&header);
    let wanted = format!("'descr': '{}'", T::NAME);
    if !header.contains(&wanted) || !header.contains("'fortran_order': False") {
        return Err(BenchError::at(path, format!("expected {wanted} in C order, found {header}")));
    }
    let shape = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')')).map(
        |(shape, _)| -> Vec<usize> {
            shape.split(',').filter_map(|part| part.trim().parse().ok()).collect()
        },
    );
    let (rows, columns) = match shape.as_deref() {
        Some(&[rows, columns]) => (rows, columns),
        Some(&[rows]) => (rows, 1),
        _ => {
            return Err(BenchError::at(path, format!("no shape of two numbers in {header}")));
        }
    };
    let body = file.metadata()?.len().saturating_sub((10 + header.len()) as u64);
    let count = usize::checked_mul(rows, columns).unwrap_or(usize::MAX);
    if (count as u64).checked_mul(size_of::<T>() as u64) != Some(body) {
        return Err(BenchError::at(path, format!("{rows} x {columns} do not take {body} bytes")));
    }
    let mut values = vec![T::zeroed(); count];
    file.read_exact(bytemuck::cast_slice_mut(&mut values))?;
    Ok(Array { rows, columns, values })
}

/// Writes an array row by row.
pub struct Writer {
    file: BufWriter<File>,
}

impl Writer {
    /// Creates the file of a float32 array.
    pub fn create(path: &Path, rows: usize, columns: usize) -> Result<Self, BenchError> {
        let file = File::create(path).map_err(|error| BenchError::at(path, error))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        let mut header = format!(
            "{{'descr': '{}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}",
            f32::NAME
        );
        let unpadded = 10 + header.len() + 1;
        header.extend(std::iter::repeat_n(' ', unpadded.next_multiple_of(64) - unpadded));
        header.push('\n');
        file.write_all(MAGIC)?;
        let len = u16::try_from(header.len()).map_err(|_| BenchError::at(path, "long header"))?;
        file.write_all(&len.to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        Ok(Self { file })
    }

    pub fn write(&mut self, values: &[f32]) -> Result<(), BenchError> {
        Ok(self.file.write_all(bytemuck::cast_slice(values))?)
    }

    pub fn finish(self) -> Result<(), BenchError> {
        self.file.into_inner().map_err(|error| BenchError::new(error.to_string()))?.sync_data()?;
        Ok(())
    }
}

/// Writes a whole float32 array.
pub fn write(path: &Path, columns: usize, values: &[f32]) -> Result<(), BenchError> {
    let mut writer = Writer::create(path, values.len() / columns, columns)?;
    writer.write(values)?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_comes_back_bit_for_bit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.npy");
        let values = [1.0, -0.0, f32::INFINITY, f32::from_bits(0x7FC0_1234), 1e-42, 5.0];
        write(&path, 3, &values).unwrap();
        let read: Array<f32> = read(&path).unwrap();
        assert_eq!((read.rows, read.columns), (2, 3));
        assert!(read.values.iter().zip(values).all(|(a, b)| a.to_bits() == b.to_bits()));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!((bytes.len() - 24) % 64, 0, "the numbers begin at a multiple of 64");
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(super::read::<f32>(&path).is_err());
        assert!(super::read::<i64>(&path).is_err());
    }
}
