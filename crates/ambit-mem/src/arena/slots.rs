//! How does a key find its entity for as long as it exists, and nothing afterwards?
//!
//! Entities lie in slots, slots in chunks of about 4 KiB that never move. A key is the slot's
//! number and the generation in which its entity came: generations are odd while a slot is
//! taken and even while it is free, and only ever grow. A slot that has used up its generations
//! is not used again, and a chunk that is given back leaves its highest generation as the
//! start of the next one; so a stale key never finds anything, whatever happened since.
//!
//! Growing moves nothing, so it needs no second copy of what is there, and at most one chunk is
//! part empty for want of entities. Each chunk is charged before it is allocated.
//!
//! Invariants: every slot of a chunk has its `generation` and `next` initialised; its `value`
//! is initialised exactly where `generation` is odd; slots from `fresh` on were never taken;
//! the list from `free` over `next` holds the free slots below `fresh` that can be used again.
//!
//! Rejected: one `Vec` of slots, as in `slab` and `slotmap`: while it grows, old and new are
//! both held, three times what is in use.

use std::alloc::{Layout, alloc, dealloc};
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::ptr::NonNull;

use super::ArenaError;
use crate::{Account, Bytes, OverBudget, Reservation};

/// Size that a chunk stays within, unless one slot is larger.
const CHUNK: usize = 4 << 10;
/// Chunks that the table has room for at first.
const FIRST_TABLE: usize = 8;
/// No slot.
const NONE: u32 = u32::MAX;
/// The last generation of a slot in which it is taken; odd.
const LAST: u32 = u32::MAX - 2;

/// Which entity: a slot, and the generation in which it came there.
///
/// Keys are ordered by slot. A key of one arena means nothing in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityKey {
    index: u32,
    generation: NonZeroU32,
}

impl EntityKey {
    /// Number of the slot, for a table beside the arena.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The key as a number, to be stored.
    pub const fn to_bits(self) -> u64 {
        (self.generation.get() as u64) << 32 | self.index as u64
    }

    /// The key of this number; `None` of what is no key.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match NonZeroU32::new((bits >> 32) as u32) {
            Some(generation) if generation.get() % 2 == 1 => {
                Some(Self { index: bits as u32, generation })
            }
            _ => None,
        }
    }
}

/// Entities that are found by keys, in slots that do not move.
///
/// Iteration is by slot. A new entity takes the slot that was freed last, or else the next one
/// never taken; nothing else moves. So the order is the same in every run with the same calls,
/// and removing one entity does not change the order of the others.
///
/// ```
/// use ambit_mem::{Budget, Bytes, Priority, Slots};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let mut entities = Slots::new(&budget.account("graph", Priority::Write))?;
/// let a = entities.insert("a")?;
/// let b = entities.insert("b")?;
/// assert_eq!(entities.remove(a), Some("a"));
/// let c = entities.insert("c")?;
/// assert_eq!((entities.get(a), entities.get(c)), (None, Some(&"c")));
/// let names: Vec<_> = entities.iter().map(|(_, &name)| name).collect();
/// assert_eq!(names, ["c", "b"]);
/// # assert!(entities.contains(b));
/// # Ok::<(), ambit_mem::ArenaError>(())
/// ```
pub struct Slots<E> {
    chunks: Vec<Chunk<E>>,
    free: u32,
    fresh: u32,
    len: u32,
    /// Slots that are not used again.
    used_up: u32,
    /// Generation in which slots of a new chunk begin; even.
    floor: u32,
    held: Reservation,
    account: Account,
}

struct Slot<E> {
    generation: u32,
    next: u32,
    value: MaybeUninit<E>,
}

/// Slots that are allocated and given back together.
struct Chunk<E> {
    slots: NonNull<Slot<E>>,
    owns: PhantomData<Slot<E>>,
}

// SAFETY: a chunk owns its slots as a box would.
unsafe impl<E: Send> Send for Chunk<E> {}
// SAFETY: a shared chunk gives shared references only.
unsafe impl<E: Sync> Sync for Chunk<E> {}

