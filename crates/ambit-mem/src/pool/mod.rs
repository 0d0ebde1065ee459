//! Objects that are used again instead of being made anew.
//!
//! An [`ObjectPool`] keeps objects that were given back, up to a number and a size, and hands
//! them out again. Each thread has a short list of its own, which it uses without any atomic
//! read-modify-write; what it has too much of goes to a list that all share. What the pool
//! keeps is charged to its account, and pressure empties it.
//!
//! | file | what is in it |
//! |---|---|
//! | `object_pool` | the pool as its users see it |
//! | `lifecycle` | how an object is made, reset and measured |
//! | `lent` | the guards of objects that are out |
//! | `core` | giving out, taking back, shedding |
//! | `local` | one thread's list, and how others get at it |
//! | `chain` | a list of objects linked through themselves |

#[allow(unsafe_code)]
mod chain;
mod config;
#[allow(unsafe_code)]
mod core;
#[allow(unsafe_code)]
mod lent;
mod lifecycle;
#[allow(unsafe_code)]
mod local;
mod object_pool;
mod stats;

pub use config::PoolConfig;
pub use lent::{OwnedPooled, Pooled};
pub use lifecycle::Lifecycle;
pub use object_pool::ObjectPool;
pub use stats::PoolStats;
