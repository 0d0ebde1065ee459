//! Keys of an import: a text file with one key per line, checked before anything is written.
//!
//! A first pass counts the lines and looks at each key. Duplicates are then found in bounded
//! memory: the range of the keys' 128-bit hashes is cut so that the hashes of one part, with
//! their lines, fit into a reservation; one pass over the file per part sorts them and looks for
//! equal neighbours. A part that turns out too full is halved. So the cost is one or a few
//! sequential reads of the file, and the memory is what the budget gives.

use std::fs::{File, Metadata};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use ambit_mem::{Budget, Bytes, Priority, Reservation};
use xxhash_rust::xxh3::xxh3_128;

use crate::exit::Failure;
use crate::output::grouped;

/// Bytes of the longest key.
pub const MAX_KEY: usize = 4096;
/// Bytes of the read buffer.
pub const BUFFER: usize = 64 << 10;
/// Fewest hashes that a pass holds.
const LEAST_HASHES: u64 = 4096;
/// Share of the budget's free bytes that the search for duplicates asks for first.
const SHARE: u64 = 4;

/// Why `key` cannot be a key, if it cannot.
pub fn fault(key: &str) -> Option<String> {
    if key.is_empty() {
        return Some("a key is empty; keys are 1 to 4,096 bytes".into());
    }
    if key.len() > MAX_KEY {
        return Some(format!(
            "a key of {} bytes; keys are 1 to 4,096 bytes",
            grouped(key.len() as u64)
        ));
    }
    key.contains(['\n', '\r', '\0']).then(|| {
        format!(
            "the key '{}' holds a line break or a zero byte; leave them out",
            key.escape_debug()
        )
    })
}

/// A file of keys that was checked: its lines are valid, distinct, and as many as there are rows.
#[derive(Debug)]
pub struct KeysFile {
    path: PathBuf,
    state: FileState,
}

/// What would differ if the file were written again between two passes.
#[derive(Debug, PartialEq, Eq)]
struct FileState {
    len: u64,
    modified: Option<std::time::SystemTime>,
}

impl FileState {
    fn of(metadata: &Metadata) -> Self {
        Self { len: metadata.len(), modified: metadata.modified().ok() }
    }
}

impl KeysFile {
    /// Checks the file at `path` for an import of `rows` rows; hashes are charged to `budget`.
    ///
    /// # Errors
    /// I/O; a wrong number of lines; a key that is empty, too long, not UTF-8 or there twice
    /// (naming both lines); a budget without room for a few thousand hashes.
    ///
    /// # Cost
    /// One pass over the file to check the lines, and at least one to find duplicates.
    pub fn check(path: &Path, rows: u64, budget: &Budget) -> Result<Self, Failure> {
        let mut lines = Lines::open(path)?;
        let metadata =
            lines.reader.get_ref().metadata().map_err(|error| Failure::io("read", path, &error))?;
        if !metadata.is_file() {
            return Err(Failure::usage(format!(
                "{}: not a regular file; keys are read more than once",
                path.display()
            )));
        }
        while lines.advance()? {
            lines.key()?;
        }
        if lines.number != rows {
            return Err(Failure::usage(format!(
                "{}: {} keys for {} rows; one key per line is needed for each row",
                path.display(),
                grouped(lines.number),
                grouped(rows)
            )));
        }
        Duplicates::new(path, rows, budget)?.refuse()?;
        Ok(Self { path: path.to_path_buf(), state: FileState::of(&metadata) })
    }

    /// Reads keys from line `row` (counted from 0) on.
    ///
    /// # Errors
    /// I/O, or a file that changed since it was checked.
    pub fn keys_from(&self, row: u64) -> Result<KeyReader, Failure> {
        let mut lines = Lines::open(&self.path)?;
        let metadata = lines
            .reader
            .get_ref()
            .metadata()
            .map_err(|error| Failure::io("read", &self.path, &error))?;
        if FileState::of(&metadata) != self.state {
            return Err(changed(&self.path));
        }
        for _ in 0..row {
            if !lines.advance()? {
                return Err(changed(&self.path));
            }
        }
        Ok(KeyReader { lines })
    }
}

fn changed(path: &Path) -> Failure {
    Failure::usage(format!(
        "{}: the file changed while it was read; run the import again",
        path.display()
    ))
}

/// Reads the keys of a checked file in order.
#[derive(Debug)]
pub struct KeyReader {
    lines: Lines,
}

