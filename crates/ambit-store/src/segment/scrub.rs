//! Reading a whole segment to see whether it is still what was written.
//!
//! Always by `pread`, so that a sector that cannot be read is an error and not a signal, and
//! always from the file, whatever was verified before: header, footer and tables are read
//! anew, then every block is held against its checksum. The work is bounded by one buffer.

use super::reader::{Segment, Tables};
use super::view::Buffer;
use crate::error::{ErrorKind, StoreError};

/// Bytes that are read at a time, or one block where that is larger.
const STEP: usize = 256 << 10;

impl Segment {
    /// Checks every byte of the file. `progress` is told the bytes of each step and says whether to go on.
    ///
    /// # Errors
    /// `Corrupt` with the place of the first damage; `Io`; `OverBudget` for the buffer of 256 KiB;
    /// `Interrupted` when `progress` says no.
    ///
    /// # Cost
    /// Reads the whole file once.
    pub fn scrub(&self, progress: &mut dyn FnMut(u64) -> bool) -> Result<(), StoreError> {
        let tables = Tables::read(&*self.file, &self.meta, &self.name, &self.account)?;
        let data = self.layout.data_end;
        drop(tables);
        if !progress(self.meta.len - data) {
            return Err(self.interrupted(0));
        }
        let block = self.layout.block as usize;
        let step = STEP.max(block).next_multiple_of(block);
        let mut buffer = Buffer::new(step.min(data as usize), &self.account)?;
        let mut offset = 0;
        while offset < data {
            let len = (step as u64).min(data - offset) as usize;
            let first = (offset / block as u64) as usize;
            self.read_blocks(first, &mut buffer.bytes_mut()[..len])?;
            offset += len as u64;
            if !progress(len as u64) {
                return Err(self.interrupted(offset));
            }
        }
        Ok(())
    }

    fn interrupted(&self, offset: u64) -> StoreError {
        StoreError::new(
            ErrorKind::Interrupted,
            format!("{}: stopped after {offset} bytes; what was read is whole", self.name),
        )
    }
}
