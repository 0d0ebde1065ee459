//! A cache whose cap holds.
//!
//! Keys are spread over parts by their hash, each a table under a lock. A value is let in when its
//! bytes are there: from what its part has in hand, from what is free, from the account up to
//! the cap, or from entries that go. Nothing foreign runs under a lock but `Eq`, `Hash` and
//! `Clone` of keys and values: loads and drops come after it, so a load may use the cache, and a
//! part never waits for another.
//!
//! The account sees the bytes that the cache has, in steps; when they are wanted elsewhere, the
//! cache gives back what is worth least ([`ambit_mem::Reclaimer`]).

use std::borrow::Borrow;
use std::cell::Cell;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use ambit_mem::{Account, Bytes};
use foldhash::fast::RandomState;

use crate::allowance::{Allowance, Charged};
use crate::analysis::Analysis;
use crate::config::CacheConfig;
use crate::curve::{Curve, MissRatioCurve};
use crate::error::{CapError, CreateError, InsertError};
use crate::flight::{Boarding, Flights};
use crate::part::{Entry, Freed, Gone, Hasher, Part, Put, Room, table_hash};
use crate::policy::{Adaptive, Policy};
use crate::stats::{CacheStats, Tally};
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::times::{self, Clock};
use crate::weigh::Weigh;

/// Inserts that evict before an account that refused is asked again.
const PATIENCE: u64 = 64;
/// Rounds of waiting for bytes in other threads' hands before it is said that there are none.
const PATIENT_ROUNDS: usize = 1_000;
/// A part keeps so much in hand without asking whether that is much.
const LEAST_SPARE: u64 = 8 << 10;
/// Entries that a sweep looks at under one lock.
const SWEEP: u32 = 256;

/// A cache with a cap in bytes. Clones are the same cache.
///
/// ```
/// use ambit_cache::{Cache, CacheConfig};
/// use ambit_mem::{Budget, Bytes, Priority};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("cache/rows", Priority::Cache);
/// let cache: Cache<u64, Vec<u8>> = Cache::new(CacheConfig::new(Bytes::kib(256)), &account)?;
/// cache.insert(7, vec![1; 100])?;
/// assert_eq!(cache.get(&7), Some(vec![1; 100]));
/// let loaded = cache.get_or_load(&8, || Ok::<_, std::io::Error>(vec![2; 100]))?;
/// assert_eq!(loaded, [2; 100]);
/// assert!(cache.insert(9, vec![0; 1 << 20]).is_err());
/// assert!(account.used() <= Bytes::kib(256));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Cache<K, V, P = Adaptive> {
    pub(crate) inner: Arc<Inner<K, V, P>>,
}

impl<K, V, P> Clone for Cache<K, V, P> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

thread_local! {
    /// Which cache takes bytes from its account on this thread.
    static GROWING: Cell<usize> = const { Cell::new(0) };
}

type Locked<K, V, P> = Padded<Mutex<Part<K, V, P>>>;

/// A part alone on its cache lines.
#[repr(align(128))]
struct Padded<T>(T);

pub(crate) struct Inner<K, V, P> {
    parts: Box<[Locked<K, V, P>]>,
    hasher: Hasher,
    purse: Allowance<Charged>,
    flights: Flights<K, V>,
    pub(crate) curve: Curve,
    pub(crate) tally: Tally,
    /// Inserts until the account is asked again.
    patience: AtomicU64,
    /// Bytes of the cache itself.
    base: u64,
    clock: Clock,
    /// Held by whoever gives back what is above the cap: two at once would give it back twice.
    lowering: Mutex<()>,
    has_times: bool,
    ttl: Option<u32>,
}

/// Why entries go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// For others.
    Room,
    /// For somebody else, or since the cap is lower.
    Request,
}

