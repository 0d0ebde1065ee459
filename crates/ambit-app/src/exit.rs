//! How a run of `ambit` ends: the exit codes, and the one failure type of this crate.
//!
//! Every command returns `Result<Code, Failure>`. A [`Failure`] carries the sentence for the
//! user (what, where, the numbers, the remedy) and the code that a script reads. The codes are
//! part of the interface: they stand in `--help` and in `docs/cli.md`, and a test holds the three
//! together.

use std::fmt;
use std::io;
use std::path::Path;

/// What the exit status of the process says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// All was done.
    Done,
    /// What was named does not exist, or `verify` found damage.
    NotFound,
    /// The command line, the configuration or the input is wrong.
    Usage,
    /// The byte budget does not allow it.
    OverBudget,
    /// Bytes on disk are not what was written, or come from a newer version.
    Corrupt,
    /// Another process holds the store.
    Locked,
    /// The operating system refused or failed.
    Io,
    /// Ctrl-C: stopped after the batch in flight.
    Interrupted,
}

impl Code {
    /// Every code, in the order in which the documentation lists them.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::NotFound,
        Self::Usage,
        Self::OverBudget,
        Self::Corrupt,
        Self::Locked,
        Self::Io,
        Self::Interrupted,
    ];

    /// The exit status.
    pub const fn status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::NotFound => 1,
            Self::Usage => 2,
            Self::OverBudget => 3,
            Self::Corrupt => 4,
            Self::Locked => 5,
            Self::Io => 6,
            Self::Interrupted => 130,
        }
    }

    /// The name in JSON errors.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotFound => "not_found",
            Self::Usage => "usage",
            Self::OverBudget => "over_budget",
            Self::Corrupt => "corrupt",
            Self::Locked => "locked",
            Self::Io => "io",
            Self::Interrupted => "interrupted",
        }
    }

    /// What `--help` says of it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotFound => "what was named does not exist, or verify found damage",
            Self::Usage => "the command line, the configuration or the input is wrong",
            Self::OverBudget => "the byte budget does not allow it",
            Self::Corrupt => "bytes on disk are damaged, or of a newer format",
            Self::Locked => "another process holds the store",
            Self::Io => "the operating system refused or failed",
            Self::Interrupted => "stopped by Ctrl-C",
        }
    }

    /// The paragraph on exit codes at the end of `--help`.
    pub fn help() -> String {
        let mut help = String::from("Exit codes:\n");
        for code in Self::ALL {
            help.push_str(&format!("  {:<4} {}\n", code.status(), code.meaning()));
        }
        help
    }
}

/// Why a command did not do what it was asked to do.
#[derive(Debug)]
pub struct Failure {
    code: Code,
    message: String,
    silent: bool,
}

impl Failure {
    /// A failure of kind `code`; `message` names what, where, the numbers and the remedy.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), silent: false }
    }

    /// Wrong command line, configuration or input.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    /// Something that was named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// The operating system's refusal to `what` the file at `path`.
    pub fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        Self::new(Code::Io, format!("cannot {what} {}: {error}", path.display()))
    }

    /// A failed write to standard output; a reader that has gone away is no failure to report.
    pub fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { code: Code::Done, message: String::new(), silent: true };
        }
        Self::new(Code::Io, format!("cannot write to standard output: {error}"))
    }

    /// The same failure with a sentence added: what was done, or how to go on.
    pub fn with(mut self, more: impl fmt::Display) -> Self {
        if !self.silent {
            self.message = format!("{}; {more}", self.message);
        }
        self
    }

    /// The same failure with its place in front.
    pub fn within(mut self, place: impl fmt::Display) -> Self {
        if !self.silent {
            self.message = format!("{place}: {}", self.message);
        }
        self
    }

    /// The exit code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Whether there is nothing to say (the reader of our output has gone away).
    pub fn is_silent(&self) -> bool {
        self.silent
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ambit_mem::OverBudget> for Failure {
    fn from(refusal: ambit_mem::OverBudget) -> Self {
        Self::new(Code::OverBudget, refusal.to_string())
    }
}
