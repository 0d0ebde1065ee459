//! A running command tells another process of its memory.
//!
//! A command that may run for long listens on a Unix socket of its own in a directory of the user's
//! (`place`); `ambit memory --watch`, `--profile` and `--leaks` find it there by the store that it
//! works on (`client`), ask (`wire`), and are answered by a thread of the command (`server`). Only
//! the same user can ask. Elsewhere than on Unix nobody listens, and asking says so.

#[cfg(unix)]
mod client;
#[cfg(unix)]
mod place;
mod report;
#[cfg(unix)]
mod server;
mod subject;
mod wire;

#[cfg(not(unix))]
mod elsewhere;
#[cfg(not(unix))]
use elsewhere as client;
#[cfg(not(unix))]
use elsewhere as server;

pub use client::Running;
pub use report::Memory;
pub use server::Server;
pub use subject::Subject;
pub use wire::{Form, Hello, Request};