impl<E> Slots<E> {
    /// Slots of a chunk, as a power of two.
    const SHIFT: u32 =
        if size_of::<Slot<E>>() > CHUNK { 0 } else { (CHUNK / size_of::<Slot<E>>()).ilog2() };
    const PER_CHUNK: usize = 1 << Self::SHIFT;

    /// No entities; the first one brings the first chunk.
    ///
    /// # Errors
    /// [`OverBudget`] where the budget refuses even an empty reservation.
    pub fn new(account: &Account) -> Result<Self, OverBudget> {
        Ok(Self {
            chunks: Vec::new(),
            free: NONE,
            fresh: 0,
            len: 0,
            used_up: 0,
            floor: 0,
            held: account.reserve(Bytes::ZERO)?,
            account: account.clone(),
        })
    }

    /// Entities.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Stores `value`; returns its key.
    ///
    /// # Errors
    /// [`ArenaError`] where a new chunk is needed and refused; `value` is dropped then. Who
    /// must not lose it calls [`Slots::reserve`] before.
    ///
    /// # Cost
    /// A few loads and stores; every 4 KiB of entities a reservation and an allocation.
    #[inline]
    pub fn insert(&mut self, value: E) -> Result<EntityKey, ArenaError> {
        let index = self.free;
        if index == NONE {
            return self.insert_fresh(value);
        }
        let slot = self.slot(index);
        // SAFETY: the slot is in the list of free ones, so its header is initialised.
        self.free = unsafe { (*slot.as_ptr()).next };
        // SAFETY: it was free, and is in the list no more.
        Ok(unsafe { self.put(index, slot, value) })
    }

    /// Stores `value` in a slot that was never taken.
    #[inline(never)]
    fn insert_fresh(&mut self, value: E) -> Result<EntityKey, ArenaError> {
        if self.fresh as usize == self.capacity() {
            self.grow()?;
        }
        let index = self.fresh;
        self.fresh += 1;
        let slot = self.slot(index);
        // SAFETY: it was never taken.
        Ok(unsafe { self.put(index, slot, value) })
    }

    /// Takes the entity of `key` out; `None` where it is gone.
    #[inline]
    pub fn remove(&mut self, key: EntityKey) -> Option<E> {
        let slot = self.find(key)?;
        // SAFETY: `find` found the slot, so the key is current.
        Some(unsafe { self.take(key, slot) })
    }

    /// The entity of `key`; `None` where it is gone.
    #[inline]
    pub fn get(&self, key: EntityKey) -> Option<&E> {
        // SAFETY: the key is current, so the value is initialised; it lives in a chunk that stays
        // while `self` is borrowed.
        self.find(key).map(|slot| unsafe { (*slot.as_ptr()).value.assume_init_ref() })
    }

    /// The entity of `key`, to be changed; `None` where it is gone.
    #[inline]
    pub fn get_mut(&mut self, key: EntityKey) -> Option<&mut E> {
        // SAFETY: as for `get`, and `self` is borrowed mutably.
        self.find(key).map(|slot| unsafe { (*slot.as_ptr()).value.assume_init_mut() })
    }

    /// Several entities at once, to be changed; `None` where one is gone or named twice.
    ///
    /// # Cost
    /// `N` look-ups and N^2 / 2 comparisons.
    pub fn get_disjoint_mut<const N: usize>(
        &mut self,
        keys: [EntityKey; N],
    ) -> Option<[&mut E; N]> {
        let mut slots = [NonNull::dangling(); N];
        for (at, key) in keys.into_iter().enumerate() {
            if keys[..at].contains(&key) {
                return None;
            }
            slots[at] = self.find(key)?;
        }
        // SAFETY: as for `get_mut`; the keys are current and different, so they are of different
        // slots, and the references do not overlap.
        Some(slots.map(|slot| unsafe { (*slot.as_ptr()).value.assume_init_mut() }))
    }

