//! The one error of this crate: what went wrong, where, and what to do about it.

use std::fmt;
use std::io;

use ambit_mem::OverBudget;

/// What kind of failure a [`StoreError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused or failed.
    Io,
    /// Bytes on disk are not what was written.
    Corrupt,
    /// The byte budget does not allow it.
    OverBudget,
    /// Another process holds the writer lock.
    Locked,
    /// The files were written by a newer version of this software.
    NewerFormat,
    /// The caller asked for something that cannot be done; nothing was changed.
    Invalid,
    /// What was named does not exist.
    NotFound,
    /// An earlier fsync failed: the store is read-only until it is opened again.
    Poisoned,
    /// The caller asked to stop.
    Interrupted,
}

/// A failure of the store: kind, message (what, where, numbers, remedy) and cause.
#[derive(Debug)]
pub struct StoreError {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// A failure without a cause below it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// A corruption found in `file` at `offset`.
    pub fn corrupt(file: &str, offset: u64, what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Corrupt, format!("{file} at byte {offset}: {what}"))
    }

    /// A request that cannot be carried out.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// An operating system failure while doing `what` to `file`.
    pub fn io(what: &str, file: &str, error: io::Error) -> Self {
        Self {
            kind: ErrorKind::Io,
            message: format!("cannot {what} {file}: {error}"),
            source: Some(Box::new(error)),
        }
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The refusal of the budget, where that is the cause.
    pub fn over_budget(&self) -> Option<&OverBudget> {
        self.source.as_ref().and_then(|source| source.downcast_ref())
    }

    /// The operating system's error, where that is the cause.
    pub fn io_error(&self) -> Option<&io::Error> {
        self.source.as_ref().and_then(|source| source.downcast_ref())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

impl From<OverBudget> for StoreError {
    fn from(refusal: OverBudget) -> Self {
        Self {
            kind: ErrorKind::OverBudget,
            message: refusal.to_string(),
            source: Some(Box::new(refusal)),
        }
    }
}
