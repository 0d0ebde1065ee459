//! The block pool: threads' caches before shelves of slabs.
//!
//! A block is taken from the calling thread's [`Magazine`], else from the [`Shelf`] of its class,
//! else from a new slab. The order of locks is cache, then shelf. Neither is held while bytes are
//! reserved or given back, for then the ledger may ask this pool, or others, for theirs.
//!
//! Each slab keeps the [`Core`] alive. When the last handle of a pool is dropped the core is
//! closed: all caches are emptied and stay shut, so each block that comes back later goes to its
//! shelf at once, and the last one takes slab and core with it. Nobody counts references per
//! block.

use std::io;
use std::ptr::{self, NonNull};

use super::class::{self, CLASSES, COUNT, LARGEST_BLOCK};
use super::error::BlockError;
use super::handle::{PooledBlock, Tag};
use super::magazine::{Afterwards, Agreement, Cache, Magazine};
use super::slab::{Shelf, Slab, Slot};
use super::stats::BlockStats;
use crate::account::Padded;
use crate::sync::{
    Arc, AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Mutex, Ordering, Weak, fence, lock,
};
use crate::{Account, Bytes, OverBudget, Reclaimer, Reservation, thread_number};

/// How a [`BlockPool`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockConfig {
    /// Bytes of empty slabs that are kept for later, at most, until somebody needs them.
    /// 8 MiB by default.
    pub max_retained: Bytes,
}

impl Default for BlockConfig {
    fn default() -> Self {
        Self { max_retained: Bytes::mib(8) }
    }
}

/// How many blocks of which length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Bytes of each block.
    pub len: usize,
    /// Number of blocks.
    pub count: usize,
}

/// A pool of blocks of up to 64 KiB. Clones are the same pool.
///
/// Blocks may outlive it, and may be freed on any thread.
#[derive(Debug, Clone)]
pub struct BlockPool {
    core: Arc<Core>,
    _handle: Arc<Handle>,
}

/// What the clones of a pool share; the last one closes it.
#[derive(Debug)]
struct Handle {
    core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.close();
    }
}

impl BlockPool {
    /// A pool that charges `account`, and becomes its reclaimer: give each pool its own.
    ///
    /// # Errors
    /// [`OverBudget`] where its tables (some 16 KiB) do not fit.
    pub fn new(account: &Account, config: BlockConfig) -> Result<Self, OverBudget> {
        Self::with_agreement(account, config, Agreement::offered())
    }

    fn with_agreement(
        account: &Account,
        config: BlockConfig,
        agreement: Agreement,
    ) -> Result<Self, OverBudget> {
        let core = Arc::new(Core::new(account, config, agreement)?);
        let reclaimer: Weak<dyn Reclaimer> = Arc::downgrade(&core) as _;
        account.set_reclaimer(reclaimer);
        Ok(Self { _handle: Arc::new(Handle { core: Arc::clone(&core) }), core })
    }

    /// An empty block with room for `len` bytes.
    ///
    /// Nothing is cleared: what a former owner left can be neither read nor seen.
    ///
    /// # Errors
    /// [`BlockError::TooLarge`] above [`LARGEST_BLOCK`]; [`BlockError::OverBudget`] and
    /// [`BlockError::System`] where a slab was needed and not to be had.
    ///
    /// # Cost
    /// A few nanoseconds, no atomic read-modify-write, no lock; once in some 30 calls a lock, and
    /// once a slab a system call.
    #[inline(always)]
    pub fn acquire(&self, len: usize) -> Result<PooledBlock, BlockError> {
        let (slot, tag) = self.take(len)?;
        // SAFETY: the block is ours alone, and of this tag.
        Ok(unsafe { PooledBlock::new(slot, tag) })
    }

    #[inline(always)]
    fn take(&self, len: usize) -> Result<(Slot, Tag), BlockError> {
        let Some(class) = class::of(len) else { return Err(too_large(len)) };
        let slot = match self.core.take_at_hand(class, len) {
            Some(slot) => slot,
            None => Core::take_slowly(&self.core, class, len).map_err(|error| *error)?,
        };
        Ok((slot, Tag::new(class, len)))
    }

