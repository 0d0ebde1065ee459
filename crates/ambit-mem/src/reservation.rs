//! Bytes that somebody holds, given back on drop.

use crate::account::Cells;
use crate::{Bytes, OverBudget};

/// Bytes that somebody holds; given back on drop.
#[must_use = "dropping a reservation gives its bytes back"]
pub struct Reservation {
    cells: &'static Cells,
    bytes: u64,
}

impl Reservation {
    #[inline]
    pub(crate) fn new(cells: &'static Cells, bytes: Bytes) -> Self {
        Self { cells, bytes: bytes.get() }
    }

    /// Bytes held.
    #[inline]
    pub fn bytes(&self) -> Bytes {
        Bytes::new(self.bytes)
    }

    /// Takes `more` bytes, or leaves the reservation as it was.
    ///
    /// # Errors
    /// [`OverBudget`].
    #[inline]
    pub fn grow(&mut self, more: Bytes) -> Result<(), OverBudget> {
        self.cells.take(more.get(), false)?;
        self.bytes += more.get();
        Ok(())
    }

    /// Gives `less` bytes back. Giving back more than is held is a bug of the caller: it is
    /// counted, panics in debug builds, and gives back what is held.
    #[inline]
    pub fn shrink(&mut self, less: Bytes) {
        let mut less = less.get();
        if less > self.bytes {
            self.cells.count_misuse(less, self.bytes);
            less = self.bytes;
        }
        self.bytes -= less;
        self.cells.give(less, false);
    }

    /// Grows or shrinks to exactly `bytes`.
    ///
    /// # Errors
    /// [`OverBudget`]; the reservation stays as it was.
    pub fn resize(&mut self, bytes: Bytes) -> Result<(), OverBudget> {
        if bytes.get() > self.bytes {
            self.grow(Bytes::new(bytes.get() - self.bytes))
        } else {
            self.shrink(Bytes::new(self.bytes - bytes.get()));
            Ok(())
        }
    }

    /// Moves `part` of the bytes, or all if there are fewer, into a reservation of their own.
    pub fn split(&mut self, part: Bytes) -> Self {
        let part = part.get().min(self.bytes);
        self.bytes -= part;
        self.cells.begin();
        Self { cells: self.cells, bytes: part }
    }

    /// Takes over the bytes of another reservation of the same account.
    ///
    /// # Errors
    /// One of another account comes back untouched.
    pub fn merge(&mut self, mut other: Self) -> Result<(), Self> {
        if !std::ptr::eq(self.cells, other.cells) {
            return Err(other);
        }
        self.bytes += std::mem::take(&mut other.bytes);
        Ok(())
    }
}

impl Drop for Reservation {
    #[inline]
    fn drop(&mut self) {
        self.cells.give(self.bytes, true);
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let account = self.cells.identity().map(|owner| owner.path);
        f.debug_struct("Reservation")
            .field("account", &account.unwrap_or_default())
            .field("bytes", &self.bytes())
            .finish()
    }
}
