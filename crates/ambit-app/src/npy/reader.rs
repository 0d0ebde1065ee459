//! Rows of a `.npy` file, in order, into the caller's buffer.
//!
//! Float32 in the machine's own byte order, the common case, is one bulk read straight into that
//! buffer. Everything else goes through a small buffer of raw elements and [`convert`].

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

use super::convert::{self, Rounding};
use super::header::{self, ByteOrder, Element, Header};
use crate::exit::{Code, Failure};

/// Bytes of the buffer of raw elements; a multiple of every element's size.
const RAW: usize = 64 << 10;

/// An open `.npy` file of rows.
#[derive(Debug)]
pub struct Reader {
    file: File,
    name: String,
    header: Header,
    rounding: Rounding,
    next: u64,
    raw: Vec<u64>,
}

impl Reader {
    /// Opens the file at `path` and holds its header against its length.
    ///
    /// # Errors
    /// I/O, or a file that is not a plain two-dimensional float array.
    pub fn open(path: &Path, rounding: Rounding) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let mut file = File::open(path).map_err(|error| Failure::io("open", path, &error))?;
        let metadata = file.metadata().map_err(|error| Failure::io("read", path, &error))?;
        if !metadata.is_file() {
            return Err(Failure::usage(format!(
                "{name}: not a regular file; save the array into a .npy file first"
            )));
        }
        let header = header::read(&mut file, &name, metadata.len())?;
        let plain = header.element == Element::Float32 && is_native(header.order);
        let raw = if plain { Vec::new() } else { vec![0; RAW / 8] };
        Ok(Self { file, name, header, rounding, next: 0, raw })
    }

    /// The file, as messages name it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rows of the file.
    pub fn rows(&self) -> u64 {
        self.header.rows
    }

    /// Elements of a row.
    pub fn columns(&self) -> usize {
        self.header.columns
    }

    /// Bytes of one row in the file.
    pub fn row_bytes(&self) -> u64 {
        self.header.row_bytes()
    }

    /// The row that the next read starts at.
    pub fn next_row(&self) -> u64 {
        self.next
    }

    /// Goes on at `row`, at most [`Reader::rows`].
    ///
    /// # Errors
    /// I/O, or a row past the end.
    pub fn seek(&mut self, row: u64) -> Result<(), Failure> {
        if row > self.header.rows {
            return Err(Failure::usage(format!(
                "{}: row {row} was asked for, the file has {} rows",
                self.name, self.header.rows
            )));
        }
        let offset = self.header.data_offset + row * self.header.row_bytes();
        self.file.seek(SeekFrom::Start(offset)).map_err(|error| self.failed(&error))?;
        self.next = row;
        Ok(())
    }

    /// Reads as many rows as are left and fit into `into` (rows x columns, row-major); their number.
    ///
    /// # Errors
    /// I/O, a file that shrank since it was opened, or a float64 that float32 cannot hold.
    pub fn read(&mut self, into: &mut [f32]) -> Result<usize, Failure> {
        let fit = (into.len() / self.header.columns) as u64;
        let rows = fit.min(self.header.rows - self.next) as usize;
        let into = into.get_mut(..rows * self.header.columns).unwrap_or_default();
        if self.raw.is_empty() {
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(into);
            self.file.read_exact(bytes).map_err(|error| self.failed(&error))?;
        } else {
            self.read_converted(into)?;
        }
        self.next += rows as u64;
        Ok(rows)
    }

    fn read_converted(&mut self, into: &mut [f32]) -> Result<(), Failure> {
        let size = self.header.element.size();
        let mut raw = std::mem::take(&mut self.raw);
        let mut done = 0;
        let result = into.chunks_mut(RAW / size).try_for_each(|values| {
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(raw.as_mut_slice());
            let bytes = bytes.get_mut(..values.len() * size).unwrap_or_default();
            self.file.read_exact(bytes).map_err(|error| self.failed(&error))?;
            if !is_native(self.header.order) {
                bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
            }
            let start = done;
            done += values.len();
            self.convert(bytes, values).map_err(|at| self.does_not_fit(start + at, bytes, at))
        });
        self.raw = raw;
        result
    }

    /// `bytes` are whole elements in the machine's byte order, at the start of the raw buffer and
    /// so aligned for each of them.
    fn convert(&self, bytes: &[u8], values: &mut [f32]) -> Result<(), usize> {
        match self.header.element {
            Element::Float16 => convert::from_f16(bytemuck::cast_slice(bytes), values),
            Element::Float64 => {
                return convert::from_f64(bytemuck::cast_slice(bytes), values, self.rounding);
            }
            Element::Float32 | Element::Int64 => {
                values.copy_from_slice(bytemuck::cast_slice(bytes));
            }
        }
        Ok(())
    }

    fn does_not_fit(&self, element: usize, bytes: &[u8], at: usize) -> Failure {
        let wide: &[f64] = bytemuck::cast_slice(bytes);
        let row = self.next + (element / self.header.columns) as u64;
        let column = element % self.header.columns;
        let value = wide.get(at).copied().unwrap_or_default();
        let remedy = match self.rounding {
            Rounding::Refuse => {
                "round to the nearest with --round, or save x.astype(numpy.float32)"
            }
            Rounding::Nearest => "it is beyond 3.4028235e38, the largest; scale the rows",
        };
        Failure::usage(format!(
            "{}: row {row}, column {column}: {value:?} is no float32; {remedy}",
            self.name
        ))
    }

    fn failed(&self, error: &std::io::Error) -> Failure {
        if error.kind() == ErrorKind::UnexpectedEof {
            return Failure::new(
                Code::Io,
                format!(
                    "{}: the file shrank while it was read: row {} of {} is cut off",
                    self.name, self.next, self.header.rows
                ),
            );
        }
        Failure::new(Code::Io, format!("cannot read {}: {error}", self.name))
    }
}