    /// A block of `len` zero bytes.
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire).
    #[inline]
    pub fn acquire_zeroed(&self, len: usize) -> Result<PooledBlock, BlockError> {
        let (slot, tag) = self.take(len)?;
        // SAFETY: the block is ours alone, and of this tag; its class holds `len` bytes.
        Ok(unsafe { PooledBlock::zeroed(slot, tag, len) })
    }

    /// A block that holds a copy of `bytes`.
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire).
    #[inline]
    pub fn acquire_copied(&self, bytes: &[u8]) -> Result<PooledBlock, BlockError> {
        let (slot, tag) = self.take(bytes.len())?;
        // SAFETY: the block is ours alone, and of this tag; its class holds as many bytes.
        Ok(unsafe { PooledBlock::copied(slot, tag, bytes) })
    }

    /// A block that holds a copy of `values`, in the byte order of this machine.
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire).
    #[inline]
    pub fn acquire_f32s(&self, values: &[f32]) -> Result<PooledBlock, BlockError> {
        self.acquire_copied(super::handle::bytes_of(values))
    }

    /// Many blocks at once, all or none; each begins empty, as with [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire), and [`BlockError::System`] where there is no memory
    /// for the list itself, which is the caller's and not charged.
    ///
    /// # Cost
    /// One lock for each slab, whatever the number of blocks.
    pub fn acquire_batch(&self, batch: Batch) -> Result<Vec<PooledBlock>, BlockError> {
        Core::acquire_batch(&self.core, batch)
    }

    /// Gives everything back that no live block needs: blocks in threads' caches go to their
    /// slabs, empty slabs to the system. Returns the bytes that went back. Live blocks stay where
    /// they are, and so do their slabs.
    ///
    /// # Cost
    /// A lock and a heavy fence (some microseconds) for each thread that used the pool, a system
    /// call for each empty slab. Other threads find their caches empty.
    pub fn compact(&self) -> Bytes {
        self.core.empty_caches();
        self.core.return_empty(Bytes::MAX)
    }

    /// What it holds.
    ///
    /// # Cost
    /// A lock for each of the 192 classes, and a look at every thread's cache.
    pub fn stats(&self) -> BlockStats {
        self.core.stats()
    }
}

/// A pool without its handles.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) account: Account,
    config: BlockConfig,
    agreement: Agreement,
    /// No other pool ever has it.
    pub(super) id: u64,
    /// By thread number; a cache is made by its owner and lives as long as the core.
    caches: [AtomicPtr<Cache>; thread_number::MOST],
    shelves: [Padded<Mutex<Shelf>>; COUNT],
    closed: AtomicBool,
    /// Bytes of slabs on the shelves' lists of empty ones.
    empty_bytes: AtomicUsize,
    slab_bytes: AtomicUsize,
    /// Bytes of caches and magazines.
    cache_bytes: AtomicUsize,
    slabs_taken: AtomicU64,
    slabs_returned: AtomicU64,
    /// As in [`Magazine`], for what went past the magazines.
    slack: AtomicU64,
    _held: Reservation,
}

