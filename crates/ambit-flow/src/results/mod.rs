//! Results of steps that are kept, by the step and its exact inputs.
//!
//! A step whose definition says `cache` is asked once for the same inputs. What holds the results is
//! the program's: a [`ResultCache`], given to the [`Registry`](crate::Registry) before graphs are
//! built. Here is what must not depend on it: the key, which says every byte of the inputs; that
//! failures are not kept; and that who asks for what is being worked out waits for it.
//!
//! | file | what is in it |
//! |---|---|
//! | `result_cache` | what holds results, and a result |
//! | `input_key` | a step and its exact inputs, as bytes |
//! | `flights` | one works, the others wait |

mod flights;
mod input_key;
mod result_cache;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) use flights::{Boarding, Flights, Lead, Waited};
pub(crate) use input_key::encode;
pub use result_cache::{CachedResult, ResultCache};

/// How a step's results are kept.
#[derive(Debug)]
pub(crate) struct Kept {
    pub cache: Arc<dyn ResultCache>,
    pub ttl: Option<Duration>,
    /// Which step: no two steps of a process have the same.
    pub step: u64,
    pub flights: Flights,
}

impl Kept {
    pub(crate) fn new(cache: Arc<dyn ResultCache>, ttl: Option<Duration>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { cache, ttl, step, flights: Flights::default() }
    }
}
