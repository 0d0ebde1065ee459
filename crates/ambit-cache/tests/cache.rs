//! The cache against a model that knows no eviction, under threads, at its limits, over time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use ambit_cache::policy::{Adaptive, Fifo, Lfu, Lru, Policy, S3Fifo, Sieve, TinyLfu};
use ambit_cache::{Advice, Cache, CacheConfig, Clock, InsertError, Resizable, balance};
use ambit_mem::{Account, Budget, Bytes, Priority};
use proptest::prelude::*;

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0 >> 33
    }
}

fn account(limit: Bytes) -> (Budget, Account) {
    let budget = Budget::new(limit);
    let account = budget.account("cache", Priority::Cache);
    (budget, account)
}

fn cache(cap: Bytes) -> (Account, Cache<u64, Vec<u8>>) {
    let (_, account) = account(Bytes::gib(1));
    let cache = Cache::new(CacheConfig::new(cap), &account).unwrap();
    (account, cache)
}

#[derive(Debug, Clone)]
enum Step {
    Get(u64),
    Insert(u64, usize),
    InsertWith(u64, usize),
    Load(u64, usize),
    Remove(u64),
    Pin(u64),
    Unpin(u64),
    Clear,
    Cap(u64),
    Advance(u64),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || prop_oneof![3 => 0..10_u64, 1 => 0..300_u64];
    let size = || prop_oneof![8 => 0..400_usize, 1 => 0..40_000_usize];
    prop_oneof![
        8 => key().prop_map(Step::Get),
        8 => (key(), size()).prop_map(|(key, size)| Step::Insert(key, size)),
        4 => (key(), size()).prop_map(|(key, size)| Step::InsertWith(key, size)),
        4 => (key(), size()).prop_map(|(key, size)| Step::Load(key, size)),
        2 => key().prop_map(Step::Remove),
        1 => key().prop_map(Step::Pin),
        1 => key().prop_map(Step::Unpin),
        1 => Just(Step::Clear),
        1 => (20..64_u64).prop_map(Step::Cap),
        1 => (0..3000_u64).prop_map(Step::Advance),
        1 => Just(Step::Sweep),
    ]
}

