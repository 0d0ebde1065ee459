//! The values of one run, and contexts that are used again.
//!
//! | file | what is in it |
//! |---|---|
//! | `context` | values by key, with both of their sizes |
//! | `key` | a name that was hashed once |
//! | `charge` | bytes of a growing thing, reserved before they are taken |
//! | `pool` | contexts that are used again |
//! | `error` | why a value could not be read or written |

mod charge;
#[expect(clippy::module_inception, reason = "the folder is named for its main file")]
mod context;
mod error;
mod key;
mod pool;

pub(crate) use charge::Charge;
pub use context::Context;
pub use error::ContextError;
pub(crate) use error::nearest;
pub use key::{AsKey, Key};
pub use pool::{ContextPool, PooledContext};
