//! What a run did, and which files it came by: the basis for removing those that are gone.
//!
//! Paths are kept as 128-bit hashes, so that a million files take 32 MB of the budget; two paths
//! of the same hash would at worst keep a file that is gone.

use std::collections::HashSet;

use ambit_mem::{Account, Bytes, Reservation};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::exit::Failure;

/// Bytes of the set per path, with the room that a hash set leaves.
const PATH_BYTES: u64 = 32;
/// Paths that are paid for at a time.
const STEP: u64 = 4096;
/// Skipped files that are remembered with their reasons.
const MOST_SKIPS: usize = 1000;

/// A file that was not indexed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skip {
    /// The file.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What an indexing run did.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Text files that were looked at.
    pub files: u64,
    /// Files that were new or changed.
    pub indexed: u64,
    /// Files that were as before.
    pub unchanged: u64,
    /// Files that are gone.
    pub removed: u64,
    /// Files that are no text, or could not be read.
    pub skipped: u64,
    /// Chunks written.
    pub chunks: u64,
    /// Bytes of text indexed.
    pub bytes: u64,
    /// The first skipped files, with reasons.
    pub skips: Vec<Skip>,
    /// The first file for which the budget had no room, and what the budget said.
    pub refused: Option<Skip>,
}

/// Whether a skipped file keeps the entities that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// It could not be read this time.
    Yes,
    /// It is no text.
    No,
}

/// The books of one run.
#[derive(Debug)]
pub struct Books {
    /// What was done so far.
    pub tally: Tally,
    seen: HashSet<u128>,
    /// Files and folders that could not be read: what is under them stays.
    kept: Vec<String>,
    reservation: Reservation,
}

impl Books {
    /// Empty books, paid for by `account`.
    ///
    /// # Errors
    /// The budget's.
    pub fn new(account: &Account) -> Result<Self, Failure> {
        let reservation = account.reserve(Bytes::new(STEP * PATH_BYTES))?;
        let tally = Tally::default();
        Ok(Self { tally, seen: HashSet::new(), kept: Vec::new(), reservation })
    }

    /// `path` was written with `chunks` chunks of `bytes` bytes of text.
    ///
    /// # Errors
    /// The budget's.
    pub fn changed(&mut self, path: &str, chunks: u64, bytes: u64) -> Result<(), Failure> {
        self.tally.indexed += 1;
        self.tally.chunks += chunks;
        self.tally.bytes += bytes;
        self.saw(path)
    }

    /// `path` is as it was.
    ///
    /// # Errors
    /// The budget's.
    pub fn unchanged(&mut self, path: &str) -> Result<(), Failure> {
        self.tally.unchanged += 1;
        self.saw(path)
    }

    /// A path was left out.
    pub fn skipped(&mut self, skip: Skip, stays: Stays) {
        self.tally.skipped += 1;
        if stays == Stays::Yes {
            self.kept.push(skip.path.clone());
        }
        if self.tally.skips.len() < MOST_SKIPS {
            self.tally.skips.push(skip);
        }
    }

    /// The budget has no room for `path`, even alone.
    pub fn refused(&mut self, path: String, refusal: &Failure) {
        let skip = Skip { path, reason: refusal.to_string() };
        self.tally.refused.get_or_insert_with(|| skip.clone());
        self.skipped(skip, Stays::Yes);
    }

    /// Whether the file at `path` is gone: the run neither came by it nor failed to read it.
    pub fn is_gone(&self, path: &str) -> bool {
        !self.seen.contains(&xxh3_128(path.as_bytes()))
            && !self.kept.iter().any(|kept| is_under(path, kept))
    }

    fn saw(&mut self, path: &str) -> Result<(), Failure> {
        self.tally.files += 1;
        self.seen.insert(xxh3_128(path.as_bytes()));
        let needed = Bytes::new((self.seen.len() as u64).next_multiple_of(STEP) * PATH_BYTES);
        if needed > self.reservation.bytes() {
            self.reservation.resize(needed)?;
        }
        Ok(())
    }
}

/// Whether the file at `path` is `root` or lies under it; the empty root is the working directory.
pub fn is_under(path: &str, root: &str) -> bool {
    if root.is_empty() {
        return !path.starts_with('/') && path != ".." && !path.starts_with("../");
    }
    let rest = path.strip_prefix(root);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || root.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ambit_mem::{Budget, Priority};

    #[test]
    fn a_path_lies_under_its_folders_and_not_under_their_namesakes() {
        let cases = [
            ("src/main.rs", "src", true),
            ("src", "src", true),
            ("src2/main.rs", "src", false),
            ("a/b/c", "a/b", true),
            ("a", "", true),
            ("../a", "", false),
            ("../a", "..", true),
            ("/a", "", false),
            ("/a", "/", true),
        ];
        for (path, root, expected) in cases {
            assert_eq!(is_under(path, root), expected, "{path} under {root}");
        }
    }

    #[test]
    fn what_was_seen_or_could_not_be_read_is_not_gone() {
        let budget = Budget::new(Bytes::mib(1));
        let mut books = Books::new(&budget.account("index/paths", Priority::Write)).unwrap();
        books.changed("a", 1, 10).unwrap();
        books.unchanged("b").unwrap();
        let skip = |path: &str| Skip { path: path.into(), reason: "why".into() };
        books.skipped(skip("dir"), Stays::Yes);
        books.skipped(skip("binary"), Stays::No);
        let gone = ["a", "b", "dir/c", "binary", "d"].map(|path| books.is_gone(path));
        assert_eq!(gone, [false, false, false, true, true]);
        assert_eq!((books.tally.files, books.tally.skipped), (2, 2));
    }

    #[test]
    fn paths_are_paid_for() {
        let limit = STEP * PATH_BYTES * 2;
        let budget = Budget::new(Bytes::new(limit));
        let mut books = Books::new(&budget.account("index/paths", Priority::Write)).unwrap();
        let mut fill =
            |from: u64, to: u64| (from..to).try_for_each(|n| books.unchanged(&n.to_string()));
        assert!(fill(0, 2 * STEP).is_ok());
        assert!(fill(2 * STEP, 2 * STEP + 1).is_err());
    }
}
