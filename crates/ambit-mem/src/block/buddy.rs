//! The buddy pool: large blocks of any length, from regions that split and merge.
//!
//! Blocks are whole leaves (64 KiB by default) of a region (8 MiB by default), taken and put by a
//! [`BuddyTree`]. A block that is larger than a region gets one of its own. Regions are charged
//! before they are mapped and unmapped when they are empty, but for a few that are kept.
//!
//! Everything happens under one lock, which is not held while bytes are reserved or given back:
//! large blocks are rare, and filling one takes longer than any lock. A region keeps the
//! [`BuddyCore`] alive, so blocks may outlive their pool; once that is closed, the last block of a
//! region takes the region with it.

use std::ptr::NonNull;

use super::error::BlockError;
use super::handle::{PooledBlock, Tag};
use super::mapping::{Mapping, Request};
use super::slab::{Home, NO_POOL, Owner, Slot};
use super::stats::share;
use super::tree::{BuddyTree, Span};
use crate::sync::{Arc, Mutex, Weak, lock};
use crate::{Account, Bytes, OverBudget, Reclaimer, Reservation};

/// The largest block: lengths have 32 bits.
const LARGEST: usize = (u32::MAX - (1 << 20)) as usize;
/// What the allocator adds to the tables of a region, and the region's place in the list.
const ALLOCATOR: usize = 128;

/// How a [`BuddyPool`] behaves. Sizes are rounded up to powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuddyConfig {
    /// Blocks are multiples of this. 64 KiB by default, at least 4 KiB.
    pub leaf: Bytes,
    /// What is taken from the system at a time, at least a leaf. 8 MiB by default.
    pub region: Bytes,
    /// Bytes of empty regions that are kept for later, at most. 8 MiB by default.
    pub max_retained: Bytes,
}

impl Default for BuddyConfig {
    fn default() -> Self {
        Self { leaf: Bytes::kib(64), region: Bytes::mib(8), max_retained: Bytes::mib(8) }
    }
}

/// What a [`BuddyPool`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BuddyStats {
    /// Blocks that have an owner.
    pub live_blocks: usize,
    /// Bytes that the owners of live blocks asked for.
    pub requested: Bytes,
    /// Bytes of live blocks.
    pub block_bytes: Bytes,
    /// Bytes of regions without live blocks, kept for later.
    pub empty_bytes: Bytes,
    /// Bytes of all regions, charged and mapped.
    pub region_bytes: Bytes,
    /// Bytes of the pool's tables, charged, too.
    pub metadata: Bytes,
    /// The largest block that could be had without another region.
    pub largest_free: Bytes,
    /// Regions.
    pub regions: usize,
}

impl BuddyStats {
    /// The share of live blocks that nobody asked for, 0 to 1.
    pub fn internal_fragmentation(&self) -> f64 {
        1.0 - share(self.requested, self.block_bytes, 1.0)
    }

    /// The share of regions that are not empty, and so cannot go back, that no live block uses,
    /// 0 to 1.
    pub fn external_fragmentation(&self) -> f64 {
        1.0 - share(self.block_bytes, self.region_bytes.saturating_sub(self.empty_bytes), 1.0)
    }

    /// The share of all bytes charged that are not regions, 0 to 1.
    pub fn metadata_share(&self) -> f64 {
        share(self.metadata, self.footprint(), 0.0)
    }

    /// All bytes charged.
    pub fn footprint(&self) -> Bytes {
        self.region_bytes.saturating_add(self.metadata)
    }
}

/// A pool of large blocks of any length. Clones are the same pool.
///
/// Blocks may outlive it, and may be freed on any thread.
///
/// ```
/// use ambit_mem::block::{BuddyConfig, BuddyPool};
/// use ambit_mem::{Budget, Bytes, Priority};
///
/// let budget = Budget::new(Bytes::mib(32));
/// let account = budget.account("import/batches", Priority::Write);
/// let pool = BuddyPool::new(&account, BuddyConfig::default())?;
/// let block = pool.acquire_zeroed(1000 * 1536 * 4)?;
/// assert_eq!(block.as_f32s().len(), 1000 * 1536);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct BuddyPool {
    core: Arc<BuddyCore>,
    _handle: Arc<Handle>,
}

