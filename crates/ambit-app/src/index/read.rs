//! What does a file hold? Its text, or why it is none.
//!
//! A file is text if it is not too large, has no NUL byte and is UTF-8 throughout; a byte order
//! mark is left out. A file whose length or time of change moves while it is read is read again,
//! three times at most, so that what is indexed was the whole file at one moment.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use ambit_mem::Bytes;

/// Largest file that is indexed.
pub const MAX_FILE: Bytes = Bytes::mib(16);
/// Times that a changing file is read.
const ATTEMPTS: usize = 3;

/// Why a file has no text to index.
#[derive(Debug)]
pub enum Refusal {
    /// It cannot be read now.
    Unreadable(io::Error),
    /// It went on changing.
    Changing,
    /// It is larger than [`MAX_FILE`].
    TooLarge(Bytes),
    /// It has a NUL byte at this offset.
    Binary(usize),
    /// It is not UTF-8 from this offset on.
    NotUtf8(usize),
}

impl Refusal {
    /// May it be readable another time, unchanged?
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unreadable(_) | Self::Changing)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::Changing => write!(f, "changed while it was read, {ATTEMPTS} times; index again"),
            Self::TooLarge(len) => {
                write!(f, "{len} is over the {MAX_FILE} that a file may have; split it")
            }
            Self::Binary(at) => write!(f, "binary: NUL at byte {at}"),
            Self::NotUtf8(at) => write!(f, "not UTF-8 at byte {at}; convert it"),
        }
    }
}

/// Text of the file at `path`.
///
/// # Errors
/// Why there is none.
///
/// # Cost
/// Holds the file once; a file over the limit is not read.
pub fn read(path: &Path) -> Result<String, Refusal> {
    read_beside(path, &mut || {})
}

/// Reads while something else may happen to the file: `meanwhile` is called in each attempt,
/// between the first look at the file and the last.
fn read_beside(path: &Path, meanwhile: &mut dyn FnMut()) -> Result<String, Refusal> {
    for _ in 0..ATTEMPTS {
        if let Some(bytes) = read_once(path, meanwhile)? {
            return text(bytes);
        }
    }
    Err(Refusal::Changing)
}

/// The bytes; `None` if the file changed meanwhile.
fn read_once(path: &Path, meanwhile: &mut dyn FnMut()) -> Result<Option<Vec<u8>>, Refusal> {
    let mut file = File::open(path).map_err(Refusal::Unreadable)?;
    let before = stamp(&file)?;
    let len = Bytes::new(before.0);
    if len > MAX_FILE {
        return Err(Refusal::TooLarge(len));
    }
    meanwhile();
    let mut bytes = Vec::with_capacity(before.0 as usize + 1);
    // One byte more than is allowed shows a file that grows.
    let mut limited = (&mut file).take(MAX_FILE.get() + 1);
    limited.read_to_end(&mut bytes).map_err(Refusal::Unreadable)?;
    let is_same = bytes.len() as u64 == before.0 && stamp(&file)? == before;
    Ok(is_same.then_some(bytes))
}

fn stamp(file: &File) -> Result<(u64, Option<SystemTime>), Refusal> {
    let metadata = file.metadata().map_err(Refusal::Unreadable)?;
    if !metadata.is_file() {
        return Err(Refusal::Unreadable(io::Error::other("not a regular file")));
    }
    Ok((metadata.len(), metadata.modified().ok()))
}

fn text(bytes: Vec<u8>) -> Result<String, Refusal> {
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        return Err(Refusal::Binary(at));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| Refusal::NotUtf8(error.utf8_error().valid_up_to()))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Result<String, Refusal> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(file.path())
    }

    #[test]
    fn text_is_read_without_its_byte_order_mark() {
        assert_eq!(of(b"").unwrap(), "");
        assert_eq!(of("\u{feff}grüße\n".as_bytes()).unwrap(), "grüße\n");
    }

    #[test]
    fn binary_files_and_invalid_utf8_are_refused_with_the_place() {
        assert!(matches!(of(b"ab\0c"), Err(Refusal::Binary(2))));
        let refusal = of(b"abc\xff").unwrap_err();
        assert!(!refusal.is_passing());
        assert!(refusal.to_string().contains("UTF-8 at byte 3"), "{refusal}");
    }

    #[test]
    fn a_file_over_the_limit_is_refused_without_reading_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (len, fits) in [(MAX_FILE.get(), true), (MAX_FILE.get() + 1, false), (2 << 30, false)] {
            file.as_file().set_len(len).unwrap();
            let refusal = read(file.path()).unwrap_err();
            assert_eq!(matches!(refusal, Refusal::Binary(0)), fits, "{len}: {refusal}");
        }
        assert!(read(file.path()).unwrap_err().to_string().starts_with("2.0 GiB is over"));
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_read_again_and_given_up_if_it_goes_on() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one").unwrap();
        let mut texts = vec!["three", "three"];
        let mut change = || {
            if let Some(text) = texts.pop() {
                std::fs::write(file.path(), text.repeat(texts.len() + 2)).unwrap();
            }
        };
        assert_eq!(read_beside(file.path(), &mut change).unwrap(), "threethree");
        let mut len = 0;
        let mut grow = || {
            len += 1;
            std::fs::write(file.path(), "x".repeat(len)).unwrap();
        };
        let refusal = read_beside(file.path(), &mut grow).unwrap_err();
        assert!(matches!(refusal, Refusal::Changing) && refusal.is_passing(), "{refusal}");
    }

    #[test]
    fn vanished_files_and_folders_may_come_back() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(&dir.path().join("absent")).unwrap_err().is_passing());
        assert!(read(dir.path()).unwrap_err().is_passing());
    }
}
