//! Bytes that somebody holds, given back on drop.

use crate::account::AccountInner;
use crate::sync::Arc;
use crate::{Bytes, OverBudget};

/// Bytes that somebody holds; given back on drop.
#[must_use = "dropping a reservation gives its bytes back"]
pub struct Reservation {
    account: Arc<AccountInner>,
    bytes: u64,
}

impl Reservation {
    #[inline]
    pub(crate) fn new(account: Arc<AccountInner>, bytes: Bytes) -> Self {
        Self {
            account,
            bytes: bytes.get(),
        }
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
        self.account.ledger.take(&self.account, more.get())?;
        self.bytes += more.get();
        Ok(())
    }

    /// Gives `less` bytes back. Giving back more than is held is a bug of the caller: it is
    /// counted, panics in debug builds, and gives back what is held.
    #[inline]
    pub fn shrink(&mut self, less: Bytes) {
        let mut less = less.get();
        if less > self.bytes {
            self.account
                .ledger
                .count_misuse(&self.account.path, less, self.bytes);
            less = self.bytes;
        }
        self.bytes -= less;
        self.account.ledger.give(&self.account, less);
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
        Self {
            account: Arc::clone(&self.account),
            bytes: part,
        }
    }

    /// Takes over the bytes of another reservation of the same account; one of another
    /// account comes back untouched.
    pub fn merge(&mut self, mut other: Self) -> Result<(), Self> {
        if !Arc::ptr_eq(&self.account, &other.account) {
            return Err(other);
        }
        self.bytes += std::mem::take(&mut other.bytes);
        Ok(())
    }
}

impl Drop for Reservation {
    #[inline]
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.account.ledger.give(&self.account, self.bytes);
        }
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation")
            .field("account", &self.account.path)
            .field("bytes", &self.bytes())
            .finish()
    }
}
