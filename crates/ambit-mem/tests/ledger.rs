//! The ledger against a naive model, under threads, with reclaimers and changing limits.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use ambit_mem::{Account, Budget, Bytes, Pressure, Priority, Reclaimer, Refusal, Reservation};
use proptest::prelude::*;

#[test]
fn a_hopeless_request_pushes_nobody_out() {
    let budget = Budget::new(bytes(320));
    let pile = Pile::new(&budget, "pile", 1.0, &Arc::default());
    assert!(budget.account("writer", Priority::Write).reserve(bytes(1000)).is_err());
    assert_eq!(pile.reclaimable(), bytes(100));
}

#[test]
fn what_fits_is_granted_beside_busy_threads() {
    let budget = Budget::new(Bytes::mib(64));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for name in ["busy/a", "busy/b"] {
            let account = budget.account(name, Priority::Write);
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    drop(account.reserve(Bytes::kib(8)).unwrap());
                }
            });
        }
        let account = budget.account("large", Priority::Write);
        let most = Bytes::mib(64).saturating_sub(Bytes::kib(16));
        let refused = (0..20_000).filter(|_| account.reserve(most).is_err()).count();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(refused, 0);
    });
}

#[test]
fn a_reservation_outlives_its_handle_and_its_path_stays_its_own() {
    let budget = Budget::new(Bytes::mib(1));
    let mut held = budget.account("a", Priority::Write).reserve(Bytes::ZERO).unwrap();
    for index in 0..100 {
        drop(budget.account(&format!("other/{index}"), Priority::Write).reserve(bytes(1)));
    }
    held.grow(bytes(7)).unwrap();
    assert_eq!(budget.outstanding()[0].account, "a");
    assert_eq!(budget.account("a", Priority::Write).used(), bytes(7));
    drop(held);
    drop(budget.account("b", Priority::Write));
    assert_eq!(budget.explain().children.len(), 0);
}

fn bytes(n: u64) -> Bytes {
    Bytes::new(n)
}

#[test]
fn a_limit_is_exact_at_one_less_equal_and_one_more() {
    for (ask, fits) in [(999, true), (1000, true), (1001, false)] {
        let budget = Budget::new(bytes(1000));
        let account = budget.account("a", Priority::Write);
        assert_eq!(account.reserve(bytes(ask)).is_ok(), fits, "{ask}");
        assert_eq!(budget.used(), Bytes::ZERO);
    }
}

#[test]
fn credit_that_other_threads_left_behind_does_not_make_a_fitting_request_fail() {
    let budget = Budget::new(Bytes::mib(64));
    let account = budget.account("a", Priority::Write);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| drop(account.reserve(Bytes::kib(200)).unwrap()));
        }
    });
    assert!(account.reserve(Bytes::mib(64)).is_ok());
}

#[test]
fn a_refusal_names_the_largest_holders_and_the_budget_that_fits() {
    let budget = Budget::new(bytes(1000));
    let small = budget.account("store/small", Priority::Write).reserve(bytes(100)).unwrap();
    let large = budget.account("cache/large", Priority::Write).reserve(bytes(700)).unwrap();
    let asker = budget.account("query", Priority::Write);
    let refusal = asker.reserve(bytes(300)).unwrap_err();
    assert_eq!(refusal.holders[0].account, "cache/large");
    assert_eq!(refusal.holders[1].bytes, bytes(100));
    assert_eq!((refusal.free, refusal.would_fit), (bytes(200), bytes(1100)));
    let text = refusal.to_string();
    for part in ["query asked for 300 B", "cache/large 700 B", "1.1 KiB would fit"] {
        assert!(text.contains(part), "{text}");
    }
    drop((small, large));
    assert!(asker.reserve(bytes(300)).is_ok());
    let roomier = Budget::new(refusal.would_fit);
    assert!(roomier.account("all", Priority::Write).reserve(bytes(1100)).is_ok());
}

#[test]
fn lower_priorities_leave_their_headroom_to_writes() {
    let budget = Budget::new(Bytes::mib(32));
    let cache = budget.account("cache", Priority::Cache);
    assert!(cache.reserve(Bytes::mib(31)).is_err());
    let _held = cache.reserve(Bytes::mib(30)).unwrap();
    assert!(budget.account("query", Priority::Query).reserve(Bytes::mib(2)).is_err());
    assert!(budget.account("write", Priority::Write).reserve(Bytes::mib(2)).is_ok());
}

