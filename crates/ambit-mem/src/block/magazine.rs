//! Blocks that one thread keeps at hand, taken and put without an atomic operation.
//!
//! Each thread with a [number](crate::thread_number) has a [`Cache`] in each pool it uses, with a
//! [`Magazine`], a stack of blocks, for each class it uses (Bonwick and Adams, "Magazines and
//! Vmem", 2001). A block goes into the magazine of whoever frees it, wherever it came from.
//! Empty and full magazines trade half of their blocks with the shelf of the class.
//!
//! The block that was put last lies apart from the stack, in `spare`: taking it and putting it
//! back depends on one word that was just written, where a count would be two steps.
//!
//! The owner works with plain loads and stores. Still, whoever compacts the pool, or ends it, can
//! take the blocks of all threads. The two agree by `busy` and `gate`:
//!
//! ```text
//! owner                                thief, under the cache's lock
//! 1  busy = true                       1  gate: Open -> Shut
//! 2  light fence                       2  heavy fence
//! 3  gate not Open? busy = false,      3  wait until not busy
//!    go the slow way, under the lock   4  take what is there
//! 4  use spare, count and slots        5  gate: Shut -> Open, unless the pool ends
//! 5  busy = false
//! ```
//!
//! If the owner's 2 comes before the thief's 2, the thief sees `busy` and waits for 3 or 5, a few
//! instructions. If it comes after, the owner sees the gate shut and touches nothing; or he sees
//! it open again, and with it all that the thief has done.
//!
//! Where there is no such [fence](crate::fence) the gate is never open, and the owner always goes
//! the slow way.

use std::ptr::{self, NonNull};

use super::class::{CLASSES, COUNT, Class, MOST_KEPT};
use super::slab::{Home, Slot};
use crate::sync::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Mutex, Ordering};
use crate::{Reservation, fence};

/// The owner may go without the lock.
const OPEN: u8 = 0;
/// A thief is at work, or the pool has ended.
const SHUT: u8 = 1;
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
    busy: AtomicBool,
    gate: AtomicU8,
    /// Blocks in `slots`.
    count: AtomicU32,
    /// The block that was put last, if it was not taken since.
    spare: Place,
    /// Bytes of a block. Who asks for as many leaves no slack.
    size: u32,
    /// Blocks that `slots` may hold.
    capacity: u32,
    /// Bytes that nobody had asked for of blocks taken here, modulo 2^64. The two counts are
    /// apart so that a block taken and put at once does not have to wait for its own count.
    slack_taken: AtomicU64,
    /// The same of blocks put here.
    slack_put: AtomicU64,
    slots: [Place; MOST_KEPT],
    _held: Option<Reservation>,
}

/// Where a slot lies. Two words, atomic only so that they are read as they were written, each by
/// itself: a load of both at once would have to wait until both stores have reached the cache.
#[derive(Debug)]
struct Place {
    block: AtomicPtr<u8>,
    home: AtomicPtr<Home>,
}

impl Place {
    const fn empty() -> Self {
        Self { block: AtomicPtr::new(ptr::null_mut()), home: AtomicPtr::new(ptr::null_mut()) }
    }

    #[inline(always)]
    fn write(&self, slot: Slot) {
        self.block.store(slot.block.as_ptr(), Ordering::Relaxed);
        self.home.store(slot.home.as_ptr(), Ordering::Relaxed);
    }

    #[inline(always)]
    fn read(&self) -> Option<Slot> {
        let block = NonNull::new(self.block.load(Ordering::Relaxed))?;
        let home = self.home.load(Ordering::Relaxed);
        // SAFETY: a place with a block was written as a whole.
        Some(Slot { block, home: unsafe { NonNull::new_unchecked(home) } })
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        self.block.load(Ordering::Relaxed).is_null()
    }

