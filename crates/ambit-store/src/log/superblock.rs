//! Which manifest is meant, and how many frames are promised?
//!
//! `SUPER` holds two superblocks of 4 KiB, written in turns: generation g goes to slot g mod
//! 2, so that a torn write leaves the one before it whole. The valid slot with the higher
//! generation counts.
//!
//! `manifest_seq` and `log_seq` are lower bounds: at least these frames are durable. Fewer
//! found is corruption. More is the usual case: a commit whose acknowledgement was lost is
//! read again. When the manifest is written anew, both slots come to name the new one before
//! the old one goes.
//!
//! Magic number, format version and checksum keep their places in all future formats, so that
//! a newer store is refused by name and not taken for a damaged one.

use std::io;

use crate::error::{ErrorKind, StoreError};
use crate::vfs::{OpenMode, Vfs, read_exact_at};
use crate::wire::{Put, Reader, WireError};

use super::name::FileName;

/// Version of the file formats that this build writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Feature bits that this build knows: none yet.
pub const FEATURES: u64 = 0;

/// Bytes of one superblock.
pub(super) const SLOT: usize = 4 << 10;
/// Bytes of the file.
pub(super) const FILE_LEN: usize = 2 * SLOT;
const MAGIC: [u8; 8] = *b"AmbitDB\n";

/// One superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Superblock {
    /// Identity of the store.
    pub store_id: u128,
    /// Counts the superblocks written.
    pub generation: u64,
    /// File id of the manifest.
    pub manifest: u64,
    /// At least this frame of the manifest is durable.
    pub manifest_seq: u64,
    /// At least this frame of the log is durable.
    pub log_seq: u64,
}

/// Why a slot holds no superblock of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Flaw {
    Foreign,
    Checksum { stored: u32, computed: u32 },
    Newer { version: u32, features: u64 },
    Other(String),
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Foreign => f.write_str("it does not begin like a superblock"),
            Self::Checksum { stored, computed } => {
                write!(f, "its checksum is {stored:08x}, its bytes have {computed:08x}")
            }
            Self::Newer { version, features } => write!(
                f,
                "it has format version {version} and feature bits {features:#x}; this build \
                 reads up to version {FORMAT_VERSION} and knows bits {FEATURES:#x}"
            ),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl From<WireError> for Flaw {
    fn from(error: WireError) -> Self {
        Self::Other(error.to_string())
    }
}

impl Superblock {
    /// Byte offset of the slot that this generation is written to.
    pub fn offset(&self) -> u64 {
        self.generation % 2 * SLOT as u64
    }

    /// The slot's bytes.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_as(FORMAT_VERSION, FEATURES)
    }

    /// The slot's bytes, with the claim to be of another format.
    pub(super) fn encode_as(&self, version: u32, features: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(SLOT);
        out.extend_from_slice(&MAGIC);
        out.put_u32(version);
        out.put_u32(0);
        out.put_u64(features);
        out.put_u64(self.store_id as u64);
        out.put_u64((self.store_id >> 64) as u64);
        out.put_u64(self.generation);
        out.put_u64(self.manifest);
        out.put_u64(self.manifest_seq);
        out.put_u64(self.log_seq);
        out.resize(SLOT - 4, 0);
        let crc = crc32c::crc32c(&out);
        out.put_u32(crc);
        out
    }

    fn decode(slot: u64, bytes: &[u8]) -> Result<Self, Flaw> {
        if !bytes.starts_with(&MAGIC) {
            return Err(Flaw::Foreign);
        }
        let (body, stored) = bytes.split_at(SLOT - 4);
        let stored = Reader::new(stored).u32("a checksum")?;
        let computed = crc32c::crc32c(body);
        if stored != computed {
            return Err(Flaw::Checksum { stored, computed });
        }
        let mut from = Reader::new(&body[MAGIC.len()..]);
        let version = from.u32("a format version")?;
        from.u32("a zero")?;
        let features = from.u64("feature bits")?;
        if version > FORMAT_VERSION || features & !FEATURES != 0 {
            return Err(Flaw::Newer { version, features });
        }
        let low = u128::from(from.u64("the store id")?);
        let decoded = Self {
            store_id: low | u128::from(from.u64("the store id")?) << 64,
            generation: from.u64("a generation")?,
            manifest: from.u64("a manifest id")?,
            manifest_seq: from.u64("a frame number")?,
            log_seq: from.u64("a frame number")?,
        };
        if version == 0 || decoded.generation % 2 != slot || decoded.encode() != bytes {
            return Err(Flaw::Other(format!(
                "version {version}, generation {} or its zero bytes do not fit slot {slot}",
                decoded.generation
            )));
        }
        Ok(decoded)
    }
}

/// Reads the superblock that counts: `None` if there is no file `SUPER`.
///
/// # Errors
/// `Corrupt` if neither slot is valid, with both reasons; `NewerFormat` if a newer version
/// wrote the one that counts.
pub(super) fn read(vfs: &dyn Vfs) -> Result<Option<Superblock>, StoreError> {
    let name = FileName::Super.to_string();
    let file = match vfs.open(&name, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open", &name, error)),
    };
    let len = file.len().map_err(|error| StoreError::io("measure", &name, error))?;
    if len != FILE_LEN as u64 {
        return Err(StoreError::corrupt(
            &name,
            0,
            format!(
                "the file has {len} bytes, two superblocks have {FILE_LEN}; it was cut or is not \
                 AmbitDB's: restore it from a copy of {}",
                vfs.describe()
            ),
        ));
    }
    let mut bytes = vec![0; FILE_LEN];
    let mut read = || {
        let read = read_exact_at(&*file, 0, &mut bytes);
        read.map_err(|error| StoreError::io("read", &name, error))?;
        choose(&name, &bytes).map(Some)
    };
    // A writer beside us writes the slots one after the other; a read that met both halfway
    // is settled by another.
    read().or_else(|_| read())
}

fn choose(name: &str, bytes: &[u8]) -> Result<Superblock, StoreError> {
    let (first, second) = bytes.split_at(SLOT);
    match (Superblock::decode(0, first), Superblock::decode(1, second)) {
        // A newer version may have written one slot only.
        (Err(flaw @ Flaw::Newer { .. }), _) | (_, Err(flaw @ Flaw::Newer { .. })) => {
            Err(StoreError::new(
                ErrorKind::NewerFormat,
                format!("{name} was written by a newer AmbitDB: {flaw}; open it with that one"),
            ))
        }
        (Ok(zero), Ok(one)) if zero.store_id != one.store_id => Err(StoreError::corrupt(
            name,
            0,
            format!(
                "the superblocks are of two stores, {:032x} and {:032x}; restore the file from a \
                 copy",
                zero.store_id, one.store_id
            ),
        )),
        (Ok(zero), Ok(one)) => Ok(if zero.generation > one.generation { zero } else { one }),
        (Ok(whole), Err(_)) | (Err(_), Ok(whole)) => Ok(whole),
        (Err(zero), Err(one)) => Err(StoreError::corrupt(
            name,
            0,
            format!(
                "neither superblock can be read. Slot 0: {zero}. Slot 1: {one}. Restore the file \
                 from a copy"
            ),
        )),
    }
}
