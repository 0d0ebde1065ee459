//! The object pool against a naive model, under threads, pressure and panics.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use ambit_mem::{
    Account, Budget, Bytes, Lifecycle, ObjectPool, OwnedPooled, PoolConfig, PoolStats, Pooled,
    Priority, Refusal,
};
use proptest::prelude::*;

fn account(budget: &Budget) -> Account {
    budget.account("pool", Priority::Cache)
}

fn config(max_pooled: usize) -> PoolConfig {
    PoolConfig { max_pooled, ..PoolConfig::default() }
}

fn capacity(buffer: &Vec<u8>) -> Bytes {
    Bytes::new(buffer.capacity() as u64)
}

fn buffers(config: PoolConfig, account: &Account) -> ObjectPool<Vec<u8>> {
    let lifecycle = Lifecycle::new(Vec::new, capacity).reset(Vec::clear);
    ObjectPool::new(config, account, lifecycle).unwrap()
}

/// Gives back a buffer of exactly `bytes` bytes.
fn fill(pool: &ObjectPool<Vec<u8>>, bytes: usize) {
    *pool.acquire() = Vec::with_capacity(bytes);
}

/// What a kept buffer costs beyond its capacity.
fn overhead() -> u64 {
    let pool = buffers(config(1), &account(&Budget::new(Bytes::mib(1))));
    drop(pool.acquire());
    pool.stats().retained_bytes.get()
}

#[test]
fn an_object_comes_back_on_drop_early_return_and_panic() {
    fn early(pool: &ObjectPool<Vec<u8>>) -> Option<u8> {
        let mut buffer = pool.acquire();
        buffer.push(1);
        let missing = buffer.get(7)?;
        Some(*missing)
    }
    let pool = buffers(config(4), &account(&Budget::new(Bytes::mib(1))));
    assert_eq!(early(&pool), None);
    let thrown = catch_unwind(AssertUnwindSafe(|| {
        let mut buffer = pool.acquire();
        buffer.push(2);
        panic!("with a buffer in hand");
    }));
    assert!(thrown.is_err());
    assert!(pool.acquire().is_empty());
    let expected = PoolStats {
        total_acquired: 3,
        reused: 2,
        created: 1,
        dropped: 0,
        current_pool_size: 1,
        peak_pool_size: 1,
        retained_bytes: pool.stats().retained_bytes,
    };
    assert_eq!(pool.stats(), expected);
}

#[test]
fn the_number_kept_is_limited_exactly() {
    for max in [0_usize, 1, 2, 31, 32, 33, 100] {
        for out in [max.saturating_sub(1), max, max + 1] {
            let pool = buffers(config(max), &account(&Budget::new(Bytes::mib(1))));
            drop((0..out).map(|_| pool.acquire()).collect::<Vec<_>>());
            let stats = pool.stats();
            assert_eq!(stats.current_pool_size, out.min(max), "{max} {out}");
            assert_eq!(stats.dropped as usize, out - out.min(max));
            assert_eq!(stats.peak_pool_size, stats.current_pool_size);
        }
    }
}

#[test]
fn an_object_at_the_size_limit_is_kept_and_a_byte_more_is_not() {
    let budget = Budget::new(Bytes::mib(1));
    let limit = Bytes::new(overhead() + 1000);
    for (bytes, kept) in [(999, 1), (1000, 1), (1001, 0)] {
        let config = PoolConfig { max_object_bytes: limit, ..config(4) };
        let pool = buffers(config, &account(&budget));
        fill(&pool, bytes);
        assert_eq!(pool.stats().current_pool_size, kept, "{bytes}");
        assert_eq!(pool.stats().dropped, 1 - kept as u64);
    }
}

#[test]
fn the_bytes_kept_together_are_limited_exactly() {
    let budget = Budget::new(Bytes::mib(1));
    for (second, kept) in [(499, 2), (500, 2), (501, 1)] {
        let limit = Bytes::new(2 * overhead() + 1000);
        let pool =
            buffers(PoolConfig { max_retained_bytes: limit, ..config(4) }, &account(&budget));
        let (mut one, mut two) = (pool.acquire(), pool.acquire());
        one.reserve_exact(500);
        two.reserve_exact(second);
        drop((one, two));
        assert_eq!(pool.stats().current_pool_size, kept, "{second}");
    }
}

