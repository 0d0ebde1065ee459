//! The cap, held against every byte that the process has, at the worst moments.
//!
//! Alone in its program, since all that is allocated is counted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::System;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use ambit_cache::policy::{Adaptive, Lru, Policy, S3Fifo, TinyLfu};
use ambit_cache::{Cache, CacheConfig};
use ambit_mem::{Budget, Bytes, Priority};

/// Counts with one number for all threads: slow, and exact at any moment.
#[global_allocator]
static ALLOCATOR: cap::Cap<System> = cap::Cap::new(System, usize::MAX);

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize
    }
}

const THREADS: u64 = 8;

/// Eight threads put in values of random sizes, each made when there is room for it, and take some
/// out. Returns the most bytes that there ever were beside what was before.
fn peak<P: Policy + Default + 'static>(cap: Bytes) -> u64 {
    let budget = Budget::new(Bytes::gib(1));
    let account = budget.account("cache", Priority::Cache);
    let before = ALLOCATOR.allocated() as u64;
    let cache: Cache<u64, Box<[u8]>, P> = Cache::new(CacheConfig::new(cap), &account).unwrap();
    let empty = ALLOCATOR.allocated() as u64;
    let (peak, threads) = (AtomicU64::new(0), AtomicU64::new(0));
    let (started, go) = (Barrier::new(THREADS as usize + 1), Barrier::new(THREADS as usize + 1));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (cache, peak, threads, started, go) = (&cache, &peak, &threads, &started, &go);
            scope.spawn(move || {
                started.wait();
                go.wait();
                let others = before + threads.load(Ordering::Relaxed);
                let look = || {
                    let now = (ALLOCATOR.allocated() as u64).saturating_sub(others);
                    peak.fetch_max(now, Ordering::Relaxed);
                };
                let mut random = Random(thread);
                for _ in 0..4_000 {
                    let (key, kind) = (random.next() as u64 % 4_000, random.next() % 16);
                    let len = random.next() % if kind == 0 { 60_000 } else { 2_000 };
                    let make = || {
                        let value = vec![7; len].into_boxed_slice();
                        look();
                        value
                    };
                    match kind {
                        0..=12 => cache.insert_with(key, len, make).unwrap(),
                        13 => {
                            cache.pin(&key);
                            cache.unpin(&key);
                        }
                        _ => drop(cache.contains(&key)),
                    }
                    look();
                }
                // What threads free as they end is not the cache's.
                go.wait();
            });
        }
        started.wait();
        threads.store(ALLOCATOR.allocated() as u64 - empty, Ordering::Relaxed);
        go.wait();
        go.wait();
    });
    let stats = cache.stats();
    assert!(stats.entries > 100 && stats.granted <= cap, "{stats:?}");
    assert!(stats.evicted_for_room > 1_000, "{stats:?}");
    peak.into_inner()
}

#[test]
fn the_cap_is_exceeded_by_no_byte_under_eight_threads() {
    for _ in 0..2 {
        let peaks = [
            peak::<Adaptive>(Bytes::mib(2)),
            peak::<Lru>(Bytes::mib(2)),
            peak::<S3Fifo>(Bytes::mib(2)),
            peak::<TinyLfu>(Bytes::mib(2)),
        ];
        for peak in peaks {
            assert!(peak <= 2 << 20, "{} bytes above the cap", peak - (2 << 20));
            assert!(peak > 3 << 19, "{peak} bytes of 2 MiB used");
        }
    }
}
