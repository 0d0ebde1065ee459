//! The command line: every command with its options, as `--help` shows them.
//!
//! Options that are settings (`--store`, `--budget` ...) are global and only recorded here; what
//! they end up as is [`config`](crate::config)'s matter. Each command's own options stand beside
//! the command.

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::command;
use crate::config::Flags;
use crate::exit::Code;

/// A store for embeddings that stays inside its byte budget.
#[derive(Debug, Parser)]
#[command(name = "ambit", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    /// Settings that every command takes.
    #[command(flatten)]
    pub settings: SettingFlags,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The whole command tree, for parsing, help and completions.
    pub fn tree() -> clap::Command {
        let settings = "Settings: a flag wins over AMBIT_STORE, AMBIT_COLLECTION, AMBIT_BUDGET, \
                        AMBIT_THREADS, AMBIT_IO, AMBIT_DURABILITY, AMBIT_JSON and AMBIT_QUIET, \
                        these over ambit.toml in the working directory; `ambit config` shows which \
                        value came from where.";
        Self::command().after_help(format!("{}\n{settings}", Code::help()))
    }

    /// Reads the process's arguments; on `--help` or a mistake prints and ends the process.
    pub fn from_process() -> Self {
        let mut tree = Self::tree();
        let matches = tree.get_matches_mut();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut tree).exit())
    }
}

/// The settings that can be given as flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Settings")]
pub struct SettingFlags {
    /// Directory of the store [default: .ambit]
    #[arg(long, global = true, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Collection to work on [default: main]
    #[arg(long, short = 'c', global = true, value_name = "NAME")]
    collection: Option<String>,
    /// Byte budget, as in 64MiB [default: a quarter of the memory, at most 2GiB]
    #[arg(long, global = true, value_name = "BYTES")]
    budget: Option<String>,
    /// Threads of searches and indexing [default: one per processor]
    #[arg(long, global = true, value_name = "N")]
    threads: Option<String>,
    /// How files are read: map or pread [default: map]
    #[arg(long, global = true, value_name = "HOW")]
    io: Option<String>,
    /// When a write is acknowledged: sync, group:MS or async [default: sync]
    #[arg(long, global = true, value_name = "WHEN")]
    durability: Option<String>,
    /// Results as JSON
    #[arg(long, global = true)]
    json: bool,
    /// No notes and no progress
    #[arg(long, short, global = true)]
    quiet: bool,
}

impl From<SettingFlags> for Flags {
    fn from(flags: SettingFlags) -> Self {
        Self {
            store: flags.store,
            collection: flags.collection,
            budget: flags.budget,
            threads: flags.threads,
            io: flags.io,
            durability: flags.durability,
            json: flags.json,
            quiet: flags.quiet,
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Index this program's own source and ask it three questions; needs no set-up
    Demo(command::demo::Options),
    /// Index the text and code files under paths; run again, it takes in what changed
    Index(command::index::Options),
    /// Find the indexed text that is nearest to a question
    Search(command::search::Options),
    /// Import the rows of a .npy file as vectors
    Import(command::import::Options),
    /// Show what the numbers of a .npy file are made of, and how small they get without loss
    Inspect(command::inspect::Options),
    /// Export the vectors of a space as a .npy file
    Export(command::export::Options),
    /// Find the nearest vectors for each row of a .npy file
    Query(command::query::Options),
    /// Find what is most like an entity: nearest, within a score, by page or by group
    Similar(command::similar::Options),
    /// Add entities, one JSON object per line of standard input
    Add(command::add::Options),
    /// Print an entity
    Get(command::get::Options),
    /// Delete entities
    Delete(command::delete::Options),
    /// List entities in the order of writing
    List(command::list::Options),
    /// Run, check or draw a graph of steps
    Flow(command::flow::Options),
    /// List collections, their spaces and their sizes
    Collections,
    /// Show who holds how many bytes, of this process or of a command that is running
    Memory(command::memory::Options),
    /// Merge segments, build the codes that make searches fast, delete what nothing names
    Optimize,
    /// Check every checksum and invariant of the store
    Verify,
    /// Show each setting and where it came from
    Config,
    /// Print a completion script for a shell
    Completions(command::completions::Options),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::tree().debug_assert();
    }

    #[test]
    fn help_lists_every_exit_code() {
        let help = Cli::tree().render_long_help().to_string();
        for code in Code::ALL {
            assert!(help.contains(code.meaning()), "{help}");
        }
    }
}