    /// Whether the entity of `key` exists.
    #[inline]
    pub fn contains(&self, key: EntityKey) -> bool {
        self.find(key).is_some()
    }

    /// The entities with their keys, by slot.
    ///
    /// # Cost
    /// All slots are looked at, free ones included.
    pub fn iter(&self) -> impl Iterator<Item = (EntityKey, &E)> {
        let chunks = self.chunks.iter().zip((0u32..).step_by(Self::PER_CHUNK));
        chunks.flat_map(|(chunk, first)| {
            chunk.slots().iter().zip(first..).filter_map(|(slot, index)| {
                let key = slot.key(index)?;
                // SAFETY: the slot has a key, so it is taken.
                Some((key, unsafe { slot.value.assume_init_ref() }))
            })
        })
    }

    /// The entities with their keys, by slot, to be changed.
    ///
    /// # Cost
    /// As for [`Slots::iter`].
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (EntityKey, &mut E)> {
        let chunks = self.chunks.iter_mut().zip((0u32..).step_by(Self::PER_CHUNK));
        chunks.flat_map(|(chunk, first)| {
            chunk.slots_mut().iter_mut().zip(first..).filter_map(|(slot, index)| {
                let key = slot.key(index)?;
                // SAFETY: the slot has a key, so it is taken.
                Some((key, unsafe { slot.value.assume_init_mut() }))
            })
        })
    }

    /// Drops the entities that `keep` does not want, by slot.
    pub fn retain(&mut self, mut keep: impl FnMut(EntityKey, &mut E) -> bool) {
        for index in 0..self.fresh {
            let Some(key) = self.key_at(index) else { continue };
            if self.get_mut(key).is_some_and(|value| !keep(key, value)) {
                drop(self.remove(key));
            }
        }
    }

    /// Drops all entities. Their keys find nothing from now on; the chunks stay.
    pub fn clear(&mut self) {
        // Backwards, so that the next entity takes the first slot.
        for index in (0..self.fresh).rev() {
            if let Some(key) = self.key_at(index) {
                drop(self.remove(key));
            }
        }
    }

    /// Makes room for `more` entities, so that inserting as many cannot fail.
    ///
    /// # Errors
    /// [`ArenaError`]; what could be had stays.
    pub fn reserve(&mut self, more: usize) -> Result<(), ArenaError> {
        let taken = self.len as usize + self.used_up as usize;
        let wanted = taken.saturating_add(more);
        if wanted > NONE as usize {
            return Err(ArenaError::OutOfKeys);
        }
        while self.capacity() < wanted {
            self.grow()?;
        }
        Ok(())
    }

    /// Returns the chunks behind the last entity to the allocator, and their bytes to the
    /// account.
    ///
    /// # Cost
    /// All slots are looked at.
    pub fn trim(&mut self) {
        let mut returned = 0;
        while let Some(highest) = self.chunks.last().and_then(Chunk::highest_if_free) {
            self.floor = self.floor.max(highest);
            self.chunks.pop();
            returned += size_of::<Slot<E>>() << Self::SHIFT;
        }
        self.held.shrink(Bytes::of(returned));
        self.fresh = self.fresh.min(u32::try_from(self.capacity()).unwrap_or(NONE));
        self.free = NONE;
        for index in (0..self.fresh).rev() {
            if self.is_free(index) {
                // SAFETY: below `fresh`, so in a chunk; nothing else borrows from `self`.
                unsafe { (*self.slot(index).as_ptr()).next = self.free };
                self.free = index;
            }
        }
    }

    /// Bytes held, taken or free, without what entities own elsewhere: exactly what is reserved
    /// and allocated.
    pub fn footprint(&self) -> Bytes {
        self.held.bytes()
    }

    /// Slots there are.
    fn capacity(&self) -> usize {
        self.chunks.len() << Self::SHIFT
    }