impl Core {
    fn new(
        account: &Account,
        config: BlockConfig,
        agreement: Agreement,
    ) -> Result<Self, OverBudget> {
        static NEXT: AtomicU64 = AtomicU64::new(thread_number::NO_KEY + 1);
        let held = account.reserve(Bytes::of(size_of::<Self>()))?;
        Ok(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            account: account.clone(),
            config,
            agreement,
            caches: [const { AtomicPtr::new(ptr::null_mut()) }; thread_number::MOST],
            shelves: std::array::from_fn(|class| Padded(Mutex::new(Shelf::new(class)))),
            closed: AtomicBool::new(false),
            empty_bytes: AtomicUsize::new(0),
            slab_bytes: AtomicUsize::new(0),
            cache_bytes: AtomicUsize::new(0),
            slabs_taken: AtomicU64::new(0),
            slabs_returned: AtomicU64::new(0),
            slack: AtomicU64::new(0),
            _held: held,
        })
    }

    /// The cache of a thread number, if there is one.
    fn cache(&self, number: usize) -> Option<&Cache> {
        let cache = self.caches[number].load(Ordering::Acquire);
        // SAFETY: it is null or came from the box in `own_cache`; it lives as long as the core.
        unsafe { cache.as_ref() }
    }

    /// This thread's cache and its magazine of a class, made if need be; `None` where the thread
    /// has no number, the budget no room, or the pool no handle. No lock may be held.
    fn make_own(&self, class: usize) -> Option<(&Cache, &Magazine)> {
        let cache = self.own_cache()?;
        if let Some(magazine) = cache.magazine(class) {
            return Some((cache, magazine));
        }
        let held = self.reserve_table(size_of::<Magazine>())?;
        let magazine = cache.add(class, Magazine::new(class, self.agreement, held));
        // See `close`.
        fence(Ordering::SeqCst);
        Some((cache, magazine))
    }

    fn own_cache(&self) -> Option<&Cache> {
        let number = thread_number::number()?;
        if self.cache(number).is_none() {
            let held = self.reserve_table(size_of::<Cache>())?;
            self.caches[number].store(Box::into_raw(Cache::new(held)), Ordering::Release);
            fence(Ordering::SeqCst);
        }
        let cache = self.cache(number)?;
        thread_number::remember(self.id, ptr::from_ref(cache).cast());
        Some(cache)
    }

    fn reserve_table(&self, bytes: usize) -> Option<Reservation> {
        if self.closed.load(Ordering::SeqCst) {
            return None;
        }
        let held = self.account.reserve(Bytes::of(bytes)).ok()?;
        self.cache_bytes.fetch_add(bytes, Ordering::Relaxed);
        Some(held)
    }

    /// A block for `len` bytes from this thread's magazine, if this is the pool it used last.
    #[inline(always)]
    fn take_at_hand(&self, class: usize, len: usize) -> Option<Slot> {
        // SAFETY: this pool is alive, and callers have classes from `of`; the magazine is this
        // thread's.
        unsafe { magazine_at_hand(self.id, class)?.as_ref().try_take(len as u32) }
    }

    /// A block for `len` bytes from wherever there is one.
    ///
    /// Result and error are two words, which come back in registers: a caller that had to have
    /// them in memory would have to build every block there.
    #[cold]
    #[inline(never)]
    fn take_slowly(this: &Arc<Self>, class: usize, len: usize) -> Result<Slot, Box<BlockError>> {
        loop {
            if let Some(slot) = this.take(class, len as u32) {
                return Ok(slot);
            }
            Self::grow(this, class).map_err(Box::new)?;
        }
    }

    /// Any block that there is. Refills the thread's magazine by the way.
    fn take(&self, class: usize, requested: u32) -> Option<Slot> {
        let Some((cache, magazine)) = self.make_own(class) else {
            let mut taken = None;
            self.take_from_shelf(class, 1, |slot| taken = Some(slot));
            if taken.is_some() {
                self.slack.fetch_add(slack(class, requested), Ordering::Relaxed);
            }
            return taken;
        };
        // SAFETY: the cache of this thread's number is this thread's.
        if let Some(slot) = unsafe { magazine.try_take(requested) } {
            return Some(slot);
        }
        let _guard = lock(&cache.lock);
        // SAFETY: the cache of this thread's number is this thread's, and it holds the lock.
        let magazine = unsafe { magazine.locked() };
        if magazine.is_empty() {
            self.take_from_shelf(class, magazine.half(), |slot| magazine.load(slot));
        }
        magazine.take(requested)
    }

    fn take_from_shelf(&self, class: usize, wanted: usize, taken: impl FnMut(Slot)) -> usize {
        self.on_shelf(class, |shelf| shelf.take(wanted, taken))
    }

    /// Works on a shelf, and keeps count of what is empty.
    fn on_shelf<T>(&self, class: usize, work: impl FnOnce(&mut Shelf) -> T) -> T {
        let mut shelf = lock(&self.shelves[class].0);
        let before = shelf.empty;
        let result = work(&mut shelf);
        // A slab of a class always has the same size once pages are known.
        let bytes = Slab::mapped_bytes(class);
        if shelf.empty > before {
            self.empty_bytes.fetch_add((shelf.empty - before) * bytes, Ordering::Relaxed);
        } else if shelf.empty < before {
            self.empty_bytes.fetch_sub((before - shelf.empty) * bytes, Ordering::Relaxed);
        }
        result
    }

    /// Takes a slab from the system. No lock may be held.
    fn grow(this: &Arc<Self>, class: usize) -> Result<(), BlockError> {
        let slab = Slab::new(Arc::clone(this), class)?;
        this.slab_bytes.fetch_add(slab.bytes(), Ordering::Relaxed);
        this.slabs_taken.fetch_add(1, Ordering::Relaxed);
        this.on_shelf(class, |shelf| shelf.add(slab));
        Ok(())
    }

    fn acquire_batch(this: &Arc<Self>, batch: Batch) -> Result<Vec<PooledBlock>, BlockError> {
        let Batch { len, count } = batch;
        let class = class::of(len).ok_or_else(|| too_large(len))?;
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(count).map_err(|error| BlockError::System {
            requested: Bytes::of(count).saturating_mul(size_of::<PooledBlock>() as u64),
            source: io::Error::new(io::ErrorKind::OutOfMemory, error),
        })?;
        while blocks.len() < count
            && let Some(slot) = this.take_at_hand(class, len)
        {
            // SAFETY: the magazine gave the block to us alone, of this class.
            blocks.push(unsafe { PooledBlock::new(slot, Tag::new(class, len)) });
        }
        while blocks.len() < count {
            let missing = count - blocks.len();
            let taken = this.take_from_shelf(class, missing, |slot| {
                // SAFETY: as above, the shelf gave it.
                blocks.push(unsafe { PooledBlock::new(slot, Tag::new(class, len)) });
            });
            this.slack.fetch_add(slack(class, len as u32) * taken as u64, Ordering::Relaxed);
            if taken < missing {
                Self::grow(this, class)?;
            }
        }
        Ok(blocks)
    }

    /// Takes a block back that the magazine did not take.
    ///
    /// # Safety
    /// A shelf of this core gave `slot` as one of `class`, and it is nobody's now.
    pub(super) unsafe fn put(&self, class: usize, slot: Slot, requested: u32) {
        if let Some((cache, magazine)) = self.make_own(class) {
            // SAFETY: the cache of this thread's number is this thread's.
            if unsafe { Magazine::try_put(NonNull::from(magazine), slot, requested) } {
                return;
            }
            let guard = lock(&cache.lock);
            // Once closed, caches stay shut: nobody would empty them again.
            if !self.closed.load(Ordering::SeqCst) {
                // SAFETY: the cache of this thread's number is this thread's; it holds the lock.
                let magazine = unsafe { magazine.locked() };
                if magazine.is_full() {
                    self.on_shelf(class, |shelf| {
                        // SAFETY: blocks in magazines are nobody's, and came from this shelf.
                        magazine.unload_half(|slot| unsafe { shelf.put(slot) });
                    });
                }
                magazine.put(slot, requested);
                drop(guard);
                self.trim(class);
                return;
            }
        }
        self.slack.fetch_sub(slack(class, requested), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        self.on_shelf(class, |shelf| unsafe { shelf.put(slot) });
        self.trim(class);
    }

    /// Gives empty slabs of a class back while there are more than should be kept. Called after
    /// blocks were put; so either it sees that the pool is closed, or `close` sees the slabs.
    fn trim(&self, class: usize) {
        loop {
            let is_closed = self.closed.load(Ordering::SeqCst);
            let most = if is_closed { Bytes::ZERO } else { self.config.max_retained };
            let empty = Bytes::of(self.empty_bytes.load(Ordering::Relaxed));
            if empty <= most || self.return_one(class).is_none() {
                return;
            }
        }
    }

    /// Gives an empty slab of a class back; returns its bytes.
    fn return_one(&self, class: usize) -> Option<usize> {
        let slab = self.on_shelf(class, Shelf::remove_empty)?;
        let bytes = slab.bytes();
        self.slab_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.slabs_returned.fetch_add(1, Ordering::Relaxed);
        // Here, without a lock: it unmaps, and gives bytes back to the ledger.
        drop(slab);
        Some(bytes)
    }

    /// Gives empty slabs back until `wanted` bytes went; returns how many did.
    fn return_empty(&self, wanted: Bytes) -> Bytes {
        let mut returned = 0;
        for class in 0..COUNT {
            while Bytes::of(returned) < wanted
                && let Some(bytes) = self.return_one(class)
            {
                returned += bytes;
            }
        }
        Bytes::of(returned)
    }

    fn caches(&self) -> impl Iterator<Item = &Cache> {
        (0..thread_number::MOST).filter_map(|number| self.cache(number))
    }

    /// Puts the blocks of all caches back on their shelves; once closed, for good.
    fn empty_caches(&self) {
        for cache in self.caches() {
            let _guard = lock(&cache.lock);
            // Under the lock: who opens again what `close` has shut would have to come later.
            let is_closed = self.closed.load(Ordering::SeqCst);
            let afterwards = if is_closed { Afterwards::Shut } else { Afterwards::Open };
            cache.steal(afterwards, |class, slot| {
                // SAFETY: blocks in magazines are nobody's, and came from this shelf.
                self.on_shelf(class, |shelf| unsafe { shelf.put(slot) });
            });
        }
    }

    /// The last handle is gone. Whoever makes a cache or a magazine meanwhile does so before a
    /// fence and looks at `closed` after it, under the cache's lock; so either the block he puts
    /// goes to the shelf, or his magazine is seen here.
    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.empty_caches();
        self.return_empty(Bytes::MAX);
    }

    fn stats(&self) -> BlockStats {
        let mut slack = self.slack.load(Ordering::Relaxed);
        let mut kept = [0; COUNT];
        for (class, magazine) in self.caches().flat_map(Cache::magazines) {
            kept[class] += magazine.kept();
            slack = slack.wrapping_add(magazine.slack());
        }
        let mut stats = BlockStats {
            empty_bytes: Bytes::of(self.empty_bytes.load(Ordering::Relaxed)),
            slab_bytes: Bytes::of(self.slab_bytes.load(Ordering::Relaxed)),
            slabs_taken: self.slabs_taken.load(Ordering::Relaxed),
            slabs_returned: self.slabs_returned.load(Ordering::Relaxed),
            ..BlockStats::default()
        };
        for (class, kept) in kept.into_iter().enumerate() {
            let size = CLASSES[class].size;
            let (slabs, out) = self.on_shelf(class, |shelf| (shelf.slabs, shelf.out));
            let live = out.saturating_sub(kept);
            stats.slabs += slabs;
            stats.live_blocks += live;
            stats.block_bytes = stats.block_bytes.saturating_add(Bytes::of(live * size));
            stats.cached_bytes = stats.cached_bytes.saturating_add(Bytes::of(kept * size));
        }
        stats.requested = stats.block_bytes.saturating_sub(Bytes::new(slack));
        let tables = size_of::<Self>() + self.cache_bytes.load(Ordering::Relaxed);
        stats.metadata = Bytes::of(tables + stats.slabs * Slab::HEADER);
        stats
    }
}

