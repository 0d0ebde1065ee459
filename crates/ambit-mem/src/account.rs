//! A named owner of bytes.
//!
//! An account has bytes from the ledger: what its reservations hold, and some credit that its
//! cells keep at hand, one cell per shard of threads. A reservation takes from the cell of its
//! thread with one compare-and-swap, and gives back with one addition; nothing else is
//! touched. One word of a cell holds both its credit and how many reservations it made:
//!
//! ```text
//! bits 36..64                                  bits 0..36
//! reservations made minus ended, modulo 2^28   credit in bytes
//! ```
//!
//! The counts of single cells may wrap (a reservation may end on another thread than it began
//! on); their sum does not, and tells when the account has no reservations. Then, and when its
//! last handle is gone, the account is forgotten and its cells are used for another one: cells
//! live for ever, so a reservation needs no reference count of its own.

use crate::ledger::{Ledger, Request};
use crate::over_budget::Leak;
use crate::reclaim::Reclaimer;
use crate::shard;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, Weak, lock};
use crate::{Bytes, OverBudget, Priority, Reservation};

const COUNT_SHIFT: u32 = 36;
const CREDIT: u64 = (1 << COUNT_SHIFT) - 1;
/// One reservation, in a cell's word.
const ONE: u64 = 1 << COUNT_SHIFT;

static FREE: Mutex<Vec<&'static Cells>> = Mutex::new(Vec::new());

/// A value alone on its cache line.
#[repr(align(64))]
#[derive(Debug, Default)]
pub(crate) struct Padded<T>(pub T);

/// A named owner of bytes. Clones are the same account.
#[derive(Clone)]
pub struct Account {
    handle: Arc<Handle>,
}

/// What all clones of an account share.
pub(crate) struct Handle {
    ledger: Arc<Ledger>,
    cells: &'static Cells,
    path: String,
    priority: Priority,
}

/// The part of an account that reservations point to.
pub(crate) struct Cells {
    cells: Box<[Padded<AtomicU64>]>,
    /// Every request goes to the ledger, and no credit is kept: requests are being counted.
    direct: AtomicBool,
    /// Bytes from the ledger: what reservations hold, and all credit.
    taken: AtomicU64,
    identity: Mutex<Option<Identity>>,
}

/// Whose cells these are at present.
#[derive(Clone)]
pub(crate) struct Identity {
    pub ledger: Arc<Ledger>,
    pub path: String,
    pub priority: Priority,
    pub reclaimer: Option<Weak<dyn Reclaimer>>,
    pub is_mapped: bool,
}

