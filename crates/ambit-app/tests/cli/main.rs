//! The binary `ambit` from outside: what each command prints, how it ends, and what it makes of
//! bad input. One module per group of commands; `ambit` runs the binary in a folder of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod ambit;
mod array;
mod entities;
mod failures;
mod flow;
mod http;
mod importing;
mod indexing;
mod inspecting;
mod output;
mod querying;
#[cfg(unix)]
mod running;
mod server;
mod settings;
mod words;
