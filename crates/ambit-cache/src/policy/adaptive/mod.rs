//! A policy that learns which way to follow.

mod filling;
mod guide;
mod policy;
pub(crate) mod queues;
mod values;
mod way;

pub use policy::{Adaptive, Objective};
pub use way::Way;
