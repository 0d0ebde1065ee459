//! The pool as its users see it.

use super::core::Core;
use super::{Lifecycle, OwnedPooled, PoolConfig, PoolStats, Pooled};
use crate::sync::Arc;
use crate::{Account, Bytes, OverBudget, Reclaimer};

/// Keeps objects that were given back, and hands them out again. Clones are the same pool.
///
/// What it keeps is bounded by its [`PoolConfig`] and charged to its account: an object from
/// when it first comes back until it is dropped, so that giving it out and taking it back
/// costs the ledger nothing; what an object holds that never came back is its borrower's. An
/// object that does not fit, in a limit or in the budget, is dropped. When the budget is short,
/// the pool gives up what it keeps.
///
/// # Example
/// ```
/// use ambit_mem::{Budget, Bytes, Lifecycle, ObjectPool, PoolConfig, Priority};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("query/scratch", Priority::Cache);
/// let buffers = Lifecycle::new(Vec::<u8>::new, |buffer| Bytes::new(buffer.capacity() as u64))
///     .reset(Vec::clear);
/// let pool = ObjectPool::new(PoolConfig::default(), &account, buffers)?;
///
/// pool.acquire().extend_from_slice(b"back at the end of the statement");
/// let again = pool.acquire();
/// assert!(again.is_empty() && again.capacity() >= 32);
/// assert_eq!(pool.stats().reuse_rate(), 0.5);
/// # Ok::<(), ambit_mem::OverBudget>(())
/// ```
pub struct ObjectPool<T: Send + 'static> {
    core: Arc<Core<T>>,
}

impl<T: Send + 'static> ObjectPool<T> {
    /// A pool of objects of this lifecycle, which charges what it keeps to `account`, and
    /// registers as its reclaimer: the account is to be the pool's own.
    ///
    /// # Errors
    /// [`OverBudget`] where the pool itself (about a kilobyte) or its first objects do not fit.
    pub fn new(
        config: PoolConfig,
        account: &Account,
        lifecycle: Lifecycle<T>,
    ) -> Result<Self, OverBudget> {
        let core = Arc::new(Core::new(config, account.clone(), lifecycle)?);
        let reclaimer: Arc<dyn Reclaimer> = Arc::clone(&core) as _;
        account.set_reclaimer(Arc::downgrade(&reclaimer));
        Ok(Self { core })
    }

    /// Gives an object out: one that was kept, else a new one.
    ///
    /// # Cost
    /// Some nanoseconds and no atomic read-modify-write where this thread gave one back that is
    /// still here; else a lock, and where no object is shared, making one.
    #[inline]
    pub fn acquire(&self) -> Pooled<'_, T> {
        Pooled::new(&self.core)
    }

    /// Gives an object out with a guard that keeps the pool alive.
    ///
    /// # Cost
    /// As [`ObjectPool::acquire`], and counting one more reference to the pool.
    pub fn acquire_owned(&self) -> OwnedPooled<T> {
        OwnedPooled::new(Arc::clone(&self.core))
    }

    /// How much the pool is used.
    ///
    /// # Cost
    /// A lock and a fence over all threads: about a microsecond.
    pub fn stats(&self) -> PoolStats {
        self.core.stats()
    }

    /// Drops all objects that are kept; returns their bytes.
    pub fn clear(&self) -> Bytes {
        self.core.shed(Bytes::MAX)
    }
}

impl<T: Send + 'static> Clone for ObjectPool<T> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core) }
    }
}

impl<T: Send + 'static> std::fmt::Debug for ObjectPool<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ObjectPool").field(&self.stats()).finish()
    }
}