impl Cells {
    /// Cells that nobody uses, for a new account.
    pub(crate) fn acquire(identity: Identity, direct: bool) -> &'static Self {
        let cells = lock(&FREE).pop().unwrap_or_else(|| {
            Box::leak(Box::new(Self {
                cells: (0..shard::count()).map(|_| Padded::default()).collect(),
                direct: AtomicBool::new(false),
                taken: AtomicU64::new(0),
                identity: Mutex::new(None),
            }))
        });
        cells.direct.store(direct, Ordering::Relaxed);
        *lock(&cells.identity) = Some(identity);
        cells
    }

    /// Puts the cells of an account without handles, reservations and credit aside.
    pub(crate) fn recycle(&'static self) {
        *lock(&self.identity) = None;
        lock(&FREE).push(self);
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        lock(&self.identity).clone()
    }

    pub(crate) fn set_direct(&self) {
        self.direct.store(true, Ordering::Relaxed);
    }

    #[inline]
    fn cell(&self) -> &AtomicU64 {
        &self.cells[shard::index() & (self.cells.len() - 1)].0
    }

    /// Takes `bytes` from this thread's credit, and counts a reservation if it is a new one.
    #[inline]
    fn try_take(&self, bytes: u64, count: u64) -> bool {
        if self.direct.load(Ordering::Relaxed) {
            return false;
        }
        let cell = self.cell();
        let mut word = cell.load(Ordering::Relaxed);
        while word & CREDIT >= bytes {
            let next = (word - bytes).wrapping_add(count);
            match cell.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => word = other,
            }
        }
        false
    }

    /// Takes `bytes` for a reservation; a new one if `is_new`.
    #[inline]
    pub(crate) fn take(&self, bytes: u64, is_new: bool) -> Result<(), OverBudget> {
        let count = if is_new { ONE } else { 0 };
        if self.try_take(bytes, count) {
            return Ok(());
        }
        self.take_slowly(bytes, count)
    }

    #[cold]
    fn take_slowly(&self, bytes: u64, count: u64) -> Result<(), OverBudget> {
        // A reservation or a handle is alive, so the cells have an owner.
        let Some(owner) = self.identity() else { return Ok(()) };
        let ledger = Arc::clone(&owner.ledger);
        let extra = ledger.take(&Request { owner: &owner, cells: self, bytes })?;
        self.cell().fetch_add(extra.wrapping_add(count), Ordering::Relaxed);
        Ok(())
    }

    /// Counts a reservation that takes its bytes from another one.
    pub(crate) fn begin(&self) {
        self.cell().fetch_add(ONE, Ordering::Relaxed);
    }

    /// The ledger moved `bytes` here.
    pub(crate) fn receive(&self, bytes: u64) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives `bytes` of a reservation back, which ends with it if `is_end`.
    #[inline]
    pub(crate) fn give(&self, bytes: u64, is_end: bool) {
        let count = if is_end { ONE } else { 0 };
        if bytes > Ledger::MAX_CHUNK || self.direct.load(Ordering::Relaxed) {
            return self.give_slowly(bytes, count);
        }
        let before = self.cell().fetch_add(bytes.wrapping_sub(count), Ordering::Relaxed);
        if (before & CREDIT) + bytes > 4 * Ledger::MAX_CHUNK {
            self.give_slowly(0, 0);
        }
    }

    /// Gives `bytes` and this thread's credit back to the ledger.
    #[cold]
    fn give_slowly(&self, bytes: u64, count: u64) {
        let Some(owner) = self.identity() else { return };
        let credit = empty(self.cell());
        self.taken.fetch_sub(bytes + credit, Ordering::Relaxed);
        owner.ledger.receive(bytes + credit);
        // Last: from here on the cells may belong to another account.
        self.cell().fetch_sub(count, Ordering::Relaxed);
    }

    /// Takes all credit away; returns how much there was.
    pub(crate) fn collect(&self) -> u64 {
        let credit: u64 = self.cells.iter().map(|cell| empty(&cell.0)).sum();
        self.taken.fetch_sub(credit, Ordering::Relaxed);
        credit
    }

    /// Bytes that reservations hold.
    pub(crate) fn held(&self) -> Bytes {
        let credit: u64 =
            self.cells.iter().map(|cell| cell.0.load(Ordering::Relaxed) & CREDIT).sum();
        Bytes::new(self.taken.load(Ordering::Relaxed).saturating_sub(credit))
    }

    /// Is any reservation alive?
    pub(crate) fn has_reservations(&self) -> bool {
        let counts = self.cells.iter().map(|cell| cell.0.load(Ordering::Acquire) >> COUNT_SHIFT);
        counts.fold(0, u64::wrapping_add) & (u64::MAX >> COUNT_SHIFT) != 0
    }

    /// Counts a misuse by the owner.
    #[cold]
    pub(crate) fn count_misuse(&self, given: u64, held: u64) {
        if let Some(owner) = self.identity() {
            owner.ledger.count_misuse(&owner.path, given, held);
        }
    }
}

/// Takes a cell's credit.
fn empty(cell: &AtomicU64) -> u64 {
    cell.fetch_and(!CREDIT, Ordering::Relaxed) & CREDIT
}

impl Handle {
    pub(crate) fn new(owner: &Identity, cells: &'static Cells) -> Self {
        let ledger = Arc::clone(&owner.ledger);
        Self { ledger, cells, path: owner.path.clone(), priority: owner.priority }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.ledger.forget(&self.path);
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("path", &self.path())
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

impl Account {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// [`OverBudget`] where they do not fit even after reclaiming.
    ///
    /// # Cost
    /// One uncontended atomic operation, no lock, no allocation; every 64 KiB or so a lock
    /// shared with other threads. A request that does not fit runs reclaimers.
    #[inline]
    pub fn reserve(&self, bytes: Bytes) -> Result<Reservation, OverBudget> {
        self.handle.cells.take(bytes.get(), true)?;
        Ok(Reservation::new(self.handle.cells, bytes))
    }

    /// The account `name` below this one, of the same priority.
    pub fn child(&self, name: &str) -> Self {
        let path = format!("{}/{name}", self.handle.path);
        Ledger::account(&self.handle.ledger, &path, self.handle.priority)
    }

    /// Its path.
    pub fn path(&self) -> &str {
        &self.handle.path
    }

    /// Its priority.
    pub fn priority(&self) -> Priority {
        self.handle.priority
    }

    /// Bytes that its reservations hold, its children's not counted.
    pub fn used(&self) -> Bytes {
        self.handle.cells.held()
    }

    /// Says who can give this account's bytes back. Replaces an earlier one; a reclaimer that
    /// is gone is not asked.
    pub fn set_reclaimer(&self, reclaimer: Weak<dyn Reclaimer>) {
        if let Some(owner) = &mut *lock(&self.handle.cells.identity) {
            owner.reclaimer = Some(reclaimer);
        }
    }

    /// Says that this account's bytes are pages of mapped files, which the kernel counts apart
    /// from the heap; its children's are not.
    pub fn set_mapped(&self) {
        if let Some(owner) = &mut *lock(&self.handle.cells.identity) {
            owner.is_mapped = true;
        }
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
        self.handle.ledger.count_leak();
        Err(Leak { account: self.handle.path.clone(), bytes })
    }
}