/// What the clones of a pool share; the last one closes it.
#[derive(Debug)]
struct Handle {
    core: Arc<BuddyCore>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&self.core.regions).is_closed = true;
        self.core.return_empty(Keep { at_most: Bytes::ZERO, wanted: Bytes::MAX });
    }
}

impl BuddyPool {
    /// A pool that charges `account`, and becomes its reclaimer: give each pool its own.
    ///
    /// # Errors
    /// [`OverBudget`] where its own few bytes do not fit.
    pub fn new(account: &Account, config: BuddyConfig) -> Result<Self, OverBudget> {
        let core = Arc::new(BuddyCore::new(account, config)?);
        let reclaimer: Weak<dyn Reclaimer> = Arc::downgrade(&core) as _;
        account.set_reclaimer(reclaimer);
        Ok(Self { _handle: Arc::new(Handle { core: Arc::clone(&core) }), core })
    }

    /// An empty block with room for `len` bytes, rounded up to whole leaves.
    ///
    /// # Errors
    /// [`BlockError::OverBudget`] and [`BlockError::System`] where a region was needed and not to
    /// be had; [`BlockError::TooLarge`] for all but 4 GiB and more.
    ///
    /// # Cost
    /// A lock; a system call for a new region.
    pub fn acquire(&self, len: usize) -> Result<PooledBlock, BlockError> {
        if len > LARGEST {
            let (requested, largest) = (Bytes::of(len), Bytes::of(LARGEST));
            return Err(BlockError::TooLarge { requested, largest });
        }
        loop {
            if let Some(block) = self.core.take(len) {
                return Ok(block);
            }
            BuddyCore::grow(&self.core, len)?;
        }
    }

    /// A block of `len` zero bytes.
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire).
    pub fn acquire_zeroed(&self, len: usize) -> Result<PooledBlock, BlockError> {
        let mut block = self.acquire(len)?;
        block.resize(len, 0)?;
        Ok(block)
    }

    /// Gives all empty regions back to the system; returns their bytes. Live blocks stay where
    /// they are, and so do their regions.
    pub fn compact(&self) -> Bytes {
        self.core.return_empty(Keep { at_most: Bytes::ZERO, wanted: Bytes::MAX })
    }

    /// What it holds.
    pub fn stats(&self) -> BuddyStats {
        self.core.stats()
    }
}

/// A region: its pages, and which of them are free.
#[derive(Debug)]
#[repr(C)]
struct Region {
    /// First, so that a pointer to it is a pointer to the region.
    home: Home,
    mapping: Mapping,
    /// Taken after the lock of the list.
    free: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    tree: BuddyTree,
    live: usize,
    /// Bytes that were asked for, by the first leaf of a block.
    requested: Box<[u32]>,
}

impl Region {
    /// A free region for a block of `len` bytes: one of the usual size, or of the block's.
    fn new(core: Arc<BuddyCore>, len: usize) -> Result<Box<Self>, BlockError> {
        let Shape { leaf, order } = core.shape;
        let is_usual = len <= leaf << order;
        let (unit, order) = if is_usual { (leaf, order) } else { (Mapping::rounded(len), 0) };
        let request = Request { bytes: unit << order, beside: Self::tables(order) };
        let mapping = Mapping::new(&core.account, request)?;
        let requested = vec![0; 1 << order].into_boxed_slice();
        let free = Mutex::new(Free { tree: BuddyTree::new(order), live: 0, requested });
        let home = Home { pool: NO_POOL, owner: Owner::Buddy { core }, unit };
        Ok(Box::new(Self { home, mapping, free }))
    }

    /// Bytes of a region's tables.
    const fn tables(order: u32) -> usize {
        size_of::<Self>() + BuddyTree::bytes(order) + (size_of::<u32>() << order) + ALLOCATOR
    }