    /// Empties it.
    #[inline(always)]
    fn clear(&self) {
        self.block.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

impl Magazine {
    const fn with_gate(gate: u8, class: Option<Class>, held: Option<Reservation>) -> Self {
        let (size, capacity) = match class {
            Some(class) => (class.size as u32, class.kept as u32),
            None => (0, 0),
        };
        Self {
            busy: AtomicBool::new(false),
            gate: AtomicU8::new(gate),
            count: AtomicU32::new(0),
            spare: Place::empty(),
            size,
            capacity,
            slack_taken: AtomicU64::new(0),
            slack_put: AtomicU64::new(0),
            slots: [const { Place::empty() }; MOST_KEPT],
            _held: held,
        }
    }

    pub(super) fn new(class: usize, agreement: Agreement, held: Reservation) -> Box<Self> {
        let gate = match agreement {
            Agreement::Fence => OPEN,
            Agreement::Lock => LOCKED,
        };
        Box::new(Self::with_gate(gate, Some(CLASSES[class]), Some(held)))
    }

    /// Takes a block for somebody who asked for `requested` bytes; `None` where the slow path
    /// has to.
    ///
    /// # Safety
    /// The calling thread owns the cache that this magazine is in.
    #[inline(always)]
    pub(super) unsafe fn try_take(&self, requested: u32) -> Option<Slot> {
        if !self.begin() {
            return None;
        }
        let slot = match self.spare.read() {
            Some(slot) => {
                self.spare.clear();
                slot
            }
            None => return self.take_from_stack(requested),
        };
        self.count_slack(&self.slack_taken, requested);
        self.end();
        Some(slot)
    }

    /// Between `begin` and `end`, which it calls.
    #[inline(never)]
    fn take_from_stack(&self, requested: u32) -> Option<Slot> {
        let slot = self.pop();
        if slot.is_some() {
            self.count_slack(&self.slack_taken, requested);
        }
        self.end();
        slot
    }

    /// Puts a block whose owner had asked for `requested` bytes; says whether it did. After that
    /// the magazine, and the whole pool, may be gone, so no reference to it may outlast the call.
    ///
    /// # Safety
    /// The calling thread owns the cache that this magazine is in, and `slot` is nobody's.
    #[inline(always)]
    pub(super) unsafe fn try_put(this: NonNull<Self>, slot: Slot, requested: u32) -> bool {
        // SAFETY: until `end` the magazine is there: before, the block is out, which keeps the
        // pool; after `begin` a thief waits, and nobody drops the magazine before he is done.
        unsafe {
            if !this.as_ref().begin() {
                return false;
            }
            if !this.as_ref().spare.is_empty() && !this.as_ref().make_room() {
                return false;
            }
            this.as_ref().spare.write(slot);
            this.as_ref().count_slack(&this.as_ref().slack_put, requested);
            // The last touch, of an atomic alone.
            (*this.as_ptr()).busy.store(false, Ordering::Release);
        }
        true
    }

    /// Counts what was not asked for of a block. Only the owner writes these numbers, so load and
    /// store are enough; and most blocks are of the very size that somebody needs.
    #[inline(always)]
    fn count_slack(&self, sum: &AtomicU64, requested: u32) {
        if requested != self.size {
            let slack = u64::from(self.size.wrapping_sub(requested));
            sum.store(sum.load(Ordering::Relaxed).wrapping_add(slack), Ordering::Relaxed);
        }
    }

    /// Moves the spare block to the stack; where that is full, ends and says no.
    #[inline(never)]
    fn make_room(&self) -> bool {
        let is_full = self.count.load(Ordering::Relaxed) >= self.capacity;
        if is_full {
            self.end();
        } else if let Some(slot) = self.spare.read() {
            self.push(slot);
        }
        !is_full
    }

    /// Steps 1 to 3 of the owner.
    #[inline(always)]
    fn begin(&self) -> bool {
        self.busy.store(true, Ordering::Relaxed);
        fence::light();
        // Acquire: who opened the gate has left everything as it should be.
        let is_open = self.gate.load(Ordering::Acquire) == OPEN;
        if !is_open {
            self.end();
        }
        is_open
    }

    /// Step 5 of the owner.
    #[inline(always)]
    fn end(&self) {
        self.busy.store(false, Ordering::Release);
    }

    /// Takes the last block off the stack. Between `begin` and `end`, or under the lock.
    fn pop(&self) -> Option<Slot> {
        let count = self.count.load(Ordering::Relaxed).checked_sub(1)?;
        self.count.store(count, Ordering::Relaxed);
        self.slots[count as usize].read()
    }

    /// Puts a block onto the stack, which is not full. Between `begin` and `end`, or under the
    /// lock.
    fn push(&self, slot: Slot) {
        let count = self.count.load(Ordering::Relaxed);
        self.slots[count as usize].write(slot);
        self.count.store(count + 1, Ordering::Relaxed);
    }

    /// The owner's slow path.
    ///
    /// # Safety
    /// The calling thread owns the cache and holds its lock.
    pub(super) unsafe fn locked(&self) -> Locked<'_> {
        Locked { magazine: self }
    }

    /// The thief's step 1; says whether there has to be a fence.
    fn shut(&self) -> bool {
        let is_open = self.gate.load(Ordering::Relaxed) == OPEN;
        if is_open {
            self.gate.store(SHUT, Ordering::Release);
        }
        is_open
    }

    /// The thief's steps 3 and 4.
    fn steal(&self, mut taken: impl FnMut(Slot)) {
        while self.busy.load(Ordering::Acquire) {
            // The owner is in the middle of a few instructions, but may not be running.
            std::thread::yield_now();
        }
        if let Some(slot) = self.spare.read() {
            self.spare.clear();
            taken(slot);
        }
        while let Some(slot) = self.pop() {
            taken(slot);
        }
    }

    /// The thief's step 5.
    fn open(&self) {
        if self.gate.load(Ordering::Relaxed) == SHUT {
            self.gate.store(OPEN, Ordering::Release);
        }
    }

    /// Blocks kept, as far as can be told from outside.
    pub(super) fn kept(&self) -> usize {
        let count = self.count.load(Ordering::Relaxed) as usize;
        count + usize::from(!self.spare.is_empty())
    }

    /// Bytes that nobody had asked for of blocks taken here less those put here, modulo 2^64.
    pub(super) fn slack(&self) -> u64 {
        let put = self.slack_put.load(Ordering::Relaxed);
        self.slack_taken.load(Ordering::Relaxed).wrapping_sub(put)
    }
}

/// A magazine whose owner holds the lock.
pub(super) struct Locked<'a> {
    magazine: &'a Magazine,
}

