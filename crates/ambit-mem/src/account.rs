//! A named owner of bytes.
//!
//! An account counts what its reservations hold, in one counter per shard, summed when
//! somebody asks. It belongs to the tree of its budget by its path (`store/docs/memtable`) and
//! is forgotten when its last handle and its last reservation are gone.

use crate::ledger::Ledger;
use crate::over_budget::Leak;
use crate::reclaim::Reclaimer;
use crate::shard;
use crate::sync::{Arc, AtomicI64, Mutex, Ordering, Weak, lock};
use crate::{Bytes, OverBudget, Priority, Reservation};

/// A counter alone on its cache line.
#[repr(align(64))]
#[derive(Debug, Default)]
pub(crate) struct Padded<T>(pub T);

/// A named owner of bytes. Clones are the same account.
#[derive(Clone)]
pub struct Account {
    pub(crate) inner: Arc<AccountInner>,
}

pub(crate) struct AccountInner {
    pub ledger: Arc<Ledger>,
    pub path: String,
    pub priority: Priority,
    /// What is held, by the shard that took it; a shard may be negative, the sum is not.
    held: Box<[Padded<AtomicI64>]>,
    reclaimer: Mutex<Option<Weak<dyn Reclaimer>>>,
}

impl AccountInner {
    pub(crate) fn new(ledger: Arc<Ledger>, path: String, priority: Priority) -> Self {
        let held = (0..shard::count()).map(|_| Padded::default()).collect();
        Self {
            ledger,
            path,
            priority,
            held,
            reclaimer: Mutex::new(None),
        }
    }

    #[inline]
    pub(crate) fn add(&self, bytes: u64) {
        let slot = &self.held[shard::index() & (self.held.len() - 1)];
        slot.0.fetch_add(bytes.cast_signed(), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn sub(&self, bytes: u64) {
        let slot = &self.held[shard::index() & (self.held.len() - 1)];
        slot.0.fetch_sub(bytes.cast_signed(), Ordering::Relaxed);
    }

    pub(crate) fn held(&self) -> Bytes {
        let sum: i64 = self
            .held
            .iter()
            .map(|slot| slot.0.load(Ordering::Relaxed))
            .sum();
        Bytes::new(u64::try_from(sum).unwrap_or(0))
    }

    pub(crate) fn reclaimer(&self) -> Option<Arc<dyn Reclaimer>> {
        lock(&self.reclaimer).as_ref().and_then(Weak::upgrade)
    }
}

impl Drop for AccountInner {
    fn drop(&mut self) {
        let held = self.held();
        if held > Bytes::ZERO {
            self.ledger.count_leak();
        }
        self.ledger.forget(&self.path);
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("path", &self.inner.path)
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

impl Account {
    /// Takes `bytes`.
    ///
    /// # Errors
    /// [`OverBudget`] where they do not fit even after reclaiming.
    ///
    /// # Cost
    /// Two uncontended atomic operations, no lock, no allocation; every 64 KiB or so one more
    /// on a shared counter. A request that does not fit takes locks and runs reclaimers.
    #[inline]
    pub fn reserve(&self, bytes: Bytes) -> Result<Reservation, OverBudget> {
        self.inner.ledger.take(&self.inner, bytes.get())?;
        Ok(Reservation::new(Arc::clone(&self.inner), bytes))
    }

    /// The account `name` below this one, of the same priority.
    pub fn child(&self, name: &str) -> Self {
        let path = format!("{}/{name}", self.inner.path);
        Ledger::account(&self.inner.ledger, &path, self.inner.priority)
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.inner.path
    }

    /// Its priority.
    pub fn priority(&self) -> Priority {
        self.inner.priority
    }

    /// Bytes that its reservations hold, its children's not counted.
    pub fn used(&self) -> Bytes {
        self.inner.held()
    }

    /// Says who can give this account's bytes back. Replaces an earlier one; a reclaimer that
    /// is gone is not asked.
    pub fn set_reclaimer(&self, reclaimer: Weak<dyn Reclaimer>) {
        *lock(&self.inner.reclaimer) = Some(reclaimer);
    }

    /// Ends the account.
    ///
    /// # Errors
    /// [`Leak`] where bytes are outstanding; it is counted, too.
    pub fn close(self) -> Result<(), Leak> {
        let bytes = self.used();
        if bytes == Bytes::ZERO {
            return Ok(());
        }
        self.inner.ledger.count_leak();
        Err(Leak {
            account: self.inner.path.clone(),
            bytes,
        })
    }
}