/// Whatever is returned is what was put in last, and has not ended; pinned entries stay; the cap
/// holds and the account agrees after every step.
fn follows_its_model<P: Policy + Default + 'static>(steps: &[Step]) -> Result<(), TestCaseError> {
    let (_budget, account) = account(Bytes::mib(8));
    let clock = Clock::manual();
    let config = CacheConfig::<P> {
        ttl: Some(Duration::from_secs(2)),
        idle: Some(Duration::from_secs(1)),
        parts: Some(2),
        clock: clock.clone(),
        ..CacheConfig::new(Bytes::kib(32))
    };
    let cache: Cache<u64, Vec<u8>, P> = Cache::new(config, &account).unwrap();
    // Value, end, asked last, pinned.
    let mut model: HashMap<u64, (Vec<u8>, u64, u64, bool)> = HashMap::new();
    let (mut now, mut serial) = (0_u64, 0_u8);
    for step in steps {
        serial = serial.wrapping_add(1);
        let value = |size: usize| vec![serial; size];
        let ended =
            |it: &(Vec<u8>, u64, u64, bool), now: u64| now / 125 >= it.1 || now / 125 - it.2 >= 8;
        match *step {
            Step::Get(key) => {
                let got = cache.get(&key);
                match model.get_mut(&key) {
                    Some(it) if ended(it, now) => {
                        prop_assert_eq!(got, None);
                        model.remove(&key);
                    }
                    Some(it) => {
                        prop_assert!(got.is_some() || !it.3, "a pinned entry went");
                        if let Some(got) = got {
                            prop_assert_eq!(&got, &it.0);
                            it.2 = now / 125;
                        }
                    }
                    None => prop_assert_eq!(got, None),
                }
            }
            Step::Insert(key, size) | Step::InsertWith(key, size) => {
                let put = match step {
                    Step::Insert(..) => cache.insert(key, value(size)),
                    _ => cache.insert_with(key, size, || value(size)),
                };
                let pinned = model.remove(&key).is_some_and(|it| it.3 && cache.contains(&key));
                if put.is_ok() {
                    let pinned = pinned && { cache.pin(&key) };
                    let at = now / 125;
                    model.insert(key, (value(size), at + 16, at, pinned));
                } else {
                    prop_assert!(!cache.contains(&key), "what was refused left something behind");
                }
            }
            Step::Load(key, size) => {
                let loaded = Cell::new(false);
                let got = cache.get_or_load(&key, || {
                    loaded.set(true);
                    Ok::<_, ()>(value(size))
                });
                let at = now / 125;
                if loaded.get() {
                    model.remove(&key);
                    model.insert(key, (value(size), at + 16, at, false));
                } else {
                    let it = model.get_mut(&key).unwrap();
                    prop_assert!(!ended(it, now));
                    prop_assert_eq!(&got.unwrap(), &it.0);
                    it.2 = at;
                }
            }
            Step::Remove(key) => {
                let removed = cache.remove(&key);
                let known = model.remove(&key);
                if let Some(removed) = removed {
                    prop_assert_eq!(removed, known.unwrap().0);
                }
            }
            Step::Pin(key) => {
                if cache.pin(&key) {
                    let it = model.get_mut(&key).unwrap();
                    (it.3, it.2) = (true, now / 125);
                }
            }
            Step::Unpin(key) => {
                if cache.unpin(&key) {
                    let it = model.get_mut(&key).unwrap();
                    (it.3, it.2) = (false, now / 125);
                }
            }
            Step::Clear => {
                cache.clear();
                model.clear();
                prop_assert_eq!(cache.len(), 0);
            }
            Step::Cap(kib) => {
                let set = cache.set_cap(Bytes::kib(kib));
                prop_assert!(set.is_ok() || cache.stats().pinned > Bytes::ZERO);
            }
            Step::Advance(by) => {
                clock.advance(Duration::from_millis(by));
                now += by;
            }
            Step::Sweep => {
                cache.remove_expired();
            }
        }
        let stats = cache.stats();
        prop_assert_eq!(account.used(), stats.granted);
        let pinned_over = stats.pinned > Bytes::ZERO && stats.granted > stats.cap;
        prop_assert!(stats.granted <= stats.cap || pinned_over, "{:?}", stats);
        let left = stats.removed
            + stats.replaced
            + stats.expired
            + stats.evicted_for_room
            + stats.evicted_on_request;
        prop_assert_eq!(stats.inserted, left + stats.entries, "{:?}", stats);
    }
    drop(cache);
    prop_assert_eq!(account.used(), Bytes::ZERO);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 48 }))]

    #[test]
    fn a_cache_returns_what_was_put_in_last_and_its_bytes_add_up(
        steps in prop::collection::vec(step(), 1..400),
    ) {
        follows_its_model::<Adaptive>(&steps)?;
        follows_its_model::<Lru>(&steps)?;
        follows_its_model::<Lfu>(&steps)?;
        follows_its_model::<Fifo>(&steps)?;
        follows_its_model::<Sieve>(&steps)?;
        follows_its_model::<S3Fifo>(&steps)?;
        follows_its_model::<TinyLfu>(&steps)?;
    }
}

#[test]
fn a_value_fits_up_to_the_cap_and_not_beyond() {
    let (_, empty) = cache(Bytes::kib(256));
    let InsertError::TooLarge { needed, cap } = empty.insert(0, vec![0; 1 << 20]).unwrap_err()
    else {
        panic!("larger than the cap");
    };
    assert_eq!(cap, Bytes::kib(256));
    assert!(needed > Bytes::mib(1));
    // The largest that fits into the empty cache, found by trying.
    let fits = |len: usize| {
        let (account, cache) = cache(Bytes::kib(256));
        let fits = cache.insert(1, vec![0; len]).is_ok();
        assert!(account.used() <= Bytes::kib(256));
        assert_eq!(cache.len(), usize::from(fits));
        fits
    };
    let (mut least, mut most) = (0_usize, 256_usize << 10);
    while least + 1 < most {
        let middle = least.midpoint(most);
        if fits(middle) { least = middle } else { most = middle }
    }
    assert!(fits(least - 1) && fits(least) && !fits(least + 1));
    assert!(least > 200 << 10, "{least} bytes of 256 KiB");
}

