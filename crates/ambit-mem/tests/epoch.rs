//! Epochs against what they promise: nothing is freed early, everything is freed in the end, and
//! never more than the cap waits.

#![cfg(not(loom))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use ambit_mem::epoch::{
    Barrier, Collector, CollectorOptions, Guard, Owned, Reader, Refused, Rejected, Shared,
};
use ambit_mem::{Account, Budget, Bytes, Priority};
use proptest::prelude::*;

const BARRIERS: [Barrier; 2] = [Barrier::Auto, Barrier::Full];
/// Rounds of the tests with threads.
const ROUNDS: u64 = if cfg!(miri) { 60 } else { 20_000 };

struct House {
    budget: Budget,
    account: Account,
    collector: Collector,
    reader: Reader,
}

impl House {
    fn new(cap: u64) -> Self {
        Self::with(CollectorOptions::new(Bytes::new(cap)))
    }

    fn with(options: CollectorOptions) -> Self {
        let budget = Budget::new(Bytes::mib(64));
        let account = budget.account("epoch", Priority::Write);
        let collector = Collector::new(&account, options).unwrap();
        let reader = collector.reader("reader").unwrap();
        Self { budget, account, collector, reader }
    }

    fn own<T: Send + Sync + 'static>(&self, value: T) -> Owned<T> {
        Owned::new(&self.account, value, Bytes::ZERO).unwrap()
    }

    fn share<T: Send + Sync + 'static>(&self, value: T) -> Shared<T> {
        Shared::new(&self.collector, self.own(value)).unwrap()
    }

    fn held(&self) -> Bytes {
        self.collector.stats().held
    }
}

/// A value that is recognised when it is read after its destructor, and counts the living.
struct Canary {
    value: u64,
    check: AtomicU64,
    living: Arc<AtomicU64>,
}

const POISON: u64 = 0xDEAD_DEAD_DEAD_DEAD;

impl Canary {
    fn new(value: u64, living: &Arc<AtomicU64>) -> Self {
        living.fetch_add(1, Ordering::Relaxed);
        Self { value, check: AtomicU64::new(!value), living: Arc::clone(living) }
    }

