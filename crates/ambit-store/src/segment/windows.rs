//! Mapped pages under the budget: charged before they come in, given back before they are
//! uncharged.
//!
//! A mapping is cut into windows. A window is empty, in transit, or resident with a count of
//! pins; all of it in one atomic word, so that pinning a resident window is one
//! compare-and-swap. The first pin of an empty window puts it in transit, charges its bytes,
//! enters it in the ring and makes it resident. Pages come in by chunks (a 64th of a window,
//! or a block), those of one read in one call, so that a point read does not drag in a window.
//! A kernel with large folios maps the whole folio around a touched page; folios are aligned
//! and at most 2 MiB, so windows of 2 MiB, which are charged whole, contain them.
//!
//! When the share is full, or the ledger refuses, the clock goes round the ring (F. J.
//! Corbato, "A Paging Experiment with the Multics System", 1968): a window that was pinned
//! since the hand last passed gets a second chance, one that is pinned now is passed over, the
//! first other one goes in transit, its pages go back to the kernel, then its bytes to the
//! ledger. After a refusal the share shrinks to what is held, so that the next miss takes from
//! here and does not press on the ledger again; it grows back by an eighth every few misses.
//!
//! Invariants: resident pages <= charged bytes; nobody waits for a pin to go (a read whose
//! windows do not fit fails), so no two readers can wait for each other; the ring's lock is
//! never held across a call to the ledger, which may call back to shed.

use std::collections::VecDeque;
use std::ops::Range;

use ambit_mem::{Account, Bytes, OverBudget, Reclaimer, Reservation};

use crate::geometry::Geometry;
use crate::sync::{Arc, AtomicU64, Condvar, Mutex, Ordering, Weak, lock};
use crate::vfs::Mapping;

const PIN: u64 = 1;
const PINS: u64 = u32::MAX as u64;
/// Charged; its pages may come in.
const RESIDENT: u64 = 1 << 32;
/// Pinned since the clock hand last passed.
const REFERENCED: u64 = 1 << 33;
/// Somebody is charging it, or giving it back.
const TRANSIT: u64 = 1 << 34;
const EMPTY: u64 = 0;
/// Misses after which a share that a refusal had shrunk grows again.
const MISSES_PER_GROWTH: u64 = 64;

/// What it costs to map a page of the page cache again, which is where released pages stay:
/// 0.1 ms per 2 MiB.
const NANOSECONDS_PER_BYTE: f64 = 0.05;

/// Window bookkeeping: bytes per window of a mapping, its slot and its place in the ring.
pub(super) const WINDOW_COST: u64 = 96;

/// The mapped windows of any number of segments, under one account and one share.
pub struct Windows {
    account: Account,
    window: usize,
    /// What the windows may hold when nobody else needs the bytes.
    share: u64,
    /// What they may hold at present: the share, or less after a refusal.
    cap: AtomicU64,
    charged: AtomicU64,
    misses: AtomicU64,
    ring: Mutex<VecDeque<Resident>>,
    gate: Mutex<()>,
    settled: Condvar,
}

/// A resident window in the ring.
struct Resident {
    frames: Arc<Frames>,
    index: usize,
    charge: Reservation,
}

impl Windows {
    /// Windows of `geometry.window` bytes, charged to `account`, `share` bytes of them at most
    /// while one can be given back. A read that pins more takes what the budget allows.
    /// They become the reclaimer of `account`.
    pub fn new(account: &Account, geometry: &Geometry, share: Bytes) -> Arc<Self> {
        let windows = Arc::new(Self {
            account: account.clone(),
            window: geometry.window,
            share: share.get(),
            cap: AtomicU64::new(share.get()),
            charged: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            ring: Mutex::new(VecDeque::new()),
            gate: Mutex::new(()),
            settled: Condvar::new(),
        });
        let reclaimer: Weak<dyn Reclaimer> = Arc::<Self>::downgrade(&windows);
        account.set_reclaimer(reclaimer);
        windows
    }

    /// Bytes of all windows that are charged now.
    pub fn charged(&self) -> Bytes {
        Bytes::new(self.charged.load(Ordering::Relaxed))
    }

    /// Times that a window had to be charged since the start.
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    /// Bytes of a window of a segment with blocks of `block` bytes.
    pub(super) fn window_for(&self, block: usize) -> usize {
        self.window.next_power_of_two().max(block)
    }

