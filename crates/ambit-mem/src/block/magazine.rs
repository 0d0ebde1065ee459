//! Blocks that one thread keeps at hand, taken and put without an atomic operation.
//!
//! Each thread with a [number](crate::thread_number) has a [`Cache`] in each pool it uses, with a
//! [`Magazine`], a stack of blocks, for each class it uses (Bonwick and Adams, "Magazines and
//! Vmem", 2001). A block goes into the magazine of whoever frees it, wherever it came from.
//! Empty and full magazines trade half of their blocks with the shelf of the class.
//!
//! The owner works on `count` with plain loads and stores. Still, whoever compacts the pool, or
//! ends it, can take the blocks of all threads. The two agree by `count` and `gate`:
//!
//! ```text
//! owner                                 thief, under the cache's lock
//! 1  c = count                          1  gate: Open -> Revoked (else: nothing to take)
//! 2  count = BUSY                       2  heavy fence
//! 3  light fence                        3  wait until count is not BUSY
//! 4  gate not Open? count = c, go slow  4  take the blocks below count
//! 5  use the slots
//! 6  count = c - 1 or c + 1
//! ```
//!
//! If the owner's 3 comes before the thief's 2, the thief sees BUSY and waits for 4 or 6 (a few
//! instructions). If it comes after, the owner sees Revoked at 4 and touches no slot, and `count`
//! holds `c` again, which is right for as long as the thief may read it, for only the owner
//! changes it. Only the owner opens the gate again, in his slow path, under the lock, and begins
//! with an empty magazine; so his `c` is never one from before a theft.
//!
//! Where there is no such [fence](crate::fence) the gate is `Locked` for good, and the owner, too,
//! takes the lock each time.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use super::class::{CLASSES, COUNT, MOST_KEPT};
use super::slab::Slot;
use crate::sync::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Mutex, Ordering};
use crate::{Reservation, fence};

const BUSY: u32 = u32::MAX;

/// The owner may go without the lock.
const OPEN: u8 = 0;
/// The blocks were taken since the owner was here.
const REVOKED: u8 = 1;
/// The owner always takes the lock.
const LOCKED: u8 = 2;

/// How owners and thieves agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agreement {
    /// By fences.
    Fence,
    /// By the cache's lock.
    Lock,
}

impl Agreement {
    /// The best that this system offers.
    pub(super) fn offered() -> Self {
        if fence::is_offered() { Self::Fence } else { Self::Lock }
    }
}

/// The blocks that one thread keeps of one class.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Magazine {
    count: AtomicU32,
    capacity: u32,
    gate: AtomicU8,
    /// Bytes asked for minus bytes given back on this thread, modulo 2^64; the owner's to write.
    requested: AtomicU64,
    _held: Reservation,
    slots: [UnsafeCell<MaybeUninit<Slot>>; MOST_KEPT],
}

// SAFETY: slots are touched by the owner or the thief only as the module's protocol allows.
unsafe impl Sync for Magazine {}
// SAFETY: a slot is a pair of pointers to memory that no thread is bound to.
unsafe impl Send for Magazine {}

impl Magazine {
    pub(super) fn new(class: usize, agreement: Agreement, held: Reservation) -> Box<Self> {
        let gate = match agreement {
            Agreement::Fence => OPEN,
            Agreement::Lock => LOCKED,
        };
        Box::new(Self {
            count: AtomicU32::new(0),
            capacity: CLASSES[class].kept as u32,
            gate: AtomicU8::new(gate),
            requested: AtomicU64::new(0),
            _held: held,
            slots: [const { UnsafeCell::new(MaybeUninit::uninit()) }; MOST_KEPT],
        })
    }

    /// Takes a block for somebody who asked for `requested` bytes; `None` where the slow path
    /// has to.
    ///
    /// # Safety
    /// The calling thread owns the cache that this magazine is in.
    #[inline(always)]
    pub(super) unsafe fn try_take(&self, requested: u32) -> Option<Slot> {
        let count = self.count.load(Ordering::Relaxed);
        if count == 0 || !self.begin(count) {
            return None;
        }
        // SAFETY: slots below `count` are filled, and between `begin` and `end` they are ours.
        let slot = unsafe { self.slot(count - 1).read() };
        self.count_requested(u64::from(requested));
        self.end(count - 1);
        Some(slot)
    }

