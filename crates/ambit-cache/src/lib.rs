//! What will be asked again?
//!
//! [`Cache`]: values by key under a cap in bytes that holds, charged to an account of
//! [`ambit_mem`]. Everything counts, what the cache keeps for itself, too, and room is made
//! before a value comes in. It tells what it does ([`CacheStats`]), what more bytes would bring
//! ([`MissRatioCurve`]), what to do about it ([`Analysis`]), and lets bytes move to where they
//! save most ([`balance`]).
//!
//! [`Tiers`]: unpacked values above packed ones above a source.
//!
//! [`policy`]: who goes next, as pure structures without clock or I/O, from FIFO to one that
//! learns which of the others to follow ([`policy::Adaptive`]). [`Simulation`]: a cache without
//! values, to measure what a policy would hit. [`filter`]: what is surely absent need not be read. What is cached is not known here.

#![forbid(unsafe_code)]

mod allowance;
mod analysis;
mod balance;
mod cache;
mod config;
mod curve;
mod error;
pub mod filter;
mod flight;
mod ghost;
mod index;
pub mod link;
mod list;
mod nodes;
mod part;
pub mod policy;
mod simulate;
mod sketch;
mod stats;
mod sync;
mod table;
mod tiers;
mod times;
mod weigh;

pub use analysis::{Advice, Analysis};
pub use balance::{Move, Resizable, balance};
pub use cache::Cache;
pub use config::CacheConfig;
pub use curve::MissRatioCurve;
pub use error::{CapError, CreateError, InsertError};
pub use simulate::{Simulation, SimulationConfig};
pub use stats::CacheStats;
pub use tiers::{Source, Tiers, TiersConfig, TiersStats};
pub use times::Clock;
pub use weigh::Weigh;