    /// How well a block of `len` bytes fits; less is better. A region that was made for one block
    /// is not for much smaller ones.
    fn fit(&self, len: usize) -> Option<usize> {
        let free = lock(&self.free);
        let most = free.tree.most();
        let leaves = len.max(1).div_ceil(self.home.unit);
        let is_wasteful = free.requested.len() == 1 && self.home.unit / 2 > len;
        let fits = leaves.checked_next_power_of_two()? <= most && !is_wasteful;
        fits.then(|| most + usize::from(free.live == 0) * free.requested.len())
    }
}

/// The sizes that a pool uses.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Bytes of a leaf, a power of two.
    leaf: usize,
    /// A region of the usual size is 2^`order` leaves.
    order: u32,
}

impl Shape {
    fn new(config: BuddyConfig) -> Self {
        let size = |bytes: Bytes| bytes.get().clamp(4 << 10, 1 << 30).next_power_of_two();
        let (leaf, region) = (size(config.leaf), size(config.region));
        Self { leaf: leaf as usize, order: region.ilog2().saturating_sub(leaf.ilog2()) }
    }
}

/// A pool without its handles.
#[derive(Debug)]
pub(super) struct BuddyCore {
    account: Account,
    shape: Shape,
    max_retained: Bytes,
    regions: Mutex<Regions>,
    _held: Reservation,
}

#[derive(Debug, Default)]
struct Regions {
    /// Each from a box, and made a box again when it is taken out.
    all: Vec<NonNull<Region>>,
    is_closed: bool,
}

// SAFETY: regions are the list's own; others who have pointers to them read only their `home`,
// which is `Sync`.
unsafe impl Send for Regions {}

impl Regions {
    fn iter(&self) -> impl Iterator<Item = &Region> {
        // SAFETY: regions in the list are alive, and leave it only by `&mut self`.
        self.all.iter().map(|region| unsafe { region.as_ref() })
    }

    fn empty_bytes(&self) -> Bytes {
        let empty = self.iter().filter(|region| lock(&region.free).live == 0);
        empty.map(|region| Bytes::of(region.mapping.bytes())).sum()
    }

    /// Takes an empty region out, if there is one. Drop it when no lock is held: with the last
    /// one the pool may go.
    fn remove_empty(&mut self) -> Option<Box<Region>> {
        let index = self.iter().position(|region| lock(&region.free).live == 0)?;
        // SAFETY: it came from a box, has no live blocks, and this was the last pointer to it.
        Some(unsafe { Box::from_raw(self.all.swap_remove(index).as_ptr()) })
    }
}

/// How many bytes of empty regions may stay, and how many should go.
#[derive(Debug, Clone, Copy)]
struct Keep {
    at_most: Bytes,
    wanted: Bytes,
}

impl BuddyCore {
    fn new(account: &Account, config: BuddyConfig) -> Result<Self, OverBudget> {
        let held = account.reserve(Bytes::of(size_of::<Self>()))?;
        Ok(Self {
            account: account.clone(),
            shape: Shape::new(config),
            max_retained: config.max_retained,
            regions: Mutex::default(),
            _held: held,
        })
    }

    /// A block of the regions there are, from the one that it fits best.
    fn take(&self, len: usize) -> Option<PooledBlock> {
        let regions = lock(&self.regions);
        let fits = regions.all.iter().filter_map(|region| {
            // SAFETY: regions in the list are alive.
            Some((unsafe { region.as_ref() }.fit(len)?, *region))
        });
        let (_, pointer) = fits.min_by_key(|(fit, _)| *fit)?;
        // SAFETY: as above, and the list is locked.
        let region = unsafe { pointer.as_ref() };
        let mut free = lock(&region.free);
        let span = free.tree.take(len.max(1).div_ceil(region.home.unit))?;
        free.live += 1;
        free.requested[span.start] = len as u32;
        // SAFETY: the tree has as many leaves as the mapping, so the block lies in it.
        let block = unsafe { region.mapping.base().add(span.start * region.home.unit) };
        let slot = Slot { block, home: pointer.cast() };
        // SAFETY: the tree gave these leaves to nobody else; a region with live blocks stays.
        Some(unsafe { PooledBlock::new(slot, Tag::of_leaves(span.leaves)) })
    }

