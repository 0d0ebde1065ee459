//! Real vectors, where `shared/data` lies beside the workspace.

use std::path::{Path, PathBuf};

/// A file of the data directory.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name)
}

/// A float32 .npy file of version 1: the numbers, and how many make a row.
pub fn read(path: &Path) -> Option<(Vec<f32>, usize)> {
    let bytes = std::fs::read(path).ok()?;
    let start = 10 + usize::from(u16::from_le_bytes([*bytes.get(8)?, *bytes.get(9)?]));
    let header = String::from_utf8_lossy(bytes.get(..start)?).into_owned();
    let shape = header.split_once("'shape': (")?.1.split_once(')')?.0.to_owned();
    let dim = shape.split(',').filter_map(|part| part.trim().parse().ok()).next_back()?;
    let numbers = bytes.get(start..)?.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
    Some((numbers.collect(), dim))
}
