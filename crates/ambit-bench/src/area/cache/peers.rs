//! Other crates' caches, each in the way that it is meant to be used.

use super::simulators::{Cell, Kind, Score, Simulator};
use super::speed::Contender;

/// Caches whose hits are counted as they are.
pub const HIT_RATIOS: &[Simulator] = &[
    Simulator { name: "quick_cache", run: quick_cache, kind: Kind::Crate },
    Simulator { name: "moka", run: moka, kind: Kind::Crate },
    Simulator { name: "foyer", run: foyer, kind: Kind::Crate },
];

#[derive(Clone)]
struct Sized;

impl quick_cache::Weighter<u32, u32> for Sized {
    fn weight(&self, _: &u32, size: &u32) -> u64 {
        u64::from(*size)
    }
}

fn items(cell: &Cell<'_>) -> usize {
    match cell.trace.bytes().filter(|_| cell.sized) {
        Some(bytes) => (cell.cap * cell.trace.unique as u64 / bytes.max(1)).max(1) as usize,
        None => cell.cap as usize,
    }
}

fn quick_cache(cell: &Cell<'_>) -> Option<Score> {
    let mut cache = quick_cache::unsync::Cache::with_weighter(items(cell), cell.cap, Sized);
    let mut score = Score::default();
    for (key, size) in cell.trace.requests(cell.sized) {
        let is_hit = cache.get(&key).is_some();
        score.count(is_hit, size);
        if !is_hit {
            cache.insert(key, size);
        }
    }
    Some(score)
}

fn moka(cell: &Cell<'_>) -> Option<Score> {
    let cache: moka::sync::Cache<u32, u32> =
        moka::sync::Cache::builder().max_capacity(cell.cap).weigher(|_, size| *size).build();
    let mut score = Score::default();
    for (at, (key, size)) in cell.trace.requests(cell.sized).enumerate() {
        let is_hit = cache.get(&key).is_some();
        score.count(is_hit, size);
        if !is_hit {
            cache.insert(key, size);
        }
        // What it puts off until later is done as often as it does it by itself, at least.
        if at % 16 == 0 {
            cache.run_pending_tasks();
        }
    }
    Some(score)
}

fn foyer(cell: &Cell<'_>) -> Option<Score> {
    let cache: foyer::Cache<u32, u32> = foyer::CacheBuilder::new(cell.cap as usize)
        .with_shards(1)
        .with_eviction_config(foyer::S3FifoConfig::default())
        .with_weighter(|_: &u32, size: &u32| *size as usize)
        .build();
    let mut score = Score::default();
    for (key, size) in cell.trace.requests(cell.sized) {
        let is_hit = cache.get(&key).is_some();
        score.count(is_hit, size);
        if !is_hit {
            cache.insert(key, size);
        }
    }
    Some(score)
}

/// Caches of `entries` entries whose calls are timed.
pub fn contenders(entries: u64) -> Vec<Box<dyn Contender>> {
    let entries = entries as usize;
    let lru = lru::LruCache::with_hasher(
        std::num::NonZeroUsize::new(entries).unwrap_or(std::num::NonZeroUsize::MIN),
        foldhash::fast::FixedState::default(),
    );
    vec![
        Box::new(QuickCache(quick_cache::sync::Cache::new(entries))),
        Box::new(Moka(moka::sync::Cache::new(entries as u64))),
        Box::new(Foyer(
            foyer::CacheBuilder::new(entries)
                .with_eviction_config(foyer::S3FifoConfig::default())
                .build(),
        )),
        Box::new(MutexLru(std::sync::Mutex::new(lru))),
    ]
}

struct QuickCache(quick_cache::sync::Cache<u64, u64>);
struct Moka(moka::sync::Cache<u64, u64>);
struct Foyer(foyer::Cache<u64, u64>);
struct MutexLru(std::sync::Mutex<lru::LruCache<u64, u64, foldhash::fast::FixedState>>);

impl Contender for QuickCache {
    fn name(&self) -> &'static str {
        "quick_cache"
    }

    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }

    fn put(&self, key: u64) {
        self.0.insert(key, key);
    }
}

impl Contender for Moka {
    fn name(&self) -> &'static str {
        "moka"
    }

    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key)
    }

    fn put(&self, key: u64) {
        self.0.insert(key, key);
    }
}

impl Contender for Foyer {
    fn name(&self) -> &'static str {
        "foyer"
    }

    fn get(&self, key: u64) -> Option<u64> {
        self.0.get(&key).map(|entry| *entry.value())
    }

    fn put(&self, key: u64) {
        self.0.insert(key, key);
    }
}

impl Contender for MutexLru {
    fn name(&self) -> &'static str {
        "lru in a mutex"
    }

    fn get(&self, key: u64) -> Option<u64> {
        self.0.lock().ok()?.get(&key).copied()
    }

    fn put(&self, key: u64) {
        if let Ok(mut cache) = self.0.lock() {
            cache.put(key, key);
        }
    }
}
