//! A list of objects linked through themselves: moving one neither allocates nor fails.

use std::ptr::NonNull;

use crate::Reservation;

/// An object with what the pool knows of it.
pub(super) struct Entry<T> {
    /// Its bytes, from when it was first kept; they stay with it while it is out.
    pub charge: Option<Reservation>,
    next: Option<NonNull<Self>>,
    pub value: T,
}

// SAFETY: `next` is only followed by the chain that an entry is in, which owns it; apart from it
// an entry is its value and a reservation.
unsafe impl<T: Send> Send for Entry<T> {}
// SAFETY: as above; a shared entry shows its value and its reservation, and no more.
unsafe impl<T: Sync> Sync for Entry<T> {}

impl<T> Entry<T> {
    pub(super) fn new(value: T) -> Box<Self> {
        Box::new(Self { charge: None, next: None, value })
    }

    /// Bytes charged for it.
    #[inline]
    pub(super) fn charged(&self) -> u64 {
        self.charge.as_ref().map_or(0, |charge| charge.bytes().get())
    }
}

/// A list, last in, first out, that owns its entries.
pub(super) struct Chain<T> {
    head: Option<NonNull<Entry<T>>>,
    len: usize,
    bytes: u64,
}

// SAFETY: a chain owns its entries, so it may go where they may; it has no shared access to
// them at all.
unsafe impl<T: Send> Send for Chain<T> {}

impl<T> Default for Chain<T> {
    fn default() -> Self {
        Self { head: None, len: 0, bytes: 0 }
    }
}

impl<T> Chain<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes charged for its entries.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push(&mut self, mut entry: Box<Entry<T>>) {
        self.len += 1;
        self.bytes += entry.charged();
        entry.next = self.head;
        self.head = Some(NonNull::from(Box::leak(entry)));
    }

    pub(super) fn pop(&mut self) -> Option<Box<Entry<T>>> {
        let head = self.head?;
        // SAFETY: `head` came from a leaked box in `push`, the chain owns it, and it leaves
        // the chain here, so the box is made once.
        let mut entry = unsafe { Box::from_raw(head.as_ptr()) };
        self.head = entry.next.take();
        self.len -= 1;
        self.bytes -= entry.charged();
        Some(entry)
    }
}

impl<T> Drop for Chain<T> {
    fn drop(&mut self) {
        while let Some(entry) = self.pop() {
            // Should this drop panic, the rest is dropped while unwinding.
            let rest = Self { head: self.head.take(), len: self.len, bytes: self.bytes };
            drop(entry);
            self.head = rest.into_head();
        }
    }
}

impl<T> Chain<T> {
    fn into_head(mut self) -> Option<NonNull<Entry<T>>> {
        self.head.take()
    }
}