impl Locked<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.magazine.kept() == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.magazine.count.load(Ordering::Relaxed) >= self.magazine.capacity
    }

    /// Half of what it holds at most, at least one.
    pub(super) fn half(&self) -> usize {
        self.magazine.capacity.div_ceil(2) as usize
    }

    /// Puts a block that comes from the shelf. The magazine must not be full.
    pub(super) fn load(&self, slot: Slot) {
        self.magazine.push(slot);
    }

    /// Takes a block for somebody who asked for `requested` bytes.
    pub(super) fn take(&self, requested: u32) -> Option<Slot> {
        let slot = self.magazine.spare.read();
        self.magazine.spare.clear();
        let slot = slot.or_else(|| self.magazine.pop())?;
        self.magazine.count_slack(&self.magazine.slack_taken, requested);
        Some(slot)
    }

    /// Puts a block whose owner had asked for `requested` bytes. Must not be full.
    pub(super) fn put(&self, slot: Slot, requested: u32) {
        self.magazine.push(slot);
        self.magazine.count_slack(&self.magazine.slack_put, requested);
    }

    /// Unloads the half that was put first, and is the coldest.
    pub(super) fn unload_half(&self, mut taken: impl FnMut(Slot)) {
        let count = self.magazine.count.load(Ordering::Relaxed) as usize;
        let half = self.half().min(count);
        let (cold, warm) = self.magazine.slots[..count].split_at(half);
        cold.iter().filter_map(Place::read).for_each(&mut taken);
        for (to, from) in self.magazine.slots.iter().zip(warm) {
            if let Some(slot) = from.read() {
                to.write(slot);
            }
        }
        self.magazine.count.store((count - half) as u32, Ordering::Relaxed);
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

/// Stands for a magazine that is not there: it never gives or takes a block, and with it nobody
/// who looks for a magazine has to ask.
static NO_MAGAZINE: Magazine = Magazine::with_gate(LOCKED, None, None);
/// What a thread does with its magazines after they were emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// Goes on.
    Open,
    /// Nothing any more.
    Shut,
}