    /// Puts a block whose owner had asked for `requested` bytes; says whether it did. After that
    /// the magazine, and the whole pool, may be gone, so no reference to it may outlast the call.
    ///
    /// # Safety
    /// The calling thread owns the cache that this magazine is in, and `slot` is nobody's.
    #[inline(always)]
    pub(super) unsafe fn try_put(this: NonNull<Self>, slot: Slot, requested: u32) -> bool {
        // SAFETY: the block is out, which keeps the pool and so this magazine.
        let count = unsafe { this.as_ref() }.count.load(Ordering::Relaxed);
        // SAFETY: as above.
        if count >= unsafe { this.as_ref() }.capacity || !unsafe { this.as_ref() }.begin(count) {
            return false;
        }
        // SAFETY: `count` is below the capacity, and between `begin` and `end` slots are ours.
        unsafe { this.as_ref().slot(count).write(slot) };
        // SAFETY: a thief waits for `end`, and nobody drops the magazine before.
        unsafe { this.as_ref() }.count_requested(u64::from(requested).wrapping_neg());
        // SAFETY: as above. The store is the last touch, of an atomic alone.
        unsafe { &(*this.as_ptr()).count }.store(count + 1, Ordering::Release);
        true
    }

    /// Steps 2 to 4 of the owner.
    #[inline(always)]
    fn begin(&self, count: u32) -> bool {
        self.count.store(BUSY, Ordering::Relaxed);
        fence::light();
        // Acquire: who opened the gate has left the slots as they should be.
        let is_open = self.gate.load(Ordering::Acquire) == OPEN;
        if !is_open {
            self.count.store(count, Ordering::Release);
        }
        is_open
    }

    /// Step 6 of the owner.
    #[inline(always)]
    fn end(&self, count: u32) {
        self.count.store(count, Ordering::Release);
    }

    /// # Safety
    /// `index` is below [`MOST_KEPT`].
    #[inline(always)]
    unsafe fn slot(&self, index: u32) -> *mut Slot {
        debug_assert!((index as usize) < MOST_KEPT);
        // SAFETY: the caller's promise.
        unsafe { self.slots.get_unchecked(index as usize) }.get().cast()
    }

    /// Only the owner writes it, so load and store are enough.
    #[inline(always)]
    fn count_requested(&self, bytes: u64) {
        let requested = self.requested.load(Ordering::Relaxed).wrapping_add(bytes);
        self.requested.store(requested, Ordering::Relaxed);
    }

    /// The owner's slow path: whatever was taken, the magazine is in order again.
    ///
    /// # Safety
    /// The calling thread owns the cache and holds its lock.
    pub(super) unsafe fn settle(&self) -> Settled<'_> {
        if self.gate.load(Ordering::Relaxed) == REVOKED {
            self.count.store(0, Ordering::Relaxed);
            self.gate.store(OPEN, Ordering::Release);
        }
        Settled { magazine: self }
    }

    /// The thief's step 1; says whether he has to go on.
    fn revoke(&self) -> Theft {
        match self.gate.load(Ordering::Relaxed) {
            OPEN => {
                self.gate.store(REVOKED, Ordering::Release);
                Theft::AfterFence
            }
            LOCKED => Theft::AtOnce,
            _ => Theft::Nothing,
        }
    }

    /// The thief's steps 3 and 4.
    ///
    /// # Safety
    /// The caller holds the cache's lock and went through 1 and 2, or the gate is `LOCKED`.
    unsafe fn steal(&self, mut taken: impl FnMut(Slot)) {
        let mut count = self.count.load(Ordering::Acquire);
        while count == BUSY {
            // The owner is in the middle of a few instructions, but may not be running.
            std::thread::yield_now();
            count = self.count.load(Ordering::Acquire);
        }
        for index in 0..count {
            // SAFETY: slots below `count` are filled, and the owner keeps away from them until
            // he has had the lock.
            taken(unsafe { self.slot(index).read() });
        }
        if self.gate.load(Ordering::Relaxed) == LOCKED {
            self.count.store(0, Ordering::Relaxed);
        }
    }

    /// Blocks kept, as far as can be told from outside.
    pub(super) fn kept(&self) -> usize {
        let count = self.count.load(Ordering::Relaxed);
        let is_stale = self.gate.load(Ordering::Relaxed) == REVOKED;
        if is_stale || count == BUSY { 0 } else { count as usize }
    }

    /// Bytes asked for minus bytes given back on this thread, modulo 2^64.
    pub(super) fn requested(&self) -> u64 {
        self.requested.load(Ordering::Relaxed)
    }
}

/// Whether a magazine's blocks can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Theft {
    Nothing,
    AfterFence,
    AtOnce,
}

/// A magazine whose owner holds the lock.
pub(super) struct Settled<'a> {
    magazine: &'a Magazine,
}

