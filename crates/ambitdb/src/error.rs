//! The one error of the library: predicates on top, cause below.

use std::fmt;

use ambit_mem::OverBudget;
use ambit_search::SearchError;
use ambit_store::StoreError;

/// What kind of failure an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller asked for something that cannot be done; nothing was changed.
    Invalid,
    /// What was named does not exist.
    NotFound,
    /// The byte budget does not allow it.
    OverBudget,
    /// Bytes on disk are not what was written.
    Corrupt,
    /// Another process holds the writer lock.
    Locked,
    /// The store was written by a newer version of this software.
    NewerFormat,
    /// The operating system refused or failed.
    Io,
    /// An earlier fsync failed: read-only until opened again.
    Poisoned,
    /// The caller asked to stop.
    Interrupted,
}

/// A failure: kind, message (what, where, numbers, remedy), cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What fallible calls of this library return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure without a cause below it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// A request that cannot be carried out.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Something that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Did the budget refuse?
    pub fn is_over_budget(&self) -> bool {
        self.kind == ErrorKind::OverBudget
    }

    /// Are bytes on disk damaged?
    pub fn is_corrupt(&self) -> bool {
        self.kind == ErrorKind::Corrupt
    }

    /// May the same call succeed later, nothing else done?
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::OverBudget | ErrorKind::Locked | ErrorKind::Interrupted)
    }

    /// The refusal of the budget, where that is the cause.
    pub fn over_budget(&self) -> Option<&OverBudget> {
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            if let Some(refusal) = error.downcast_ref() {
                return Some(refusal);
            }
            source = error.source();
        }
        None
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as &(dyn std::error::Error + 'static))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self { kind: kind_of(&error), message: error.to_string(), source: Some(Box::new(error)) }
    }
}

fn kind_of(error: &StoreError) -> ErrorKind {
    use ambit_store::ErrorKind as Below;
    match error.kind() {
        Below::Invalid => ErrorKind::Invalid,
        Below::NotFound => ErrorKind::NotFound,
        Below::OverBudget => ErrorKind::OverBudget,
        Below::Corrupt => ErrorKind::Corrupt,
        Below::Locked => ErrorKind::Locked,
        Below::NewerFormat => ErrorKind::NewerFormat,
        Below::Poisoned => ErrorKind::Poisoned,
        Below::Interrupted => ErrorKind::Interrupted,
        _ => ErrorKind::Io,
    }
}

impl From<OverBudget> for Error {
    fn from(refusal: OverBudget) -> Self {
        Self {
            kind: ErrorKind::OverBudget,
            message: refusal.to_string(),
            source: Some(Box::new(refusal)),
        }
    }
}

impl From<SearchError> for Error {
    fn from(error: SearchError) -> Self {
        let kind = match &error {
            SearchError::OverBudget(_) => ErrorKind::OverBudget,
            SearchError::Cancelled => ErrorKind::Interrupted,
            SearchError::Source { source, .. } => {
                source.downcast_ref::<StoreError>().map_or(ErrorKind::Io, kind_of)
            }
            _ => ErrorKind::Invalid,
        };
        let message = match &error {
            SearchError::Source { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        Self { kind, message, source: Some(Box::new(error)) }
    }
}
