//! Other crates' caches, each in the way that it is meant to be used.

use super::simulators::{Cell, Kind, Score, Simulator};

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