/// Holds reservations that it gives back when asked, and may reserve while it is asked.
struct Pile {
    name: &'static str,
    worth: f64,
    account: Account,
    held: Mutex<Vec<Reservation>>,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl Pile {
    fn new(
        budget: &Budget,
        name: &'static str,
        worth: f64,
        asked: &Arc<Mutex<Vec<&'static str>>>,
    ) -> Arc<Self> {
        let account = budget.account(name, Priority::Cache);
        let held = (0..10).map(|_| account.reserve(bytes(10)).unwrap()).collect();
        let asked = Arc::clone(asked);
        let pile = Arc::new(Self { name, worth, account, held: Mutex::new(held), asked });
        let weak: Weak<dyn Reclaimer> = Arc::downgrade(&pile) as _;
        pile.account.set_reclaimer(weak);
        pile
    }
}

impl Reclaimer for Pile {
    fn reclaimable(&self) -> Bytes {
        bytes(10 * self.held.lock().unwrap().len() as u64)
    }
    fn worth_per_byte(&self) -> f64 {
        self.worth
    }
    fn shed(&self, wanted: Bytes) -> Bytes {
        self.asked.lock().unwrap().push(self.name);
        let mut given = 0;
        while given < wanted.get() {
            let Some(reservation) = self.held.lock().unwrap().pop() else {
                break;
            };
            given += reservation.bytes().get();
        }
        drop(self.account.reserve(bytes(1)));
        bytes(given)
    }
}

#[test]
fn the_cheapest_reclaimer_goes_first_and_may_use_the_ledger_meanwhile() {
    let budget = Budget::new(bytes(320));
    let asked = Arc::default();
    let dear = Pile::new(&budget, "dear", 5.0, &asked);
    let cheap = Pile::new(&budget, "cheap", 1.0, &asked);
    let writer = budget.account("writer", Priority::Write);
    let first = writer.reserve(bytes(160)).unwrap();
    assert_eq!(*asked.lock().unwrap(), ["cheap"]);
    assert_eq!(dear.reclaimable(), bytes(100));
    let second = writer.reserve(bytes(150)).unwrap();
    assert_eq!(cheap.reclaimable(), Bytes::ZERO);
    assert!(dear.reclaimable() < bytes(100));
    assert!(budget.pressure() >= Pressure::Soft);
    drop((first, second));
}

#[test]
fn a_request_never_pushes_out_a_higher_priority() {
    let budget = Budget::new(bytes(320));
    let asked = Arc::default();
    let pile = Pile::new(&budget, "pile", 1.0, &asked);
    let prefetch = budget.account("prefetch", Priority::Prefetch);
    assert!(prefetch.reserve(bytes(250)).is_err());
    assert_eq!(pile.reclaimable(), bytes(100));
}

#[test]
fn lowering_the_limit_sheds_and_says_where_it_does_not_get_there() {
    let budget = Budget::new(bytes(1000));
    let asked = Arc::default();
    let _pile = Pile::new(&budget, "pile", 1.0, &asked);
    let fixed = budget.account("fixed", Priority::Write).reserve(bytes(400)).unwrap();
    budget.set_limit(bytes(450)).unwrap();
    assert!(budget.used() <= bytes(450));
    let refusal = budget.set_limit(bytes(300)).unwrap_err();
    assert_eq!(refusal.holders[0].account, "fixed");
    assert_eq!(budget.limit(), bytes(300));
    assert!(budget.account("more", Priority::Write).reserve(bytes(1)).is_err());
    drop(fixed);
    budget.set_limit(bytes(2000)).unwrap();
    assert!(budget.account("more", Priority::Write).reserve(bytes(1500)).is_ok());
}

#[test]
fn pressure_is_told_when_it_changes() {
    let budget = Budget::new(Bytes::mib(64));
    let told: Arc<Mutex<Vec<Pressure>>> = Arc::default();
    let log = Arc::clone(&told);
    budget.on_pressure(move |pressure| log.lock().unwrap().push(pressure));
    let account = budget.account("a", Priority::Write);
    let held = account.reserve(Bytes::mib(60)).unwrap();
    assert!(account.reserve(Bytes::mib(60)).is_err());
    drop(held);
    assert_eq!(*told.lock().unwrap(), [Pressure::Soft, Pressure::Hard, Pressure::None]);
}

#[test]
fn a_reservation_grows_shrinks_splits_and_merges_without_losing_a_byte() {
    let budget = Budget::new(bytes(1000));
    let account = budget.account("a", Priority::Write);
    let mut first = account.reserve(bytes(100)).unwrap();
    first.grow(bytes(50)).unwrap();
    first.shrink(bytes(30));
    assert!(first.grow(bytes(1000)).is_err());
    assert_eq!(first.bytes(), bytes(120));
    let second = first.split(bytes(70));
    assert_eq!((first.bytes(), second.bytes(), account.used()), (bytes(50), bytes(70), bytes(120)));
    first.merge(second).unwrap();
    let other = budget.account("b", Priority::Write).reserve(bytes(5)).unwrap();
    let other = first.merge(other).unwrap_err();
    assert_eq!((first.bytes(), other.bytes()), (bytes(120), bytes(5)));
    first.resize(bytes(7)).unwrap();
    drop((first, other));
    assert_eq!(budget.used(), Bytes::ZERO);
    assert_eq!(budget.outstanding(), []);
}

#[test]
fn a_forgotten_reservation_is_a_named_leak() {
    let budget = Budget::new(bytes(1000));
    let account = budget.account("store/leaky", Priority::Write);
    std::mem::forget(account.reserve(bytes(42)).unwrap());
    assert_eq!(budget.outstanding()[0].account, "store/leaky");
    let leak = account.close().unwrap_err();
    assert_eq!((leak.account.as_str(), leak.bytes), ("store/leaky", bytes(42)));
    assert_eq!(budget.leaks(), 1);
}

#[test]
#[should_panic(expected = "given back")]
fn giving_back_more_than_was_taken_panics_in_debug() {
    let budget = Budget::new(bytes(1000));
    let mut held = budget.account("a", Priority::Write).reserve(bytes(10)).unwrap();
    held.shrink(bytes(11));
}

#[test]
fn accounts_that_are_gone_leave_the_tree_and_the_tree_sums() {
    let budget = Budget::new(Bytes::mib(1));
    let kept = budget.account("store/a", Priority::Write);
    let _one = kept.reserve(bytes(10)).unwrap();
    let _two = kept.child("deep/er").reserve(bytes(5)).unwrap();
    for index in 0..1000 {
        drop(budget.account(&format!("passing/{index}"), Priority::Query).reserve(bytes(1)));
    }
    let root = budget.explain();
    assert_eq!(root.children.len(), 1);
    let store = &root.children[0];
    assert_eq!((store.name.as_str(), store.bytes, store.total), ("store", Bytes::ZERO, bytes(15)));
    assert_eq!(store.children[0].total, bytes(15));
    assert_eq!(root.total, budget.used());
}

#[test]
fn planted_refusals_hit_the_request_they_name() {
    let budget = Budget::new(bytes(1000));
    let account = budget.account("a", Priority::Write);
    budget.plant_refusal(Some(Refusal::Once(1)));
    let outcomes: Vec<bool> = (0..3).map(|_| account.reserve(bytes(1)).is_ok()).collect();
    assert_eq!(outcomes, [true, false, true]);
    assert_eq!(budget.requests(), 3);
    budget.plant_refusal(Some(Refusal::From(1)));
    let outcomes: Vec<bool> = (0..3).map(|_| account.reserve(bytes(1)).is_ok()).collect();
    assert_eq!(outcomes, [true, false, false]);
}

#[test]
fn what_threads_hold_together_never_exceeds_the_limit() {
    let limit = Bytes::mib(8);
    let budget = Budget::new(limit);
    let held = AtomicU64::new(0);
    let refusals = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (budget, held, refusals) = (&budget, &held, &refusals);
            scope.spawn(move || {
                let account = budget.account(&format!("t/{}", thread % 2), Priority::Write);
                let mut kept: Vec<Reservation> = Vec::new();
                let mut state = thread + 1;
                for _ in 0..50_000 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let size = state >> 43;
                    if state >> 33 & 3 != 0 {
                        match account.reserve(bytes(size)) {
                            Ok(reservation) => {
                                let now = held.fetch_add(size, Ordering::SeqCst) + size;
                                assert!(now <= limit.get(), "{now}");
                                kept.push(reservation);
                            }
                            Err(_) => {
                                refusals.fetch_add(1, Ordering::Relaxed);
                                kept.drain(..).for_each(|one| give(held, one));
                            }
                        }
                    } else if let Some(one) = kept.pop() {
                        give(held, one);
                    }
                }
                kept.drain(..).for_each(|one| give(held, one));
            });
        }
    });
    assert!(refusals.into_inner() > 0, "the limit was never met");
    assert_eq!(budget.used(), Bytes::ZERO);
}

