//! Access traces: keys in order, and sizes where there are some.
//!
//! `NAME.u64.zst` holds the keys as little-endian u64, `NAME.w32.zst` the size of each request
//! in bytes as little-endian u32. Keys are renumbered from zero; nothing of a policy depends on
//! more of them than that they differ.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;

use crate::error::BenchError;

/// Requests of a trace, each a key from 0 to `unique`, and a size.
pub struct Trace {
    pub name: String,
    pub keys: Vec<u32>,
    /// Of each request; the same for all requests of a key.
    pub sizes: Option<Vec<u32>>,
    pub unique: usize,
}

impl Trace {
    /// The sum of the sizes of all keys.
    pub fn bytes(&self) -> Option<u64> {
        let sizes = self.sizes.as_ref()?;
        let by_key: HashMap<u32, u32> =
            self.keys.iter().copied().zip(sizes.iter().copied()).collect();
        Some(by_key.values().map(|&size| u64::from(size)).sum())
    }

    /// Requests with their sizes, or with size 1.
    pub fn requests(&self, sized: bool) -> impl Iterator<Item = (u32, u32)> + '_ {
        let sizes = self.sizes.as_ref().filter(|_| sized);
        let size = move |at: usize| sizes.map_or(1, |sizes| sizes[at]);
        self.keys.iter().enumerate().map(move |(at, &key)| (key, size(at)))
    }
}

fn words<const N: usize>(path: &Path) -> Result<Vec<[u8; N]>, BenchError> {
    let at = |error: &dyn std::fmt::Display| BenchError::at(path, error);
    let file = std::fs::File::open(path).map_err(|error| at(&error))?;
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(std::io::BufReader::new(file))
        .map_err(|error| at(&error))?;
    let mut bytes = Vec::new();
    decoder.read_to_end(&mut bytes).map_err(|error| at(&error))?;
    let (words, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(at(&format!("{} bytes are no whole number of {N}-byte words", bytes.len())));
    }
    Ok(words.to_vec())
}

fn load(path: &Path, name: &str) -> Result<Trace, BenchError> {
    let mut numbers = HashMap::new();
    let mut number = |key| {
        let next = numbers.len() as u32;
        *numbers.entry(key).or_insert(next)
    };
    let keys: Vec<u32> =
        words(path)?.into_iter().map(u64::from_le_bytes).map(&mut number).collect();
    let path = path.with_file_name(format!("{name}.w32.zst"));
    let sizes = if path.exists() { Some(words(&path)?) } else { None };
    if sizes.as_ref().is_some_and(|sizes| sizes.len() != keys.len()) {
        return Err(BenchError::at(&path, "not as many sizes as keys"));
    }
    let mut first = HashMap::new();
    let sizes = sizes.map(|sizes| {
        let sizes = sizes.into_iter().map(|size| u32::from_le_bytes(size).max(1));
        keys.iter().zip(sizes).map(|(&key, size)| *first.entry(key).or_insert(size)).collect()
    });
    Ok(Trace { name: name.to_owned(), keys, sizes, unique: numbers.len() })
}

/// The traces of a folder, by name.
pub fn load_all(directory: &Path) -> Result<Vec<Trace>, BenchError> {
    let files = std::fs::read_dir(directory).map_err(|error| BenchError::at(directory, error))?;
    let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
    paths.sort();
    let mut traces = Vec::new();
    for path in paths {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(name) = file.strip_suffix(".u64.zst") {
            traces.push(load(&path, name)?);
        }
    }
    Ok(traces)
}