    /// Takes a region from the system. No lock may be held: to find room, the ledger may ask this
    /// pool itself.
    fn grow(this: &Arc<Self>, len: usize) -> Result<(), BlockError> {
        let region = Region::new(Arc::clone(this), len)?;
        lock(&this.regions).all.push(NonNull::from(Box::leak(region)));
        Ok(())
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// `take` of this core gave `slot` and `leaves`, and it is nobody's now. The core must be kept
    /// by something else than the block.
    pub(super) unsafe fn put(&self, slot: Slot, leaves: usize) {
        {
            let regions = lock(&self.regions);
            let pointer: NonNull<Region> = slot.home.cast();
            // SAFETY: the region is alive, for a block of it was out until now; and it stays while
            // the list is locked.
            let region = unsafe { pointer.as_ref() };
            let offset = slot.block.addr().get() - region.mapping.base().addr().get();
            let mut free = lock(&region.free);
            free.tree.put(Span { start: offset / region.home.unit, leaves });
            free.live -= 1;
            free.requested[offset / region.home.unit] = 0;
            let is_live = free.live > 0;
            drop(free);
            drop(regions);
            if is_live {
                return;
            }
        }
        let is_closed = lock(&self.regions).is_closed;
        let at_most = if is_closed { Bytes::ZERO } else { self.max_retained };
        self.return_empty(Keep { at_most, wanted: Bytes::MAX });
    }

    /// Gives empty regions back; returns their bytes.
    fn return_empty(&self, keep: Keep) -> Bytes {
        let mut returned = Bytes::ZERO;
        while returned < keep.wanted {
            let mut regions = lock(&self.regions);
            if regions.empty_bytes() <= keep.at_most {
                break;
            }
            let Some(region) = regions.remove_empty() else { break };
            drop(regions);
            returned = returned.saturating_add(Bytes::of(region.mapping.bytes()));
            // Here, without a lock: it unmaps, and gives bytes back to the ledger.
            drop(region);
        }
        returned
    }

    fn stats(&self) -> BuddyStats {
        let regions = lock(&self.regions);
        let mut stats = BuddyStats { regions: regions.all.len(), ..BuddyStats::default() };
        let (mut tables, mut largest) = (size_of::<Self>(), 0);
        let (mut live, mut requested, mut used, mut mapped) = (0, 0u64, 0, 0);
        for region in regions.iter() {
            let free = lock(&region.free);
            live += free.live;
            requested += free.requested.iter().map(|&bytes| u64::from(bytes)).sum::<u64>();
            used += (free.requested.len() - free.tree.free()) * region.home.unit;
            mapped += region.mapping.bytes();
            tables += Region::tables(free.requested.len().ilog2());
            largest = largest.max(free.tree.most() * region.home.unit);
        }
        stats.live_blocks = live;
        stats.requested = Bytes::new(requested);
        stats.block_bytes = Bytes::of(used);
        stats.empty_bytes = regions.empty_bytes();
        stats.region_bytes = Bytes::of(mapped);
        stats.metadata = Bytes::of(tables);
        stats.largest_free = Bytes::of(largest);
        stats
    }
}

impl Reclaimer for BuddyCore {
    /// Bytes of empty regions.
    fn reclaimable(&self) -> Bytes {
        lock(&self.regions).empty_bytes()
    }

    /// Zero: what is empty costs its page faults to have again, and no data.
    fn worth_per_byte(&self) -> f64 {
        0.0
    }

    fn shed(&self, wanted: Bytes) -> Bytes {
        self.return_empty(Keep { at_most: Bytes::ZERO, wanted })
    }
}
