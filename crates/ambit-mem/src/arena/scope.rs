//! How is a part of an arena given back while the rest stays in use?
//!
//! A scope remembers where the arena was when it began, and takes it back there when it ends,
//! by return or by panic. Scopes nest. What an outer scope allocated stays usable inside an
//! inner one and after it; what the inner one allocated cannot leave it, because its lifetime
//! `'s` is chosen by the scope and has no name outside the closure. The outer scope cannot
//! allocate while an inner one runs: it is borrowed.

use std::alloc::Layout;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;

use super::bump::Mark;
use super::{Arena, ArenaError};

/// A part of an arena that is given back when it ends; see [`Arena::scope`].
///
/// ```
/// use ambit_mem::{Arena, Budget, Bytes, Priority};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let mut arena = Arena::new(&budget.account("query/scratch", Priority::Query))?;
/// arena.scope(|query| {
///     let best = query.alloc(0u64)?;
///     for block in 1..=3u64 {
///         query.scope(|step| {
///             let scores = step.alloc_slice_with(1000, |row| row as u64 * block)?;
///             *best = scores.iter().copied().max().unwrap_or(0).max(*best);
///             Ok::<_, ambit_mem::ArenaError>(())
///         })?;
///     }
///     assert_eq!(*best, 2997);
///     Ok::<_, ambit_mem::ArenaError>(())
/// })?;
/// # Ok::<(), ambit_mem::ArenaError>(())
/// ```
///
/// What it allocates cannot leave it:
///
/// ```compile_fail
/// # use ambit_mem::{Arena, Budget, Bytes, Priority};
/// # let budget = Budget::new(Bytes::mib(1));
/// # let mut arena = Arena::new(&budget.account("a", Priority::Query)).unwrap();
/// let stale = arena.scope(|scope| scope.alloc(1u8).unwrap());
/// ```
///
/// nor be left behind in an outer one:
///
/// ```compile_fail
/// # use ambit_mem::{Arena, Budget, Bytes, Priority};
/// # let budget = Budget::new(Bytes::mib(1));
/// # let mut arena = Arena::new(&budget.account("a", Priority::Query)).unwrap();
/// arena.scope(|outer| {
///     let kept = outer.alloc(std::cell::Cell::new(None::<&u8>)).unwrap();
///     outer.scope(|inner| kept.set(Some(inner.alloc(1u8).unwrap())));
/// });
/// ```
#[derive(Debug)]
pub struct Scope<'s> {
    arena: &'s Arena,
    /// Makes `'s` invariant, so that no scope passes for another.
    brand: PhantomData<Cell<&'s ()>>,
}

impl<'s> Scope<'s> {
    /// Runs `work` on `arena`, and gives back what it allocated. The caller has the only borrow of
    /// the arena, or of the scope around.
    pub(super) fn enter<R>(arena: &Arena, work: impl for<'n> FnOnce(&mut Scope<'n>) -> R) -> R {
        let _back = Back { arena, mark: arena.mark() };
        work(&mut Scope { arena, brand: PhantomData })
    }

    /// Runs `work` with a scope inside this one.
    pub fn scope<R>(&mut self, work: impl for<'n> FnOnce(&mut Scope<'n>) -> R) -> R {
        Self::enter(self.arena, work)
    }

    /// Moves `value` into the scope; see [`Arena::alloc`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn alloc<T>(&self, value: T) -> Result<&'s mut T, ArenaError> {
        self.arena.alloc(value)
    }

    /// Copies `source` into the scope; see [`Arena::alloc_slice_copy`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn alloc_slice_copy<T: Copy>(&self, source: &[T]) -> Result<&'s mut [T], ArenaError> {
        self.arena.alloc_slice_copy(source)
    }

    /// Copies `text` into the scope; see [`Arena::alloc_str`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn alloc_str(&self, text: &str) -> Result<&'s mut str, ArenaError> {
        self.arena.alloc_str(text)
    }

    /// A slice of `len` values; see [`Arena::alloc_slice_with`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn alloc_slice_with<T>(
        &self,
        len: usize,
        make: impl FnMut(usize) -> T,
    ) -> Result<&'s mut [T], ArenaError> {
        self.arena.alloc_slice_with(len, make)
    }

    /// Memory of this layout, uninitialised, good until the scope ends; see
    /// [`Arena::alloc_layout`].
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn alloc_layout(&self, layout: Layout) -> Result<NonNull<u8>, ArenaError> {
        self.arena.alloc_layout(layout)
    }
}

/// Takes the arena back when a scope ends.
struct Back<'a> {
    arena: &'a Arena,
    mark: Mark,
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        // SAFETY: the mark is of this arena. What was allocated after it came from the scope
        // that ends here, or from scopes inside it, which have ended: the arena, and the scope
        // around, were mutably borrowed meanwhile. Its lifetime was opaque to `work`, so nothing
        // that names it is left. Scopes end in the order opposite to that of their beginning, so
        // the arena was not taken back further.
        unsafe { self.arena.go_back(self.mark) };
    }
}
