//! Aligned blocks of bytes for embeddings and other buffers, from slabs that are charged first.
//!
//! Two pools give out one kind of handle, [`PooledBlock`]:
//!
//! - [`BlockPool`] for blocks up to 64 KiB: 192 size classes, 64-byte aligned, one allocation and
//!   one free in a few nanoseconds from a stack that belongs to the calling thread alone.
//! - [`BuddyPool`] for large blocks of any length: powers of two that split and merge.
//!
//! A block begins empty, as a `Vec` does, and can be read as far as it has been written: nothing
//! has to be cleared, and no owner ever reads what another one left. Live blocks never move.
//! Both pools charge whole slabs (regions) and their own tables to an
//! [`Account`](crate::Account) before they take them from the system, and really give them back:
//! when enough are empty, on pressure, and when asked to `compact`.
//!
//! ```
//! use ambit_mem::block::{BlockConfig, BlockPool};
//! use ambit_mem::{Budget, Bytes, Priority};
//!
//! let budget = Budget::new(Bytes::mib(8));
//! let account = budget.account("embeddings", Priority::Write);
//! let pool = BlockPool::new(&account, BlockConfig::default())?;
//! let mut block = pool.acquire(384 * 4)?;
//! block.extend_from_f32s(&[0.25; 384])?;
//! assert_eq!(block.as_f32s().len(), 384);
//! drop(block);
//! pool.compact();
//! assert_eq!(pool.stats().slab_bytes, Bytes::ZERO);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[allow(unsafe_code)]
mod buddy;
mod class;
mod error;
#[allow(unsafe_code)]
mod handle;
#[allow(unsafe_code)]
mod magazine;
#[allow(unsafe_code)]
mod mapping;
#[allow(unsafe_code)]
mod pool;
#[allow(unsafe_code)]
mod slab;
mod stats;
mod tree;

pub use buddy::{BuddyConfig, BuddyPool, BuddyStats};
pub use class::{ALIGNMENT, LARGEST_BLOCK};
pub use error::{BlockError, BlockFull};
pub use handle::PooledBlock;
pub use pool::{Batch, BlockConfig, BlockPool};
pub use stats::BlockStats;
