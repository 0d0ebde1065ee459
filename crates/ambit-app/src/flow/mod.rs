//! Nodes of logic graphs that work on a store: `embed`, `search`, `expand`, `assemble`, `get`,
//! `put`; and `http`, which asks a server.
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
//! | `http` | `url`, `method`, `headers`, `body`, `pick`, `timeout_ms`, `max_bytes` | what `{{name}}` stands for | `response`, `status` |
//! | `put` | `collection`, `space` | `entity`, or `key`, `kind`, `text`, `properties`; `vector`, `relations` | `stored` |
//!
//! `search`, `expand` and `get` see what `put` has stored before them in the same run.

mod assemble;
mod embed;
mod expand;
mod get;
mod http;
mod place;
mod put;
mod results;
mod runner;
mod search;

pub use place::{Place, uses_store, writes};
pub use results::{Results, keeps_results};
pub use runner::Runner;

use std::sync::Arc;

use ambit_flow::{NodeError, Registry};

/// The kinds of `ambit-flow`, and those of this folder; `results` keeps what nodes say is to be
/// kept.
pub fn registry(place: &Arc<Place>, results: Option<Arc<Results>>) -> Registry {
    let mut registry = Registry::new();
    if let Some(results) = results {
        registry.set_results(results);
    }
    embed::add(&mut registry, place);
    search::add(&mut registry, place);
    expand::add(&mut registry, place);
    assemble::add(&mut registry);
    get::add(&mut registry, place);
    http::add(&mut registry);
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
