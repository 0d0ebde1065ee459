//! Some puts and deletes that become visible and durable together.
//!
//! A batch is kept in the encoding of the log from the start, so that what is replayed after
//! a crash went through the same decoder as what was applied before it.
//!
//! ```text
//! batch   = u32 count, count x op
//! op      = u8 1 (put),    u32 table, bytes key, u32 cells, cells x cell
//!         | u8 2 (delete), u32 table, bytes key
//! cell    = u8 0 (absent) | u8 1, bytes
//! bytes   = u32 length, length x u8
//! ```

use crate::error::StoreError;
use crate::limits::{MAX_CELL, MAX_COLUMNS, MAX_KEY, MAX_STRIDE};
use crate::log::{CellLayout, Column, TableId};
use crate::wire::{Put, Reader, WireError};

const PUT: u8 = 1;
const DELETE: u8 = 2;

/// Puts and deletes over any tables, applied in order, all or none.
#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    count: u32,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self { bytes: vec![0; 4], count: 0 }
    }

    /// Puts a row: replaces what `key` had. `cells`: one per column of the table; missing
    /// ones at the end are absent. Layouts are checked when the batch is written.
    pub fn put(&mut self, table: TableId, key: &[u8], cells: &[Option<&[u8]>]) {
        self.begin(PUT, table, key);
        self.bytes.put_u32(cells.len() as u32);
        for cell in cells {
            match cell {
                None => self.bytes.put_u8(0),
                Some(cell) => {
                    self.bytes.put_u8(1);
                    self.bytes.put_bytes(cell);
                }
            }
        }
    }

    /// Deletes the row of `key`, if there is one.
    pub fn delete(&mut self, table: TableId, key: &[u8]) {
        self.begin(DELETE, table, key);
    }

    fn begin(&mut self, op: u8, table: TableId, key: &[u8]) {
        self.count += 1;
        self.bytes[..4].copy_from_slice(&self.count.to_le_bytes());
        self.bytes.put_u8(op);
        self.bytes.put_u32(table.0);
        self.bytes.put_bytes(key);
    }

    /// Number of puts and deletes.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Is there nothing to do?
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of the encoding.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// One decoded operation.
#[derive(Debug, Clone)]
pub(super) enum Op<'a> {
    Put { table: TableId, key: &'a [u8], cells: Vec<Option<&'a [u8]>> },
    Delete { table: TableId, key: &'a [u8] },
}

impl<'a> Op<'a> {
    pub(super) fn table(&self) -> TableId {
        match *self {
            Self::Put { table, .. } | Self::Delete { table, .. } => table,
        }
    }

    pub(super) fn key(&self) -> &'a [u8] {
        match *self {
            Self::Put { key, .. } | Self::Delete { key, .. } => key,
        }
    }

    /// Holds key and cells against the limits and the table's columns.
    pub(super) fn check(&self, table_name: &str, columns: &[Column]) -> Result<(), StoreError> {
        check_key(table_name, self.key())?;
        match self {
            Self::Put { cells, .. } => check_cells(table_name, cells, columns),
            Self::Delete { .. } => Ok(()),
        }
    }
}

/// Holds a key against the limits.
pub(super) fn check_key(table_name: &str, key: &[u8]) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(StoreError::invalid(format!(
            "table {table_name}: a key of {} bytes; keys have 1 to {MAX_KEY} bytes",
            key.len()
        )));
    }
    Ok(())
}

/// Holds cells against the layouts of their columns.
pub(super) fn check_cells(
    table_name: &str,
    cells: &[Option<&[u8]>],
    columns: &[Column],
) -> Result<(), StoreError> {
    if cells.len() > columns.len() {
        return Err(StoreError::invalid(format!(
            "table {table_name}: {} cells for {} columns",
            cells.len(),
            columns.len()
        )));
    }
    for (cell, column) in cells.iter().zip(columns) {
        let Some(cell) = cell else { continue };
        let (fits, expected) = match column.layout {
            CellLayout::Fixed(stride) => (cell.len() == stride as usize, stride as usize),
            CellLayout::Var => (cell.len() <= MAX_CELL, MAX_CELL),
        };
        if !fits {
            return Err(StoreError::invalid(format!(
                "table {table_name}, column {}: a cell of {} bytes; {} {expected} bytes",
                column.name,
                cell.len(),
                if column.layout == CellLayout::Var { "at most" } else { "it has exactly" },
            )));
        }
    }
    Ok(())
}

/// Decodes the batches of one log payload, one operation after the other.
pub(super) fn decode<'a>(
    payload: &'a [u8],
    each: &mut dyn FnMut(Op<'a>) -> Result<(), StoreError>,
) -> Result<(), DecodeError> {
    let mut reader = Reader::new(payload);
    while !reader.is_empty() {
        let count = reader.u32("a batch's count")?;
        for _ in 0..count {
            let op = decode_op(&mut reader)?;
            each(op).map_err(DecodeError::Each)?;
        }
    }
    Ok(())
}

/// Why decoding stopped: the bytes, or the caller.
pub(super) enum DecodeError {
    Wire(WireError),
    Each(StoreError),
}

impl From<WireError> for DecodeError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

fn decode_op<'a>(reader: &mut Reader<'a>) -> Result<Op<'a>, WireError> {
    let offset = reader.offset();
    let kind = reader.u8("an operation")?;
    let table = TableId(reader.u32("a table id")?);
    let key = reader.bytes("a key")?;
    match kind {
        PUT => {
            let count = reader.u32("a cell count")? as usize;
            if count > MAX_COLUMNS {
                return Err(WireError { offset, expected: "at most 256 cells" });
            }
            let mut cells = Vec::with_capacity(count);
            for _ in 0..count {
                cells.push(match reader.u8("a cell's presence")? {
                    0 => None,
                    1 => Some(reader.bytes("a cell")?),
                    _ => {
                        return Err(WireError { offset, expected: "presence 0 or 1" });
                    }
                });
            }
            Ok(Op::Put { table, key, cells })
        }
        DELETE => Ok(Op::Delete { table, key }),
        _ => Err(WireError { offset, expected: "operation 1 or 2" }),
    }
}

/// Holds a table's columns against the limits.
pub(super) fn check_columns(table_name: &str, columns: &[Column]) -> Result<(), StoreError> {
    if columns.len() > MAX_COLUMNS {
        return Err(StoreError::invalid(format!(
            "table {table_name}: {} columns; at most {MAX_COLUMNS}",
            columns.len()
        )));
    }
    for column in columns {
        if let CellLayout::Fixed(stride) = column.layout
            && (stride == 0 || stride as usize > MAX_STRIDE)
        {
            return Err(StoreError::invalid(format!(
                "table {table_name}, column {}: a stride of {stride} bytes; 1 to {MAX_STRIDE}",
                column.name
            )));
        }
    }
    Ok(())
}
