//! What users of a collector see of it.
//!
//! A collector belongs to one structure, or to several that are read together: a stalled reader
//! holds only garbage of its own collector. `protocol` is what it does.

use std::fmt;
use std::thread::ThreadId;
use std::time::Duration;

use super::barrier::Barrier;
use super::guard::Reader;
use super::protocol::Inner;
use super::{Owned, Refused, Rejected};
use crate::sync::Arc;
use crate::{Account, Bytes, OverBudget, Reclaimer};

/// How a collector is made.
#[derive(Debug, Clone, Copy)]
pub struct CollectorOptions {
    /// The most bytes that are retired and not freed. Objects that are heavier are refused. To go on
    /// beside `n` stalled readers of one pointer, writers need room for `n + 1` objects.
    pub cap: Bytes,
    /// How readers and collections order their steps.
    pub barrier: Barrier,
}

impl CollectorOptions {
    /// A cap, and the cheapest barrier that the kernel offers.
    pub const fn new(cap: Bytes) -> Self {
        Self { cap, barrier: Barrier::Auto }
    }
}

/// Frees what readers have let go of. Clones are the same collector.
///
/// An object that holds its own collector keeps it, and itself, until it is freed: flush before
/// the last other handle goes.
///
/// ```
/// use ambit_mem::epoch::{Collector, CollectorOptions, Owned, Shared};
/// use ambit_mem::{Budget, Bytes, Priority};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("store/snapshots", Priority::Write);
/// let collector = Collector::new(&account, CollectorOptions::new(Bytes::kib(64)))?;
/// let searches = collector.reader("search")?;
///
/// let name = |name: &'static str| Owned::new(&account, name, Bytes::ZERO);
/// let current = Shared::new(&collector, name("first")?)?;
/// let guard = searches.pin()?;
/// let seen = current.load(&guard);
/// current.replace(&collector, name("second")?)?;
/// assert_eq!((*seen, *current.load(&guard)), ("first", "second"));
///
/// collector.flush();
/// assert_eq!(collector.pinned()[0].name, "search");
/// drop(guard);
/// collector.flush();
/// assert_eq!(collector.stats().held, Bytes::ZERO);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Collector {
    pub(super) inner: Arc<Inner>,
}

/// What a collector has done and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectorStats {
    /// Bytes retired and not freed.
    pub held: Bytes,
    /// The most that `held` ever was.
    pub peak: Bytes,
    /// The most that `held` may be.
    pub cap: Bytes,
    /// Objects ever retired.
    pub retired: u64,
    /// Those of them that were freed.
    pub freed: u64,
    /// Collections, and so eras that have passed.
    pub collections: u64,
    /// Objects refused because the garbage was full.
    pub refused: u64,
    /// Whether readers do without a fence: the kernel offers `membarrier`.
    pub is_asymmetric: bool,
}

/// A thread that is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedReader {
    /// The name given to [`Collector::reader`].
    pub name: String,
    /// The thread; `None` where it has ended and left its guard behind.
    pub thread: Option<ThreadId>,
    /// For how long it has been pinned, at least: since the first collection that found it so.
    pub age: Duration,
    /// Garbage that it may still see.
    pub holds: Bytes,
}

impl Collector {
    /// A collector that takes the bytes of its tables from `account`, and becomes its
    /// reclaimer: where bytes are short, it frees what nobody sees any more.
    ///
    /// # Errors
    /// [`OverBudget`] for the bytes of the collector itself.
    pub fn new(account: &Account, options: CollectorOptions) -> Result<Self, OverBudget> {
        let inner = Arc::new(Inner::new(account, options)?);
        let reclaimer: Arc<dyn Reclaimer> = Arc::clone(&inner) as _;
        account.set_reclaimer(Arc::downgrade(&reclaimer));
        Ok(Self { inner })
    }

    /// A role in which threads pin; its name is reported with those that stall.
    ///
    /// # Errors
    /// [`OverBudget`] for the bytes of a name that is new.
    pub fn reader(&self, name: &str) -> Result<Reader, OverBudget> {
        Ok(Reader::new(Arc::clone(&self.inner), self.inner.name(name)?))
    }

    /// Frees `object` when all threads that are pinned now have moved on: for what they found by
    /// other ways than a [`Shared`](super::Shared), which lead to it no more.
    ///
    /// # Errors
    /// [`Rejected`] with the object, where the garbage has no room for it.
    pub fn retire<T: Send + Sync + 'static>(&self, object: Owned<T>) -> Result<(), Rejected<T>> {
        self.inner
            .retire(object)
            .map_err(|(value, full)| Rejected { value, reason: Refused::Full(full) })
    }

    /// Frees everything that no pinned reader may see; returns how much that was.
    ///
    /// # Cost
    /// One pass over garbage and readers under the lock, and one `membarrier`: some
    /// microseconds. Destructors run on this thread, under no lock.
    pub fn flush(&self) -> Bytes {
        self.inner.flush()
    }

    /// The threads that are pinned, oldest first, and what they hold.
    pub fn pinned(&self) -> Vec<PinnedReader> {
        self.inner.pinned()
    }

    /// What the collector has done and holds.
    pub fn stats(&self) -> CollectorStats {
        self.inner.stats()
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
