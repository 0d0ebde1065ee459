//! What the cache says it holds, against what the allocator saw.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::System;

use ambit_cache::policy::{Adaptive, Lru, Policy, S3Fifo, TinyLfu};
use ambit_cache::{Cache, CacheConfig};
use ambit_mem::{Budget, Bytes, Priority, Tag, TrackingAllocator};

#[global_allocator]
static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// Values of random sizes come and go; what the cache says it holds is what there is.
fn says_what_it_holds<P: Policy + Default + 'static>(name: &'static str) {
    let budget = Budget::new(Bytes::gib(1));
    let account = budget.account("cache", Priority::Cache);
    let tag = Tag::named(name).unwrap();
    let _scope = tag.enter();
    let config = CacheConfig {
        ttl: Some(std::time::Duration::from_secs(900)),
        ..CacheConfig::new(Bytes::mib(2))
    };
    let cache: Cache<u64, Box<[u8]>, P> = Cache::new(config, &account).unwrap();
    let mut random = Random(1);
    for round in 0..30_000 {
        let (key, kind) = (random.next() % 4_000, random.next() % 16);
        let len = random.next() as usize % if kind == 0 { 60_000 } else { 2_000 };
        cache.insert(key, vec![7; len].into_boxed_slice()).unwrap();
        drop(cache.remove(&(random.next() % 8_000)));
        if round % 1_000 == 0 {
            let stats = cache.stats();
            let said = stats.granted.saturating_sub(stats.free);
            let seen = ALLOCATOR.tag(tag).current;
            assert!(seen <= said, "{name}: {seen} seen, {said} said");
            assert!(said.get() - seen.get() <= said.get() / 20 + 4096, "{name}: {said}, {seen}");
        }
    }
    let entries = cache.stats().entries;
    assert!(entries > 100, "{entries}");
    cache.clear();
    assert!(ALLOCATOR.tag(tag).current < Bytes::kib(64), "{:?}", ALLOCATOR.tag(tag));
}

#[test]
fn what_the_cache_says_is_what_the_allocator_saw() {
    says_what_it_holds::<Adaptive>("adaptive");
    says_what_it_holds::<Lru>("lru");
    says_what_it_holds::<S3Fifo>("s3-fifo");
    says_what_it_holds::<TinyLfu>("tiny-lfu");
}

#[test]
fn an_entry_costs_at_most_thirty_two_bytes_beside_key_and_value() {
    for (entries, at_most) in [(10_000_u64, 32.0), (200_000, 32.0)] {
        let budget = Budget::new(Bytes::gib(1));
        let account = budget.account("cache", Priority::Cache);
        let cap = Bytes::new(entries * 46);
        let cache: Cache<u64, u64> = Cache::new(CacheConfig::new(cap), &account).unwrap();
        (0..4 * entries).for_each(|key| cache.insert(key, key).unwrap());
        let stats = cache.stats();
        let each = stats.metadata.get() as f64 / stats.entries as f64;
        assert!(stats.entries > entries * 8 / 10, "{stats:?}");
        assert!(each <= at_most, "{each} bytes for each of {} entries", stats.entries);
    }
}