/// This thread's magazine of a class of the pool with this id, if it is the one that the thread
/// used last. It lives as long as the pool.
///
/// # Safety
/// The pool is alive, and `class` is a class.
#[inline(always)]
pub(super) unsafe fn magazine_at_hand(id: u64, class: usize) -> Option<NonNull<Magazine>> {
    let cache: *const Cache = thread_number::recall(id)?.cast();
    // SAFETY: `own_cache` remembered it by this id, which is no other pool's; it is this thread's
    // as long as it is remembered, and lives as long as the pool.
    Some(NonNull::from(unsafe { (*cache).at_hand(class) }))
}

/// Bytes of a block of `class` that nobody asks for.
fn slack(class: usize, requested: u32) -> u64 {
    CLASSES[class].size as u64 - u64::from(requested)
}

#[cold]
fn too_large(len: usize) -> BlockError {
    BlockError::TooLarge { requested: Bytes::of(len), largest: Bytes::of(LARGEST_BLOCK) }
}

impl Reclaimer for Core {
    /// Bytes of empty slabs, and of cached blocks, which may or may not make others empty.
    fn reclaimable(&self) -> Bytes {
        let kept = self.caches().flat_map(Cache::magazines);
        let cached: usize =
            kept.map(|(class, magazine)| magazine.kept() * CLASSES[class].size).sum();
        Bytes::of(cached + self.empty_bytes.load(Ordering::Relaxed))
    }

