//! The limit, and who has taken what from it.
//!
//! `taken` never exceeds the limit; it is what all accounts have, in reservations or as credit
//! at hand. Accounts come here only when their credit runs out or overflows. Whatever raises
//! `taken` happens under one lock, the gate, so a request that does not fit can collect the
//! credit of all accounts and be granted what fits in `limit - held` before anybody else takes
//! it. Then it asks the reclaimers, if together they could make room, and outside the gate, so
//! that they may use the ledger; then it is refused with the numbers.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::account::{Account, Cells, Handle, Identity};
use crate::over_budget::{HOLDERS, Holder, Leak};
use crate::pressure::Pressure;
use crate::reclaim::Reclaimer;
use crate::sync::{Arc, AtomicBool, AtomicU8, AtomicU64, Mutex, Ordering, Weak, lock};
use crate::{Bytes, OverBudget, Priority};

/// Part of the limit that a chunk of credit may be, at most.
const CHUNKS_PER_LIMIT: u64 = 512;
/// Rounds of collecting and reclaiming before a request is refused.
const ROUNDS: usize = 4;

/// Which reservations a test wants refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Only the n-th from now, counting from 0.
    Once(u64),
    /// The n-th from now and all after it.
    From(u64),
}

type Listener = Box<dyn Fn(Pressure) + Send + Sync>;

/// Somebody who asks for bytes.
pub(crate) struct Request<'a> {
    pub owner: &'a Identity,
    pub cells: &'a Cells,
    pub bytes: u64,
}

/// A path that is known: its cells, and its handle while one is alive.
struct Entry {
    cells: &'static Cells,
    handle: Weak<Handle>,
}

pub(crate) struct Ledger {
    limit: AtomicU64,
    taken: AtomicU64,
    /// Held by whoever raises `taken` or changes the limit.
    gate: Mutex<()>,
    accounts: Mutex<BTreeMap<String, Entry>>,
    listeners: Mutex<Vec<Arc<Listener>>>,
    pressure: AtomicU8,
    leaks: AtomicU64,
    misuses: AtomicU64,
    /// Is a refusal planted, or are requests being counted?
    watched: AtomicBool,
    seen: AtomicU64,
    refusal: Mutex<Option<Refusal>>,
}

impl Ledger {
    /// Credit that an account takes at a time, at most.
    pub(crate) const MAX_CHUNK: u64 = 64 << 10;