impl KeyReader {
    /// Replaces `keys` by the next keys: at most `most` of them, and no more than `bytes` bytes
    /// unless one key alone is longer.
    ///
    /// # Errors
    /// I/O, or a file that changed since it was checked.
    pub fn next(
        &mut self,
        keys: &mut Vec<String>,
        most: usize,
        bytes: usize,
    ) -> Result<(), Failure> {
        keys.clear();
        let mut taken = 0;
        while keys.len() < most && taken < bytes {
            if !self.lines.advance()? {
                return Err(changed(&self.lines.path));
            }
            let key = self.lines.key()?;
            taken += key.len() + size_of::<String>();
            keys.push(key.to_owned());
        }
        Ok(())
    }
}

/// The lines of a file, one at a time, none longer than a key may be.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    line: Vec<u8>,
    /// Number of the current line, counted from 1.
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| Failure::io("open", path, &error))?;
        let reader = BufReader::with_capacity(BUFFER, file);
        Ok(Self { path: path.to_path_buf(), reader, line: Vec::new(), number: 0 })
    }

    /// Goes to the next line; false at the end of the file.
    fn advance(&mut self) -> Result<bool, Failure> {
        self.line.clear();
        // One byte more than a key with its line break, so that a longer line shows.
        let most = (MAX_KEY + 3) as u64;
        let read = (&mut self.reader).take(most).read_until(b'\n', &mut self.line);
        let read = match read {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::IsADirectory => {
                return Err(Failure::usage(format!(
                    "{}: a folder, expected a file of keys",
                    self.path.display()
                )));
            }
            Err(error) => return Err(Failure::io("read", &self.path, &error)),
        };
        if read == 0 {
            return Ok(false);
        }
        self.number += 1;
        if self.line.ends_with(b"\n") {
            self.line.pop();
            if self.line.ends_with(b"\r") {
                self.line.pop();
            }
        }
        if self.line.len() > MAX_KEY {
            return Err(self.refuse("a key of more than 4,096 bytes; keys are 1 to 4,096 bytes"));
        }
        Ok(true)
    }

    /// The current line as a key.
    fn key(&self) -> Result<&str, Failure> {
        let key = std::str::from_utf8(&self.line).map_err(|error| {
            self.refuse(&format!(
                "not UTF-8 from byte {} of the line on; save the file as UTF-8",
                error.valid_up_to()
            ))
        })?;
        match fault(key) {
            Some(what) => Err(self.refuse(&what)),
            None => Ok(key),
        }
    }

    fn refuse(&self, what: &str) -> Failure {
        Failure::usage(format!("{}: line {}: {what}", self.path.display(), self.number))
    }
}

/// Hash of a key and the line that it stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hashed {
    high: u64,
    low: u64,
    line: u64,
}

/// The search for duplicates.
#[derive(Debug)]
struct Duplicates<'a> {
    path: &'a Path,
    rows: u64,
    hashes: Vec<Hashed>,
    capacity: usize,
    _reservation: Reservation,
}

impl<'a> Duplicates<'a> {
    fn new(path: &'a Path, rows: u64, budget: &Budget) -> Result<Self, Failure> {
        let account = budget.account("import/keys", Priority::Write);
        let each = size_of::<Hashed>() as u64;
        let mut wanted = rows.clamp(1, (budget.free().get() / SHARE / each).max(LEAST_HASHES));
        loop {
            match account.reserve(Bytes::new(wanted * each)) {
                Ok(reservation) => {
                    let capacity = usize::try_from(wanted).unwrap_or(usize::MAX);
                    let hashes = Vec::with_capacity(capacity);
                    return Ok(Self { path, rows, hashes, capacity, _reservation: reservation });
                }
                Err(refusal) if wanted <= LEAST_HASHES => return Err(refusal.into()),
                Err(_) => wanted = (wanted / 2).max(LEAST_HASHES),
            }
        }
    }

    /// Goes through the parts of the range of hashes.
    fn refuse(mut self) -> Result<(), Failure> {
        // A tenth of room: parts of a good hash differ by far less.
        let parts = (self.rows * 11 / 10).div_ceil(self.capacity as u64).max(1);
        let mut first = 0_u64;
        let mut width = u64::MAX / parts;
        loop {
            let last = first.saturating_add(width);
            let complete = self.collect(first, last)?;
            self.hashes.sort_unstable();
            self.refuse_neighbours()?;
            if !complete {
                // Only equal hashes can fill a part of width 0, and those were just refused.
                width /= 2;
            } else if last == u64::MAX {
                return Ok(());
            } else {
                first = last + 1;
            }
        }
    }

    /// Takes the hashes from `first` to `last`; false when they do not all fit.
    fn collect(&mut self, first: u64, last: u64) -> Result<bool, Failure> {
        self.hashes.clear();
        let mut lines = Lines::open(self.path)?;
        while lines.advance()? {
            let hash = xxh3_128(&lines.line);
            let (high, low) = ((hash >> 64) as u64, hash as u64);
            if (first..=last).contains(&high) {
                if self.hashes.len() == self.capacity {
                    return Ok(false);
                }
                self.hashes.push(Hashed { high, low, line: lines.number });
            }
        }
        Ok(true)
    }

