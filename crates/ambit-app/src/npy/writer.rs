//! A `.npy` file, row by row: complete under its name, or not there at all.
//!
//! Rows go to a temporary file beside the target; the header is written last, when their number
//! is known, and the finished file takes the target's name. A run that is stopped leaves an
//! older file of that name as it was.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::header::{self, ENCODED_LEN, Element};
use crate::exit::Failure;

/// A `.npy` file that is being written.
#[derive(Debug)]
pub struct Writer {
    file: BufWriter<NamedTempFile>,
    target: PathBuf,
    element: Element,
    columns: usize,
    elements: u64,
}

impl Writer {
    /// Starts a file of rows of `columns` elements at `path`.
    ///
    /// # Errors
    /// I/O, or a target that is no regular file.
    pub fn create(path: &Path, element: Element, columns: usize) -> Result<Self, Failure> {
        let target = resolved(path)?;
        let folder = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".ambit-").suffix(".partial");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any program creates a file; the umask takes its part away.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file =
            builder.tempfile_in(folder).map_err(|error| Failure::io("create", path, &error))?;
        let mut writer = Self {
            file: BufWriter::with_capacity(64 << 10, file),
            target,
            element,
            columns,
            elements: 0,
        };
        writer.write(&[0; ENCODED_LEN])?;
        Ok(writer)
    }

    /// Appends whole rows of float32 elements.
    ///
    /// # Errors
    /// I/O.
    pub fn write_f32(&mut self, values: &[f32]) -> Result<(), Failure> {
        self.elements += values.len() as u64;
        if cfg!(target_endian = "little") {
            return self.write(bytemuck::cast_slice(values));
        }
        values.iter().try_for_each(|value| self.write(&value.to_le_bytes()))
    }

    /// Appends whole rows of int64 elements.
    ///
    /// # Errors
    /// I/O.
    pub fn write_i64(&mut self, values: &[i64]) -> Result<(), Failure> {
        self.elements += values.len() as u64;
        values.iter().try_for_each(|value| self.write(&value.to_le_bytes()))
    }

    /// Writes the header, makes the bytes durable and gives the file its name; its length.
    ///
    /// # Errors
    /// I/O.
    pub fn finish(self) -> Result<u64, Failure> {
        let rows = self.elements / self.columns as u64;
        let header = header::encode(self.element, &[rows, self.columns as u64]);
        let target = self.target;
        let failed = |error: std::io::Error| Failure::io("write", &target, &error);
        let file = self.file.into_inner().map_err(|error| failed(error.into_error()))?;
        complete(file.as_file(), &header).map_err(failed)?;
        let file = file.persist(&target).map_err(|error| failed(error.error))?;
        Ok(file.metadata().map_err(failed)?.len())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| Failure::io("write", &self.target, &error))
    }
}

fn complete(mut file: &File, header: &[u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(header)?;
    file.sync_data()
}

/// The file that `path` names, links followed, so that a link stays a link.
fn resolved(path: &Path) -> Result<PathBuf, Failure> {
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => {
            path.canonicalize().map_err(|error| Failure::io("open", path, &error))
        }
        Ok(_) => Err(Failure::usage(format!(
            "{}: not a regular file; name a .npy file to write to",
            path.display()
        ))),
        Err(_) => Ok(path.to_path_buf()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Reader, Rounding};
    use super::*;

    #[test]
    fn rows_come_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let bits = [0x7f80_0001, 0xffc1_2345, 0x8000_0000, 1, 0x7f80_0000, 0x3f80_0000];
        let values = bits.map(f32::from_bits);
        let mut writer = Writer::create(&path, Element::Float32, 2).unwrap();
        writer.write_f32(&values[..2]).unwrap();
        writer.write_f32(&values[2..]).unwrap();
        assert_eq!(writer.finish().unwrap(), 128 + 24);
        let mut reader = Reader::open(&path, Rounding::Refuse).unwrap();
        let mut read = [0.0; 6];
        assert_eq!(reader.read(&mut read).unwrap(), 3);
        assert_eq!(read.map(f32::to_bits), bits);
    }

    #[test]
    fn an_unfinished_file_leaves_the_older_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        std::fs::write(&path, "older").unwrap();
        let mut writer = Writer::create(&path, Element::Float32, 1).unwrap();
        writer.write_f32(&[1.0]).unwrap();
        drop(writer);
        assert_eq!(std::fs::read(&path).unwrap(), b"older");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn integers_are_little_endian_int64() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids.npy");
        let mut writer = Writer::create(&path, Element::Int64, 2).unwrap();
        writer.write_i64(&[1, -1]).unwrap();
        writer.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"\x93NUMPY\x01\x00v\x00{'descr': '<i8', "));
        assert_eq!(bytes[128..136], 1_i64.to_le_bytes());
        assert_eq!(bytes[136..], (-1_i64).to_le_bytes());
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_never_replaced() {
        let failure = Writer::create(Path::new("/dev/null"), Element::Float32, 1).unwrap_err();
        assert!(failure.to_string().contains("not a regular file"), "{failure}");
    }
}
