//! The bytes that a cache may have, those that it has, and those that are free.
//!
//! Three numbers: the cap; what is granted, taken from the account, never more than the cap; and
//! what of that is free, in no part's hands. Parts take what is free with one compare-and-swap
//! and may do so under their lock. Growing asks the account, which may ask reclaimers, this
//! cache among them: it is done under no lock. What is to be granted is promised first, so two
//! threads that grow at once stay below the cap together.

use ambit_mem::{Account, Bytes, OverBudget, Reservation};

use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// The ledger's side: who gives bytes, and takes them back.
pub(crate) trait Grant: Send {
    /// Takes so many more.
    fn grow(&self, bytes: u64) -> bool;
    /// Gives so many back.
    fn shrink(&self, bytes: u64);
}

/// An account's reservation.
pub(crate) struct Charged {
    account: Account,
    held: Mutex<Reservation>,
}

impl Charged {
    pub fn new(account: &Account) -> Result<Self, OverBudget> {
        let held = Mutex::new(account.reserve(Bytes::ZERO)?);
        Ok(Self { account: account.clone(), held })
    }
}

impl Grant for Charged {
    fn grow(&self, bytes: u64) -> bool {
        // Outside the lock: reclaimers may be asked, and they may give bytes of ours back.
        let Ok(more) = self.account.reserve(Bytes::new(bytes)) else { return false };
        lock(&self.held).merge(more).is_ok()
    }

    fn shrink(&self, bytes: u64) {
        lock(&self.held).shrink(Bytes::new(bytes));
    }
}

/// The bytes of one cache.
pub(crate) struct Allowance<G> {
    cap: AtomicU64,
    granted: AtomicU64,
    free: AtomicU64,
    grant: G,
}

impl<G: Grant> Allowance<G> {
    pub fn new(cap: u64, grant: G) -> Self {
        let zero = || AtomicU64::new(0);
        Self { cap: AtomicU64::new(cap), granted: zero(), free: zero(), grant }
    }

    pub fn cap(&self) -> u64 {
        self.cap.load(Ordering::Relaxed)
    }

    pub fn granted(&self) -> u64 {
        self.granted.load(Ordering::Relaxed)
    }

    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    pub fn set_cap(&self, cap: u64) {
        self.cap.store(cap, Ordering::Relaxed);
    }

    /// Takes `bytes` of what is free; all or nothing.
    #[inline]
    pub fn take(&self, bytes: u64) -> bool {
        let taken = self
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(bytes));
        taken.is_ok()
    }

    /// Gives `bytes` back that were taken; what is above the cap goes to the account.
    pub fn give(&self, bytes: u64) {
        self.free.fetch_add(bytes, Ordering::Relaxed);
        if self.granted() > self.cap() {
            self.trim(0);
        }
    }

    /// Does the cap leave room for so many more?
    #[inline]
    pub fn could_grow(&self, bytes: u64) -> bool {
        self.granted().saturating_add(bytes) <= self.cap()
    }

    /// Asks for `least` bytes more, up to `most`; they are the caller's. Zero where the cap or the
    /// account has not as many.
    ///
    /// Takes no lock of the cache, and must be called under none.
    pub fn grow(&self, least: u64, most: u64) -> u64 {
        for wanted in [most.max(least), least] {
            let mut promised = 0;
            let granted =
                self.granted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |granted| {
                    promised = wanted.min(self.cap().saturating_sub(granted));
                    (promised >= least).then(|| granted + promised)
                });
            if granted.is_err() {
                return 0;
            }
            if self.grant.grow(promised) {
                return promised;
            }
            self.granted.fetch_sub(promised, Ordering::Relaxed);
        }
        0
    }

    /// Gives the account back what is free, but for `kept` bytes; how many went.
    pub fn trim(&self, kept: u64) -> u64 {
        let mut gone = 0;
        let taken = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
            gone = free.saturating_sub(kept);
            (gone > 0).then(|| free - gone)
        });
        if taken.is_err() {
            return 0;
        }
        self.release(gone);
        gone
    }

    /// Gives the account back what was taken.
    pub fn release(&self, bytes: u64) {
        self.grant.shrink(bytes);
        self.granted.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::sync::Arc;

    use super::*;

    /// An account of ten bytes.
    struct Ten(Mutex<u64>);

    impl Grant for Ten {
        fn grow(&self, bytes: u64) -> bool {
            let mut held = lock(&self.0);
            let fits = *held + bytes <= 10;
            *held += if fits { bytes } else { 0 };
            fits
        }

        fn shrink(&self, bytes: u64) {
            *lock(&self.0) -= bytes;
        }
    }

    /// Every interleaving with up to three preemptions.
    fn model(work: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(work);
    }

    #[test]
    fn allowance_never_grants_more_than_the_cap_and_loses_nothing() {
        model(|| {
            let allowance = Arc::new(Allowance::new(8, Ten(Mutex::new(0))));
            let work = |allowance: &Allowance<Ten>| {
                let had = allowance.grow(3, 5);
                assert!(allowance.granted() <= 8);
                if had > 0 {
                    allowance.give(had - 1);
                    if allowance.take(1) {
                        allowance.release(1);
                    }
                    allowance.give(1);
                }
            };
            let other = Arc::clone(&allowance);
            let thread = loom::thread::spawn(move || work(&other));
            work(&allowance);
            thread.join().unwrap();
            assert_eq!(allowance.free(), allowance.granted());
            assert_eq!(*lock(&allowance.grant.0), allowance.granted());
            allowance.trim(0);
            assert_eq!(*lock(&allowance.grant.0), 0);
        });
    }

    #[test]
    fn allowance_over_a_lowered_cap_goes_back_whoever_gives_last() {
        model(|| {
            let allowance = Arc::new(Allowance::new(8, Ten(Mutex::new(0))));
            let (one, two) = (allowance.grow(4, 4), allowance.grow(4, 4));
            assert_eq!((one, two), (4, 4));
            let other = Arc::clone(&allowance);
            let thread = loom::thread::spawn(move || {
                other.set_cap(2);
                other.give(4);
            });
            allowance.give(4);
            thread.join().unwrap();
            allowance.give(0);
            assert!(allowance.granted() == 0);
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use ambit_mem::{Budget, Priority};

    use super::*;

    #[test]
    fn allowance_is_exact_at_the_cap() {
        let budget = Budget::new(Bytes::mib(1));
        let account = budget.account("cache", Priority::Cache);
        let allowance = Allowance::new(100, Charged::new(&account).unwrap());
        assert_eq!(allowance.grow(99, 99), 99);
        assert_eq!(allowance.grow(2, 2), 0);
        assert_eq!(allowance.grow(1, 50), 1);
        assert_eq!((allowance.grow(1, 1), account.used()), (0, Bytes::new(100)));
        allowance.give(60);
        assert!(!allowance.take(61));
        assert!(allowance.take(60));
        allowance.give(60);
        assert_eq!((allowance.trim(10), account.used()), (50, Bytes::new(50)));
    }

    #[test]
    fn allowance_is_what_the_account_can_give() {
        let budget = Budget::new(Bytes::new(160));
        let account = budget.account("cache", Priority::Cache);
        let allowance = Allowance::new(1000, Charged::new(&account).unwrap());
        assert_eq!(allowance.grow(100, 400), 100);
        assert_eq!((allowance.grow(60, 60), allowance.granted()), (0, 100));
    }
}