    /// Zero: what is empty costs its page faults to have again, and no data.
    fn worth_per_byte(&self) -> f64 {
        0.0
    }

    fn shed(&self, wanted: Bytes) -> Bytes {
        let at_once = self.return_empty(wanted);
        if at_once >= wanted {
            return at_once;
        }
        self.empty_caches();
        at_once.saturating_add(self.return_empty(wanted.saturating_sub(at_once)))
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        for cache in &mut self.caches {
            let cache = *cache.get_mut();
            if !cache.is_null() {
                // SAFETY: from the box in `own_cache`, and nobody borrows it: the core goes.
                drop(unsafe { Box::from_raw(cache) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budget, Priority};

    /// Where there is no fence to agree by, everything goes on under the caches' locks.
    #[test]
    fn without_a_fence_threads_that_free_for_each_other_beside_a_compactor_lose_nothing() {
        let rounds = if cfg!(miri) { 40 } else { 5_000 };
        let budget = Budget::new(Bytes::mib(64));
        let account = budget.account("blocks", Priority::Write);
        let config = BlockConfig::default();
        let pool = BlockPool::with_agreement(&account, config, Agreement::Lock).unwrap();
        std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::sync_channel::<PooledBlock>(64);
            scope.spawn(|| {
                for round in 0..rounds {
                    let mut block = pool.acquire(100 + round % 2000).unwrap();
                    block.resize(100, 1).unwrap();
                    if round % 2 == 0 {
                        sender.send(block).unwrap();
                    }
                }
                drop(sender);
            });
            scope.spawn(|| {
                for _ in 0..rounds / 20 {
                    pool.compact();
                }
            });
            receiver.into_iter().for_each(|block| assert_eq!(block.as_slice(), &[1; 100]));
        });
        pool.compact();
        let stats = pool.stats();
        assert_eq!((stats.live_blocks, stats.slabs, stats.requested), (0, 0, Bytes::ZERO));
        assert_eq!(stats.footprint(), account.used());
    }
}
