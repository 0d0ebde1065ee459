//! Two caches, one above the other, over a place to load from: unpacked values, packed values, and what is slow.
//!
//! A packed value takes fewer bytes and some work to use. Most of the cap is for packed values, so that more keys are
//! at hand; a key that is asked for again while it is packed is promoted: its value is kept unpacked, too, and
//! costs nothing to use. A value that leaves the upper cache is still packed in the lower one, if that
//! found it worth keeping: demotion moves nothing. Loads of one key at a time are made once, however
//! many wait; keys that are asked for together are loaded together, in the order that is best for the
//! source. A load that fails is an error, keeps nothing, and is made again the next time.
//!
//! What was loaded does not change under its key unless the owner says so: [`Tiers::put`] writes through,
//! [`Tiers::remove`] forgets.

use std::hash::Hash;

use ambit_mem::{Account, Bytes, Reservation};

use crate::cache::Cache;
use crate::config::CacheConfig;
use crate::error::{CapError, CreateError};
use crate::policy::{Adaptive, Policy};
use crate::stats::CacheStats;
use crate::sync::{AtomicU64, Ordering};
use crate::times::Clock;
use crate::weigh::Weigh;

/// Where values come from, and how they are unpacked.
pub trait Source<K, P, V> {
    /// Why a value cannot be had.
    type Error;

    /// Gives the packed value of each of `keys`, by its place there, to `take`, in any order; of one that does not
    /// exist, nothing.
    ///
    /// # Errors
    /// Whatever keeps one from being read.
    fn load(&self, keys: &[&K], take: &mut dyn FnMut(usize, P)) -> Result<(), Self::Error>;

    /// Unpacks a value.
    ///
    /// # Errors
    /// The packed value is damaged.
    fn unpack(&self, key: &K, packed: &P) -> Result<V, Self::Error>;
}

/// How tiers are set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TiersConfig {
    /// The most bytes that both caches may have together, with everything that they keep for themselves.
    pub cap: Bytes,
    /// Of these, what unpacked values may have at most.
    pub unpacked: Bytes,
}

impl TiersConfig {
    /// A sixty-fourth for unpacked values: half of the hits fall on few keys, and most keys are worth few hits.
    pub fn new(cap: Bytes) -> Self {
        Self { cap, unpacked: Bytes::new(cap.get() / 64) }
    }
}

/// Two caches over a source. `P` is cheap to clone; `Q` is the policy of the lower cache.
///
/// ```
/// use std::sync::Arc;
/// use ambit_cache::{Source, Tiers, TiersConfig};
/// use ambit_mem::{Budget, Bytes, Priority};
///
/// struct Squares;
///
/// impl Source<u64, u64, Arc<[u64]>> for Squares {
///     type Error = std::convert::Infallible;
///
///     fn load(&self, keys: &[&u64], take: &mut dyn FnMut(usize, u64)) -> Result<(), Self::Error> {
///         keys.iter().enumerate().for_each(|(place, key)| take(place, **key * **key));
///         Ok(())
///     }
///
///     fn unpack(&self, key: &u64, packed: &u64) -> Result<Arc<[u64]>, Self::Error> {
///         Ok(Arc::new([*key, *packed]))
///     }
/// }
///
/// let account = Budget::new(Bytes::mib(2)).account("cache/squares", Priority::Cache);
/// let tiers = Tiers::new(TiersConfig::new(Bytes::mib(1)), &account)?;
/// assert_eq!(*tiers.get(&Squares, &12)?.unwrap_or_default(), [12, 144]);
/// assert_eq!(tiers.stats().loads, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tiers<K, P, V, Q = Adaptive> {
    unpacked: Cache<K, V>,
    packed: Cache<K, P, Q>,
    asked: Asked,
    /// Times that something was written or forgotten.
    changes: AtomicU64,
    loads: AtomicU64,
    loaded: AtomicU64,
    failed: AtomicU64,
}

/// What tiers did and hold.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct TiersStats {
    /// The cache of unpacked values: every request asks it first.
    pub unpacked: CacheStats,
    /// The cache of packed values: what the first one misses, and prefetches.
    pub packed: CacheStats,
    /// Times that the source was asked.
    pub loads: u64,
    /// Values that it gave.
    pub loaded: u64,
    /// Times that it failed.
    pub failed_loads: u64,
}

impl<K, P, V> Tiers<K, P, V>
where
    K: Hash + Eq + Clone + Weigh + Send + 'static,
    P: Clone + Weigh + Send + 'static,
    V: Clone + Weigh + Send + 'static,
{
    /// Empty tiers, whose bytes are those of two accounts below `account`.
    ///
    /// # Errors
    /// [`CreateError`], where account or cap have no room for two empty caches: a few KiB each.
    pub fn new(config: TiersConfig, account: &Account) -> Result<Self, CreateError> {
        Self::with_policy(config, Adaptive::default(), account)
    }
}

