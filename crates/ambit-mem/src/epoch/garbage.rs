//! Where do an object's eras and bytes stay while others may still read it?
//!
//! In front of it: a node is a header and a value in one allocation. An [`Owned`] is a node that
//! nobody else has seen; a `Shared` holds a published one; [`Garbage`] is a list of retired
//! ones, linked through their headers, so that retiring allocates nothing.
//!
//! While a node is published or retired, others may hold `&T` to its value. Its header is then
//! touched only under the collector's lock, through raw pointers to the header alone; no
//! reference to the whole node, and no `Box` of it, exists before it is freed.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::{Account, Bytes, OverBudget, Reservation};

/// What is in front of every value.
pub(super) struct Header {
    /// The next in a list of garbage.
    next: Option<NonNull<Header>>,
    /// The era in which it was published; 0 where readers found it by other ways.
    birth: u64,
    /// The era in which it was retired.
    retired: u64,
    /// Bytes of the object, as the cap counts them.
    weight: u64,
    held: ManuallyDrop<Reservation>,
    /// Frees the node that this is the header of.
    free: unsafe fn(NonNull<Header>),
}

#[repr(C)]
pub(super) struct Node<T> {
    /// First, so that a pointer to the node is one to the header.
    header: Header,
    pub(super) value: T,
}

/// A value with its bytes, not published yet.
///
/// ```
/// use ambit_mem::epoch::Owned;
/// use ambit_mem::{Budget, Bytes, Priority};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let rows = vec![1u32; 1000];
/// let heap = Bytes::of(rows.capacity() * size_of::<u32>());
/// let owned = Owned::new(&budget.account("rows", Priority::Write), rows, heap)?;
/// assert_eq!(budget.used(), owned.weight());
/// # Ok::<(), ambit_mem::OverBudget>(())
/// ```
pub struct Owned<T> {
    node: NonNull<Node<T>>,
}

// SAFETY: an `Owned` is a box of a `T`, and of a header, whose parts may go anywhere.
unsafe impl<T: Send> Send for Owned<T> {}
// SAFETY: a shared `Owned` gives shared references to the value only.
unsafe impl<T: Sync> Sync for Owned<T> {}

impl<T: Send + Sync + 'static> Owned<T> {
    /// Reserves the bytes of a node and `heap` more, which `value` owns elsewhere, until the
    /// object is freed.
    ///
    /// # Errors
    /// [`OverBudget`]; `value` is dropped.
    pub fn new(account: &Account, value: T, heap: Bytes) -> Result<Self, OverBudget> {
        let weight = Bytes::of(size_of::<Node<T>>()).saturating_add(heap);
        Ok(Self::with(account.reserve(weight)?, weight, value))
    }

    /// Reserves the bytes of a node only: `value` holds reservations of its own for `heap`
    /// bytes, which the collector's cap counts as well.
    ///
    /// # Errors
    /// As for [`Owned::new`].
    pub fn charged(account: &Account, value: T, heap: Bytes) -> Result<Self, OverBudget> {
        let node = Bytes::of(size_of::<Node<T>>());
        Ok(Self::with(account.reserve(node)?, node.saturating_add(heap), value))
    }

    fn with(held: Reservation, weight: Bytes, value: T) -> Self {
        let header = Header {
            next: None,
            birth: 0,
            retired: 0,
            weight: weight.get(),
            held: ManuallyDrop::new(held),
            free: free::<T>,
        };
        let node = Box::into_raw(Box::new(Node { header, value }));
        // SAFETY: a box is not null.
        Self { node: unsafe { NonNull::new_unchecked(node) } }
    }
}

impl<T> Owned<T> {
    /// Bytes of the object: what a collector's cap counts while it is garbage.
    pub fn weight(&self) -> Bytes {
        weight(self.node.cast())
    }

    /// Takes the value out and gives its bytes back.
    pub fn into_value(self) -> T {
        let node = self.into_node();
        // SAFETY: the node came from a box and is nobody else's; the reservation is taken out
        // once, and dropped after the memory.
        unsafe {
            let _held = ManuallyDrop::take(&mut (*node.as_ptr()).header.held);
            let Node { value, .. } = *Box::from_raw(node.as_ptr());
            value
        }
    }

    pub(super) fn into_node(self) -> NonNull<Node<T>> {
        ManuallyDrop::new(self).node
    }

    /// Owns a node again.
    ///
    /// # Safety
    /// The node came from `into_node`, and nobody reads it or has it in a list.
    pub(super) unsafe fn from_node(node: NonNull<Node<T>>) -> Self {
        Self { node }
    }
}

impl<T> Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the node is ours while we exist.
        unsafe { &(*self.node.as_ptr()).value }
    }
}

impl<T> DerefMut for Owned<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the node is ours alone, and we are borrowed mutably.
        unsafe { &mut (*self.node.as_ptr()).value }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the node is ours alone, and gone with us.
        unsafe { free::<T>(self.node.cast()) };
    }
}

impl<T: fmt::Debug> fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owned").field("value", &**self).field("weight", &self.weight()).finish()
    }
}

