//! How many files may be under way: as many as the budget has room for, and always one.
//!
//! A file is paid for once, before it is read, by what its text, pieces and vectors can take. A
//! worker whose file does not fit waits until another file is written; only when nobody holds
//! anything is the refusal final. So a small budget slows a run down and does not end it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use ambit_mem::{Account, Bytes, Reservation};

use crate::exit::Failure;

/// Bytes that a file takes whatever its length: buffers, keys, the first vectors.
const BASE: u64 = 64 << 10;
/// Bytes that one byte of text takes at most: itself, in a piece, and its part of a vector.
const FACTOR: u64 = 6;

/// Bytes for files under way.
#[derive(Debug)]
pub struct Room {
    account: Account,
    holders: Mutex<usize>,
    left: Condvar,
}

impl Room {
    /// Room on `account`.
    pub fn new(account: Account) -> Self {
        Self { account, holders: Mutex::new(0), left: Condvar::new() }
    }

    /// Takes what a file of `len` bytes needs, waiting for others where it must.
    ///
    /// # Errors
    /// The budget's, where the file does not fit even alone.
    pub fn take(&self, len: u64) -> Result<Held<'_>, Failure> {
        let wanted = Bytes::new(len.saturating_mul(FACTOR).saturating_add(BASE));
        let mut holders = self.lock();
        loop {
            match self.account.reserve(wanted) {
                Ok(reservation) => {
                    *holders += 1;
                    return Ok(Held { room: self, reservation: Some(reservation) });
                }
                Err(refusal) if *holders == 0 => return Err(refusal.into()),
                Err(_) => holders = self.left.wait(holders).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one file holds; given back on drop.
#[derive(Debug)]
pub struct Held<'a> {
    room: &'a Room,
    reservation: Option<Reservation>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut holders = self.room.lock();
        self.reservation = None;
        *holders -= 1;
        self.room.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ambit_mem::{Budget, Priority};
    use std::sync::mpsc::channel;

    fn room(budget: u64) -> Room {
        Room::new(Budget::new(Bytes::new(budget)).account("index/files", Priority::Write))
    }

    #[test]
    fn a_file_waits_for_the_one_before_and_not_for_ever() {
        let room = room(BASE + FACTOR * 1000);
        let first = room.take(1000).unwrap();
        let (sender, receiver) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sender.send("waiting").unwrap();
                let _second = room.take(500).unwrap();
                sender.send("in").unwrap();
            });
            assert_eq!(receiver.recv(), Ok("waiting"));
            drop(first);
            assert_eq!(receiver.recv(), Ok("in"));
        });
    }

    #[test]
    fn a_file_that_does_not_fit_alone_is_refused() {
        let room = room(BASE + FACTOR * 1000);
        assert!(room.take(1000).is_ok());
        assert!(room.take(1001).is_err());
        assert!(room.take(u64::MAX).is_err());
    }
}
