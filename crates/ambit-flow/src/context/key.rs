//! A name that was hashed once.
//!
//! A graph resolves its keys when it is built; a run then finds them in any context without
//! hashing. Hashes are seeded once for the process, so that a key made anywhere fits any context.

use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

/// The hash of a name.
#[inline]
pub(crate) fn hash(name: &str) -> u64 {
    SeedableRandomState::with_seed(0, SharedSeed::global_random()).hash_one(name)
}

/// The name of a value in a context, with its hash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    hash: u64,
    name: Arc<str>,
}

impl Key {
    /// The key of this name.
    pub fn new(name: &str) -> Self {
        Self { hash: hash(name), name: name.into() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes that it holds on the heap, shared by its clones.
    pub(crate) fn heap(&self) -> usize {
        self.name.len() + 2 * size_of::<usize>()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.name, f)
    }
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// What names a value of a context: text, or a [`Key`].
pub trait AsKey: sealed::Sealed {
    /// The hash of the name.
    fn hash(&self) -> u64;
    /// The name.
    fn name(&self) -> &str;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for str {}
    impl Sealed for String {}
    impl Sealed for super::Key {}
    impl<T: Sealed + ?Sized> Sealed for &T {}
}

impl AsKey for str {
    #[inline]
    fn hash(&self) -> u64 {
        hash(self)
    }
    #[inline]
    fn name(&self) -> &str {
        self
    }
}

impl AsKey for String {
    #[inline]
    fn hash(&self) -> u64 {
        hash(self)
    }
    #[inline]
    fn name(&self) -> &str {
        self
    }
}

impl AsKey for Key {
    #[inline]
    fn hash(&self) -> u64 {
        self.hash
    }
    #[inline]
    fn name(&self) -> &str {
        &self.name
    }
}

impl<T: AsKey + ?Sized> AsKey for &T {
    #[inline]
    fn hash(&self) -> u64 {
        (**self).hash()
    }
    #[inline]
    fn name(&self) -> &str {
        (**self).name()
    }
}