    /// The slot of this number, which must be below `capacity`.
    #[inline]
    fn slot(&self, index: u32) -> NonNull<Slot<E>> {
        let chunk = &self.chunks[index as usize >> Self::SHIFT];
        // SAFETY: below `PER_CHUNK`, so in the chunk.
        unsafe { chunk.slots.add(index as usize & (Self::PER_CHUNK - 1)) }
    }

    /// The slot of a key that is current.
    #[inline]
    fn find(&self, key: EntityKey) -> Option<NonNull<Slot<E>>> {
        let chunk = self.chunks.get(key.index as usize >> Self::SHIFT)?;
        // SAFETY: below `PER_CHUNK`, so in the chunk, whose headers are initialised.
        unsafe {
            let slot = chunk.slots.add(key.index as usize & (Self::PER_CHUNK - 1));
            ((*slot.as_ptr()).generation == key.generation.get()).then_some(slot)
        }
    }

    fn key_at(&self, index: u32) -> Option<EntityKey> {
        // SAFETY: the header is initialised; only it is read.
        let generation = unsafe { (*self.slot(index).as_ptr()).generation };
        key(index, generation)
    }

    /// Can the slot be taken again?
    fn is_free(&self, index: u32) -> bool {
        // SAFETY: the header is initialised; only it is read.
        let generation = unsafe { (*self.slot(index).as_ptr()).generation };
        generation.is_multiple_of(2) && generation < LAST
    }

    /// Puts a value into a slot.
    ///
    /// # Safety
    /// `slot` is the one at `index`; it is free, in no list, and not used up.
    #[inline]
    unsafe fn put(&mut self, index: u32, slot: NonNull<Slot<E>>, value: E) -> EntityKey {
        let slot = slot.as_ptr();
        self.len += 1;
        // SAFETY: the slot is free, so no value is overwritten; `self` is borrowed mutably. Its
        // generation is even and below `LAST`, so the next one is odd.
        unsafe {
            (*slot).value.write(value);
            let generation = (*slot).generation + 1;
            (*slot).generation = generation;
            EntityKey { index, generation: NonZeroU32::new_unchecked(generation) }
        }
    }

    /// Takes the value out of the slot of a key that is current.
    ///
    /// # Safety
    /// `slot` is that of `key`.
    #[inline]
    unsafe fn take(&mut self, key: EntityKey, slot: NonNull<Slot<E>>) -> E {
        let slot = slot.as_ptr();
        self.len -= 1;
        let generation = key.generation.get();
        // SAFETY: the key is current, so the slot is taken and its value initialised; the next
        // generation is even, so nobody reads it again. `self` is borrowed mutably.
        unsafe {
            (*slot).generation = generation + 1;
            if generation < LAST {
                (*slot).next = self.free;
                self.free = key.index;
            } else {
                self.used_up += 1;
            }
            (*slot).value.assume_init_read()
        }
    }

    /// Adds a chunk.
    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> Result<(), ArenaError> {
        if self.capacity() + Self::PER_CHUNK > NONE as usize {
            return Err(ArenaError::OutOfKeys);
        }
        let layout = Chunk::<E>::layout(Self::PER_CHUNK)?;
        let bytes = self.account.reserve(Bytes::of(layout.size()))?;
        self.grow_table()?;
        self.chunks.push(Chunk::allocate(layout, self.floor)?);
        // Both are of this account, so they merge.
        let _ = self.held.merge(bytes);
        Ok(())
    }

    /// Makes room in the table of chunks for one more.
    fn grow_table(&mut self) -> Result<(), ArenaError> {
        let capacity = self.chunks.capacity();
        if self.chunks.len() < capacity {
            return Ok(());
        }
        let wanted = (capacity * 2).max(FIRST_TABLE);
        // Both tables exist while the chunks move from one to the other.
        let bytes = self.account.reserve(Bytes::of(wanted * size_of::<Chunk<E>>()))?;
        let requested = bytes.bytes();
        let grown = self.chunks.try_reserve_exact(wanted - self.chunks.len());
        grown.map_err(|_| ArenaError::NoMemory { requested })?;
        let _ = self.held.merge(bytes);
        self.held.shrink(Bytes::of(capacity * size_of::<Chunk<E>>()));
        Ok(())
    }
}