impl Settled<'_> {
    fn count(&self) -> u32 {
        self.magazine.count.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.count() >= self.magazine.capacity
    }

    /// Half of what it holds at most, at least one.
    pub(super) fn half(&self) -> usize {
        self.magazine.capacity.div_ceil(2) as usize
    }

    /// Puts a block that comes from the shelf. The magazine must not be full.
    pub(super) fn load(&self, slot: Slot) {
        let count = self.count();
        assert!(count < self.magazine.capacity, "a full magazine");
        // SAFETY: below the capacity; under the lock, with the owner here, slots are ours.
        unsafe { self.magazine.slot(count).write(slot) };
        self.magazine.end(count + 1);
    }

    /// Takes a block for somebody who asked for `requested` bytes.
    pub(super) fn take(&self, requested: u32) -> Option<Slot> {
        let count = self.count().checked_sub(1)?;
        // SAFETY: slots below `count` are filled, and ours as in `load`.
        let slot = unsafe { self.magazine.slot(count).read() };
        self.magazine.count_requested(u64::from(requested));
        self.magazine.end(count);
        Some(slot)
    }

    /// Puts a block whose owner had asked for `requested` bytes. Must not be full.
    pub(super) fn put(&self, slot: Slot, requested: u32) {
        self.load(slot);
        self.magazine.count_requested(u64::from(requested).wrapping_neg());
    }

    /// Unloads the half that was put first, and is the coldest.
    pub(super) fn unload_half(&self, mut taken: impl FnMut(Slot)) {
        let count = self.count();
        let half = (self.half() as u32).min(count);
        for index in 0..half {
            // SAFETY: slots below `count` are filled, and ours as in `load`.
            taken(unsafe { self.magazine.slot(index).read() });
        }
        // SAFETY: both ranges lie below `count`, and the slots are ours.
        unsafe {
            let (from, to) = (self.magazine.slot(half), self.magazine.slot(0));
            ptr::copy(from, to, (count - half) as usize);
        }
        self.magazine.end(count - half);
    }
}

/// What one thread keeps of one pool.
#[derive(Debug)]
pub(super) struct Cache {
    /// Held by thieves, and by the owner in his slow path.
    pub lock: Mutex<()>,
    magazines: [AtomicPtr<Magazine>; COUNT],
    _held: Reservation,
}

impl Cache {
    pub(super) fn new(held: Reservation) -> Box<Self> {
        let magazines = [const { AtomicPtr::new(ptr::null_mut()) }; COUNT];
        Box::new(Self { lock: Mutex::new(()), magazines, _held: held })
    }

    /// The magazine of a class, if there is one.
    #[inline(always)]
    pub(super) fn magazine(&self, class: usize) -> Option<&Magazine> {
        let magazine = self.magazines[class].load(Ordering::Acquire);
        // SAFETY: it is null or came from the box in `add`; it lives as long as the cache.
        unsafe { magazine.as_ref() }
    }

    /// Takes the magazine of a class in. Only the owner adds, and only where there is none.
    pub(super) fn add(&self, class: usize, magazine: Box<Magazine>) -> &Magazine {
        let magazine = Box::into_raw(magazine);
        // Sequentially consistent: see `Core::close`.
        let before = self.magazines[class].swap(magazine, Ordering::SeqCst);
        debug_assert!(before.is_null(), "two owners");
        // SAFETY: from the box; it lives as long as the cache.
        unsafe { &*magazine }
    }

    /// The magazines that there are, with their classes.
    pub(super) fn magazines(&self) -> impl Iterator<Item = (usize, &Magazine)> {
        (0..COUNT).filter_map(|class| Some((class, self.magazine(class)?)))
    }

    /// Takes the blocks of all magazines, with their classes. The caller holds the lock.
    pub(super) fn steal(&self, mut taken: impl FnMut(usize, Slot)) {
        let mut thefts = [Theft::Nothing; COUNT];
        for (class, magazine) in self.magazines() {
            thefts[class] = magazine.revoke();
        }
        if thefts.contains(&Theft::AfterFence) {
            fence::heavy();
        }
        for (class, theft) in thefts.into_iter().enumerate() {
            if theft != Theft::Nothing
                && let Some(magazine) = self.magazine(class)
            {
                // SAFETY: the caller holds the lock; 1 and 2 are done above.
                unsafe { magazine.steal(|slot| taken(class, slot)) };
            }
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        for magazine in &mut self.magazines {
            if !magazine.get_mut().is_null() {
                // SAFETY: from the box in `add`, and nobody borrows it: we are being dropped.
                drop(unsafe { Box::from_raw(*magazine.get_mut()) });
            }
        }
    }
}