    /// Pins the empty or transient window `index`.
    #[cold]
    fn fault(&self, frames: &Arc<Frames>, index: usize) -> Result<(), OverBudget> {
        let slot = &frames.slots[index];
        loop {
            if slot.try_pin() {
                return Ok(());
            }
            if slot.claim_empty() {
                let charge = self.charge(frames.cost(index)).inspect_err(|_| {
                    self.settle(slot, EMPTY);
                })?;
                self.charged.fetch_add(charge.bytes().get(), Ordering::Relaxed);
                let resident = Resident { frames: Arc::clone(frames), index, charge };
                lock(&self.ring).push_back(resident);
                self.settle(slot, RESIDENT | REFERENCED | PIN);
                return Ok(());
            }
            self.await_settled(slot);
        }
    }

    /// Takes `bytes` from the ledger, giving back windows as long as that is needed and possible.
    fn charge(&self, bytes: Bytes) -> Result<Reservation, OverBudget> {
        let missed = self.misses.fetch_add(1, Ordering::Relaxed) + 1;
        if missed.is_multiple_of(MISSES_PER_GROWTH) {
            let cap = self.cap.load(Ordering::Relaxed);
            let grown = cap.saturating_add((cap / 8).max(self.window as u64)).min(self.share);
            self.cap.store(grown.max(cap), Ordering::Relaxed);
        }
        while self.charged().get().saturating_add(bytes.get()) > self.cap.load(Ordering::Relaxed) {
            if self.evict().is_none() {
                break;
            }
        }
        loop {
            match self.account.reserve(bytes) {
                Ok(charge) => return Ok(charge),
                Err(refusal) => {
                    self.cap.fetch_min(self.charged().get(), Ordering::Relaxed);
                    if self.evict().is_none() {
                        return Err(refusal);
                    }
                }
            }
        }
    }

    /// Gives one window back: pages first, then bytes. `None` when all are pinned.
    fn evict(&self) -> Option<u64> {
        let victim = self.victim()?;
        let Resident { frames, index, charge } = victim;
        frames.release(index);
        let bytes = charge.bytes().get();
        drop(charge);
        self.charged.fetch_sub(bytes, Ordering::Relaxed);
        self.settle(&frames.slots[index], EMPTY);
        Some(bytes)
    }

    /// Turns the clock to the next window that can go, and puts it in transit.
    fn victim(&self) -> Option<Resident> {
        let mut ring = lock(&self.ring);
        // Twice round: the first may only take away second chances.
        for _ in 0..2 * ring.len() {
            let resident = ring.pop_front()?;
            if resident.slot().claim_idle() {
                return Some(resident);
            }
            ring.push_back(resident);
        }
        None
    }

    fn settle(&self, slot: &Slot, state: u64) {
        let _gate = lock(&self.gate);
        slot.state.store(state, Ordering::Release);
        self.settled.notify_all();
    }

    fn await_settled(&self, slot: &Slot) {
        let mut gate = lock(&self.gate);
        while slot.state.load(Ordering::Acquire) & TRANSIT != 0 {
            gate = self.settled.wait(gate).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Takes all windows of `frames` out of the ring, pages first.
    fn forget(&self, frames: &Arc<Frames>) {
        let mut gone = Vec::new();
        let mut ring = lock(&self.ring);
        for _ in 0..ring.len() {
            match ring.pop_front() {
                Some(resident) if Arc::ptr_eq(&resident.frames, frames) => gone.push(resident),
                Some(resident) => ring.push_back(resident),
                None => break,
            }
        }
        drop(ring);
        for resident in gone {
            resident.frames.release(resident.index);
            self.charged.fetch_sub(resident.charge.bytes().get(), Ordering::Relaxed);
        }
    }
}

impl Reclaimer for Windows {
    /// The windows that nobody looks at. Cost: a lock and a look at every resident window.
    fn reclaimable(&self) -> Bytes {
        let ring = lock(&self.ring);
        let free = ring.iter().filter(|resident| !resident.slot().is_pinned());
        Bytes::new(free.map(|resident| resident.charge.bytes().get()).sum())
    }

    fn worth_per_byte(&self) -> f64 {
        NANOSECONDS_PER_BYTE
    }

    /// Cost: one kernel call per window.
    fn shed(&self, wanted: Bytes) -> Bytes {
        let mut given = 0;
        while given < wanted.get() {
            match self.evict() {
                Some(bytes) => given += bytes,
                None => break,
            }
        }
        Bytes::new(given)
    }
}

impl std::fmt::Debug for Windows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Windows")
            .field("window", &self.window)
            .field("share", &self.share)
            .field("charged", &self.charged())
            .finish_non_exhaustive()
    }
}

impl Resident {
    fn slot(&self) -> &Slot {
        &self.frames.slots[self.index]
    }
}

/// One mapping, cut into windows.
struct Frames {
    mapping: Arc<dyn Mapping>,
    slots: Box<[Slot]>,
    block: usize,
    window_bits: u32,
    chunk_bits: u32,
}

