//! Contexts that are used again.
//!
//! A [`ContextPool`] is an [`ObjectPool`] of contexts: cleared on return, with their tables and
//! buffers, from a list of the thread's own where it has one. The pool's account is charged for
//! what it keeps, and for what its contexts held when they last came back; what they grow by while
//! they are out goes to an account below it. A context that has become too large, or over which a
//! step panicked, is dropped when it comes back.

use std::ops::{Deref, DerefMut};

use ambit_mem::{Account, Bytes, Lifecycle, ObjectPool, OverBudget, PoolConfig, PoolStats, Pooled};

use super::Context;

/// Contexts that are used again. Clones are the same pool.
///
/// ```
/// use ambit_flow::ContextPool;
/// use ambit_mem::{Budget, Bytes, PoolConfig, Priority};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("flow/contexts", Priority::Query);
/// let pool = ContextPool::new(PoolConfig::default(), &account)?;
/// pool.acquire().set("question", "who wrote it?").unwrap();
/// assert!(pool.acquire().is_empty());
/// assert_eq!(pool.stats().reuse_rate(), 0.5);
/// # Ok::<(), ambit_mem::OverBudget>(())
/// ```
#[derive(Debug, Clone)]
pub struct ContextPool {
    pool: ObjectPool<Context>,
}

/// A context of a pool, which goes back on drop.
#[derive(Debug)]
pub struct PooledContext<'a> {
    context: Pooled<'a, Context>,
}

impl ContextPool {
    /// A pool that charges what it keeps to `account`, which is to be its own, and what its
    /// contexts grow by to the account `lent` below it.
    ///
    /// # Errors
    /// [`OverBudget`] where the pool itself or its first contexts do not fit.
    pub fn new(config: PoolConfig, account: &Account) -> Result<Self, OverBudget> {
        let lent = account.child("lent");
        let lifecycle = Lifecycle::new(move || Context::new(&lent), footprint);
        let pool = ObjectPool::new(config, account, lifecycle.reset(Context::come_back))?;
        Ok(Self { pool })
    }

    /// A cleared context: one that was kept, else a new one.
    ///
    /// # Cost
    /// As [`ObjectPool::acquire`]; clearing, when it comes back, visits each key that it knows.
    #[inline]
    pub fn acquire(&self) -> PooledContext<'_> {
        PooledContext { context: self.pool.acquire() }
    }

    /// How much the pool is used.
    pub fn stats(&self) -> PoolStats {
        self.pool.stats()
    }

    /// Drops all contexts that are kept; returns their bytes.
    pub fn clear(&self) -> Bytes {
        self.pool.clear()
    }
}

/// Bytes that a context holds; one that must not be kept holds too many for any pool.
fn footprint(context: &Context) -> Bytes {
    if context.is_spoilt() { Bytes::MAX } else { context.heap() }
}

impl Deref for PooledContext<'_> {
    type Target = Context;

    #[inline]
    fn deref(&self) -> &Context {
        &self.context
    }
}

impl DerefMut for PooledContext<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Context {
        &mut self.context
    }
}