#[test]
fn the_budget_decides_whether_an_object_is_kept() {
    let budget = Budget::new(Bytes::mib(1));
    let account = budget.account("pool", Priority::Write);
    let pool = buffers(config(4), &account);
    drop(pool.acquire());
    pool.clear();
    let base = budget.used();
    for (bytes, kept) in [(999, 1), (1000, 1), (1001, 0)] {
        pool.clear();
        assert_eq!(budget.used(), base);
        budget.set_limit(Bytes::new(base.get() + overhead() + 1000)).unwrap();
        fill(&pool, bytes);
        assert_eq!(pool.stats().current_pool_size, kept, "{bytes}");
    }
}

#[test]
fn kept_bytes_are_the_account_s_and_all_go_back() {
    let budget = Budget::new(Bytes::mib(1));
    let account = account(&budget);
    let pool = buffers(config(8), &account);
    drop(pool.acquire());
    pool.clear();
    let base = account.used();
    fill(&pool, 4096);
    assert_eq!(account.used(), base.saturating_add(pool.stats().retained_bytes));
    assert_eq!(pool.stats().retained_bytes.get(), overhead() + 4096);
    // A detached object's bytes are its new owner's.
    let taken = Pooled::detach(pool.acquire());
    assert_eq!((taken.capacity(), account.used()), (4096, base));
    fill(&pool, 100);
    assert_eq!(pool.clear().get(), overhead() + 100);
    assert_eq!(account.used(), base);
    drop(pool);
    assert_eq!(budget.used(), Bytes::ZERO);
    assert_eq!(budget.misuses(), 0);
}

#[test]
fn a_pool_that_does_not_fit_is_refused() {
    let budget = Budget::new(Bytes::mib(1));
    let lifecycle = || Lifecycle::new(Vec::new, capacity);
    budget.plant_refusal(None);
    let start = PoolConfig { initial_capacity: 3, ..config(8) };
    let pool = ObjectPool::new(start.clone(), &account(&budget), lifecycle()).unwrap();
    assert_eq!(pool.stats().current_pool_size, 3);
    let requests = budget.requests();
    drop(pool);
    assert!(requests >= 4);
    for request in 0..requests {
        budget.plant_refusal(Some(Refusal::Once(request)));
        assert!(ObjectPool::new(start.clone(), &account(&budget), lifecycle()).is_err());
        assert_eq!(budget.used(), Bytes::ZERO);
    }
}

#[test]
fn first_objects_are_made_ahead_within_the_limits() {
    let budget = Budget::new(Bytes::mib(1));
    let pool = buffers(PoolConfig { initial_capacity: 9, ..config(5) }, &account(&budget));
    assert_eq!(pool.stats().current_pool_size, 5);
    drop((0..5).map(|_| pool.acquire()).collect::<Vec<_>>());
    let stats = pool.stats();
    assert_eq!((stats.created, stats.reused, stats.reuse_rate()), (0, 5, 1.0));
    let small = PoolConfig {
        initial_capacity: 9,
        max_retained_bytes: Bytes::new(2 * overhead() + 1),
        ..config(5)
    };
    assert_eq!(buffers(small, &account(&budget)).stats().current_pool_size, 2);
}

#[test]
fn pressure_empties_the_pool() {
    let budget = Budget::new(Bytes::kib(64));
    let pool = buffers(config(8), &account(&budget));
    drop(pool.acquire());
    pool.clear();
    let base = budget.used();
    let mut all: Vec<_> = (0..8).map(|_| pool.acquire()).collect();
    all.iter_mut().for_each(|buffer| buffer.reserve_exact(4096));
    drop(all);
    assert_eq!(pool.stats().current_pool_size, 8);
    let writer = budget.account("writer", Priority::Write);
    let one_more = budget.free().saturating_add(Bytes::new(1));
    let held = writer.reserve(one_more).unwrap();
    // One object was enough, and no more than one went.
    assert_eq!(pool.stats().current_pool_size, 7);
    drop(held);
    let all = writer.reserve(Bytes::kib(64).saturating_sub(base)).unwrap();
    assert_eq!(pool.stats().current_pool_size, 0);
    // Objects are lent as before, they are only not kept while the budget is full.
    fill(&pool, 4096);
    assert_eq!(pool.stats().current_pool_size, 0);
    drop(all);
    fill(&pool, 4096);
    assert_eq!(pool.stats().current_pool_size, 1);
}