impl<K, V, P> Cache<K, V, P>
where
    K: Hash + Eq + Clone + Weigh + Send + 'static,
    V: Clone + Weigh + Send + 'static,
    P: Policy + 'static,
{
    /// An empty cache whose bytes are `account`'s. It becomes the account's reclaimer.
    ///
    /// # Errors
    /// [`CreateError`], where account or cap have no room for an empty one: a few KiB.
    pub fn new(config: CacheConfig<P>, account: &Account) -> Result<Self, CreateError> {
        let count = config.part_count();
        let hasher = Hasher(RandomState::default());
        let has_times = config.ttl.is_some() || config.idle.is_some();
        let idle = has_times.then(|| config.idle.map_or(Part::<K, V, P>::NEVER, times::eighths));
        let ttl = config.ttl.map(times::eighths);
        let first = config.policy;
        let siblings: Vec<P> = (1..count).map(|_| first.sibling()).collect();
        let parts: Box<[_]> = std::iter::once(first)
            .chain(siblings)
            .map(|policy| Padded(Mutex::new(Part::new(policy, hasher.clone(), idle))))
            .collect();
        let tables: u64 = parts.iter().map(|part| lock(&part.0).bytes()).sum();
        let curve = Curve::new(config.cap);
        let base = tables
            + size_of_val::<[_]>(&*parts) as u64
            + size_of::<Inner<K, V, P>>() as u64
            + curve.bytes();
        let charged = Charged::new(account).map_err(CreateError::OverBudget)?;
        let purse = Allowance::new(config.cap.get(), charged);
        if purse.grow(base, base) == 0 {
            let (cap, least) = (config.cap, Bytes::new(base));
            return Err(match account.reserve(least) {
                Err(error) if cap >= least => CreateError::OverBudget(error),
                _ => CreateError::CapTooSmall { cap, least },
            });
        }
        let inner = Arc::new(Inner {
            parts,
            hasher,
            purse,
            flights: Flights::new(),
            curve,
            tally: Tally::default(),
            patience: AtomicU64::new(0),
            base,
            clock: config.clock,
            lowering: Mutex::new(()),
            has_times,
            ttl,
        });
        inner.share_out();
        let reclaimer: Arc<dyn ambit_mem::Reclaimer> = inner.clone();
        account.set_reclaimer(Arc::downgrade(&reclaimer));
        Ok(Self { inner })
    }

    /// The value of a key.
    ///
    /// # Cost
    /// One lock of a part, one clone of the value; nothing is allocated.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.inner.hasher.hash_one(key);
        let value = self.inner.get(hash, key);
        self.inner.curve.ask(table_hash(hash));
        value
    }

    /// The values of many keys, in their order.
    pub fn get_many<Q>(&self, keys: &[&Q]) -> Vec<Option<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        keys.iter().map(|key| self.get(*key)).collect()
    }

    /// The hash of a key.
    pub(crate) fn hash(&self, key: &K) -> u64 {
        self.inner.hasher.hash_one(key)
    }

    /// Is a key here? Asking does not count as a use.
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.inner.hasher.hash_one(key);
        let now = self.inner.now();
        let mut part = lock(self.inner.part(hash));
        let Some(slot) = part.table.find(table_hash(hash), key) else { return false };
        !part.endings.as_mut().is_some_and(|endings| endings.has_ended(slot, now))
    }

    /// Lets a value in, over what was there for its key.
    ///
    /// # Errors
    /// [`InsertError`]: it is larger than the cap, or too much is pinned. What was there for its key
    /// is gone, too, since it is out of date.
    pub fn insert(&self, key: K, value: V) -> Result<(), InsertError> {
        let hash = self.inner.hasher.hash_one(&key);
        self.inner.insert(hash, key, value, self.inner.ttl)
    }

    /// Lets a value in that lives at most so long, whatever the cache's own time to live. In a cache
    /// without times to live it lives as others do.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub fn insert_for(&self, ttl: Duration, key: K, value: V) -> Result<(), InsertError> {
        let hash = self.inner.hasher.hash_one(&key);
        self.inner.insert(hash, key, value, Some(times::eighths(ttl)))
    }

    /// Makes room for a value, and makes the value when it is there: so not even while it is
    /// made are there more bytes than the cap. `heap_bytes` is what key and value will hold
    /// elsewhere; a value that holds more is refused.
    ///
    /// # Errors
    /// As [`Self::insert`].
    pub fn insert_with(
        &self,
        key: K,
        heap_bytes: usize,
        make: impl FnOnce() -> V,
    ) -> Result<(), InsertError> {
        let hash = self.inner.hasher.hash_one(&key);
        self.inner.insert_with(hash, key, heap_bytes, make)
    }

    /// The value of a key; loaded, and let in, where it is not there. Who asks for it meanwhile
    /// waits for the one that loads. A value that does not fit is returned all the same.
    ///
    /// # Errors
    /// Those of `load`; nothing is cached then, and the next one loads again.
    pub fn get_or_load<E>(&self, key: &K, load: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        if let Some(value) = self.get(key) {
            return Ok(value);
        }
        let lead = match self.inner.flights.board(key) {
            Boarding::Loaded(value) => return Ok(value),
            Boarding::Lead(lead) => lead,
        };
        let hash = self.inner.hasher.hash_one(key);
        // Somebody may have landed between the miss and the lead.
        if let Some(value) = self.inner.peek(hash, key) {
            lead.land(value.clone());
            return Ok(value);
        }
        let loaded = self.inner.tally.time(load);
        let value = loaded?;
        // Refusals are counted; the value is the caller's either way.
        let current = || lead.is_current();
        let (owned, copy) = (key.clone(), value.clone());
        let _ = self.inner.insert_if(hash, owned, copy, self.inner.ttl, &current);
        lead.land(value.clone());
        Ok(value)
    }

    /// Takes a key out; its value.
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.inner.hasher.hash_one(key);
        self.inner.flights.outdate(key);
        let (mut gone, now) = (Gone::new(), self.inner.now());
        let mut part = lock(self.inner.part(hash));
        let slot = part.find(table_hash(hash), key, now, &mut gone);
        let value = slot.map(|slot| {
            let value = part.table.node(slot).value.clone();
            part.counts.removed += 1;
            part.take(slot, &mut gone);
            value
        });
        self.inner.settle(part, gone);
        value
    }

    /// Keeps an entry from going until it is unpinned, removed or ends; was it there? What replaces
    /// it is pinned, too.
    pub fn pin<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.inner.with_slot(key, |part, slot| part.pin(slot))
    }

    /// Lets an entry go again; was it there?
    pub fn unpin<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.inner.with_slot(key, |part, slot| part.unpin(slot))
    }

    /// Takes everything out and gives its bytes back to the account, all but the few KiB of an
    /// empty cache. What the policy has learnt is forgotten.
    pub fn clear(&self) {
        self.inner.clear();
    }

    /// Takes out entries that have ended; how many. They are not returned anyway, but hold bytes.
    pub fn remove_expired(&self) -> usize {
        self.inner.remove_expired()
    }

    /// Changes the cap, while others use the cache. Bytes above it go back to the account.
    ///
    /// # Errors
    /// [`CapError`] where pinned entries hold more; the cap is the new one nevertheless.
    pub fn set_cap(&self, cap: Bytes) -> Result<(), CapError> {
        self.inner.purse.set_cap(cap.get());
        self.inner.share_out();
        self.inner.curve.set_cap(cap);
        // What other threads have in hand at this moment comes back when they are done with it.
        for _ in 0..PATIENT_ROUNDS {
            let over = self.inner.purse.granted().saturating_sub(cap.get());
            if over == 0 {
                return Ok(());
            }
            let lowering = lock(&self.inner.lowering);
            let gone = self.inner.shed(self.inner.purse.granted().saturating_sub(cap.get()));
            drop(lowering);
            if gone == 0 {
                std::thread::yield_now();
            }
        }
        let held = Bytes::new(self.inner.purse.granted());
        if held > cap { Err(CapError { cap, held }) } else { Ok(()) }
    }

    /// The most bytes that it may have.
    pub fn cap(&self) -> Bytes {
        Bytes::new(self.inner.purse.cap())
    }

    /// Entries, those that have ended among them.
    pub fn len(&self) -> usize {
        self.inner.parts.iter().map(|part| lock(&part.0).table.len()).sum()
    }

    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What happened so far, and what it holds.
    pub fn stats(&self) -> CacheStats {
        self.inner.stats()
    }

    /// What it achieves, and what would make it better.
    pub fn analyze(&self) -> Analysis {
        Analysis::of(&self.stats(), &self.miss_ratio_curve())
    }

    /// How often it would miss if it had more or fewer bytes.
    pub fn miss_ratio_curve(&self) -> MissRatioCurve {
        self.inner.curve.curve()
    }
}

