//! Time, rest and calling off.
//!
//! | file | what is in it |
//! |---|---|
//! | `clock` | the time, the system's or a test's |
//! | `cancel` | a run that is called off |
//! | `breaker` | a node that keeps failing is given a rest |

mod breaker;
mod cancel;
mod clock;

pub(crate) use breaker::Breaker;
pub use breaker::BreakerPolicy;
pub use cancel::CancelToken;
pub use clock::{Clock, ManualClock, SystemClock};