/// Drops the value, frees the node, then gives its bytes back.
///
/// # Safety
/// `header` is that of a `Node<T>` from `Owned::with`, nobody reads it, and it is not used again.
unsafe fn free<T>(header: NonNull<Header>) {
    // SAFETY: the caller's word. The reservation is a local, so it goes last, also when the
    // value's destructor panics; the box frees its memory then, too.
    unsafe {
        let _held = ManuallyDrop::take(&mut (*header.as_ptr()).held);
        drop(Box::from_raw(header.cast::<Node<T>>().as_ptr()));
    }
}

/// The weight of an object. It never changes while the object is anywhere.
fn weight(header: NonNull<Header>) -> Bytes {
    // SAFETY: whoever has a header's pointer, an `Owned` or a list, keeps the node alive, and the
    // weight is written only when the node is made.
    Bytes::new(unsafe { (*header.as_ptr()).weight })
}

/// A node with its eras: what is published or retired.
#[derive(Clone, Copy)]
pub(super) struct Object {
    header: NonNull<Header>,
}

impl Object {
    /// The object of a node.
    ///
    /// # Safety
    /// The node is alive for as long as the object is used. Its header's eras and list are
    /// touched under one lock, or by one thread, and its list through one `Object` at a time.
    pub(super) unsafe fn of<T>(node: NonNull<Node<T>>) -> Self {
        Self { header: node.cast() }
    }

    pub(super) fn weight(self) -> u64 {
        weight(self.header).get()
    }

    /// It is about to be published in this era.
    pub(super) fn publish(self, era: u64) {
        // SAFETY: the word given to `of`.
        unsafe { (*self.header.as_ptr()).birth = era };
    }

    /// Published and retired in which eras.
    fn eras(self) -> (u64, u64) {
        // SAFETY: the word given to `of`.
        unsafe { ((*self.header.as_ptr()).birth, (*self.header.as_ptr()).retired) }
    }

    /// May a reader of these eras see it?
    pub(super) fn is_seen_by(self, (lower, upper): (u64, u64)) -> bool {
        let (birth, retired) = self.eras();
        lower <= retired && birth <= upper
    }
}

/// Retired objects, in no order. They are leaked, not freed, when the list is dropped: only a
/// collector knows when nobody reads them.
pub(super) struct Garbage {
    first: Option<NonNull<Header>>,
    /// Objects.
    pub(super) len: u64,
    /// Their weight.
    pub(super) bytes: u64,
}

// SAFETY: the values of garbage are `Send + Sync`: `Owned` takes no others.
unsafe impl Send for Garbage {}

impl Garbage {
    pub(super) const fn new() -> Self {
        Self { first: None, len: 0, bytes: 0 }
    }

    /// Adds an object that was unlinked, retired in `era`.
    ///
    /// # Safety
    /// No pointer leads to it any more, and it is in no other list.
    pub(super) unsafe fn retire(&mut self, object: Object, era: u64) {
        // SAFETY: the caller's word, and that given to `Object::of`.
        unsafe { (*object.header.as_ptr()).retired = era };
        self.add(object);
    }

    /// Adds an object of another list.
    fn add(&mut self, object: Object) {
        // SAFETY: the word given to `Object::of`; it is in no list, so `next` is unused.
        unsafe { (*object.header.as_ptr()).next = self.first };
        self.first = Some(object.header);
        self.len += 1;
        self.bytes += object.weight();
    }

    fn pop(&mut self) -> Option<Object> {
        let header = self.first?;
        let object = Object { header };
        // SAFETY: objects of a list are alive.
        self.first = unsafe { (*header.as_ptr()).next };
        self.len -= 1;
        self.bytes -= object.weight();
        Some(object)
    }

    /// Takes out what `is_free` says is read by nobody.
    pub(super) fn split_off(&mut self, is_free: impl Fn(Object) -> bool) -> Self {
        let (mut kept, mut freed) = (Self::new(), Self::new());
        while let Some(object) = self.pop() {
            if is_free(object) { &mut freed } else { &mut kept }.add(object);
        }
        *self = kept;
        freed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Object> {
        std::iter::successors(self.first, |header| {
            // SAFETY: objects of a list are alive.
            unsafe { (*header.as_ptr()).next }
        })
        .map(|header| Object { header })
    }

    /// Adds all of another list.
    pub(super) fn append(&mut self, mut other: Self) {
        while let Some(object) = other.pop() {
            self.add(object);
        }
    }

    /// Frees one object; returns its weight. `None` when the list is empty.
    ///
    /// # Safety
    /// Nobody reads any object of the list.
    pub(super) unsafe fn free_one(&mut self, on_freed: impl FnOnce(u64)) -> bool {
        struct Then<F: FnOnce(u64)>(Option<F>, u64);
        impl<F: FnOnce(u64)> Drop for Then<F> {
            fn drop(&mut self) {
                if let Some(on_freed) = self.0.take() {
                    on_freed(self.1);
                }
            }
        }
        let Some(object) = self.pop() else { return false };
        // Also when the destructor panics: the memory is freed then, too.
        let _then = Then(Some(on_freed), object.weight());
        // SAFETY: the caller's word; the object is out of the list, so this happens once. `free` was
        // made for the type of its node.
        unsafe { ((*object.header.as_ptr()).free)(object.header) };
        true
    }
}
