//! When may an object be freed that others read without a lock?
//!
//! Readers pin a [`Collector`], follow [`Shared`] pointers, and unpin; a pin is a few plain
//! stores. Writers replace what a pointer leads to; the old object is freed when no reader can
//! still see it. Unlike with plain epochs, one reader that stays pinned does not keep all that
//! is retired from then on, only what lived while it looked: objects carry the eras in which
//! they were published and retired, readers the eras in which they loaded, and an object goes
//! when no reader's eras meet its own (interval-based reclamation: H. Wen, J. Izraelevitz,
//! W. Cai, H. A. Beadle, M. L. Scott, 2018; here the eras are those of 2GE-IBR).
//!
//! Bounded: what is retired and not freed never exceeds the collector's cap. A writer whose old
//! object would not fit gets its new one back, with the reader that is in the way. Accountable:
//! each object's bytes stay reserved until it is freed.
//!
//! `protocol` says how, and why it is sound; `readers` is what readers publish; `garbage`
//! what they may still see; `barrier` how both sides order it.

mod barrier;
mod collector;
mod error;
#[allow(unsafe_code)]
mod garbage;
mod guard;
#[cfg(all(test, loom))]
#[allow(unsafe_code)]
mod model;
#[allow(unsafe_code)]
mod protocol;
#[allow(unsafe_code)]
mod readers;
#[allow(unsafe_code)]
mod shared;
mod thread;

pub use barrier::Barrier;
pub use collector::{Collector, CollectorOptions, CollectorStats, PinnedReader};
pub use error::{GarbageFull, Refused, Rejected};
pub use garbage::Owned;
pub use guard::{Guard, Reader};
pub use shared::Shared;