impl Cache {
    pub(super) fn new(held: Reservation) -> Box<Self> {
        let none = (&raw const NO_MAGAZINE).cast_mut();
        let magazines = std::array::from_fn(|_| AtomicPtr::new(none));
        Box::new(Self { lock: Mutex::new(()), magazines, _held: held })
    }

    /// The magazine of a class, or one that stands for none.
    ///
    /// # Safety
    /// `class` is below [`COUNT`].
    #[inline(always)]
    pub(super) unsafe fn at_hand(&self, class: usize) -> &Magazine {
        debug_assert!(class < COUNT);
        // SAFETY: classes are below `COUNT`. The magazine is the static one or came from the box
        // in `add`; it lives as long as the cache.
        unsafe { &*self.magazines.get_unchecked(class).load(Ordering::Acquire) }
    }

    /// The magazine of a class, if there is one.
    pub(super) fn magazine(&self, class: usize) -> Option<&Magazine> {
        assert!(class < COUNT, "no class {class}");
        // SAFETY: just checked.
        let magazine = unsafe { self.at_hand(class) };
        (!ptr::eq(magazine, &NO_MAGAZINE)).then_some(magazine)
    }

    /// Takes the magazine of a class in. Only the owner adds, and only where there is none.
    pub(super) fn add(&self, class: usize, magazine: Box<Magazine>) -> &Magazine {
        let before = self.magazines[class].swap(Box::into_raw(magazine), Ordering::AcqRel);
        debug_assert!(ptr::eq(before, &NO_MAGAZINE), "two owners");
        // SAFETY: as an index it was in bounds.
        unsafe { self.at_hand(class) }
    }

    /// The magazines that there are, with their classes.
    pub(super) fn magazines(&self) -> impl Iterator<Item = (usize, &Magazine)> {
        (0..COUNT).filter_map(|class| Some((class, self.magazine(class)?)))
    }

    /// Takes the blocks of all magazines, with their classes. The caller holds the lock.
    pub(super) fn steal(&self, afterwards: Afterwards, mut taken: impl FnMut(usize, Slot)) {
        let mut needs_fence = false;
        // A magazine that is added meanwhile is found neither here nor below, or only below:
        // where the pool ends, its owner keeps it empty; else it is as if it came later.
        let mut found = [false; COUNT];
        for (class, magazine) in self.magazines() {
            found[class] = true;
            needs_fence |= magazine.shut();
        }
        if needs_fence {
            fence::heavy();
        }
        for (class, magazine) in self.magazines().filter(|(class, _)| found[*class]) {
            magazine.steal(|slot| taken(class, slot));
            if afterwards == Afterwards::Open {
                magazine.open();
            }
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        for magazine in &mut self.magazines {
            let magazine = *magazine.get_mut();
            if !ptr::eq(magazine, &NO_MAGAZINE) {
                // SAFETY: from the box in `add`, and nobody borrows it: we are being dropped.
                drop(unsafe { Box::from_raw(magazine) });
            }
        }
    }
}