fn give(held: &AtomicU64, reservation: Reservation) {
    held.fetch_sub(reservation.bytes().get(), Ordering::SeqCst);
    drop(reservation);
}

proptest! {
    #[test]
    fn any_sequence_of_requests_matches_a_plain_sum(
        steps in prop::collection::vec((0usize..4, 0u64..400, 0usize..3), 1..200),
    ) {
        let budget = Budget::new(bytes(1000));
        let mut model: Vec<(usize, u64)> = Vec::new();
        let mut held: Vec<Reservation> = Vec::new();
        for (step, size, account) in steps {
            let sum: u64 = model.iter().map(|(_, bytes)| bytes).sum();
            match step {
                0 | 1 => {
                    let name = format!("a/{account}");
                    let outcome = budget.account(&name, Priority::Write).reserve(bytes(size));
                    prop_assert_eq!(outcome.is_ok(), sum + size <= 1000);
                    if let Ok(reservation) = outcome {
                        held.push(reservation);
                        model.push((account, size));
                    }
                }
                2 if !held.is_empty() => {
                    let at = size as usize % held.len();
                    drop(held.swap_remove(at));
                    model.swap_remove(at);
                }
                3 if !held.is_empty() => {
                    let at = account % held.len();
                    let fits = sum - model[at].1 + size <= 1000;
                    prop_assert_eq!(held[at].resize(bytes(size)).is_ok(), fits);
                    if fits {
                        model[at].1 = size;
                    }
                }
                _ => {}
            }
            let sum: u64 = model.iter().map(|(_, bytes)| bytes).sum();
            prop_assert_eq!(budget.used(), bytes(sum));
            prop_assert_eq!(budget.explain().total, bytes(sum));
        }
    }
}