#[test]
fn large_values_push_out_small_ones_of_all_parts() {
    let (account, cache) = cache(Bytes::mib(1));
    (0..4_000).for_each(|key| cache.insert(key, vec![0; 200]).unwrap());
    cache.insert(9_999, vec![1; 800 << 10]).unwrap();
    assert_eq!(cache.get(&9_999).map(|value| value.len()), Some(800 << 10));
    assert!(account.used() <= Bytes::mib(1));
    // And small ones come in again afterwards.
    (0..4_000).for_each(|key| cache.insert(key, vec![0; 200]).unwrap());
    assert!(cache.len() > 2_000, "{} {:?} {}", cache.len(), cache.stats(), cache.contains(&9_999));
}

#[test]
fn an_account_that_has_no_more_makes_the_cache_smaller_and_not_wrong() {
    let (budget, account) = account(Bytes::kib(400));
    let cache: Cache<u64, Vec<u8>> = Cache::new(CacheConfig::new(Bytes::mib(8)), &account).unwrap();
    (0..10_000).for_each(|key| cache.insert(key, vec![0; 300]).unwrap());
    assert!(budget.used() <= Bytes::kib(400));
    assert!(cache.len() > 500, "{}", cache.len());
}

#[test]
fn bytes_that_are_wanted_elsewhere_are_given_back() {
    let budget = Budget::new(Bytes::mib(4));
    let account = budget.account("cache", Priority::Cache);
    let cache: Cache<u64, Vec<u8>> = Cache::new(CacheConfig::new(Bytes::mib(3)), &account).unwrap();
    (0..20_000).for_each(|key| cache.insert(key, vec![0; 300]).unwrap());
    assert!(account.used() > Bytes::mib(2));
    let writer = budget.account("writer", Priority::Write);
    let held = writer.reserve(Bytes::mib(3)).unwrap();
    assert!(account.used() <= Bytes::mib(1));
    assert!(cache.stats().evicted_on_request > 0);
    (0..20_000).for_each(|key| cache.insert(key, vec![0; 300]).unwrap());
    assert!(budget.used() <= Bytes::mib(4));
    drop(held);
}

#[test]
fn clear_gives_all_but_the_empty_cache_back() {
    let (account, cache) = cache(Bytes::mib(4));
    let empty = account.used();
    for _ in 0..3 {
        (0..30_000).for_each(|key| cache.insert(key, vec![0; 300]).unwrap());
        assert!(account.used() > Bytes::mib(3));
        cache.clear();
        assert_eq!((account.used(), cache.len()), (empty, 0));
    }
}

#[test]
fn a_cap_is_changed_while_others_use_the_cache() {
    let (account, cache) = cache(Bytes::mib(4));
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let cache = &cache;
            scope.spawn(move || {
                for key in 0..20_000 {
                    cache.insert(key * 3 + thread, vec![0; 100 + key as usize % 300]).unwrap();
                    cache.get(&(key / 2));
                }
            });
        }
        for kib in [512, 4096, 256, 1024] {
            cache.set_cap(Bytes::kib(kib)).unwrap();
        }
    });
    assert!(account.used() <= Bytes::mib(1));
    assert!(cache.len() > 300, "{}", cache.len());
}

#[test]
fn pinned_entries_stay_and_too_many_of_them_are_said_to_be_in_the_way() {
    let (_, cache) = cache(Bytes::kib(256));
    for key in 0..10 {
        cache.insert(key, vec![0; 20 << 10]).unwrap();
        assert!(cache.pin(&key));
    }
    (100..2_000).for_each(|key| cache.insert(key, vec![0; 500]).unwrap());
    assert!((0..10).all(|key| cache.contains(&key)));
    let error = cache.insert(10, vec![0; 100 << 10]).unwrap_err();
    assert!(matches!(error, InsertError::NoRoom { pinned, .. } if pinned > Bytes::kib(200)));
    assert!(cache.set_cap(Bytes::kib(128)).is_err());
    (0..10).for_each(|key| assert!(cache.unpin(&key)));
    cache.set_cap(Bytes::kib(256)).unwrap();
    cache.insert(10, vec![0; 100 << 10]).unwrap();
}

