//! Two thousand real source files, copied to where they can be indexed.

use std::path::{Path, PathBuf};

use crate::error::BenchError;

/// Files that are copied.
pub const FILES: usize = 2000;
/// Larger ones are left out: tables and bundled data, not source.
const LARGEST: u64 = 256 << 10;
const SMALLEST: u64 = 1 << 10;

/// What was copied.
pub struct Tree {
    pub path: PathBuf,
    pub files: usize,
    pub bytes: u64,
}

/// Copies Rust files of the crates that cargo has unpacked on this machine, in the order of their
/// paths, to `to`, which is emptied.
///
/// # Errors
/// There are none; I/O.
pub fn copy(to: &Path) -> Result<Tree, BenchError> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let from = home.unwrap_or_default().join("registry/src");
    let mut found = Vec::new();
    gather(&from, &mut found)?;
    if found.is_empty() {
        return Err(BenchError::at(&from, "no source files here; run `cargo fetch` first"));
    }
    found.sort_unstable();
    found.truncate(FILES);
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    let mut tree = Tree { path: to.to_owned(), files: 0, bytes: 0 };
    for (number, file) in found.iter().enumerate() {
        let folder = to.join(format!("{:02}", number / 100));
        std::fs::create_dir_all(&folder)?;
        tree.bytes += std::fs::copy(file, folder.join(format!("{number:04}.rs")))?;
        tree.files += 1;
    }
    Ok(tree)
}

fn gather(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), BenchError> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        let path = entry.path();
        if kind.is_dir() {
            gather(&path, found)?;
        } else if kind.is_file()
            && path.extension().is_some_and(|extension| extension == "rs")
            && (SMALLEST..=LARGEST).contains(&entry.metadata()?.len())
        {
            found.push(path);
        }
    }
    Ok(())
}
