//! The limit, and who has taken what from it.
//!
//! `taken` never exceeds the limit; it counts what reservations hold plus some credit that
//! each shard keeps at hand. A reservation takes from its shard's credit with one atomic
//! operation and no other thread's cache line; only when the credit runs out does it go to
//! `taken`, for a chunk. A request that does not fit collects the credit of all shards, so
//! whatever fits in `limit - held` is granted; then it asks the reclaimers; then it is
//! refused with the numbers.
//!
//! Invariant: `taken` is at least what reservations hold plus all credits, at every moment:
//! credit is handed out after `taken` rose and taken in before it falls.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::account::{Account, AccountInner, Padded};
use crate::over_budget::{HOLDERS, Holder, Leak};
use crate::pressure::Pressure;
use crate::shard;
use crate::sync::{Arc, AtomicBool, AtomicU8, AtomicU64, Mutex, Ordering, Weak, lock};
use crate::{Bytes, OverBudget, Priority};

/// Credit that a shard takes at a time, at most.
const CHUNK: u64 = 64 << 10;
/// Part of the limit that a chunk may be, at most.
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

pub(crate) struct Ledger {
    limit: AtomicU64,
    taken: Padded<AtomicU64>,
    credits: Box<[Padded<AtomicU64>]>,
    accounts: Mutex<BTreeMap<String, Weak<AccountInner>>>,
    listeners: Mutex<Vec<Arc<Listener>>>,
    pressure: AtomicU8,
    leaks: AtomicU64,
    misuses: AtomicU64,
    /// Is a refusal planted, or are reservations being counted?
    watched: AtomicBool,
    seen: AtomicU64,
    refusal: Mutex<Option<Refusal>>,
}

impl Ledger {
    pub(crate) fn new(limit: Bytes) -> Arc<Self> {
        Arc::new(Self {
            limit: AtomicU64::new(limit.get()),
            taken: Padded::default(),
            credits: (0..shard::count()).map(|_| Padded::default()).collect(),
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
        let credit: u64 = self
            .credits
            .iter()
            .map(|slot| slot.0.load(Ordering::Relaxed))
            .sum();
        Bytes::new(self.taken.0.load(Ordering::Relaxed).saturating_sub(credit))
    }

    pub(crate) fn account(this: &Arc<Self>, path: &str, priority: Priority) -> Account {
        let mut accounts = lock(&this.accounts);
        if let Some(inner) = accounts.get(path).and_then(Weak::upgrade) {
            return Account { inner };
        }
        let inner = Arc::new(AccountInner::new(
            Arc::clone(this),
            path.to_owned(),
            priority,
        ));
        accounts.insert(path.to_owned(), Arc::downgrade(&inner));
        Account { inner }
    }

    /// Forgets an account that is gone, unless its path was taken again.
    pub(crate) fn forget(&self, path: &str) {
        let mut accounts = lock(&self.accounts);
        if accounts
            .get(path)
            .is_some_and(|account| account.strong_count() == 0)
        {
            accounts.remove(path);
        }
    }

    /// The accounts that are alive, by path.
    pub(crate) fn accounts(&self) -> Vec<Arc<AccountInner>> {
        let accounts = lock(&self.accounts);
        accounts.values().filter_map(Weak::upgrade).collect()
    }

    fn credit(&self) -> &AtomicU64 {
        &self.credits[shard::index() & (self.credits.len() - 1)].0
    }

    /// Takes `bytes` for an account.
    #[inline]
    pub(crate) fn take(&self, account: &AccountInner, bytes: u64) -> Result<(), OverBudget> {
        if self.watched.load(Ordering::Relaxed) && self.is_refused() {
            return Err(self.refuse(account, bytes));
        }
        if !take_from(self.credit(), bytes) {
            self.take_slowly(account, bytes)?;
        }
        account.add(bytes);
        Ok(())
    }

    /// Gives `bytes` of an account back.
    #[inline]
    pub(crate) fn give(&self, account: &AccountInner, bytes: u64) {
        account.sub(bytes);
        let credit = self.credit();
        let now = credit.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let chunk = self.chunk();
        if now > 4 * chunk && take_from(credit, now - chunk) {
            self.taken.0.fetch_sub(now - chunk, Ordering::Relaxed);
            self.settle(false);
        }
    }

    #[inline]
    fn chunk(&self) -> u64 {
        (self.limit.load(Ordering::Relaxed) / CHUNKS_PER_LIMIT).min(CHUNK)
    }

    #[cold]
    fn take_slowly(&self, account: &AccountInner, bytes: u64) -> Result<(), OverBudget> {
        let chunk = self.chunk();
        if self.raise(account.priority, bytes.saturating_add(chunk)) {
            self.credit().fetch_add(chunk, Ordering::Relaxed);
            self.settle(false);
            return Ok(());
        }
        for _ in 0..ROUNDS {
            self.collect();
            if self.raise(account.priority, bytes) {
                self.settle(false);
                return Ok(());
            }
            self.settle(true);
            if self.reclaim(account.priority, self.missing(account.priority, bytes)) == 0 {
                break;
            }
        }
        self.collect();
        if self.raise(account.priority, bytes) {
            return Ok(());
        }
        Err(self.refuse(account, bytes))
    }

    /// Moves `taken` up where the priority's line allows it.
    fn raise(&self, priority: Priority, bytes: u64) -> bool {
        let line = priority.line(self.limit()).get();
        let raised = self
            .taken
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                taken.checked_add(bytes).filter(|&sum| sum <= line)
            });
        raised.is_ok()
    }

