//! On whose behalf is this thread allocating?
//!
//! A [`Tag`] is a name from a fixed table. While a [`TagScope`] is alive, what its thread
//! allocates is counted under its tag, too; bytes are deducted from the tag they were allocated
//! under, whoever frees them. Names are `'static` and tags are never unregistered, so a tag is
//! one byte and registering one keeps no memory.

use std::fmt;
use std::marker::PhantomData;

use super::local;
use super::tagged::Tagged;
use crate::sync::{AtomicUsize, Mutex, OnceLock, Ordering, lock};

/// Tags that can be registered, the untagged one included.
pub(super) const TAGS: usize = 128;

static NAMES: [OnceLock<&'static str>; TAGS] = [const { OnceLock::new() }; TAGS];
/// Names in use; [`Tag::UNTAGGED`] has none.
static USED: AtomicUsize = AtomicUsize::new(1);
static REGISTER: Mutex<()> = Mutex::new(());

/// On whose behalf something is allocated.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(u8);

impl Tag {
    /// No tag.
    pub const UNTAGGED: Self = Self(0);
    /// Names that can be registered in a process.
    pub const MAX: usize = TAGS - 1;

    /// The tag of this name, registered if it is new.
    ///
    /// # Errors
    /// [`TooManyTags`] where [`Tag::MAX`] other names are registered.
    ///
    /// # Cost
    /// A lock and a comparison with each name: keep the tag.
    pub fn named(name: &'static str) -> Result<Self, TooManyTags> {
        let _registering = lock(&REGISTER);
        let used = USED.load(Ordering::Relaxed);
        if let Some(known) = Self::all(used).find(|tag| tag.name() == name) {
            return Ok(known);
        }
        let free = NAMES.get(used).ok_or(TooManyTags { name })?;
        free.get_or_init(|| name);
        USED.store(used + 1, Ordering::Release);
        Ok(Self(used as u8))
    }

    /// Every tag registered so far.
    pub fn registered() -> impl Iterator<Item = Self> {
        Self::all(USED.load(Ordering::Acquire))
    }

    /// The tag that this thread is in.
    pub fn current() -> Self {
        Self(local::Local::get().tag())
    }

    /// Its name; `"untagged"` for [`Tag::UNTAGGED`].
    pub fn name(self) -> &'static str {
        NAMES[self.index()].get().copied().unwrap_or("untagged")
    }

    /// Counts what this thread allocates under this tag, until the scope is dropped.
    #[inline]
    pub fn enter(self) -> TagScope {
        TagScope { before: local::set_tag(self.0), not_send: PhantomData }
    }

    /// Its number, below [`TAGS`]: 0 for [`Tag::UNTAGGED`].
    #[cfg_attr(not(feature = "profile"), expect(dead_code, reason = "for the profiler"))]
    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// The tag of this number; [`Tag::UNTAGGED`] where none is registered.
    #[cfg_attr(not(feature = "profile"), expect(dead_code, reason = "for the profiler"))]
    pub(crate) fn from_number(number: u8) -> Self {
        let is_registered = usize::from(number) < USED.load(Ordering::Acquire);
        if is_registered { Self(number) } else { Self::UNTAGGED }
    }

    /// Counts what `future` allocates while it is polled under this tag, on whichever thread.
    pub fn future<F: Future>(self, future: F) -> Tagged<F> {
        Tagged::new(self, future)
    }

    /// Counts what `work` allocates under this tag, on whichever thread it is called.
    ///
    /// ```
    /// # use ambit_mem::Tag;
    /// let import = Tag::named("import")?;
    /// let thread = std::thread::spawn(import.wrap(Tag::current));
    /// assert_eq!(thread.join().ok(), Some(import));
    /// # Ok::<(), ambit_mem::TooManyTags>(())
    /// ```
    pub fn wrap<R>(self, work: impl FnOnce() -> R) -> impl FnOnce() -> R {
        move || {
            let _scope = self.enter();
            work()
        }
    }

    fn all(used: usize) -> impl Iterator<Item = Self> {
        (1..used).map(|index| Self(index as u8))
    }

    /// The tag of an index that came from a tag.
    pub(super) fn from_index(index: usize) -> Self {
        Self((index % TAGS) as u8)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tag").field(&self.name()).finish()
    }
}

/// A thread's time under a tag; ends when dropped, and the tag before it comes back.
#[derive(Debug)]
#[must_use = "the scope ends when it is dropped"]
pub struct TagScope {
    before: u8,
    /// A scope belongs to the thread that entered it.
    not_send: PhantomData<*const ()>,
}

impl Drop for TagScope {
    #[inline]
    fn drop(&mut self) {
        local::set_tag(self.before);
    }
}

/// No tag is left for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TooManyTags {
    /// The name.
    pub name: &'static str,
}

impl fmt::Display for TooManyTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name } = self;
        write!(f, "no tag for '{name}': {} are registered, and that is all there are", Tag::MAX)
    }
}

impl std::error::Error for TooManyTags {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_tag_and_scopes_nest() {
        let outer = Tag::named("tests/outer").unwrap();
        let inner = Tag::named("tests/inner").unwrap();
        assert_eq!(Tag::named("tests/outer"), Ok(outer));
        assert_ne!(outer, inner);
        assert_eq!((outer.name(), Tag::UNTAGGED.name()), ("tests/outer", "untagged"));
        assert!(Tag::registered().any(|tag| tag == inner));
        assert_eq!(Tag::current(), Tag::UNTAGGED);
        let scope = outer.enter();
        {
            let _scope = inner.enter();
            assert_eq!(Tag::current(), inner);
            std::thread::scope(|scope| {
                scope.spawn(|| assert_eq!(Tag::current(), Tag::UNTAGGED));
            });
        }
        assert_eq!(Tag::current(), outer);
        drop(scope);
        assert_eq!(Tag::current(), Tag::UNTAGGED);
    }
}
