//! Byte budgets with named owners.
//!
//! A [`Budget`] is a hard limit over a tree of named accounts. Whoever keeps bytes past a call
//! holds a [`Reservation`] from an [`Account`]; it gives its bytes back when it is dropped.
//! What does not fit is first made room for, by asking those who can give bytes back
//! ([`Reclaimer`]), cheapest first, and then refused with an [`OverBudget`] that names the
//! largest holders and the budget that would fit. The sum of all reservations never exceeds
//! the limit.
//!
//! What takes its bytes from an account: objects kept for reuse ([`ObjectPool`]), aligned blocks
//! ([`block`]), bump arenas with scopes ([`Arena`]), entities by keys that never find another one
//! ([`Slots`], [`GraphArena`]), objects that are freed when no reader sees them any more ([`epoch`]),
//! strings stored once ([`Interner`]).
//!
//! What looks at a program: allocators that count ([`TrackingAllocator`] for a process, by [`Tag`];
//! [`MonitoredAllocator`] for an arena or a pool), ledger, allocator and kernel held against each
//! other ([`audit`]), a profiler that finds leaks (`profile`, a feature), and a kit for a program's own
//! tests ([`testing`]). Also here: the default limit of this machine or container
//! ([`default_limit`]), and what the kernel counts ([`process::Resident`]).
//! Files, vectors and threads of its own are not known here.
//!
//! ```
//! use ambit_mem::{Budget, Bytes, Priority};
//!
//! let budget = Budget::new(Bytes::mib(1));
//! let rows = budget.account("store/rows", Priority::Write);
//! let kept = rows.reserve(Bytes::kib(900))?;
//! let refusal = rows.reserve(Bytes::kib(200)).unwrap_err();
//! assert_eq!(refusal.holders[0].account, "store/rows");
//! assert_eq!(refusal.would_fit, Bytes::kib(1100));
//! drop(kept);
//! assert!(rows.reserve(Bytes::kib(200)).is_ok());
//! # Ok::<(), ambit_mem::OverBudget>(())
//! ```

#![deny(unsafe_code)]

mod account;
mod arena;
pub mod audit;
pub mod block;
mod budget;
mod bytes;
pub mod epoch;
#[allow(unsafe_code)]
mod fence;
mod host;
mod intern;
mod ledger;
mod over_budget;
#[allow(unsafe_code)]
mod pages;
mod pool;
mod pressure;
mod priority;
pub mod process;
#[cfg(feature = "profile")]
pub mod profile;
mod reclaim;
mod reservation;
mod shard;
mod sync;
pub mod testing;
mod thread_number;
#[allow(unsafe_code)]
mod tracking;

pub use account::Account;
pub use arena::{Arena, ArenaError, EntityKey, GraphArena, Scope, Slots};
pub use budget::{Budget, Owner};
pub use bytes::*;
pub use host::{LimitSource, MOST_BY_DEFAULT, WHEN_UNKNOWN, default_limit};
#[cfg(feature = "json")]
pub use intern::JsonError;
pub use intern::{
    InternError, InternedProperties, Interner, InternerConfig, InternerStats, PropertyValue,
    RestoreError, Symbol,
};
pub use ledger::Refusal;
pub use over_budget::{Holder, Leak, OverBudget};
pub use pool::{Lifecycle, ObjectPool, OwnedPooled, PoolConfig, PoolStats, Pooled};
pub use pressure::Pressure;
pub use priority::Priority;
pub use reclaim::Reclaimer;
pub use reservation::Reservation;
pub use tracking::{
    AllocatorRate, AllocatorStats, MonitoredAllocator, Tag, TagScope, TagStats, Tagged,
    TooManyTags, Tracking, TrackingAllocator,
};