    /// Takes the credit of all shards back.
    fn collect(&self) {
        for slot in &self.credits {
            let credit = slot.0.swap(0, Ordering::Relaxed);
            self.taken.0.fetch_sub(credit, Ordering::Relaxed);
        }
    }

    fn missing(&self, priority: Priority, bytes: u64) -> u64 {
        let line = priority.line(self.limit()).get();
        self.used().get().saturating_add(bytes).saturating_sub(line)
    }

    /// Asks reclaimers for `wanted` bytes, the cheapest first; returns what came. A reclaimer
    /// that reserves while it is asked takes what is free; it does not ask others in turn.
    fn reclaim(&self, priority: Priority, wanted: u64) -> u64 {
        let Some(_asking) = Asking::begin() else {
            return 0;
        };
        let accounts = self.accounts().into_iter();
        let mut reclaimers: Vec<_> = accounts
            .filter(|account| account.priority <= priority)
            .filter_map(|account| account.reclaimer())
            .map(|reclaimer| (reclaimer.worth_per_byte(), reclaimer))
            .collect();
        reclaimers.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut given = 0;
        for (_, reclaimer) in reclaimers {
            if given >= wanted {
                break;
            }
            given += reclaimer.shed(Bytes::new(wanted - given)).get();
        }
        given
    }

    pub(crate) fn set_limit(&self, limit: Bytes) -> Result<(), OverBudget> {
        self.limit.store(limit.get(), Ordering::Relaxed);
        self.collect();
        let over = self.used().get().saturating_sub(limit.get());
        if over > 0 {
            self.settle(true);
            self.reclaim(Priority::Write, over);
            self.collect();
        }
        let used = self.used();
        if used > limit {
            return Err(OverBudget {
                account: "the budget".to_owned(),
                requested: Bytes::ZERO,
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

    fn refuse(&self, account: &AccountInner, bytes: u64) -> OverBudget {
        let (limit, used) = (self.limit(), self.used());
        let line = account.priority.line(limit);
        OverBudget {
            account: account.path.clone(),
            requested: Bytes::new(bytes),
            limit,
            used,
            free: line.saturating_sub(used),
            holders: self.holders(),
            would_fit: account
                .priority
                .limit_for(used.saturating_add(Bytes::new(bytes))),
        }
    }

    fn holders(&self) -> Vec<Holder> {
        let mut holders: Vec<Holder> = self
            .accounts()
            .iter()
            .map(|account| Holder {
                account: account.path.clone(),
                bytes: account.held(),
            })
            .filter(|holder| holder.bytes > Bytes::ZERO)
            .collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.bytes));
        holders.truncate(HOLDERS);
        holders
    }

    /// Accounts that hold bytes.
    pub(crate) fn outstanding(&self) -> Vec<Leak> {
        let accounts = self.accounts();
        let held = accounts.iter().map(|account| (account, account.held()));
        held.filter(|(_, bytes)| *bytes > Bytes::ZERO)
            .map(|(account, bytes)| Leak {
                account: account.path.clone(),
                bytes,
            })
            .collect()
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
        debug_assert!(
            given <= held,
            "{path}: {given} bytes given back of {held} held"
        );
    }

    pub(crate) fn misuses(&self) -> u64 {
        self.misuses.load(Ordering::Relaxed)
    }

    pub(crate) fn pressure(&self) -> Pressure {
        Pressure::from_u8(self.pressure.load(Ordering::Relaxed))
    }

    pub(crate) fn listen(&self, listener: Listener) {
        lock(&self.listeners).push(Arc::new(listener));
    }

    /// Tells listeners where the pressure changed.
    fn settle(&self, did_not_fit: bool) {
        let taken = Bytes::new(self.taken.0.load(Ordering::Relaxed));
        let now = if did_not_fit {
            Pressure::Hard
        } else {
            Pressure::of(taken, self.limit())
        };
        if self.pressure.swap(now as u8, Ordering::Relaxed) != now as u8 {
            let listeners = lock(&self.listeners).clone();
            listeners.iter().for_each(|listener| listener(now));
        }
    }

    pub(crate) fn watch(&self, refusal: Option<Refusal>) {
        *lock(&self.refusal) = refusal;
        self.seen.store(0, Ordering::Relaxed);
        self.watched.store(true, Ordering::Relaxed);
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
        let was_asking = ASKING
            .try_with(|asking| asking.replace(true))
            .unwrap_or(true);
        (!was_asking).then_some(Self)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // Fails only while the thread ends, when nobody asks any more.
        let _ = ASKING.try_with(|asking| asking.set(false));
    }
}

/// Takes `bytes` from a counter that has as many.
#[inline]
fn take_from(counter: &AtomicU64, bytes: u64) -> bool {
    let mut now = counter.load(Ordering::Relaxed);
    while let Some(rest) = now.checked_sub(bytes) {
        match counter.compare_exchange_weak(now, rest, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(other) => now = other,
        }
    }
    false
}