#[test]
fn what_an_ended_thread_left_is_counted_shed_and_inherited() {
    let budget = Budget::new(Bytes::mib(1));
    let pool = buffers(config(8), &account(&budget));
    let leave = |bytes: usize| {
        let pool = pool.clone();
        std::thread::spawn(move || fill(&pool, bytes)).join().unwrap();
    };
    leave(1000);
    let stats = pool.stats();
    assert_eq!((stats.current_pool_size, stats.retained_bytes.get()), (1, overhead() + 1000));
    assert!(budget.used() > stats.retained_bytes);
    assert_eq!(pool.clear(), stats.retained_bytes);
    assert_eq!(pool.stats().current_pool_size, 0);
    leave(2000);
    drop(pool);
    assert_eq!(budget.used(), Bytes::ZERO);
}

#[test]
fn an_object_may_come_back_on_another_thread_and_after_the_pool_is_gone() {
    let budget = Budget::new(Bytes::mib(1));
    let pool = buffers(config(8), &account(&budget));
    let guards: Vec<OwnedPooled<Vec<u8>>> = (0..4).map(|_| pool.acquire_owned()).collect();
    let seen = pool.clone();
    let stats = std::thread::spawn(move || {
        drop(guards);
        seen.stats()
    });
    assert_eq!(stats.join().unwrap().current_pool_size, 4);
    let (mut last, detached) = (pool.acquire_owned(), pool.acquire_owned());
    last.extend_from_slice(&[1, 2, 3]);
    drop(pool);
    assert_eq!(*last, [1, 2, 3]);
    assert_eq!(OwnedPooled::detach(detached).len(), 0);
    drop(last);
    assert_eq!(budget.used(), Bytes::ZERO);
}

#[test]
fn a_forgotten_guard_costs_its_object_and_nothing_else() {
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    let pool = buffers(config(2), &account(&Budget::new(Bytes::mib(1))));
    drop(pool.acquire());
    std::mem::forget(pool.acquire());
    ALIVE.fetch_add(1, Ordering::Relaxed);
    drop((pool.acquire(), pool.acquire()));
    assert_eq!(pool.stats().current_pool_size, 2);
}

/// A key that must be zeros whenever it is dropped.
struct Secret {
    key: [u8; 32],
    padding: Vec<u8>,
}

impl Drop for Secret {
    fn drop(&mut self) {
        assert_eq!(self.key, [0; 32]);
    }
}

#[test]
fn a_reset_clears_secrets_of_objects_kept_oversized_surplus_and_shed() {
    let budget = Budget::new(Bytes::mib(1));
    let make = || Secret { key: [0; 32], padding: Vec::new() };
    let lifecycle = Lifecycle::new(make, |secret: &Secret| capacity(&secret.padding))
        .reset(|secret| secret.key.fill(0));
    let limits = PoolConfig { max_object_bytes: Bytes::kib(1), ..config(1) };
    let pool = ObjectPool::new(limits, &account(&budget), lifecycle).unwrap();
    let (mut kept, mut surplus, mut oversized) = (pool.acquire(), pool.acquire(), pool.acquire());
    for secret in [&mut kept, &mut surplus, &mut oversized] {
        secret.key.fill(7);
    }
    oversized.padding.reserve_exact(2048);
    drop((kept, surplus, oversized));
    let stats = pool.stats();
    assert_eq!((stats.current_pool_size, stats.dropped), (1, 2));
    assert_eq!(pool.acquire().key, [0; 32]);
    pool.clear();
}