impl Frames {
    fn window(&self, index: usize) -> Range<usize> {
        let start = index << self.window_bits;
        start..(start + (1 << self.window_bits)).min(self.mapping.bytes().len())
    }

    /// What a window is charged: whole blocks, and so whole pages, at the file's end too.
    fn cost(&self, index: usize) -> Bytes {
        Bytes::of(self.window(index).len().next_multiple_of(self.block))
    }

    /// Gives the pages of a window back that nobody looks at.
    fn release(&self, index: usize) {
        self.slots[index].populated.store(0, Ordering::Relaxed);
        self.mapping.release(self.window(index));
    }

    /// Brings in those chunks of the window `index`, which is pinned, that `range` touches.
    #[inline]
    fn populate(&self, index: usize, range: &Range<usize>) {
        let start = index << self.window_bits;
        let last_of_window = (1 << (self.window_bits - self.chunk_bits)) - 1;
        let first = range.start.saturating_sub(start) >> self.chunk_bits;
        let last = ((range.end - 1 - start) >> self.chunk_bits).min(last_of_window);
        let mask = (u64::MAX >> (63 - (last - first))) << first;
        let populated = &self.slots[index].populated;
        if populated.load(Ordering::Relaxed) & mask != mask {
            let end = (start + ((last + 1) << self.chunk_bits)).min(self.mapping.bytes().len());
            self.mapping.populate(start + (first << self.chunk_bits)..end);
            populated.fetch_or(mask, Ordering::Relaxed);
        }
    }
}

struct Slot {
    state: AtomicU64,
    /// One bit per chunk whose pages were asked for since the window became resident.
    populated: AtomicU64,
}

impl Slot {
    /// Pins the window if it is resident.
    #[inline]
    fn try_pin(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & RESIDENT != 0 {
            let pinned = (state | REFERENCED) + PIN;
            match self.state.compare_exchange_weak(
                state,
                pinned,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    #[inline]
    fn unpin(&self) {
        self.state.fetch_sub(PIN, Ordering::Release);
    }

    fn is_pinned(&self) -> bool {
        self.state.load(Ordering::Relaxed) & PINS != 0
    }

    fn claim_empty(&self) -> bool {
        self.state.compare_exchange(EMPTY, TRANSIT, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Puts the window in transit if it is resident, unpinned and without a second chance; takes a second
    /// chance away.
    fn claim_idle(&self) -> bool {
        let idle =
            self.state.compare_exchange(RESIDENT, TRANSIT, Ordering::Acquire, Ordering::Relaxed);
        if idle.is_ok() {
            return true;
        }
        self.state.fetch_and(!REFERENCED, Ordering::Relaxed);
        false
    }
}

/// The windows of one segment's mapping; given back when it is dropped.
pub(super) struct Mapped {
    frames: Arc<Frames>,
    windows: Arc<Windows>,
}

impl Mapped {
    /// Cuts `mapping`, of a segment with blocks of `block` bytes (a power of two).
    pub(super) fn new(mapping: Arc<dyn Mapping>, block: usize, windows: &Arc<Windows>) -> Self {
        let window = windows.window_for(block);
        let count = mapping.bytes().len().div_ceil(window);
        let slot = || Slot { state: AtomicU64::new(EMPTY), populated: AtomicU64::new(0) };
        let slots = (0..count).map(|_| slot()).collect();
        let window_bits = window.trailing_zeros();
        let chunk_bits = block.trailing_zeros().max(window_bits.saturating_sub(6));
        let frames = Frames { mapping, slots, block, window_bits, chunk_bits };
        Self { frames: Arc::new(frames), windows: Arc::clone(windows) }
    }

    /// The whole file. Only what is pinned may be looked at.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.frames.mapping.bytes()
    }

    /// Pins the windows of `range`, which is not empty and lies in the file.
    ///
    /// # Cost
    /// Where they are resident, a few atomic operations per window; no lock, no allocation.
    #[inline]
    pub(super) fn pin(&self, range: &Range<usize>) -> Result<Pins<'_>, OverBudget> {
        let frames = &self.frames;
        let first = range.start >> frames.window_bits;
        let last = (range.end - 1) >> frames.window_bits;
        let mut pins = Pins { frames, windows: first..first };
        for index in first..=last {
            if !frames.slots[index].try_pin() {
                self.windows.fault(frames, index)?;
            }
            pins.windows.end = index + 1;
            frames.populate(index, range);
        }
        Ok(pins)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.windows.forget(&self.frames);
    }
}

/// Windows that stay while this lives.
pub(super) struct Pins<'a> {
    frames: &'a Frames,
    windows: Range<usize>,
}

impl Drop for Pins<'_> {
    #[inline]
    fn drop(&mut self) {
        for slot in &self.frames.slots[self.windows.clone()] {
            slot.unpin();
        }
    }
}
