//! Does a store keep its promises when everything goes wrong?
//!
//! Each test is a module that takes a seed and a count and returns what it saw; the gate runs
//! them from `tests/` at fixed counts, the binary at any. A run is replayed from its seed; a
//! failure says seed, operation and call.
//!
//! | module | test | question |
//! |---|---|---|
//! | [`crash`] | T1 | is the acknowledged state there after a power cut at any call? |
//! | [`seeded`] | T2 | would T1 notice if the store were wrong? |
//! | [`fault`] | T3 | is a failing disk an error, and nothing worse? |
//! | [`damage`] | T5 | is every changed byte found, or harmless? |
//! | [`kill`], [`binary`] | T8 | do acknowledged writes of a real process survive `kill -9`? |
//! | [`order`] | T9 | were the real calls made in the order that the promise needs? |
//! | [`bounded`] | T14 | does the kernel agree that memory stayed inside the budget? |
//! | [`lossless`] | lossless | does every float32 come back from the vector codec? |
//! | [`accounted`] | | can every byte be named while a store is indexed and searched? |
//!
//! Left out: what needs a network, other file systems or hours; the numbers are those of
//! `RELIABILITY`, which lists all tests.

#![forbid(unsafe_code)]

pub mod accounted;
pub mod binary;
pub mod bounded;
pub mod crash;
pub mod damage;
pub mod dice;
pub mod fault;
pub mod fleet;
pub mod kill;
pub mod lossless;
pub mod model;
pub mod order;
pub mod seeded;
pub mod subject;
pub mod workload;
