//! `http`: a request to a server that answers in JSON: a model call, or any other.
//!
//! | file | what is in it |
//! |---|---|
//! | `node` | the node: sends, waits, reads |
//! | `config` | its parameters, checked |
//! | `template` | text and JSON with values of the context in them |
//! | `error` | why there is no answer |

mod config;
mod error;
mod node;
mod template;

pub(super) use node::add;