impl<K, P, V, Q> Tiers<K, P, V, Q>
where
    K: Hash + Eq + Clone + Weigh + Send + 'static,
    P: Clone + Weigh + Send + 'static,
    V: Clone + Weigh + Send + 'static,
    Q: Policy + 'static,
{
    /// The same with a policy of the lower cache.
    ///
    /// # Errors
    /// As [`Tiers::new`].
    pub fn with_policy(
        config: TiersConfig,
        policy: Q,
        account: &Account,
    ) -> Result<Self, CreateError> {
        let below = config.cap.saturating_sub(config.unpacked);
        let asked = Asked::new(below, account)?;
        let cap = below.saturating_sub(asked.bytes());
        let (ttl, idle, parts, clock) = (None, None, None, Clock::default());
        let below = CacheConfig { cap, policy, ttl, idle, parts, clock };
        let unpacked = Cache::new(CacheConfig::new(config.unpacked), &account.child("unpacked"))?;
        let packed = Cache::new(below, &account.child("packed"))?;
        let none = || AtomicU64::new(0);
        let (changes, loads, loaded, failed) = (none(), none(), none(), none());
        Ok(Self { unpacked, packed, asked, changes, loads, loaded, failed })
    }

    /// The value of a key; none if the source has none.
    ///
    /// # Errors
    /// Those of the source.
    ///
    /// # Cost
    /// From the upper cache a look-up; from the lower one a look-up more and the unpacking; else a load.
    pub fn get<S: Source<K, P, V>>(&self, source: &S, key: &K) -> Result<Option<V>, S::Error> {
        if let Some(value) = self.unpacked.get(key) {
            return Ok(Some(value));
        }
        let changes = self.changes.load(Ordering::Relaxed);
        // Those that are missing are told from errors by the way out.
        let packed = self.packed.get_or_load(key, || self.load_one(source, key));
        match packed {
            Ok(packed) => self.use_packed(source, key, &packed, changes).map(Some),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    /// The values of many keys, in their order; those that are in neither cache are loaded together.
    ///
    /// # Errors
    /// Those of the source. What was loaded before stays.
    pub fn get_many<S: Source<K, P, V>>(
        &self,
        source: &S,
        keys: &[K],
    ) -> Result<Vec<Option<V>>, S::Error> {
        let mut values: Vec<Option<V>> = keys.iter().map(|key| self.unpacked.get(key)).collect();
        let changes = self.changes.load(Ordering::Relaxed);
        let mut missing = Vec::new();
        for (place, (key, value)) in keys.iter().zip(&mut values).enumerate() {
            if value.is_some() {
                continue;
            }
            match self.packed.get(key) {
                Some(packed) => *value = Some(self.use_packed(source, key, &packed, changes)?),
                None => missing.push(place),
            }
        }
        let asked: Vec<&K> = missing.iter().map(|&place| &keys[place]).collect();
        let mut outcome = Ok(());
        self.load_many(source, &asked, &mut |at, packed| match source.unpack(asked[at], packed) {
            Ok(value) => values[missing[at]] = Some(value),
            Err(error) => outcome = Err(error),
        })?;
        outcome?;
        Ok(values)
    }

    /// Loads those of `keys` that are in neither cache, packed: for what will probably be asked for next.
    ///
    /// # Errors
    /// Those of the source.
    pub fn prefetch<S: Source<K, P, V>>(&self, source: &S, keys: &[K]) -> Result<(), S::Error> {
        let is_missing = |key: &&K| !self.unpacked.contains(*key) && !self.packed.contains(*key);
        let missing: Vec<&K> = keys.iter().filter(is_missing).collect();
        self.load_many(source, &missing, &mut |_, _| {})
    }

    /// Is the value of a key in one of the caches? Asking does not count as a use.
    pub fn contains(&self, key: &K) -> bool {
        self.unpacked.contains(key) || self.packed.contains(key)
    }

    /// A new value of a key, written through: where the caches have no room for it, they forget the old one.
    pub fn put(&self, key: K, packed: P) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        let _ = self.packed.insert(key.clone(), packed);
        self.unpacked.remove(&key);
    }

    /// Forgets a key.
    pub fn remove(&self, key: &K) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.forget(key);
    }

    /// Forgets everything and gives its bytes back.
    pub fn clear(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.packed.clear();
        self.unpacked.clear();
    }

    /// Changes the cap of both caches together; the share of unpacked values stays.
    ///
    /// # Errors
    /// [`CapError`] where tables or pinned entries hold more.
    pub fn set_cap(&self, cap: Bytes) -> Result<(), CapError> {
        let (unpacked, packed) = (self.unpacked.cap().get(), self.packed.cap().get());
        let share = unpacked as f64 / (unpacked + packed).max(1) as f64;
        let above = Bytes::new((cap.get() as f64 * share) as u64);
        self.unpacked.set_cap(above)?;
        self.packed.set_cap(cap.saturating_sub(above))
    }

    /// What happened so far, and what the caches hold.
    pub fn stats(&self) -> TiersStats {
        TiersStats {
            unpacked: self.unpacked.stats(),
            packed: self.packed.stats(),
            loads: self.loads.load(Ordering::Relaxed),
            loaded: self.loaded.load(Ordering::Relaxed),
            failed_loads: self.failed.load(Ordering::Relaxed),
        }
    }

    /// The lower cache first, as [`Self::use_packed`] needs it.
    fn forget(&self, key: &K) {
        self.packed.remove(key);
        self.unpacked.remove(key);
    }

    /// Unpacks a value that was asked for, and promotes it the second time. Who writes or removes a value counts
    /// that first, and takes promoted values out last: if that was before this promotion, the count shows it.
    fn use_packed<S: Source<K, P, V>>(
        &self,
        source: &S,
        key: &K,
        packed: &P,
        changes: u64,
    ) -> Result<V, S::Error> {
        let value = source.unpack(key, packed)?;
        if self.asked.again(self.packed.hash(key)) {
            let _ = self.unpacked.insert(key.clone(), value.clone());
            if self.changes.load(Ordering::Relaxed) != changes {
                self.unpacked.remove(key);
            }
        }
        Ok(value)
    }

    fn load_one<S: Source<K, P, V>>(&self, source: &S, key: &K) -> Result<P, Option<S::Error>> {
        let mut found = None;
        self.load(source, &[key], &mut |_, packed| found = Some(packed)).map_err(Some)?;
        found.ok_or(None)
    }

    /// Loads keys in one pass and keeps what was loaded, unless something was written meanwhile: it may be out of
    /// date. A writer changes the count first and the cache then; so if its value was in the cache before the one
    /// that was loaded, the count shows it afterwards. The cache's own locks order the two.
    fn load_many<S: Source<K, P, V>>(
        &self,
        source: &S,
        keys: &[&K],
        take: &mut dyn FnMut(usize, &P),
    ) -> Result<(), S::Error> {
        let before = self.changes.load(Ordering::Relaxed);
        let outcome = self.load(source, keys, &mut |at, packed| {
            take(at, &packed);
            // A value without room is the caller's all the same.
            let _ = self.packed.insert(keys[at].clone(), packed);
        });
        if self.changes.load(Ordering::Relaxed) != before {
            keys.iter().for_each(|key| self.forget(key));
        }
        outcome
    }

    /// Asks the source.
    fn load<S: Source<K, P, V>>(
        &self,
        source: &S,
        keys: &[&K],
        take: &mut dyn FnMut(usize, P),
    ) -> Result<(), S::Error> {
        if keys.is_empty() {
            return Ok(());
        }
        self.loads.fetch_add(1, Ordering::Relaxed);
        let mut loaded = 0;
        let outcome = source.load(keys, &mut |at, value| {
            loaded += 1;
            take(at, value);
        });
        self.loaded.fetch_add(loaded, Ordering::Relaxed);
        if outcome.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}

/// Which keys were asked for, roughly: a bit by hash. When half of the bits are set, all are forgotten.
struct Asked {
    bits: Box<[AtomicU64]>,
    set: AtomicU64,
    _charge: Reservation,
}

impl Asked {
    /// Bytes of packed values for each bit: fewer than a value has.
    const BYTES_A_BIT: u64 = 128;

    fn new(cap: Bytes, account: &Account) -> Result<Self, CreateError> {
        let words = (cap.get() / Self::BYTES_A_BIT / 64).max(1);
        let words = words.next_power_of_two() as usize;
        let charge = account.reserve(Bytes::of(words * size_of::<AtomicU64>()));
        let _charge = charge.map_err(CreateError::OverBudget)?;
        let bits = (0..words).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { bits, set: AtomicU64::new(0), _charge })
    }

    fn bytes(&self) -> Bytes {
        Bytes::of(size_of_val::<[AtomicU64]>(&self.bits))
    }

    /// Was a key of this hash asked for before? Relaxed: who sees an old bit says so the next time.
    fn again(&self, hash: u64) -> bool {
        let bit = 1 << (hash % 64);
        // The low bits choose the bit, others the word.
        let word = &self.bits[(hash >> 32) as usize % self.bits.len()];
        if word.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            return true;
        }
        if self.set.fetch_add(1, Ordering::Relaxed) >= 32 * self.bits.len() as u64 {
            self.set.store(0, Ordering::Relaxed);
            self.bits.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        false
    }
}

impl TiersStats {
    /// Requests that were answered from one of the caches, of all, 0 to 1; 0 before the first.
    pub fn hit_ratio(&self) -> f64 {
        let asked = self.unpacked.hits + self.unpacked.misses;
        if asked == 0 { 0.0 } else { (self.unpacked.hits + self.packed.hits) as f64 / asked as f64 }
    }
}
