//! Where do the entities of a graph live, and what was computed about them for the moment?
//!
//! Entities live in [`Slots`], each under a key for as long as it exists. Temporaries (a
//! frontier, scores, paths) live in an [`Arena`] until the generation ends. The two are fields,
//! so that entities can change while temporaries are in use; ending a generation needs both, so
//! no temporary outlives it: the compiler checks.

use std::fmt;

use super::{Arena, Slots};
use crate::{Account, Bytes, OverBudget};

/// Entities with stable keys, and temporaries that end with the generation.
///
/// ```
/// use ambit_mem::{Budget, Bytes, GraphArena, Priority};
///
/// struct Node {
///     name: &'static str,
///     next: Option<ambit_mem::EntityKey>,
/// }
///
/// let budget = Budget::new(Bytes::mib(1));
/// let mut graph = GraphArena::new(&budget.account("graph", Priority::Query))?;
/// let b = graph.entities.insert(Node { name: "b", next: None })?;
/// let a = graph.entities.insert(Node { name: "a", next: Some(b) })?;
///
/// let path = graph.temporaries.alloc_slice_copy(&[a, b])?;
/// graph.entities.remove(path[1]);
/// graph.advance(); // `path` cannot be used from here on
///
/// let next = graph.entities.get(a).and_then(|node| node.next);
/// assert!(next.and_then(|key| graph.entities.get(key)).is_none());
/// assert_eq!(budget.used(), graph.footprint());
/// # Ok::<(), ambit_mem::ArenaError>(())
/// ```
///
/// A temporary of an earlier generation does not compile:
///
/// ```compile_fail
/// # use ambit_mem::{Budget, Bytes, GraphArena, Priority};
/// # let budget = Budget::new(Bytes::mib(1));
/// # let mut graph = GraphArena::<u8>::new(&budget.account("g", Priority::Query)).unwrap();
/// let stale = graph.temporaries.alloc(1u8).unwrap();
/// graph.advance();
/// *stale = 2;
/// ```
pub struct GraphArena<E> {
    /// The entities.
    pub entities: Slots<E>,
    /// What lasts until the generation ends.
    pub temporaries: Arena,
    generation: u64,
}

impl<E> GraphArena<E> {
    /// An empty one in generation 0. The accounts `entities` and `temporaries` below `account`
    /// hold its bytes.
    ///
    /// # Errors
    /// [`OverBudget`] where the budget refuses even an empty reservation.
    pub fn new(account: &Account) -> Result<Self, OverBudget> {
        Ok(Self {
            entities: Slots::new(&account.child("entities"))?,
            temporaries: Arena::new(&account.child("temporaries"))?,
            generation: 0,
        })
    }

    /// Ends the generation: gives back all temporaries and keeps their memory for the next
    /// ones. Returns the number of the new generation.
    pub fn advance(&mut self) -> u64 {
        self.temporaries.reset();
        self.generation += 1;
        self.generation
    }

    /// How often [`GraphArena::advance`] was called.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns memory that holds neither entities nor temporaries.
    pub fn trim(&mut self) {
        self.temporaries.trim();
        self.entities.trim();
    }

    /// Bytes held, used or spare, without what entities own elsewhere.
    pub fn footprint(&self) -> Bytes {
        self.entities.footprint().saturating_add(self.temporaries.footprint())
    }
}

impl<E> fmt::Debug for GraphArena<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphArena")
            .field("entities", &self.entities.len())
            .field("generation", &self.generation)
            .field("footprint", &self.footprint())
            .finish_non_exhaustive()
    }
}
