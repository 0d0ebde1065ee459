//! One module per command: options in, facade calls, results out.
//!
//! A command is `run(options, session) -> Result<Code, Failure>`. Only these modules know the
//! facade; what they print has its field names in `docs/cli.md`.

pub mod add;
mod certificate;
mod codes;
pub mod collections;
pub mod completions;
pub mod config;
pub mod delete;
pub mod demo;
mod dispatch;
pub mod export;
pub mod flow;
pub mod get;
mod hybrid;
pub mod import;
pub mod index;
mod indexes;
mod ingest;
pub mod inspect;
mod later;
pub mod list;
pub mod memory;
pub mod optimize;
mod options;
pub mod query;
pub mod search;
mod session;
pub mod similar;
pub mod verify;

pub use certificate::Certificate;
pub use dispatch::run;
pub use options::{ProbeOptions, filter, metric};
pub use search::TEXT_SPACE;
pub use session::Session;