impl<K, V, P> Inner<K, V, P>
where
    K: Hash + Eq + Clone + Weigh + Send,
    V: Clone + Weigh + Send,
    P: Policy,
{
    #[inline]
    fn part(&self, hash: u64) -> &Mutex<Part<K, V, P>> {
        &self.parts[hash as usize & (self.parts.len() - 1)].0
    }

    #[inline]
    fn now(&self) -> u32 {
        if self.has_times { self.clock.now() } else { 0 }
    }

    #[inline]
    fn get<Q>(&self, hash: u64, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let now = self.now();
        let mut gone = Gone::new();
        let mut part = lock(self.part(hash));
        let Some(slot) = part.find(table_hash(hash), key, now, &mut gone) else {
            part.counts.misses += 1;
            self.settle(part, gone);
            return None;
        };
        part.counts.hits += 1;
        Some(part.hit(slot, table_hash(hash)).clone())
    }

    /// The value of a key, without counting.
    fn peek(&self, hash: u64, key: &K) -> Option<V> {
        let (mut gone, now) = (Gone::new(), self.now());
        let mut part = lock(self.part(hash));
        let slot = part.find(table_hash(hash), key, now, &mut gone);
        let value = slot.map(|slot| part.table.node(slot).value.clone());
        self.settle(part, gone);
        value
    }

    fn with_slot<Q>(&self, key: &Q, change: impl FnOnce(&mut Part<K, V, P>, u32)) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let (mut gone, now) = (Gone::new(), self.now());
        let mut part = lock(self.part(hash));
        let slot = part.find(table_hash(hash), key, now, &mut gone);
        if let Some(slot) = slot {
            change(&mut part, slot);
        }
        self.settle(part, gone);
        slot.is_some()
    }

    /// Bytes of an entry; an error where that is more than the cap.
    fn check(&self, heap: usize) -> Result<u32, InsertError> {
        let cap = self.purse.cap();
        let node = u64::from(Part::<K, V, P>::NODE_BYTES);
        let needed = (heap as u64).saturating_add(node);
        let fits = needed.saturating_add(self.base) <= cap && needed < u64::from(u32::MAX);
        let too_large = InsertError::TooLarge { needed: Bytes::new(needed), cap: Bytes::new(cap) };
        if fits { u32::try_from(heap).map_err(|_| too_large) } else { Err(too_large) }
    }

    fn entry(&self, hash: u64, key: K, value: V, heap: u32, ttl: Option<u32>) -> Entry<K, V> {
        let now = self.now();
        let ends = ttl.map_or(Part::<K, V, P>::NEVER, |ttl| now.saturating_add(ttl));
        Entry { hash: table_hash(hash), key, value, heap, times: (now, ends) }
    }

    #[inline]
    fn insert(&self, hash: u64, key: K, value: V, ttl: Option<u32>) -> Result<(), InsertError> {
        self.flights.outdate(&key);
        self.insert_if(hash, key, value, ttl, &|| true)
    }

    /// Puts a value in, if it still `is_current` when its place is there.
    #[inline]
    fn insert_if(
        &self,
        hash: u64,
        key: K,
        value: V,
        ttl: Option<u32>,
        is_current: &dyn Fn() -> bool,
    ) -> Result<(), InsertError> {
        let heap = match self.check(key.heap_bytes() + value.heap_bytes()) {
            Ok(heap) => heap,
            Err(error) => return self.refuse(hash, &key, error),
        };
        let entry = self.entry(hash, key, value, heap, ttl);
        self.curve.weigh(entry.hash, Part::<K, V, P>::NODE_BYTES + heap);
        self.put(hash, entry, (0, Freed::AtOnce), is_current)
    }

    /// Counts a refusal. What the key had is out of date.
    #[cold]
    fn refuse(&self, hash: u64, key: &K, error: InsertError) -> Result<(), InsertError> {
        self.tally.reject();
        let mut gone = Gone::new();
        let mut part = lock(self.part(hash));
        if let Some(slot) = part.table.find(table_hash(hash), key) {
            part.counts.removed += 1;
            part.take(slot, &mut gone);
        }
        self.settle(part, gone);
        Err(error)
    }

    /// Puts an entry in; `in_hand` are bytes that its caller has for it.
    fn put(
        &self,
        hash: u64,
        mut entry: Entry<K, V>,
        (in_hand, freed): (u64, Freed),
        is_current: &dyn Fn() -> bool,
    ) -> Result<(), InsertError> {
        let mut room = self.room();
        let mut more = in_hand;
        loop {
            let mut gone = Gone::new();
            let mut part = lock(self.part(hash));
            part.credit += std::mem::take(&mut more);
            if !is_current() {
                self.settle(part, gone);
                return Ok(());
            }
            let put = part.put(entry, (room, freed), &self.purse, &mut gone);
            let wanted = std::mem::take(&mut part.wanted);
            // What it has in hand is not to be collected from it.
            let own = match put {
                Put::Short(..) => std::mem::take(&mut part.credit),
                _ => 0,
            };
            self.settle(part, gone);
            let missing = match put {
                Put::Done => {
                    if wanted > 0 {
                        self.fit_tables(hash, wanted);
                    }
                    return Ok(());
                }
                Put::Again(back) => {
                    entry = back;
                    continue;
                }
                Put::Grow(back, missing) => {
                    entry = back;
                    more = self.grow(missing);
                    if more == 0 {
                        self.patience.store(PATIENCE, Ordering::Relaxed);
                        room = Room::Evict;
                    }
                    continue;
                }
                Put::Short(back, missing) => {
                    entry = back;
                    missing
                }
            };
            more = own + self.gather(missing);
            if more < own + missing {
                self.purse.give(more);
                let needed = u64::from(entry.heap) + u64::from(Part::<K, V, P>::NODE_BYTES);
                let pinned = self.parts.iter().map(|part| lock(&part.0).pinned).sum();
                let (needed, pinned) = (Bytes::new(needed), Bytes::new(pinned));
                let error = InsertError::NoRoom { needed, pinned };
                let key = entry.key;
                return self.refuse(hash, &key, error);
            }
        }
    }

    /// Finds the bytes for tables that a part's policy would like.
    #[cold]
    fn fit_tables(&self, hash: u64, wanted: u64) {
        let in_hand = self.collect(wanted, Reason::Room);
        let mut part = lock(self.part(hash));
        part.credit += in_hand;
        part.fit_tables();
        self.settle(part, Gone::new());
    }

    /// Takes bytes from the account, which does not ask this cache for them meanwhile.
    fn grow(&self, least: u64) -> u64 {
        let before = GROWING.replace(self.address());
        let more = self.purse.grow(least, self.step().max(least));
        GROWING.set(before);
        more
    }

    /// Who this is, as far as one thread has to tell caches apart.
    fn address(&self) -> usize {
        std::ptr::from_ref(&self.purse).addr()
    }

    /// Is the account to be asked, or not so soon after it refused?
    #[inline]
    fn room(&self) -> Room {
        let patience = self.patience.load(Ordering::Relaxed);
        if patience == 0 {
            return Room::Grow;
        }
        self.patience.store(patience - 1, Ordering::Relaxed);
        Room::Evict
    }

    /// Tells all parts what is little: half of an even share.
    fn share_out(&self) {
        let parts = self.parts.len() as u64;
        let least = if parts == 1 { 0 } else { self.purse.cap() / (2 * parts) };
        self.parts.iter().for_each(|part| lock(&part.0).least = least);
    }

    /// Bytes that are taken from the account at a time.
    fn step(&self) -> u64 {
        (self.purse.cap() / (16 * self.parts.len() as u64)).clamp(4 << 10, 1 << 20)
    }

    fn insert_with(
        &self,
        hash: u64,
        key: K,
        heap: usize,
        make: impl FnOnce() -> V,
    ) -> Result<(), InsertError> {
        let heap = match self.check(heap) {
            Ok(heap) => heap,
            Err(error) => return self.refuse(hash, &key, error),
        };
        self.flights.outdate(&key);
        // A value that is replaced goes first, and its node with it.
        let mut gone = Gone::new();
        let mut part = lock(self.part(hash));
        let replaced = part.table.find(table_hash(hash), &key);
        let pinned = replaced.is_some_and(|slot| part.is_pinned(slot));
        if let Some(slot) = replaced {
            part.counts.replaced += 1;
            part.take(slot, &mut gone);
        }
        self.settle(part, gone);
        let needed = u64::from(heap);
        let mut in_hand = if self.purse.take(needed) { needed } else { 0 };
        if in_hand < needed && self.room() == Room::Grow && self.purse.could_grow(needed) {
            in_hand = self.grow(needed);
        }
        if in_hand < needed {
            in_hand += self.gather(needed - in_hand);
        }
        let node = u64::from(Part::<K, V, P>::NODE_BYTES);
        if in_hand < needed {
            self.purse.give(in_hand);
            let pinned = self.parts.iter().map(|part| lock(&part.0).pinned).sum();
            let (needed, pinned) = (Bytes::new(needed + node), Bytes::new(pinned));
            return self.refuse(hash, &key, InsertError::NoRoom { needed, pinned });
        }
        let value = make();
        let held = key.heap_bytes() + value.heap_bytes();
        if held > heap as usize {
            self.purse.give(in_hand);
            let (needed, cap) = (Bytes::new(held as u64 + node), Bytes::new(needed + node));
            return self.refuse(hash, &key, InsertError::TooLarge { needed, cap });
        }
        let entry = self.entry(hash, key, value, held as u32, self.ttl);
        self.curve.weigh(entry.hash, Part::<K, V, P>::NODE_BYTES + entry.heap);
        let again = pinned.then(|| entry.key.clone());
        self.put(hash, entry, (in_hand, Freed::WhenDropped), &|| true)?;
        if let Some(key) = again {
            self.with_slot(&key, |part, slot| part.pin(slot));
        }
        Ok(())
    }

    /// Collects `wanted` bytes for an entry. Where there are fewer, what other threads have in hand
    /// may come back in a moment; what is pinned does not.
    fn gather(&self, wanted: u64) -> u64 {
        for _ in 0..PATIENT_ROUNDS {
            let had = self.collect(wanted, Reason::Room);
            if had >= wanted {
                return had;
            }
            self.purse.give(had);
            if self.purse.take(wanted) {
                return wanted;
            }
            std::thread::yield_now();
        }
        0
    }

    /// Evicts from whatever part is largest until there are `wanted` bytes; what came together, in
    /// nobody's hands.
    fn collect(&self, wanted: u64, reason: Reason) -> u64 {
        let (mut had, mut exhausted) = (0, 0_u64);
        while had < wanted {
            let Some(largest) = self.largest(exhausted) else { break };
            let mut gone = Gone::new();
            let mut part = lock(&self.parts[largest].0);
            // Two at a time: they are dropped before more go.
            while part.credit + gone.bytes < wanted - had && !gone.is_full() {
                if !part.evict(&mut gone) {
                    exhausted |= 1 << largest;
                    break;
                }
                match reason {
                    Reason::Room => part.counts.evicted_for_room += 1,
                    Reason::Request => part.counts.evicted_on_request += 1,
                }
            }
            part.shrink_tables();
            let taken = part.credit.min(wanted - had);
            part.credit -= taken;
            drop(part);
            // Their bytes are there when they are gone.
            let freed = gone.bytes;
            drop(gone);
            had += taken + freed;
        }
        had
    }

    /// The part with most bytes, of those that are not exhausted.
    fn largest(&self, exhausted: u64) -> Option<usize> {
        let left = (0..self.parts.len()).filter(|part| exhausted & (1 << part) == 0);
        left.max_by_key(|&part| lock(&self.parts[part].0).bytes())
    }

    /// Drops who left, and gives back what a part has in hand beyond what it will need soon.
    #[inline]
    fn settle(&self, mut part: crate::sync::MutexGuard<'_, Part<K, V, P>>, gone: Gone<K, V>) {
        let spare = if part.credit > LEAST_SPARE { self.spare(part.credit) } else { 0 };
        part.credit -= spare;
        drop(part);
        let given = spare + gone.bytes;
        drop(gone);
        if given > 0 {
            self.purse.give(given);
        }
        if self.purse.granted() > self.purse.cap() {
            self.hold_cap();
        }
    }

    /// Gives back what is above the cap, if nobody else is doing so. It is above when the cap was
    /// lowered, and while more than that was pinned.
    #[cold]
    fn hold_cap(&self) {
        let Ok(_lowering) = self.lowering.try_lock() else { return };
        self.shed(self.purse.granted().saturating_sub(self.purse.cap()));
    }

    #[cold]
    fn spare(&self, credit: u64) -> u64 {
        let step = self.step();
        if credit > 2 * step { credit - step } else { 0 }
    }

    /// Gives the account `wanted` bytes back, if it can; how many went.
    fn shed(&self, wanted: u64) -> u64 {
        let mut gone = self.purse.trim(self.purse.free().saturating_sub(wanted));
        while gone < wanted {
            let collected = self.collect(wanted - gone, Reason::Request);
            if collected == 0 {
                break;
            }
            self.purse.release(collected);
            gone += collected;
        }
        gone
    }

    fn clear(&self) {
        self.flights.outdate_all();
        let first = lock(&self.parts[0].0).table.policy.fresh();
        let mut policies: Vec<P> = (1..self.parts.len()).map(|_| first.sibling()).collect();
        policies.insert(0, first);
        for (part, policy) in self.parts.iter().zip(policies) {
            let mut part = lock(&part.0);
            let idle = part.endings.as_ref().map(crate::times::Endings::idle);
            let empty = Part::new(policy, self.hasher.clone(), idle);
            let (counts, least) = (part.counts, part.least);
            let old = std::mem::replace(&mut *part, empty);
            let freed = old.bytes() - part.bytes();
            (part.counts, part.least) = (counts, least);
            part.counts.removed += old.table.len() as u64;
            drop(part);
            drop(old);
            self.purse.give(freed);
        }
        self.curve.clear();
        self.purse.trim(0);
    }

    fn remove_expired(&self) -> usize {
        if !self.has_times {
            return 0;
        }
        let mut removed = 0;
        for part in &self.parts {
            let mut next = Some(0);
            while let Some(slot) = next {
                let (mut gone, now) = (Gone::new(), self.now());
                let mut part = lock(&part.0);
                let before = part.counts.expired;
                next = part.sweep(slot, SWEEP, now, &mut gone);
                removed += (part.counts.expired - before) as usize;
                self.settle(part, gone);
            }
        }
        removed
    }

    fn stats(&self) -> CacheStats {
        let mut stats = self.tally.stats();
        stats.granted = Bytes::new(self.purse.granted());
        stats.cap = Bytes::new(self.purse.cap());
        let entry = (size_of::<K>() + size_of::<V>()) as u64;
        let (mut content, mut free) = (0, self.purse.free());
        for part in &self.parts {
            let part = lock(&part.0);
            stats.add(&part.counts);
            let len = part.table.len() as u64;
            stats.entries += len;
            stats.pinned = stats.pinned.saturating_add(Bytes::new(part.pinned));
            let node = u64::from(Part::<K, V, P>::NODE_BYTES);
            content += part.table.weight() - node * len + entry * len;
            free += part.credit;
        }
        stats.content = Bytes::new(content);
        stats.free = Bytes::new(free);
        stats.metadata = Bytes::new(self.purse.granted().saturating_sub(content + free));
        stats
    }
}