#[test]
fn an_entry_ends_at_its_moment_and_not_before() {
    let clock = Clock::manual();
    let (_, account) = account(Bytes::mib(8));
    let config = CacheConfig {
        ttl: Some(Duration::from_millis(1000)),
        clock: clock.clone(),
        ..CacheConfig::new(Bytes::kib(64))
    };
    let cache: Cache<u64, u64> = Cache::new(config, &account).unwrap();
    cache.insert(1, 1).unwrap();
    cache.insert_for(Duration::from_millis(500), 2, 2).unwrap();
    clock.advance(Duration::from_millis(499));
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(1), Some(2)));
    clock.advance(Duration::from_millis(1));
    assert_eq!((cache.get(&1), cache.get(&2)), (Some(1), None));
    clock.advance(Duration::from_millis(499));
    assert_eq!(cache.get(&1), Some(1));
    clock.advance(Duration::from_millis(1));
    assert_eq!(cache.remove_expired(), 1);
    assert_eq!((cache.len(), cache.stats().expired), (0, 2));
}

#[test]
fn many_ask_and_one_loads() {
    let (_, cache) = cache(Bytes::mib(1));
    let (loads, start) = (AtomicU64::new(0), Barrier::new(8));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                for key in 0..200 {
                    let value = cache.get_or_load(&key, || {
                        loads.fetch_add(1, Ordering::Relaxed);
                        std::thread::yield_now();
                        Ok::<_, ()>(vec![key as u8; 10])
                    });
                    assert_eq!(value.unwrap(), vec![key as u8; 10]);
                }
            });
        }
    });
    assert_eq!(loads.load(Ordering::Relaxed), 200);
}

#[test]
fn a_failed_load_is_an_error_and_is_tried_again() {
    let (_, cache) = cache(Bytes::mib(1));
    assert_eq!(cache.get_or_load(&1, || Err("no disk")), Err("no disk"));
    let panics = std::panic::AssertUnwindSafe(|| {
        let _ = cache.get_or_load(&1, || -> Result<Vec<u8>, ()> { panic!("in the load") });
    });
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!(cache.get_or_load(&1, || Ok::<_, ()>(vec![7])), Ok(vec![7]));
    assert_eq!((cache.stats().loads, cache.stats().failed_loads), (1, 1));
}

#[test]
fn a_load_may_use_the_cache_even_for_its_own_key() {
    let (_, cache) = cache(Bytes::mib(1));
    let inner = || cache.get_or_load(&1, || Ok::<_, ()>(vec![1]));
    let value = cache.get_or_load(&1, || {
        cache.insert(2, inner()?).unwrap();
        Ok::<_, ()>(vec![3])
    });
    assert_eq!(value, Ok(vec![3]));
    assert_eq!(cache.get(&2), Some(vec![1]));
}

#[test]
fn what_is_put_in_or_taken_out_during_a_load_is_not_undone_by_it() {
    let (_, cache) = cache(Bytes::mib(1));
    let loaded = cache.get_or_load(&1, || {
        cache.insert(1, vec![2]).unwrap();
        Ok::<_, ()>(vec![1])
    });
    assert_eq!((loaded, cache.get(&1)), (Ok(vec![1]), Some(vec![2])));
    let loaded = cache.get_or_load(&3, || {
        cache.insert(3, vec![2]).unwrap();
        cache.remove(&3);
        Ok::<_, ()>(vec![1])
    });
    assert_eq!((loaded, cache.get(&3)), (Ok(vec![1]), None));
    let loaded = cache.get_or_load(&4, || {
        cache.clear();
        Ok::<_, ()>(vec![1])
    });
    assert_eq!((loaded, cache.len()), (Ok(vec![1]), 0));
}