fn is_native(order: ByteOrder) -> bool {
    (order == ByteOrder::Big) == cfg!(target_endian = "big")
}

#[cfg(test)]
mod tests {
    use super::super::header::encode;
    use super::*;
    use std::io::Write;

    fn saved(descr: &[u8; 3], shape: [u64; 2], data: &[u8]) -> tempfile::NamedTempFile {
        let mut header = encode(Element::Float32, &shape);
        let at = header.windows(3).position(|bytes| bytes == b"<f4").unwrap();
        header[at..at + 3].copy_from_slice(descr);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&header).unwrap();
        file.write_all(data).unwrap();
        file
    }

    fn read_all(file: &tempfile::NamedTempFile, at_once: usize) -> Result<Vec<f32>, String> {
        let mut reader =
            Reader::open(file.path(), Rounding::Refuse).map_err(|failure| failure.to_string())?;
        let mut all = Vec::new();
        let mut rows = vec![0.0; at_once * reader.columns()];
        loop {
            let count = reader.read(&mut rows).map_err(|failure| failure.to_string())?;
            if count == 0 {
                return Ok(all);
            }
            all.extend(&rows[..count * reader.columns()]);
        }
    }

    #[test]
    fn every_float_type_and_byte_order_gives_the_same_rows() {
        let values: Vec<f32> = (0..60_000).map(|n| (n % 97) as f32 - 48.5).collect();
        let shape = [20_000, 3];
        let bytes = |of: &dyn Fn(f32) -> Vec<u8>| -> Vec<u8> {
            values.iter().flat_map(|value| of(*value)).collect()
        };
        let f16 = half::f16::from_f32;
        let files = [
            saved(b"<f4", shape, &bytes(&|v| v.to_le_bytes().into())),
            saved(b">f4", shape, &bytes(&|v| v.to_be_bytes().into())),
            saved(b"<f2", shape, &bytes(&|v| f16(v).to_le_bytes().into())),
            saved(b">f2", shape, &bytes(&|v| f16(v).to_be_bytes().into())),
            saved(b"<f8", shape, &bytes(&|v| f64::from(v).to_le_bytes().into())),
            saved(b">f8", shape, &bytes(&|v| f64::from(v).to_be_bytes().into())),
        ];
        for file in files {
            assert_eq!(read_all(&file, 777).unwrap(), values);
        }
    }

    #[test]
    fn a_float64_that_does_not_fit_is_named_by_row_and_column() {
        let data: Vec<u8> = (0..60_000_u32)
            .map(|n| if n == 50_001 { 0.1 } else { f64::from(n) })
            .flat_map(f64::to_le_bytes)
            .collect();
        let file = saved(b"<f8", [20_000, 3], &data);
        let message = read_all(&file, 777).unwrap_err();
        assert!(message.contains("row 16667, column 0: 0.1 is no float32"), "{message}");
        assert!(message.contains("--round"), "{message}");
    }

    #[test]
    fn reading_goes_on_at_any_row_and_not_past_the_end() {
        let data: Vec<u8> = (0..6_u16).flat_map(|n| f32::from(n).to_le_bytes()).collect();
        let file = saved(b"<f4", [3, 2], &data);
        let mut reader = Reader::open(file.path(), Rounding::Refuse).unwrap();
        let mut rows = [0.0; 8];
        reader.seek(2).unwrap();
        assert_eq!(reader.read(&mut rows).unwrap(), 1);
        assert_eq!(rows[..2], [4.0, 5.0]);
        reader.seek(3).unwrap();
        assert_eq!(reader.read(&mut rows).unwrap(), 0);
        assert!(reader.seek(4).unwrap_err().to_string().contains("the file has 3 rows"));
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_is_an_error() {
        let file = saved(b"<f4", [3, 2], &[0; 24]);
        let mut reader = Reader::open(file.path(), Rounding::Refuse).unwrap();
        file.as_file().set_len(130).unwrap();
        let failure = reader.read(&mut [0.0; 6]).unwrap_err();
        assert_eq!(failure.code(), Code::Io);
        assert!(failure.to_string().contains("shrank"), "{failure}");
    }

    #[test]
    fn a_folder_is_refused_as_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let failure = Reader::open(folder.path(), Rounding::Refuse).unwrap_err();
        assert!(failure.to_string().contains("not a regular file"), "{failure}");
    }
}
