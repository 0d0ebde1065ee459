//! Memory that is handed out by moving a pointer, and entities that are found by a stable key.
//!
//! - [`Arena`]: values without destructors, given back all at once; [`Scope`]s give back what
//!   was allocated since they began.
//! - [`Slots`]: entities by [`EntityKey`]; a key whose entity is gone finds nothing.
//! - [`GraphArena`]: the two together, for a graph whose temporaries end with each generation.
//!
//! All of them take their bytes from an account before they take memory from the allocator.

#[allow(unsafe_code)]
mod bump;
mod error;
mod graph;
#[allow(unsafe_code)]
mod scope;
#[allow(unsafe_code)]
mod slots;

pub use bump::Arena;
pub use error::ArenaError;
pub use graph::GraphArena;
pub use scope::Scope;
pub use slots::{EntityKey, Slots};
