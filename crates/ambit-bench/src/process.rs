//! Whole processes: how long, how much processor time, how much memory at most.
//!
//! The kernel counts the peak of the process that a child was started from into the child's own,
//! because both share memory until the child is another program. So each measured process is
//! started by `ambit-bench measure`, a process of a few MiB, which writes the figures of its one
//! child to a file.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde::{Deserialize, Serialize};

use crate::error::BenchError;

/// Start a program and write its figures to a file
#[derive(Debug, Args)]
pub struct Options {
    /// File for the figures
    #[arg(long)]
    report: PathBuf,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// What a process took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figures {
    /// Start to exit, in seconds.
    pub seconds: f64,
    /// Processor time of user and system, in seconds.
    pub cpu_seconds: f64,
    /// The kernel's peak of the resident size, in bytes.
    pub peak_bytes: u64,
    /// Exit code; none after a signal.
    pub code: Option<i32>,
}

/// The figures of a process and what it printed.
#[derive(Debug)]
pub struct Ran {
    pub figures: Figures,
    pub stdout: String,
}

/// `ambit-bench measure`: runs the one child of this process.
pub fn measure(options: &Options) -> Result<ExitCode, BenchError> {
    let (program, arguments) = options
        .command
        .split_first()
        .ok_or_else(|| BenchError::new("measure: no program was given"))?;
    let started = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .status()
        .map_err(|error| BenchError::new(format!("{}: {error}", program.display())))?;
    let seconds = started.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let figures = Figures {
        seconds,
        cpu_seconds: micros as f64 * 1e-6,
        peak_bytes: u64::try_from(usage.max_rss()).unwrap_or(0) * 1024,
        code: status.code(),
    };
    std::fs::write(&options.report, serde_json::to_vec(&figures)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `command` and measures it; an exit code other than 0 is an error that says what it said.
pub fn run(command: &Command) -> Result<Ran, BenchError> {
    let report = std::env::temp_dir().join(format!("ambit-bench-{}.json", std::process::id()));
    let output = Command::new(std::env::current_exe()?)
        .arg("measure")
        .arg("--report")
        .arg(&report)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(Stdio::null())
        .output()?;
    let read = std::fs::read(&report);
    let _ = std::fs::remove_file(&report);
    let told = String::from_utf8_lossy(&output.stderr);
    let read = read.map_err(|_| BenchError::new(format!("not started: {}", told.trim())))?;
    let figures: Figures = serde_json::from_slice(&read)?;
    if figures.code != Some(0) {
        let line = std::iter::once(command.get_program()).chain(command.get_args());
        let line: Vec<String> = line.map(|part| part.display().to_string()).collect();
        let mut message = format!("{} ended with {:?}: ", line.join(" "), figures.code);
        message.push_str(told.trim());
        return Err(BenchError::new(message));
    }
    Ok(Ran { figures, stdout: String::from_utf8_lossy(&output.stdout).into_owned() })
}
