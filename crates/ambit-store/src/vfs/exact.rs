//! Reads and writes that are whole or fail.
//!
//! The operating system may move fewer bytes than asked, or be interrupted; every caller
//! above this module wants all of them. Both loops make progress or end: a call that moves
//! nothing is an error, and the error names how many bytes were expected and how many there
//! were.

use std::io;

use super::VfsFile;

/// Fills `into` from `offset` of `file`.
///
/// # Errors
/// `UnexpectedEof` if the file ends first, with both numbers; whatever the file reports.
pub fn read_exact_at(file: &dyn VfsFile, offset: u64, into: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(end_of(offset, done)?, &mut into[done..]) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!(
                        "expected {} bytes at offset {offset}, found {done} before the end of the file",
                        into.len()
                    ),
                ));
            }
            Ok(moved) => done += moved,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes` at `offset` of `file`. Not durable before a sync.
///
/// # Errors
/// `WriteZero` if the file takes no more bytes; whatever the file reports. The file may then
/// hold any part of `bytes`.
pub fn write_all_at(file: &dyn VfsFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(end_of(offset, done)?, &bytes[done..]) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::WriteZero,
                    format!("wrote {done} of {} bytes at offset {offset}", bytes.len()),
                ));
            }
            Ok(moved) => done += moved,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `offset + len`, or the error for a range that no file can hold.
pub(super) fn end_of(offset: u64, len: usize) -> io::Result<u64> {
    u64::try_from(len).ok().and_then(|len| offset.checked_add(len)).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{len} bytes at offset {offset} end past the largest file"),
        )
    })
}
