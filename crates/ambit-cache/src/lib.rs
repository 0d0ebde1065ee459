//! What will be asked again?
//!
//! [`policy`]: who goes next, as pure structures without clock or I/O, from FIFO to one that
//! learns which of the others to follow ([`policy::Adaptive`]). [`Simulation`]: a cache without
//! values, to measure what a policy would hit. What is cached is not known here.

#![forbid(unsafe_code)]

mod ghost;
#[allow(dead_code, reason = "caches grow and shrink; simulations only grow")]
mod index;
pub mod link;
mod list;
#[allow(dead_code, reason = "caches count bytes; simulations do not")]
mod nodes;
pub mod policy;
mod simulate;
mod sketch;
#[allow(dead_code, reason = "caches take entries out; simulations only evict")]
mod table;

pub use simulate::{Simulation, SimulationConfig};