    fn read(&self) -> u64 {
        assert_eq!(self.check.load(Ordering::Relaxed), !self.value, "read after it was freed");
        self.value
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        assert_eq!(self.check.swap(POISON, Ordering::Relaxed), !self.value, "freed twice");
        self.living.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn readers_never_see_what_was_freed_and_all_is_freed_in_the_end() {
    for barrier in BARRIERS {
        let living = Arc::default();
        let cap = Bytes::kib(16);
        let house = House::with(CollectorOptions { cap, barrier });
        let cells = [0, 1, 2].map(|_| house.share(Canary::new(0, &living)));
        let running = AtomicU64::new(2);
        std::thread::scope(|scope| {
            for writer in 0..2 {
                let (house, cells, living, running) = (&house, &cells, &living, &running);
                scope.spawn(move || {
                    for round in 1..=ROUNDS {
                        let cell = &cells[(round % 3) as usize];
                        let mut new = house.own(Canary::new(2 * round + writer, living));
                        // Readers may hold much at a time; they move on.
                        while let Err(Rejected { value, .. }) = cell.replace(&house.collector, new)
                        {
                            new = value;
                            std::thread::yield_now();
                        }
                    }
                    running.fetch_sub(1, Ordering::Relaxed);
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    while running.load(Ordering::Relaxed) > 0 {
                        let mut guard = house.reader.pin().unwrap();
                        let inner = house.reader.pin().unwrap();
                        let seen: Vec<_> = cells.iter().map(|cell| cell.load(&guard)).collect();
                        let again: Vec<_> = cells.iter().map(|cell| cell.load(&inner)).collect();
                        for (first, later) in seen.iter().zip(again) {
                            first.read();
                            later.read();
                        }
                        drop(inner);
                        assert!(guard.repin());
                        cells[0].load(&guard).read();
                    }
                });
            }
        });
        house.collector.flush();
        let stats = house.collector.stats();
        assert_eq!((stats.held, stats.retired), (Bytes::ZERO, 2 * ROUNDS));
        assert_eq!(stats.freed, stats.retired);
        assert!(stats.peak <= cap, "{stats:?}");
        assert_eq!(living.load(Ordering::Relaxed), 3);
        drop(cells);
        assert_eq!(living.load(Ordering::Relaxed), 0);
        let House { budget, account, collector, reader } = house;
        drop((collector, reader, account));
        assert_eq!(budget.outstanding(), []);
    }
}

#[test]
fn a_stalled_reader_holds_what_it_can_see_and_writers_go_on() {
    for barrier in BARRIERS {
        let living = Arc::default();
        let house = House::with(CollectorOptions { cap: Bytes::kib(16), barrier });
        let cell = house.share(Canary::new(1, &living));
        let guard = house.reader.pin().unwrap();
        let stalled = cell.load(&guard);
        for round in 2..ROUNDS {
            cell.replace(&house.collector, house.own(Canary::new(round, &living))).unwrap();
        }
        assert_eq!(stalled.read(), 1);
        let stats = house.collector.stats();
        assert!(stats.peak <= Bytes::kib(3), "{stats:?}");
        let [pinned] = &house.collector.pinned()[..] else { panic!("one reader") };
        assert_eq!((&*pinned.name, pinned.thread), ("reader", Some(std::thread::current().id())));
        assert!(pinned.holds > Bytes::ZERO && pinned.holds <= stats.held, "{pinned:?}");
        drop(guard);
        assert!(house.collector.pinned().is_empty());
        house.collector.flush();
        assert_eq!((house.held(), living.load(Ordering::Relaxed)), (Bytes::ZERO, 1));
    }
}

#[test]
fn garbage_is_refused_over_the_cap_and_nothing_is_lost() {
    let living = Arc::default();
    let weight = House::new(1 << 20).own(Canary::new(0, &living)).weight().get();
    // The guard sees both objects that would be retired. The cap has room for two of them, but for
    // one byte; just; and with one more.
    for (cap, fits) in [(2 * weight - 1, 1), (2 * weight, 2), (2 * weight + 1, 2)] {
        let house = House::new(cap);
        let cells: Vec<_> = (0..3).map(|n| house.share(Canary::new(n, &living))).collect();
        let guard = house.reader.pin().unwrap();
        let seen: Vec<_> = cells.iter().map(|cell| cell.load(&guard)).collect();
        let mut taken = 0;
        for cell in &cells {
            match cell.replace(&house.collector, house.own(Canary::new(10, &living))) {
                Ok(()) => taken += 1,
                Err(Rejected { value, reason: Refused::Full(full) }) => {
                    assert_eq!(value.read(), 10);
                    let name = full.reader.as_ref().map(|(name, _)| &**name);
                    assert_eq!(name, Some("reader"), "{full}");
                    assert_eq!((full.requested, full.cap), (Bytes::new(weight), Bytes::new(cap)));
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(taken, fits);
        assert!(house.held() <= Bytes::new(cap));
        assert_eq!(house.collector.stats().refused, 3 - fits);
        assert_eq!(seen.iter().map(|seen| seen.read()).collect::<Vec<_>>(), [0, 1, 2]);
        drop(guard);
        cells[2].replace(&house.collector, house.own(Canary::new(11, &living))).unwrap();
    }
    assert_eq!(living.load(Ordering::Relaxed), 0);
}

#[test]
fn an_object_is_refused_if_the_cap_is_one_byte_smaller() {
    let living = Arc::default();
    let weight = House::new(1 << 20).own(Canary::new(0, &living)).weight().get();
    for (cap, fits) in [(weight - 1, false), (weight, true), (weight + 1, true)] {
        let house = House::new(cap);
        let new = Shared::new(&house.collector, house.own(Canary::new(0, &living)));
        assert_eq!(new.is_ok(), fits, "{cap}");
        if let Ok(cell) = new {
            let heap = Bytes::new(cap - weight + 1);
            let large = Owned::new(&house.account, Canary::new(1, &living), heap).unwrap();
            let error = cell.replace(&house.collector, large).unwrap_err();
            assert!(error.to_string().contains("would fit it"), "{error}");
            cell.replace(&house.collector, house.own(Canary::new(2, &living))).unwrap();
        }
    }
    assert_eq!(living.load(Ordering::Relaxed), 0);
}

#[test]
fn bytes_stay_reserved_until_the_object_is_freed() {
    let house = House::new(1 << 20);
    let before = house.budget.used();
    let cell = Shared::new(
        &house.collector,
        Owned::new(&house.account, vec![0u8; 1000], Bytes::new(1000)).unwrap(),
    )
    .unwrap();
    let guard = house.reader.pin().unwrap();
    let slot = house.budget.used();
    cell.load(&guard);
    cell.replace(&house.collector, house.own(Vec::new())).unwrap();
    house.collector.flush();
    assert!(house.budget.used() >= slot, "the reader still sees a kilobyte");
    drop(guard);
    assert!(house.collector.flush() >= Bytes::new(1000));
    assert!(house.budget.used() < slot);
    drop(cell);
    assert!(house.budget.used() >= before && house.held() == Bytes::ZERO);
}

#[test]
fn what_does_not_fit_the_budget_is_made_room_for_by_freeing() {
    let budget = Budget::new(Bytes::kib(512));
    let account = budget.account("epoch", Priority::Write);
    let options = CollectorOptions::new(Bytes::mib(16));
    let collector = Collector::new(&account, options).unwrap();
    let large = || Owned::new(&account, [0u8; 100], Bytes::kib(100));
    let cell = Shared::new(&collector, large().unwrap()).unwrap();
    // Far below the cap, so no collection comes by itself.
    for _ in 0..100 {
        cell.replace(&collector, large().unwrap()).unwrap();
    }
    let other = budget.account("other", Priority::Write);
    assert!(other.reserve(Bytes::kib(390)).is_ok());
    let reader = collector.reader("slow").unwrap();
    let guard = reader.pin().unwrap();
    let kept = cell.load(&guard);
    cell.replace(&collector, large().unwrap()).unwrap();
    assert!(other.reserve(Bytes::kib(390)).is_err());
    assert_eq!(kept[0], 0);
    drop(guard);
    assert!(other.reserve(Bytes::kib(390)).is_ok());
}

#[test]
fn retired_things_wait_for_every_thread_that_was_pinned() {
    let living = Arc::default();
    let house = House::new(1 << 20);
    let guard = house.reader.pin().unwrap();
    house.collector.flush();
    house.collector.retire(house.own(Canary::new(1, &living))).unwrap();
    house.collector.flush();
    assert_eq!(living.load(Ordering::Relaxed), 1);
    drop(guard);
    let _later = house.reader.pin().unwrap();
    house.collector.flush();
    assert_eq!(living.load(Ordering::Relaxed), 0);
    let full = House::new(10);
    let rejected = full.collector.retire(full.own(Canary::new(2, &living))).unwrap_err();
    assert_eq!(rejected.value.into_value().read(), 2);
}

#[test]
fn guards_nest_in_any_order() {
    let living = Arc::default();
    let house = House::new(1 << 20);
    let cell = house.share(Canary::new(1, &living));
    let mut outer = house.reader.pin().unwrap();
    let inner = house.reader.pin().unwrap();
    assert!(!outer.repin());
    drop(outer);
    let seen = cell.load(&inner);
    cell.replace(&house.collector, house.own(Canary::new(2, &living))).unwrap();
    house.collector.flush();
    assert_eq!(seen.read(), 1);
    drop(inner);
    assert_eq!(house.collector.flush(), house.own(Canary::new(0, &living)).weight());
}

#[test]
fn a_replacement_is_made_only_of_what_was_seen() {
    let house = House::new(1 << 20);
    let cell = house.share(1u64);
    let (first, second) = (house.reader.pin().unwrap(), house.reader.pin().unwrap());
    let seen = cell.load(&first);
    cell.replace_if(&house.collector, seen, house.own(seen + 1)).unwrap();
    let rejected = cell.replace_if(&house.collector, seen, house.own(seen + 1)).unwrap_err();
    assert_eq!(rejected.reason, Refused::Changed);
    assert_eq!(*cell.load(&second), 2);
    let other = House::new(1 << 20);
    let rejected = cell.replace(&other.collector, other.own(7)).unwrap_err();
    assert_eq!(rejected.reason, Refused::Foreign);
    drop((first, second));
    let mut cell = cell;
    *cell.get_mut() = 5;
    assert_eq!(cell.into_owned().into_value(), 5);
}

#[test]
#[should_panic(expected = "another collector")]
fn a_guard_of_another_collector_is_not_taken() {
    let (house, other) = (House::new(1 << 20), House::new(1 << 20));
    let cell = house.share(1u64);
    let guard = other.reader.pin().unwrap();
    cell.load(&guard);
}

/// A list whose nodes own their successors.
struct Link {
    value: u64,
    next: Option<Shared<Link>>,
    _canary: Canary,
}

#[test]
fn what_an_object_owns_goes_with_it_and_not_before() {
    let living = Arc::default();
    let house = House::new(1 << 20);
    let link = |value, next| Link { value, next, _canary: Canary::new(value, &living) };
    let list = (1..10)
        .fold(house.share(link(0, None)), |next, value| house.share(link(value, Some(next))));
    let guard = house.reader.pin().unwrap();
    let mut at = list.load(&guard);
    house.collector.flush();
    list.replace(&house.collector, house.own(link(100, None))).unwrap();
    house.collector.flush();
    while let Some(next) = &at.next {
        let value = at.value;
        at = next.load(&guard);
        assert_eq!(at.value, value - 1);
        // A writer inside what is retired already.
        if at.value == 5 {
            let tail = at.next.as_ref().unwrap();
            tail.replace(&house.collector, house.own(link(4, None))).unwrap();
            house.collector.flush();
        }
    }
    assert_eq!(at.value, 4);
    drop(guard);
    house.collector.flush();
    assert_eq!(living.load(Ordering::Relaxed), 1);
}

#[test]
fn destructors_may_use_the_collector_and_may_panic() {
    struct Again(Collector, Account, bool);
    impl Drop for Again {
        fn drop(&mut self) {
            let owned = Owned::new(&self.1, 7u64, Bytes::ZERO).unwrap();
            self.0.retire(owned).unwrap();
            assert!(!self.2, "on purpose");
        }
    }
    let house = House::new(1 << 20);
    for is_last in [false, true, false] {
        let again = Again(house.collector.clone(), house.account.clone(), is_last);
        house.collector.retire(house.own(again)).unwrap();
    }
    let flush = std::panic::AssertUnwindSafe(|| house.collector.flush());
    assert!(std::panic::catch_unwind(flush).is_err());
    (0..3).for_each(|_| _ = house.collector.flush());
    let stats = house.collector.stats();
    assert_eq!((stats.held, stats.freed), (Bytes::ZERO, 6));
}

#[test]
fn slots_of_ended_threads_are_used_again() {
    let house = House::new(1 << 20);
    let pin = || drop(house.reader.pin().unwrap());
    std::thread::scope(|scope| _ = scope.spawn(pin).join());
    let used = house.budget.used();
    for _ in 0..if cfg!(miri) { 10 } else { 300 } {
        std::thread::scope(|scope| _ = scope.spawn(pin).join());
    }
    assert!(house.collector.pinned().is_empty());
    // Other tests run beside and take numbers, too: at most a few buckets came.
    assert!(house.budget.used().get() < used.get() + (8 << 10));
}

/// A guard in a thread-local, whose destructor may run after that of the thread's number.
struct Late {
    guard: RefCell<Option<Guard<'static>>>,
    cell: &'static Shared<Canary>,
    reader: &'static Reader,
    was_run: &'static AtomicBool,
}

impl Drop for Late {
    fn drop(&mut self) {
        let guard = self.guard.take().unwrap();
        self.cell.load(&guard).read();
        drop(guard);
        let late = self.reader.pin().unwrap();
        self.cell.load(&late).read();
        self.was_run.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_guard_may_outlive_its_threads_number_and_a_pin_may_come_after() {
    thread_local! {
        static FIRST: RefCell<Option<Late>> = const { RefCell::new(None) };
        static LAST: RefCell<Option<Late>> = const { RefCell::new(None) };
    }
    static HOUSE: OnceLock<House> = OnceLock::new();
    static CELL: OnceLock<Shared<Canary>> = OnceLock::new();
    static WAS_RUN: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
    let living: Arc<AtomicU64> = Arc::default();
    let house = HOUSE.get_or_init(|| House::new(1 << 20));
    let cell = CELL.get_or_init(|| house.share(Canary::new(1, &living)));
    let thread = std::thread::spawn(move || {
        // Once before the thread's number is drawn, once after, so that one of the two goes
        // after the number does, in whatever order thread-locals go.
        FIRST.with(|_| ());
        let late = |was_run| {
            let guard = RefCell::new(Some(house.reader.pin().unwrap()));
            Late { guard, cell, reader: &house.reader, was_run }
        };
        FIRST.set(Some(late(&WAS_RUN[0])));
        LAST.set(Some(late(&WAS_RUN[1])));
    });
    thread.join().unwrap();
    assert!(WAS_RUN.iter().all(|flag| flag.load(Ordering::Relaxed)));
    assert!(house.collector.pinned().is_empty());
    cell.replace(&house.collector, house.own(Canary::new(2, &living))).unwrap();
    house.collector.flush();
    assert_eq!(living.load(Ordering::Relaxed), 1);
}

#[test]
fn a_forgotten_guard_holds_on_and_its_thread_number_is_left() {
    let living = Arc::default();
    let house = House::new(1 << 20);
    let cell = house.share(Canary::new(1, &living));
    std::thread::scope(|scope| {
        let forget = || std::mem::forget(house.reader.pin().unwrap());
        scope.spawn(forget).join().unwrap();
        cell.replace(&house.collector, house.own(Canary::new(2, &living))).unwrap();
        // Later threads do not take the forgotten guard for their own.
        for _ in 0..8 {
            scope.spawn(|| cell.load(&house.reader.pin().unwrap()).read()).join().unwrap();
        }
    });
    house.collector.flush();
    assert_eq!((living.load(Ordering::Relaxed), house.collector.pinned().len()), (2, 1));
}

/// What one of a few guards may do.
#[derive(Debug, Clone)]
enum Step {
    Pin(usize),
    Load(usize, usize),
    Unpin(usize),
    Replace(usize),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0usize..3).prop_map(Step::Pin),
        3 => (0usize..3, 0usize..2).prop_map(|(guard, cell)| Step::Load(guard, cell)),
        3 => (0usize..3).prop_map(Step::Unpin),
        4 => (0usize..2).prop_map(Step::Replace),
        1 => Just(Step::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Each guard is of another thread, which does one step at a time. The model knows what each
    /// guard has loaded: that must live, and what nobody could have loaded must be gone after a
    /// flush.
    #[test]
    fn what_is_loaded_lives_and_what_is_out_of_reach_goes(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let living = Arc::default();
        let house = House::new(4 << 10);
        let cells = [0, 1].map(|_| house.share(Canary::new(0, &living)));
        let outcome = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| Puppet::spawn(scope, &house, &cells)).collect();
            let mut is_pinned = [false; 3];
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Pin(guard) if !is_pinned[guard] => {
                        is_pinned[guard] = true;
                        threads[guard].tell(Order::Pin);
                    }
                    Step::Load(guard, cell) if is_pinned[guard] => {
                        threads[guard].tell(Order::Load(cell));
                    }
                    Step::Unpin(guard) if is_pinned[guard] => {
                        is_pinned[guard] = false;
                        threads[guard].tell(Order::Unpin);
                    }
                    Step::Pin(_) | Step::Load(..) | Step::Unpin(_) => {}
                    Step::Replace(cell) => {
                        let new = house.own(Canary::new(number as u64, &living));
                        // Refused at times, for good reason: then somebody is pinned.
                        if let Err(rejected) = cells[cell].replace(&house.collector, new) {
                            prop_assert!(is_pinned.contains(&true), "{rejected}");
                        }
                    }
                    Step::Flush => {
                        house.collector.flush();
                        if !is_pinned.contains(&true) {
                            prop_assert_eq!(living.load(Ordering::Relaxed), 2);
                        }
                    }
                }
                prop_assert!(house.held() <= Bytes::kib(4));
            }
            Ok(())
        });
        outcome?;
        house.collector.flush();
        prop_assert_eq!(living.load(Ordering::Relaxed), 2);
    }
}

enum Order {
    Pin,
    Load(usize),
    Unpin,
}

/// A thread that does what it is told, and checks everything that it ever loaded after each order.
struct Puppet {
    orders: std::sync::mpsc::Sender<Order>,
    done: std::sync::mpsc::Receiver<()>,
}

impl Puppet {
    fn spawn<'s>(
        scope: &'s std::thread::Scope<'s, '_>,
        house: &'s House,
        cells: &'s [Shared<Canary>; 2],
    ) -> Self {
        let (orders, received) = std::sync::mpsc::channel();
        let (finished, done) = std::sync::mpsc::channel();
        scope.spawn(move || {
            while let Ok(order) = received.recv() {
                assert!(matches!(order, Order::Pin));
                let guard = house.reader.pin().unwrap();
                let mut seen = Vec::new();
                loop {
                    seen.iter().for_each(|canary: &&Canary| _ = canary.read());
                    finished.send(()).unwrap();
                    match received.recv() {
                        Ok(Order::Load(cell)) => seen.push(cells[cell].load(&guard)),
                        Ok(Order::Pin) => unreachable!("pinned already"),
                        Ok(Order::Unpin) => break,
                        Err(_) => return,
                    }
                }
                drop(guard);
                finished.send(()).unwrap();
            }
        });
        Self { orders, done }
    }

    fn tell(&self, order: Order) {
        self.orders.send(order).unwrap();
        self.done.recv().unwrap();
    }
}