#[test]
fn an_object_whose_reset_panics_is_dropped() {
    let budget = Budget::new(Bytes::mib(1));
    let alive = Arc::new(());
    let made = Arc::clone(&alive);
    let lifecycle = Lifecycle::new(move || (Arc::clone(&made), false), |_| Bytes::ZERO)
        .reset(|object| assert!(!object.1, "not fit for use"));
    let pool = ObjectPool::new(config(4), &account(&budget), lifecycle).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| pool.acquire().1 = true)).is_err());
    assert_eq!((pool.stats().current_pool_size, Arc::strong_count(&alive)), (0, 2));
    drop(pool.acquire());
    assert_eq!((pool.stats().current_pool_size, Arc::strong_count(&alive)), (1, 3));
    drop(pool);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[test]
fn a_destructor_that_panics_keeps_no_other_object_alive() {
    struct Bomb(Arc<AtomicUsize>, bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
            assert!(!self.1, "a destructor panics");
        }
    }
    let budget = Budget::new(Bytes::mib(1));
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let lifecycle = Lifecycle::new(move || Bomb(Arc::clone(&count), false), |_| Bytes::ZERO);
    let pool = ObjectPool::new(config(8), &account(&budget), lifecycle).unwrap();
    let mut bombs: Vec<_> = (0..5).map(|_| pool.acquire()).collect();
    bombs[2].1 = true;
    drop(bombs);
    assert!(catch_unwind(AssertUnwindSafe(|| pool.clear())).is_err());
    assert_eq!(dropped.load(Ordering::Relaxed), 5);
    assert_eq!(pool.stats().current_pool_size, 0);
}

#[test]
fn hooks_and_destructors_may_use_the_pool_themselves() {
    thread_local!(static POOL: RefCell<Option<ObjectPool<Vec<u8>>>> = const { RefCell::new(None) });
    fn touch() {
        let pool = POOL.with_borrow(Option::clone);
        if let Some(pool) = pool {
            Pooled::detach(pool.acquire());
            pool.stats();
        }
    }
    let budget = Budget::new(Bytes::mib(1));
    let create = || {
        touch_once();
        Vec::new()
    };
    fn touch_once() {
        thread_local!(static INSIDE: RefCell<bool> = const { RefCell::new(false) });
        if !INSIDE.replace(true) {
            touch();
            INSIDE.set(false);
        }
    }
    let lifecycle = Lifecycle::new(create, |buffer| {
        touch_once();
        capacity(buffer)
    })
    .reset(|buffer: &mut Vec<u8>| {
        touch_once();
        buffer.clear();
    });
    let pool = ObjectPool::new(config(4), &account(&budget), lifecycle).unwrap();
    POOL.set(Some(pool.clone()));
    (0..4).for_each(|_| drop((pool.acquire(), pool.acquire())));
    POOL.set(None);
    assert!(pool.stats().current_pool_size >= 1);
}

#[test]
fn without_tracking_the_counters_stay_zero_and_sizes_are_known() {
    let budget = Budget::new(Bytes::mib(1));
    let pool = buffers(PoolConfig { track_stats: false, ..config(1) }, &account(&budget));
    drop((pool.acquire(), pool.acquire()));
    drop(pool.acquire());
    let stats = pool.stats();
    assert_eq!((stats.total_acquired, stats.reused, stats.created, stats.dropped), (0, 0, 0, 0));
    assert_eq!((stats.current_pool_size, stats.retained_bytes.get()), (1, overhead()));
}

#[test]
fn a_producer_and_a_consumer_on_two_threads_pass_the_same_objects_round() {
    let budget = Budget::new(Bytes::mib(4));
    let pool = buffers(config(100), &account(&budget));
    let rounds = if cfg!(miri) { 200 } else { 20_000 };
    let (send, receive) = mpsc::sync_channel::<OwnedPooled<Vec<u8>>>(8);
    std::thread::scope(|scope| {
        scope.spawn(move || receive.into_iter().for_each(drop));
        for _ in 0..rounds {
            send.send(pool.acquire_owned()).unwrap();
        }
        drop(send);
    });
    let stats = pool.stats();
    assert_eq!(stats.total_acquired, rounds);
    assert_eq!(stats.dropped, 0);
    assert!(stats.created <= 100 + 8, "{stats:?}");
}