    pub(crate) fn new(limit: Bytes) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicU64::new(limit.get()),
            taken: AtomicU64::new(0),
            gate: Mutex::default(),
            accounts: Mutex::default(),
            listeners: Mutex::default(),
            pressure: AtomicU8::new(0),
            leaks: AtomicU64::new(0),
            misuses: AtomicU64::new(0),
            watched: AtomicBool::new(false),
            seen: AtomicU64::new(0),
            refusal: Mutex::default(),
        })
    }

    pub(crate) fn limit(&self) -> Bytes {
        Bytes::new(self.limit.load(Ordering::Relaxed))
    }

    /// Bytes that reservations hold.
    pub(crate) fn used(&self) -> Bytes {
        self.accounts().iter().map(|cells| cells.held()).sum()
    }

    pub(crate) fn account(this: &Arc<Self>, path: &str, priority: Priority) -> Account {
        let mut accounts = lock(&this.accounts);
        if let Some(handle) = accounts.get(path).and_then(|entry| entry.handle.upgrade()) {
            return Account::new(handle);
        }
        this.sweep(&mut accounts);
        let ledger = Arc::clone(this);
        let owner =
            Identity { ledger, path: path.to_owned(), priority, reclaimer: None, is_mapped: false };
        // Without a handle, but with reservations, a path keeps its cells and its priority.
        let cells = accounts
            .get(path)
            .map(|entry| entry.cells)
            .unwrap_or_else(|| Cells::acquire(owner.clone(), this.watched.load(Ordering::Relaxed)));
        let handle = Arc::new(Handle::new(&cells.identity().unwrap_or(owner), cells));
        accounts.insert(path.to_owned(), Entry { cells, handle: Arc::downgrade(&handle) });
        Account::new(handle)
    }

    /// The last handle of `path` is gone: forgets the account if it has no reservations, else
    /// later.
    pub(crate) fn forget(&self, path: &str) {
        let mut accounts = lock(&self.accounts);
        if accounts.get(path).is_some_and(|entry| self.retire(entry)) {
            accounts.remove(path);
        }
    }

    /// Forgets accounts that ended after their last handle.
    fn sweep(&self, accounts: &mut BTreeMap<String, Entry>) {
        accounts.retain(|_, entry| !self.retire(entry));
    }

    /// Takes the cells of an account that nobody can use any more.
    fn retire(&self, entry: &Entry) -> bool {
        if entry.handle.strong_count() > 0 || entry.cells.has_reservations() {
            return false;
        }
        self.taken.fetch_sub(entry.cells.collect(), Ordering::Relaxed);
        entry.cells.recycle();
        true
    }

    /// The accounts that are alive, by path.
    pub(crate) fn accounts(&self) -> Vec<&'static Cells> {
        lock(&self.accounts).values().map(|entry| entry.cells).collect()
    }

    /// The accounts with their paths and what they hold.
    /// Bytes that accounts of mapped files hold.
    pub(crate) fn mapped(&self) -> Bytes {
        let accounts = lock(&self.accounts);
        let is_mapped = |cells: &Cells| cells.identity().is_some_and(|owner| owner.is_mapped);
        let mapped = accounts.values().filter(|entry| is_mapped(entry.cells));
        Bytes::new(mapped.map(|entry| entry.cells.held().get()).sum())
    }

    pub(crate) fn holdings(&self) -> Vec<Holder> {
        let accounts = lock(&self.accounts);
        let held = accounts.iter().map(|(path, entry)| (path, entry.cells.held()));
        held.map(|(path, bytes)| Holder { account: path.clone(), bytes }).collect()
    }

    fn chunk(&self) -> u64 {
        if self.watched.load(Ordering::Relaxed) {
            return 0;
        }
        (self.limit().get() / CHUNKS_PER_LIMIT).min(Self::MAX_CHUNK)
    }

    /// Moves bytes to an account; returns how much more than it asked for it got as credit.
    pub(crate) fn take(&self, request: &Request<'_>) -> Result<u64, OverBudget> {
        if self.watched.load(Ordering::Relaxed) && self.is_refused() {
            return Err(self.refuse(request));
        }
        for _ in 0..ROUNDS {
            if let Some(extra) = self.grant(request) {
                self.settle(false);
                return Ok(extra);
            }
            self.settle(true);
            if !self.reclaim(request.owner.priority, self.missing(request)) {
                break;
            }
        }
        match self.grant(request) {
            Some(extra) => Ok(extra),
            None => Err(self.refuse(request)),
        }
    }

    /// Grants a request if it fits, with some credit if that fits, too.
    fn grant(&self, request: &Request<'_>) -> Option<u64> {
        let _gate = lock(&self.gate);
        let chunk = self.chunk();
        let with_credit = request.bytes.checked_add(chunk);
        if with_credit.is_some_and(|bytes| self.raise(request, bytes)) {
            return Some(chunk);
        }
        self.collect();
        self.raise(request, request.bytes).then_some(0)
    }

    /// Moves `taken` up, under the gate, where the priority's line allows it.
    fn raise(&self, request: &Request<'_>, bytes: u64) -> bool {
        let line = request.owner.priority.line(self.limit()).get();
        let raised = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            taken.checked_add(bytes).filter(|&sum| sum <= line)
        });
        if raised.is_ok() {
            request.cells.receive(bytes);
        }
        raised.is_ok()
    }

    /// Takes the credit of all accounts back.
    fn collect(&self) {
        for cells in self.accounts() {
            self.taken.fetch_sub(cells.collect(), Ordering::Relaxed);
        }
    }

    /// An account gave bytes back.
    pub(crate) fn receive(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        self.settle(false);
    }

    fn missing(&self, request: &Request<'_>) -> u64 {
        let line = request.owner.priority.line(self.limit()).get();
        self.used().get().saturating_add(request.bytes).saturating_sub(line)
    }

    /// Asks reclaimers for `wanted` bytes, the cheapest first, if together they have as many;
    /// says whether anything came. A reclaimer that reserves while it is asked takes what is
    /// free; it does not ask others in turn.
    fn reclaim(&self, priority: Priority, wanted: u64) -> bool {
        let Some(_asking) = Asking::begin() else { return false };
        let mut reclaimers = self.reclaimers(priority);
        let most = reclaimers.iter().map(|reclaimer| reclaimer.reclaimable().get());
        if most.fold(0, u64::saturating_add) < wanted {
            return false;
        }
        reclaimers.sort_by(|a, b| a.worth_per_byte().total_cmp(&b.worth_per_byte()));
        let mut given = 0u64;
        for reclaimer in reclaimers {
            if given >= wanted {
                break;
            }
            given = given.saturating_add(reclaimer.shed(Bytes::new(wanted - given)).get());
        }
        given > 0
    }

    fn reclaimers(&self, priority: Priority) -> Vec<Arc<dyn Reclaimer>> {
        let owners = self.accounts().into_iter().filter_map(Cells::identity);
        let lower = owners.filter(|owner| owner.priority <= priority);
        lower.filter_map(|owner| owner.reclaimer?.upgrade()).collect()
    }

    pub(crate) fn set_limit(&self, limit: Bytes) -> Result<(), OverBudget> {
        {
            let _gate = lock(&self.gate);
            self.limit.store(limit.get(), Ordering::Relaxed);
            self.collect();
        }
        let over = self.used().get().saturating_sub(limit.get());
        if over > 0 {
            self.settle(true);
            let most = self.reclaimers(Priority::Write);
            let most = most.iter().map(|reclaimer| reclaimer.reclaimable().get()).sum();
            self.reclaim(Priority::Write, over.min(most));
            let _gate = lock(&self.gate);
            self.collect();
        }
        let used = self.used();
        if used > limit {
            return Err(OverBudget {
                account: "the new limit".to_owned(),
                requested: used,
                limit,
                used,
                free: Bytes::ZERO,
                holders: self.holders(),
                would_fit: used,
            });
        }
        self.settle(false);
        Ok(())
    }

    fn refuse(&self, request: &Request<'_>) -> OverBudget {
        let (limit, used) = (self.limit(), self.used());
        let owner = request.owner;
        let bytes = Bytes::new(request.bytes);
        OverBudget {
            account: owner.path.clone(),
            requested: bytes,
            limit,
            used,
            free: owner.priority.line(limit).saturating_sub(used),
            holders: self.holders(),
            would_fit: owner.priority.limit_for(used.saturating_add(bytes)),
        }
    }

    fn holders(&self) -> Vec<Holder> {
        let mut holders = self.holdings();
        holders.retain(|holder| holder.bytes > Bytes::ZERO);
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.bytes));
        holders.truncate(HOLDERS);
        holders
    }

    /// Accounts that hold bytes.
    pub(crate) fn outstanding(&self) -> Vec<Leak> {
        let held = self.holdings().into_iter().filter(|holder| holder.bytes > Bytes::ZERO);
        held.map(|Holder { account, bytes }| Leak { account, bytes }).collect()
    }

    pub(crate) fn count_leak(&self) {
        self.leaks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn leaks(&self) -> u64 {
        self.leaks.load(Ordering::Relaxed)
    }

    #[cold]
    pub(crate) fn count_misuse(&self, path: &str, given: u64, held: u64) {
        self.misuses.fetch_add(1, Ordering::Relaxed);
        debug_assert!(given <= held, "{path}: {given} bytes given back of {held} held");
    }

    pub(crate) fn misuses(&self) -> u64 {
        self.misuses.load(Ordering::Relaxed)
    }

    pub(crate) fn pressure(&self) -> Pressure {
        let taken = Bytes::new(self.taken.load(Ordering::Relaxed));
        match Pressure::of(taken, self.limit()) {
            Pressure::None => Pressure::None,
            now => now.max(Pressure::from_u8(self.pressure.load(Ordering::Relaxed))),
        }
    }

    pub(crate) fn listen(&self, listener: Listener) {
        lock(&self.listeners).push(Arc::new(listener));
    }

    /// Tells listeners where the pressure changed.
    fn settle(&self, did_not_fit: bool) {
        let taken = Bytes::new(self.taken.load(Ordering::Relaxed));
        let now = if did_not_fit { Pressure::Hard } else { Pressure::of(taken, self.limit()) };
        if self.pressure.swap(now as u8, Ordering::Relaxed) != now as u8 {
            let listeners = lock(&self.listeners).clone();
            listeners.iter().for_each(|listener| listener(now));
        }
    }

    pub(crate) fn watch(&self, refusal: Option<Refusal>) {
        *lock(&self.refusal) = refusal;
        self.seen.store(0, Ordering::Relaxed);
        self.watched.store(true, Ordering::Relaxed);
        self.accounts().into_iter().for_each(Cells::set_direct);
        let _gate = lock(&self.gate);
        self.collect();
    }

    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    #[cold]
    fn is_refused(&self) -> bool {
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        match *lock(&self.refusal) {
            None => false,
            Some(Refusal::Once(at)) => number == at,
            Some(Refusal::From(at)) => number >= at,
        }
    }
}

thread_local! {
    static ASKING: Cell<bool> = const { Cell::new(false) };
}

/// This thread is asking reclaimers.
struct Asking;

impl Asking {
    fn begin() -> Option<Self> {
        let was_asking = ASKING.try_with(|asking| asking.replace(true)).unwrap_or(true);
        (!was_asking).then_some(Self)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // Fails only while the thread ends, when nobody asks any more.
        let _ = ASKING.try_with(|asking| asking.set(false));
    }
}
