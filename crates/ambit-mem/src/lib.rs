//! Byte budgets with named owners.
//!
//! First cut of the interface, so that the crates above can be written against it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(u64);

impl Bytes {
    /// Zero bytes.
    pub const ZERO: Self = Self(0);
    /// `n` bytes.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }
    /// `n` bytes, from a length in memory.
    pub const fn of(n: usize) -> Self {
        Self(n as u64)
    }
    /// `n` x 1,024 bytes.
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }
    /// `n` x 1,048,576 bytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B", self.0)
    }
}

/// Who goes first when bytes are short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Speculative reads.
    Prefetch,
    /// What could be read again.
    Cache,
    /// A running query.
    Query,
    /// A foreground write.
    Write,
}

/// A refused reservation.
#[derive(Debug, Clone)]
pub struct OverBudget {
    message: String,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OverBudget {}

#[derive(Debug)]
struct Inner {
    limit: u64,
    used: u64,
    accounts: BTreeMap<String, u64>,
}

/// A hard limit in bytes over a tree of named accounts.
#[derive(Debug, Clone)]
pub struct Budget {
    inner: Arc<Mutex<Inner>>,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: Bytes) -> Self {
        let inner = Inner { limit: limit.get(), used: 0, accounts: BTreeMap::new() };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// The limit.
    pub fn limit(&self) -> Bytes {
        Bytes(self.inner.lock().unwrap().limit)
    }

    /// Bytes reserved now.
    pub fn used(&self) -> Bytes {
        Bytes(self.inner.lock().unwrap().used)
    }

    /// The account at `path` (segments joined by `/`), made if it is new.
    pub fn account(&self, path: &str, _priority: Priority) -> Account {
        Account { budget: self.clone(), path: path.into() }
    }
}

/// A named owner of bytes.
#[derive(Debug, Clone)]
pub struct Account {
    budget: Budget,
    path: String,
}

impl Account {
    /// Takes `bytes`, or says who holds them.
    pub fn reserve(&self, bytes: Bytes) -> Result<Reservation, OverBudget> {
        let mut reservation = Reservation { account: self.clone(), bytes: Bytes::ZERO };
        reservation.grow(bytes)?;
        Ok(reservation)
    }
}

/// Bytes that somebody holds; given back on drop.
#[derive(Debug)]
pub struct Reservation {
    account: Account,
    bytes: Bytes,
}

impl Reservation {
    /// Bytes held.
    pub fn bytes(&self) -> Bytes {
        self.bytes
    }

    /// Takes `more` bytes, or leaves the reservation as it was.
    pub fn grow(&mut self, more: Bytes) -> Result<(), OverBudget> {
        let mut inner = self.account.budget.inner.lock().unwrap();
        if inner.used + more.0 > inner.limit {
            return Err(OverBudget {
                message: format!("{}: {} requested, limit {}", self.account.path, more.0, inner.limit),
            });
        }
        inner.used += more.0;
        *inner.accounts.entry(self.account.path.clone()).or_default() += more.0;
        self.bytes.0 += more.0;
        Ok(())
    }

    /// Gives `less` bytes back.
    pub fn shrink(&mut self, less: Bytes) {
        let less = less.0.min(self.bytes.0);
        let mut inner = self.account.budget.inner.lock().unwrap();
        inner.used -= less;
        if let Some(used) = inner.accounts.get_mut(&self.account.path) {
            *used -= less;
        }
        self.bytes.0 -= less;
    }

    /// Grows or shrinks to exactly `bytes`.
    pub fn resize(&mut self, bytes: Bytes) -> Result<(), OverBudget> {
        if bytes > self.bytes {
            self.grow(Bytes(bytes.0 - self.bytes.0))
        } else {
            self.shrink(Bytes(self.bytes.0 - bytes.0));
            Ok(())
        }
    }

    /// Moves `part` of the bytes into a reservation of their own.
    pub fn split(&mut self, part: Bytes) -> Reservation {
        let part = Bytes(part.0.min(self.bytes.0));
        self.bytes.0 -= part.0;
        Reservation { account: self.account.clone(), bytes: part }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}