impl<E> Slot<E> {
    fn key(&self, index: u32) -> Option<EntityKey> {
        key(index, self.generation)
    }
}

/// The key of a slot that is taken.
fn key(index: u32, generation: u32) -> Option<EntityKey> {
    if generation.is_multiple_of(2) {
        return None;
    }
    NonZeroU32::new(generation).map(|generation| EntityKey { index, generation })
}

impl<E> Chunk<E> {
    const SLOTS: usize = Slots::<E>::PER_CHUNK;

    fn layout(slots: usize) -> Result<Layout, ArenaError> {
        Layout::array::<Slot<E>>(slots).map_err(|_| ArenaError::TooLarge {
            items: slots,
            item: Bytes::of(size_of::<Slot<E>>()),
        })
    }

    /// Slots that are free, in generation `floor`.
    fn allocate(layout: Layout, floor: u32) -> Result<Self, ArenaError> {
        // SAFETY: a slot has a header, so the layout is not empty.
        let slots = NonNull::new(unsafe { alloc(layout) }.cast::<Slot<E>>());
        let slots = slots.ok_or(ArenaError::NoMemory { requested: Bytes::of(layout.size()) })?;
        for index in 0..Self::SLOTS {
            // SAFETY: the layout is that of `SLOTS` slots. Values stay uninitialised.
            unsafe {
                let slot = slots.add(index).as_ptr();
                (&raw mut (*slot).generation).write(floor);
                (&raw mut (*slot).next).write(NONE);
            }
        }
        Ok(Self { slots, owns: PhantomData })
    }

    fn slots(&self) -> &[Slot<E>] {
        // SAFETY: there are `SLOTS` of them, headers initialised, and values may be anything.
        unsafe { std::slice::from_raw_parts(self.slots.as_ptr(), Self::SLOTS) }
    }

    fn slots_mut(&mut self) -> &mut [Slot<E>] {
        // SAFETY: as for `slots`, and the chunk is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.slots.as_ptr(), Self::SLOTS) }
    }

    /// The highest generation, where no slot is taken and none is used up.
    fn highest_if_free(&self) -> Option<u32> {
        let generations = self.slots().iter().map(|slot| slot.generation);
        generations
            .clone()
            .all(|generation| generation % 2 == 0 && generation < LAST)
            .then(|| generations.max().unwrap_or(0))
    }
}

impl<E> Drop for Chunk<E> {
    fn drop(&mut self) {
        if let Ok(layout) = Self::layout(Self::SLOTS) {
            // SAFETY: allocated with this layout, and freed once. Values are not dropped here.
            unsafe { dealloc(self.slots.as_ptr().cast(), layout) };
        }
    }
}

impl<E> Drop for Slots<E> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<E> fmt::Debug for Slots<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots")
            .field("account", &self.account.path())
            .field("len", &self.len)
            .field("footprint", &self.footprint())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budget, Priority};

    #[test]
    fn a_slot_that_has_used_up_its_generations_is_not_used_again() {
        let budget = Budget::new(Bytes::mib(1));
        let mut slots = Slots::new(&budget.account("a", Priority::Write)).unwrap();
        slots.floor = LAST - 3;
        let first = slots.insert('a').unwrap();
        assert_eq!(slots.remove(first), Some('a'));
        let last = slots.insert('b').unwrap();
        assert_eq!((last.index, last.generation.get()), (0, LAST));
        assert_eq!(slots.remove(last), Some('b'));
        let other = slots.insert('c').unwrap();
        assert_eq!(other.index, 1);
        slots.clear();
        slots.trim();
        assert!(slots.get(first).is_none() && slots.get(last).is_none());
        assert_ne!(slots.insert('d').unwrap().index, 0);
    }
}
