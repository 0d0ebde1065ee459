//! Where a model's four files come from: this binary, or a directory.
//!
//! The built-in files are borrowed from the binary's read-only pages for the life of the process;
//! those of a directory are read into memory that was reserved first. A file that is longer than the
//! format can need is refused before it is read.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use ambit_mem::{Account, Bytes, Reservation};

use crate::EmbedError;

pub(crate) const MODEL: &str = "model.safetensors";
pub(crate) const VOCABULARY: &str = "vocab.txt";
pub(crate) const CONFIG: &str = "config.json";
pub(crate) const CHARACTERS: &str = "normalize.json";

/// The largest files that the format can need.
const MAX_MODEL: u64 = 1 << 30;
const MAX_VOCABULARY: u64 = 64 << 20;
const MAX_JSON: u64 = 4 << 20;

/// The bytes of one file.
pub(crate) type Blob = Cow<'static, [u8]>;

/// The four files of a model, as bytes, with the reservations that pay for them.
#[derive(Debug)]
pub(crate) struct Asset {
    pub(crate) model: Blob,
    pub(crate) vocabulary: Blob,
    pub(crate) config: Blob,
    pub(crate) characters: Blob,
    /// What is memory of its own.
    pub(crate) reservation: Reservation,
    /// What is pages of the binary.
    pub(crate) pages: Option<Reservation>,
}

impl Asset {
    /// The files inside this binary. The pages count: they are resident once they are read. The two
    /// JSON files are touched while they are read only.
    pub(crate) fn built_in(account: &Account) -> Result<Self, EmbedError> {
        let model: &[u8] = include_bytes!("../assets/static-embedder/model.safetensors");
        let vocabulary: &[u8] = include_bytes!("../assets/static-embedder/vocab.txt");
        let config: &[u8] = include_bytes!("../assets/static-embedder/config.json");
        let characters: &[u8] = include_bytes!("../assets/static-embedder/normalize.json");
        let binary = account.child("binary");
        binary.set_mapped();
        Ok(Self {
            model: Blob::Borrowed(model),
            vocabulary: Blob::Borrowed(vocabulary),
            config: Blob::Borrowed(config),
            characters: Blob::Borrowed(characters),
            reservation: account.reserve(Bytes::of(config.len() + characters.len()))?,
            pages: Some(binary.reserve(Bytes::of(model.len() + vocabulary.len()))?),
        })
    }

    /// The files of the directory `dir`.
    pub(crate) fn read(dir: &Path, account: &Account) -> Result<Self, EmbedError> {
        let mut reservation = account.reserve(Bytes::ZERO)?;
        Ok(Self {
            config: read(dir, CONFIG, MAX_JSON, &mut reservation)?,
            characters: read(dir, CHARACTERS, MAX_JSON, &mut reservation)?,
            vocabulary: read(dir, VOCABULARY, MAX_VOCABULARY, &mut reservation)?,
            model: read(dir, MODEL, MAX_MODEL, &mut reservation)?,
            reservation,
            pages: None,
        })
    }
}

fn read(
    dir: &Path,
    name: &'static str,
    most: u64,
    reservation: &mut Reservation,
) -> Result<Blob, EmbedError> {
    let path = dir.join(name);
    let unreadable = |source| EmbedError::Unreadable { path: path.clone(), source };
    let file = File::open(&path).map_err(unreadable)?;
    let len = file.metadata().map_err(unreadable)?.len();
    if len > most {
        let what = format!("{} long, at most {} are expected", Bytes::new(len), Bytes::new(most));
        return Err(EmbedError::malformed(name, what));
    }
    reservation.grow(Bytes::new(len))?;
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(usize::MAX));
    // Never more than was reserved, even if the file grows meanwhile.
    file.take(len).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 != len {
        let what = format!("{} bytes read, {len} expected: it was cut off meanwhile", bytes.len());
        return Err(EmbedError::malformed(name, what));
    }
    Ok(Blob::Owned(bytes))
}