/// Uses the cache when it is dropped.
#[derive(Clone)]
struct Meddler(Option<Arc<Cache<u64, Meddler>>>);

impl ambit_cache::Weigh for Meddler {
    fn heap_bytes(&self) -> usize {
        1000
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        if let Some(cache) = &self.0 {
            cache.contains(&1);
            cache.pin(&2);
            cache.unpin(&2);
        }
    }
}

#[test]
fn a_value_that_uses_the_cache_when_dropped_does_not_lock_it_up() {
    let (_, account) = account(Bytes::mib(8));
    let config = CacheConfig { parts: Some(1), ..CacheConfig::new(Bytes::kib(64)) };
    let cache: Arc<Cache<u64, Meddler>> = Arc::new(Cache::new(config, &account).unwrap());
    for key in 0..200 {
        cache.insert(key, Meddler(Some(Arc::clone(&cache)))).unwrap();
    }
    cache.remove(&150);
    cache.clear();
    assert_eq!(cache.len(), 0);
}

#[test]
fn bytes_move_to_the_cache_where_they_save_most() {
    let (_, account) = account(Bytes::mib(8));
    let make = |name: &str| -> Cache<u64, Vec<u8>> {
        Cache::new(CacheConfig::new(Bytes::kib(512)), &account.child(name)).unwrap()
    };
    let (small, large) = (make("small"), make("large"));
    let ask = |cache: &Cache<u64, Vec<u8>>, key: u64| {
        cache.get_or_load(&key, || Ok::<_, ()>(vec![0; 900])).unwrap();
    };
    // One asks for a hundred keys over and over, the other for seven hundred.
    let (mut rounds, mut random) = (0.., Random(3));
    let mut work = |requests: u64| {
        for _ in 0..requests {
            let at = rounds.next().unwrap_or(0_u64);
            ask(&small, at % 100);
            ask(&large, random.next() % 700);
        }
    };
    work(20_000);
    let before = large.stats();
    let caches: [&dyn Resizable; 2] = [&small, &large];
    let mut moved = Bytes::ZERO;
    while let Some(step) = balance(&caches, Bytes::kib(64)).unwrap() {
        assert_eq!((step.from, step.to), (0, 1));
        moved = moved.saturating_add(step.bytes);
        work(4_000);
    }
    assert!(moved >= Bytes::kib(64), "{moved}");
    assert_eq!(small.cap().saturating_add(large.cap()), Bytes::mib(1));
    work(4_000);
    let after = large.stats();
    work(20_000);
    let last = large.stats();
    let early = before.misses as f64 / (before.hits + before.misses) as f64;
    let late = (last.misses - after.misses) as f64
        / (last.hits + last.misses - after.hits - after.misses) as f64;
    assert!(late < early * 0.9, "{late} of requests missed, {early} before");
}

#[test]
fn advice_says_what_more_bytes_would_save() {
    let (_, cache) = cache(Bytes::kib(256));
    let mut random = Random(5);
    for at in 0..40_000_u64 {
        let key = if at % 4 == 0 { at % 40 } else { random.next() % 600 };
        cache.get_or_load(&key, || Ok::<_, ()>(vec![0; 900])).unwrap();
    }
    let analysis = cache.analyze();
    let grow = analysis.advice.iter().find_map(|advice| match advice {
        Advice::Grow { more, saves } => Some((*more, *saves)),
        _ => None,
    });
    let (more, saves) = grow.unwrap();
    assert!(saves > 0.1 && more >= Bytes::kib(64), "{analysis:?}");
    assert!(analysis.advice[0].to_string().contains("more would save"), "{}", analysis.advice[0]);
    let scan = self::cache(Bytes::kib(256)).1;
    (0..20_000).for_each(|key| {
        scan.get_or_load(&key, || Ok::<_, ()>(vec![0; 900])).unwrap();
    });
    assert!(matches!(scan.analyze().advice[0], Advice::LeaveOut { .. }));
}
