//! Which files? The walk that ripgrep does, in the order of paths.
//!
//! `.gitignore`, `.ignore` and hidden files are honoured, links are not followed (so no loop is
//! possible), and a store's own directory is left out wherever it lies. What cannot be read is
//! reported and passed by; the walk goes on. Memory grows with the depth of the tree and the
//! size of one folder, not with the number of files.

use std::path::{Component, Path, PathBuf};

use ignore::{DirEntry, WalkBuilder};

/// A file of the walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// Its key: the path as given, with `/`, without `./`.
    pub key: String,
    /// Its length in bytes when it was listed.
    pub len: u64,
}

/// A path that could not be listed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path, as far as it is known.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Walks some files and folders.
pub struct Walk {
    walks: std::vec::IntoIter<ignore::Walk>,
    walk: Option<ignore::Walk>,
}

impl Walk {
    /// Walks `roots` one after the other.
    pub fn new(roots: &[PathBuf]) -> Self {
        let walks: Vec<ignore::Walk> = roots.iter().map(|root| walk(root)).collect();
        Self { walks: walks.into_iter(), walk: None }
    }
}

fn walk(root: &Path) -> ignore::Walk {
    WalkBuilder::new(root)
        .sort_by_file_path(Path::cmp)
        .filter_entry(|entry| !is_store(entry))
        .build()
}

/// Is this the directory of a store?
fn is_store(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_dir())
        && ["SUPER", "LOCK"].iter().all(|name| entry.path().join(name).is_file())
}

impl Iterator for Walk {
    type Item = Result<Found, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.walk.is_none() {
                self.walk = Some(self.walks.next()?);
            }
            match self.walk.as_mut().and_then(Iterator::next) {
                None => self.walk = None,
                Some(Ok(entry)) => {
                    if let Some(found) = found(&entry) {
                        return Some(found);
                    }
                }
                Some(Err(error)) => {
                    if let Some(problem) = problem(&error) {
                        return Some(Err(problem));
                    }
                }
            }
        }
    }
}

fn found(entry: &DirEntry) -> Option<Result<Found, Problem>> {
    let path = entry.path();
    let trouble =
        |reason: String| Some(Err(Problem { path: path.to_string_lossy().into_owned(), reason }));
    // A root that is a link is followed; below it links are not.
    let is_file = match entry.file_type() {
        Some(kind) if entry.depth() > 0 => kind.is_file(),
        _ => path.is_file(),
    };
    if !is_file {
        return None;
    }
    let Some(key) = key_of(path) else {
        return trouble("its path is not UTF-8, so it cannot be a key; rename it".into());
    };
    match path.metadata() {
        Ok(metadata) => Some(Ok(Found { path: path.to_owned(), key, len: metadata.len() })),
        Err(error) => trouble(error.to_string()),
    }
}

/// What went wrong; a root that does not exist is the caller's matter.
fn problem(error: &ignore::Error) -> Option<Problem> {
    let is_missing_root = error.depth() == Some(0)
        && error.io_error().is_some_and(|io| io.kind() == std::io::ErrorKind::NotFound);
    if is_missing_root {
        return None;
    }
    let path = path_of(error).map_or_else(String::new, |path| {
        key_of(path).unwrap_or_else(|| path.to_string_lossy().into_owned())
    });
    let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
    Some(Problem { path, reason })
}

fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::Loop { child, .. } => Some(child),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            path_of(err)
        }
        _ => None,
    }
}

/// Key of the file at `path`: its parts joined by `/`, without `.`; `None` if it is not UTF-8.
pub fn key_of(path: &Path) -> Option<String> {
    let mut key = String::new();
    for part in path.components() {
        match part {
            Component::CurDir => continue,
            Component::RootDir => {
                key.push('/');
                continue;
            }
            _ => {}
        }
        if !key.is_empty() && !key.ends_with('/') {
            key.push('/');
        }
        key.push_str(part.as_os_str().to_str()?);
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn keys(root: &Path) -> Vec<String> {
        let found = Walk::new(&[root.to_owned()]).filter_map(Result::ok);
        found.map(|found| found.path.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn files_come_in_the_order_of_paths_without_hidden_ignored_links_and_stores() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for name in
            ["b.txt", "a/z.txt", "a/deep/x.rs", ".hidden", "skip.log", "st/SUPER", "st/LOCK"]
        {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), "x").unwrap();
        }
        fs::write(root.join(".ignore"), "*.log\n").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(root, root.join("a/loop")).unwrap();
        assert_eq!(keys(root), ["a/deep/x.rs", "a/z.txt", "b.txt"]);
    }

    #[test]
    fn a_single_file_is_its_own_walk_and_a_missing_root_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("one.md");
        fs::write(&file, "text").unwrap();
        let found: Vec<_> = Walk::new(&[file.clone(), dir.path().join("absent")]).collect();
        assert_eq!(found.len(), 1);
        let one = found[0].as_ref().unwrap();
        assert_eq!((&one.path, one.len), (&file, 4));
    }

    #[test]
    fn keys_keep_the_path_as_given() {
        let cases = [(".", ""), ("./src/a.rs", "src/a.rs"), ("/x/./y", "/x/y"), ("../a", "../a")];
        for (path, key) in cases {
            assert_eq!(key_of(Path::new(path)).as_deref(), Some(key));
        }
    }
}
