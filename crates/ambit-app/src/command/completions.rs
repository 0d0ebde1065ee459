//! `ambit completions SHELL`: a completion script on standard output.

use clap::Args;
use clap_complete::Shell;

use super::Session;
use crate::cli::Cli;
use crate::exit::{Code, Failure};

/// Options of `ambit completions`.
#[derive(Debug, Args)]
pub struct Options {
    /// The shell that the script is for
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// A failed write.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::tree(), "ambit", &mut script);
    session.output.line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Code::Done)
}
