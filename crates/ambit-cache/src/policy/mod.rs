//! Who goes next? Policies, as pure structures.

mod adaptive;
mod fifo;
mod lfu;
mod lru;
mod s3_fifo;
mod sieve;
mod tiny_lfu;
mod traits;

#[cfg(test)]
mod tests;

pub use adaptive::{Adaptive, Objective, Way};
pub use fifo::Fifo;
pub use lfu::Lfu;
pub use lru::Lru;
pub use s3_fifo::S3Fifo;
pub use sieve::Sieve;
pub use tiny_lfu::TinyLfu;
pub use traits::Policy;