#[test]
fn no_object_is_lent_twice_while_threads_borrow_and_another_sheds() {
    let budget = Budget::new(Bytes::mib(4));
    let lifecycle = Lifecycle::new(|| AtomicBool::new(false), |_| Bytes::new(100));
    let pool = ObjectPool::new(config(64), &account(&budget), lifecycle).unwrap();
    let rounds = if cfg!(miri) { 40 } else { 30_000 };
    let working = AtomicUsize::new(3);
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (pool, start, working) = (&pool, &start, &working);
            scope.spawn(move || {
                start.wait();
                for round in 0..rounds {
                    let lent: Vec<_> =
                        (0..1 + (round * 7 + thread) % 5).map(|_| pool.acquire()).collect();
                    for object in &lent {
                        assert!(!object.swap(true, Ordering::Relaxed), "lent twice");
                    }
                    lent.iter().for_each(|object| object.store(false, Ordering::Relaxed));
                }
                working.fetch_sub(1, Ordering::Relaxed);
            });
        }
        start.wait();
        while working.load(Ordering::Relaxed) > 0 {
            assert!(pool.stats().current_pool_size <= 64);
            pool.clear();
        }
    });
    let stats = pool.stats();
    assert_eq!(stats.created, stats.dropped + stats.current_pool_size as u64);
    drop(pool);
    assert_eq!(budget.used(), Bytes::ZERO);
}

/// What the pool is to do, on one thread, told with a vector.
struct Model {
    kept: Vec<u64>,
    out: Vec<u64>,
    max: usize,
    stats: PoolStats,
}

impl Model {
    /// An object of `bytes` was given out: any of the kept ones, or an empty new one.
    fn acquire(&mut self, bytes: u64) {
        self.stats.total_acquired += 1;
        if self.kept.is_empty() {
            self.stats.created += 1;
            assert_eq!(bytes, 0);
        } else {
            self.stats.reused += 1;
            let found = self.kept.iter().position(|kept| *kept == bytes);
            self.kept.swap_remove(found.unwrap());
        }
        self.out.push(bytes);
    }

    fn release(&mut self, index: usize, grow: u64, max_object: u64) {
        let bytes = self.out.swap_remove(index).max(grow);
        if self.kept.len() < self.max && bytes <= max_object {
            self.kept.push(bytes);
        } else {
            self.stats.dropped += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]
    #[test]
    fn on_one_thread_the_pool_does_what_a_vector_would(
        max in 0_usize..80,
        steps in prop::collection::vec((0_u8..8, 0_usize..64, 0_u64..1200), 0..300),
    ) {
        let budget = Budget::new(Bytes::mib(8));
        let base = overhead();
        let limits = PoolConfig { max_object_bytes: Bytes::new(base + 1000), ..config(max) };
        let pool = buffers(limits, &account(&budget));
        let mut model = Model { kept: Vec::new(), out: Vec::new(), max, stats: PoolStats::default() };
        let mut out = Vec::new();
        for (step, index, grow) in steps {
            match step {
                0..4 => {
                    out.push(pool.acquire());
                    model.acquire(out.last().unwrap().capacity() as u64);
                }
                4..7 if !out.is_empty() => {
                    let index = index % out.len();
                    let mut buffer = out.swap_remove(index);
                    if grow as usize > buffer.capacity() {
                        *buffer = Vec::with_capacity(grow as usize);
                    }
                    drop(buffer);
                    model.release(index, grow, 1000);
                }
                7 if index < 4 => {
                    pool.clear();
                    model.stats.dropped += model.kept.len() as u64;
                    model.kept.clear();
                }
                _ => {}
            }
        }
        let stats = pool.stats();
        let expected = PoolStats {
            current_pool_size: model.kept.len(),
            peak_pool_size: stats.peak_pool_size,
            retained_bytes: model.kept.iter().map(|bytes| Bytes::new(bytes + base)).sum(),
            ..model.stats
        };
        prop_assert_eq!(stats, expected);
        prop_assert!(stats.peak_pool_size <= max && stats.peak_pool_size >= stats.current_pool_size);
        drop(out);
        drop(pool);
        prop_assert_eq!(budget.used(), Bytes::ZERO);
    }
}
