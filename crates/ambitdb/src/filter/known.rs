//! What is known of filters, kept for the next search with the same one over the same rows.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use ambit_cache::{Cache, CacheConfig, Weigh};
use ambit_mem::{Account, Bytes};
use ambit_search::RowRef as FoundRow;

/// Bytes of a key in a set beside its own.
pub(super) const KEY_COST: usize = 56;
/// The part of the budget that is for what is known, and its bounds.
const SHARE: u64 = 64;
const LEAST: Bytes = Bytes::kib(128);
const MOST: Bytes = Bytes::mib(8);

/// What is known of a filter over the rows of one digest.
pub(crate) struct Known {
    /// For each `related to` of the filter, in its order: the keys that are.
    pub(super) related: Vec<HashSet<String>>,
    /// Two bits a row: is it known, and does it meet the filter?
    pub(super) parts: Vec<Box<[AtomicU64]>>,
    /// The rows that meet the filter, ascending, where they are few.
    pub(super) few: Option<Box<[FoundRow]>>,
}

impl Weigh for Known {
    fn heap_bytes(&self) -> usize {
        let bits: usize = self.parts.iter().map(|part| size_of_val::<[AtomicU64]>(part)).sum();
        let keys = self.related.iter().flatten().map(|key| KEY_COST + key.len()).sum::<usize>();
        let few = self.few.as_deref().map_or(0, size_of_val::<[FoundRow]>);
        let tables = self.parts.capacity() * size_of::<Box<[AtomicU64]>>()
            + self.related.capacity() * size_of::<HashSet<String>>();
        bits + keys + few + tables
    }
}

/// The filters of a store that something is known of.
pub(crate) struct KnownFilters {
    account: Account,
    cap: Bytes,
    cache: OnceLock<Option<Cache<u128, Arc<Known>>>>,
}

impl KnownFilters {
    pub(crate) fn new(account: Account, limit: Bytes) -> Self {
        let cap = Bytes::new(limit.get() / SHARE).max(LEAST).min(MOST);
        Self { account, cap, cache: OnceLock::new() }
    }

    /// Made at the first filter; none where the budget has no room for it.
    fn cache(&self) -> Option<&Cache<u128, Arc<Known>>> {
        let make = || Cache::new(CacheConfig::new(self.cap), &self.account).ok();
        self.cache.get_or_init(make).as_ref()
    }

    pub(super) fn get(&self, id: u128) -> Option<Arc<Known>> {
        self.cache()?.get(&id)
    }

    /// Without room it is found out again the next time.
    pub(super) fn keep(&self, id: u128, known: &Arc<Known>) {
        if let Some(cache) = self.cache() {
            let _ = cache.insert(id, Arc::clone(known));
        }
    }
}
