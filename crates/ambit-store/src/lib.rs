//! Bytes that survive a power cut.
//!
//! A store is one directory. Rows (a key and some cells) go into tables; a batch of them is
//! one log frame, acknowledged after its fsync. A memtable gathers rows until they are sealed
//! into an immutable segment: one file of named sections in checksummed 64 KiB blocks. The
//! manifest says which segments, log files and versions exist; recovery is a function from
//! the bytes of a directory to a state.
//!
//! Four floors inside, each usable without the ones above it:
//!
//! | module | question |
//! |---|---|
//! | [`vfs`] | how are files touched? The only code that does |
//! | [`log`] | which frames were acknowledged, which state was committed? |
//! | [`segment`] | which bytes are in this sealed file, and are they whole? |
//! | [`engine`] | which rows does a reader see? |
//!
//! The crate knows neither vectors nor entities: cells are bytes.

#![deny(unsafe_code)]

pub mod bugs;
pub mod engine;
pub mod error;
pub mod geometry;
pub mod host;
pub mod limits;
pub mod log;
pub mod segment;
pub mod sync;
pub mod vfs;
pub mod wire;

pub use error::{ErrorKind, StoreError};
