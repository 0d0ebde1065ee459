//! How many files may be under way: as many as the budget has room for beside the store's needs.
//!
//! A file is paid for once, before it is read, by what its text, pieces and vectors can take. A
//! worker whose file does not fit waits until another file is written; only when nobody holds
//! anything is the refusal final. So a small budget slows a run down and does not end it. What
//! writes need is left alone, so that no file under way stands in the way of the one being written.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use ambit_mem::{Account, Budget, Bytes, Priority, Reservation};
use ambitdb::write_room;

use crate::exit::{Code, Failure};

/// Bytes that a file takes whatever its length: buffers, keys, the first vectors.
const BASE: u64 = 64 << 10;
/// Bytes that one byte of text takes at most: itself, in a piece, and its part of a vector.
const FACTOR: u64 = 6;

/// No file that may be read wants a larger budget.
const MOST_BUDGET: Bytes = Bytes::gib(2);

/// Bytes for files under way.
#[derive(Debug)]
pub struct Room {
    account: Account,
    limit: Bytes,
    /// Bytes that others held when the run began.
    others: Bytes,
    holders: Mutex<usize>,
    left: Condvar,
}

impl Room {
    /// All of `budget` that is free now and that writes do not need.
    pub fn new(budget: &Budget) -> Self {
        let account = budget.account("index/files", Priority::Write);
        let (limit, others) = (budget.limit(), budget.used());
        Self { account, limit, others, holders: Mutex::new(0), left: Condvar::new() }
    }

    /// Bytes that a budget of `limit` has for files.
    fn most(&self, limit: Bytes) -> Bytes {
        limit.saturating_sub(self.others).saturating_sub(write_room(limit))
    }

    /// Takes what a file of `len` bytes needs, waiting for others where it must.
    ///
    /// # Errors
    /// The budget's, where the file does not fit even alone.
    pub fn take(&self, len: u64) -> Result<Held<'_>, Failure> {
        let wanted = Bytes::new(len.saturating_mul(FACTOR).saturating_add(BASE));
        let most = self.most(self.limit);
        if wanted > most {
            return Err(self.refusal(wanted));
        }
        let mut holders = self.lock();
        loop {
            if self.account.used().saturating_add(wanted) <= most {
                match self.account.reserve(wanted) {
                    Ok(reservation) => {
                        *holders += 1;
                        return Ok(Held { room: self, reservation: Some(reservation) });
                    }
                    Err(refusal) if *holders == 0 => return Err(refusal.into()),
                    Err(_) => {}
                }
            }
            holders = self.left.wait(holders).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says which budget would have room for `wanted` bytes.
    fn refusal(&self, wanted: Bytes) -> Failure {
        let mut limit = self.limit;
        while limit < MOST_BUDGET && self.most(limit) < wanted {
            limit = limit.saturating_add(Bytes::mib(1));
        }
        let message = format!(
            "over budget: it takes {wanted}, and {} of {} are for files; a budget of {limit} would fit",
            self.most(self.limit),
            self.limit
        );
        Failure::new(Code::OverBudget, message)
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
    use std::sync::mpsc::channel;

    /// Room with space for `bytes`, and at most a byte a hundred more.
    fn room(bytes: u64) -> Room {
        let mut limit = Bytes::ZERO;
        let fits = |limit: Bytes| limit.saturating_sub(write_room(limit)) >= Bytes::new(bytes);
        while !fits(limit) {
            limit = limit.saturating_add(Bytes::new(bytes / 200));
        }
        Room::new(&Budget::new(limit))
    }

    #[test]
    fn a_file_waits_for_the_one_before_and_not_for_ever() {
        let room = room(BASE + FACTOR * 1_000_000);
        let first = room.take(1_000_000).unwrap();
        let (sender, receiver) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                sender.send("waiting").unwrap();
                let _second = room.take(500_000).unwrap();
                sender.send("in").unwrap();
            });
            assert_eq!(receiver.recv(), Ok("waiting"));
            drop(first);
            assert_eq!(receiver.recv(), Ok("in"));
        });
    }

    #[test]
    fn a_file_that_does_not_fit_alone_is_refused_with_a_budget_that_would_fit() {
        let small = room(BASE + FACTOR * 1_000_000);
        assert!(small.take(1_000_000).is_ok());
        assert!(small.take(u64::MAX).is_err());
        let refusal = small.take(1_100_000).unwrap_err().to_string();
        let named = refusal.split(" a budget of ").nth(1).unwrap();
        let mib: f64 = named.split(" MiB").next().unwrap().parse().unwrap();
        let large = Room::new(&Budget::new(Bytes::kib((mib * 1024.0) as u64 + 64)));
        assert!(large.take(1_100_000).is_ok(), "{refusal}");
    }

    #[test]
    fn what_writes_need_is_left_alone() {
        let room = room(BASE + FACTOR * 1_000_000);
        let _held = room.take(1_000_000).unwrap();
        assert!(room.limit.saturating_sub(room.account.used()) >= write_room(room.limit));
    }
}
