//! Nodes of logic graphs that work on a store: `embed`, `search`, `expand`, `assemble`, `get`,
//! `put`.
//!
//! A graph names them as it names the kinds of `ambit-flow`; [`registry`] knows both. The store and
//! the embedder are opened once, and only for a graph that uses them.
//!
//! | kind | parameters | reads | writes |
//! |---|---|---|---|
//! | `embed` | | `text` | `vector` |
//! | `search` | `collection`, `space`, `k`, `threads` | `vector` | `hits`: `key`, `id`, `score`, `kind`, `text`, `properties` |
//! | `expand` | `collection`, `depth`, `direction`, `max` | `hits` | `related`: `key`, `from`, `relation`, `weight`, `depth`, `kind`, `text`, `properties` |
//! | `assemble` | `max_bytes` | `hits`, `related` | `context`, `sources` |
//! | `get` | `collection` | `key` | `entity` |
//! | `put` | `collection`, `space` | `entity`, or `key`, `kind`, `text`, `properties`; `vector`, `relations` | `stored` |
//!
//! `search`, `expand` and `get` see what `put` has stored before them in the same run.

mod assemble;
mod embed;
mod expand;
mod get;
mod place;
mod put;
mod search;

pub use place::{Place, uses_store, writes};

use std::sync::Arc;

use ambit_flow::{NodeError, Registry};

/// The kinds of `ambit-flow`, and those that work on the store.
pub fn registry(place: &Arc<Place>) -> Registry {
    let mut registry = Registry::new();
    embed::add(&mut registry, place);
    search::add(&mut registry, place);
    expand::add(&mut registry, place);
    assemble::add(&mut registry);
    get::add(&mut registry, place);
    put::add(&mut registry, place);
    registry
}

/// The facade's failure as a node's.
fn node_error(error: ambitdb::Error) -> NodeError {
    match error.over_budget() {
        Some(refusal) => refusal.clone().into(),
        None if error.is_retryable() => NodeError::failed(error),
        None => NodeError::hopeless(error),
    }
}