    /// Refuses the duplicate that stands first in the file, of those in this part.
    fn refuse_neighbours(&self) -> Result<(), Failure> {
        let twins = self.hashes.windows(2).filter_map(|pair| match pair {
            [a, b] if (a.high, a.low) == (b.high, b.low) => Some((b.line, a.line)),
            _ => None,
        });
        let Some((again, first)) = twins.min() else {
            return Ok(());
        };
        let mut lines = Lines::open(self.path)?;
        while lines.number < first && lines.advance()? {}
        let key = lines.line.clone();
        while lines.number < again && lines.advance()? {}
        if lines.line != key {
            return Err(Failure::usage(format!(
                "{}: the keys on lines {first} and {again} have the same hash and cannot be told \
                 apart; change one of them",
                self.path.display()
            )));
        }
        Err(Failure::usage(format!(
            "{}: the key '{}' stands on line {first} and again on line {again}; \
             keys of one import must differ",
            self.path.display(),
            String::from_utf8_lossy(&key).escape_debug()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn check(text: &[u8], rows: u64, budget: Bytes) -> Result<KeysFile, String> {
        let file = file(text);
        KeysFile::check(file.path(), rows, &Budget::new(budget))
            .map_err(|failure| failure.to_string())
    }

    fn numbered(count: u64) -> String {
        (0..count).map(|n| format!("key-{n}\n")).collect()
    }

    #[test]
    fn keys_come_back_in_order_from_any_line() {
        let file = file("a\r\nbéta\nlast one".as_bytes());
        let keys = KeysFile::check(file.path(), 3, &Budget::new(Bytes::mib(1))).unwrap();
        let mut read = Vec::new();
        keys.keys_from(1).unwrap().next(&mut read, 2, 1 << 20).unwrap();
        assert_eq!(read, ["béta", "last one"]);
        let mut reader = keys.keys_from(0).unwrap();
        reader.next(&mut read, 2, 1).unwrap();
        assert_eq!(read, ["a"]);
    }

    #[test]
    fn each_bad_line_is_refused_by_its_number() {
        let long = [b"ok\n".as_slice(), &[b'x'; 4097], b"\n"].concat();
        let cases: [(&[u8], &str); 5] = [
            (b"a\n\nb\n", "line 2: a key is empty"),
            (b"a\nb\xff\nc", "line 2: not UTF-8 from byte 1"),
            (&long, "line 2: a key of more than 4,096 bytes"),
            (b"a\n", "1 keys for 3 rows"),
            (b"a\nb\nc\nd\n", "4 keys for 3 rows"),
        ];
        for (text, expected) in cases {
            let message = check(text, 3, Bytes::mib(1)).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_key_is_as_long_as_the_limit_allows() {
        for (length, fits) in [(4095, true), (4096, true), (4097, false)] {
            assert_eq!(check(&vec![b'x'; length], 1, Bytes::mib(1)).is_ok(), fits);
            assert_eq!(fault(&"x".repeat(length)).is_none(), fits);
        }
    }

    #[test]
    fn a_duplicate_is_named_with_both_lines_whatever_the_budget() {
        let mut text = numbered(40_000);
        text.push_str("key-17\n");
        for budget in [Bytes::mib(16), Bytes::kib(200), Bytes::kib(100)] {
            let message = check(text.as_bytes(), 40_001, budget).unwrap_err();
            assert!(
                message.contains("'key-17' stands on line 18 and again on line 40001"),
                "{message}"
            );
            assert!(check(numbered(40_000).as_bytes(), 40_000, budget).is_ok());
        }
    }

    #[test]
    fn a_file_of_one_key_repeated_is_refused_and_not_searched_for_ever() {
        let text = "same\n".repeat(30_000);
        let message = check(text.as_bytes(), 30_000, Bytes::kib(100)).unwrap_err();
        assert!(message.contains("'same' stands on line 1 and again on line 2"), "{message}");
    }

    #[test]
    fn a_budget_without_room_for_hashes_is_refused() {
        let text = numbered(10_000);
        assert!(check(text.as_bytes(), 10_000, Bytes::kib(16)).is_err());
    }

    #[test]
    fn keys_with_line_breaks_are_faulty() {
        assert!(fault("a\nb").unwrap().contains("line break"));
        assert!(fault("").is_some());
        assert_eq!(fault("path with spaces#L1-L2"), None);
    }
}