impl<K, V, P> ambit_mem::Reclaimer for Inner<K, V, P>
where
    K: Hash + Eq + Clone + Weigh + Send,
    V: Clone + Weigh + Send,
    P: Policy,
{
    fn reclaimable(&self) -> Bytes {
        // To grow by shrinking would lose what it is for.
        if GROWING.get() == self.address() {
            return Bytes::ZERO;
        }
        let pinned: u64 = self.parts.iter().map(|part| lock(&part.0).pinned).sum();
        Bytes::new(self.purse.granted().saturating_sub(self.base + pinned))
    }

    /// Nanoseconds of loading that a byte less would cost for each request, by the curve.
    fn worth_per_byte(&self) -> f64 {
        let now = Bytes::new(self.purse.granted());
        let step = (now.get() / 16).max(1);
        let less = Bytes::new(now.get() - step);
        let curve = self.curve.curve();
        let more_misses = (curve.at(less) - curve.at(now)).max(0.0);
        more_misses * self.tally.mean_load_ns().max(1.0) / step as f64
    }

    fn shed(&self, wanted: Bytes) -> Bytes {
        if GROWING.get() == self.address() {
            return Bytes::ZERO;
        }
        Bytes::new(self.shed(wanted.get()))
    }
}

impl<K, V, P> std::fmt::Debug for Cache<K, V, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("cap", &Bytes::new(self.inner.purse.cap()))
            .field("granted", &Bytes::new(self.inner.purse.granted()))
            .finish_non_exhaustive()
    }
}
