//! From the parsed command line to the command's module.

use super::Session;
use crate::cli::Command;
use crate::exit::{Code, Failure};

/// Runs `command`.
///
/// # Errors
/// The command's.
pub fn run(command: Command, session: &mut Session) -> Result<Code, Failure> {
    match command {
        Command::Demo(options) => super::demo::run(&options, session),
        Command::Index(options) => super::index::run(&options, session),
        Command::Search(options) => super::search::run(&options, session),
        Command::Import(options) => super::import::run(&options, session),
        Command::Inspect(options) => super::inspect::run(&options, session),
        Command::Export(options) => super::export::run(&options, session),
        Command::Query(options) => super::query::run(&options, session),
        Command::Similar(options) => super::similar::run(&options, session),
        Command::Add(options) => super::add::run(&options, session),
        Command::Get(options) => super::get::run(&options, session),
        Command::Delete(options) => super::delete::run(&options, session),
        Command::List(options) => super::list::run(&options, session),
        Command::Flow(options) => super::flow::run(&options, session),
        Command::Collections => super::collections::run(session),
        Command::Memory(options) => super::memory::run(&options, session),
        Command::Optimize => super::optimize::run(session),
        Command::Verify => super::verify::run(session),
        Command::Config => super::config::run(session),
        Command::Completions(options) => super::completions::run(&options, session),
    }
}
