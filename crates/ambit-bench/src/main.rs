//! Every figure that is claimed of AmbitDB, measured where it stands, with peers beside it.
//!
//! `ambit-bench AREA` runs the cases of one area and prints one row for each figure: case,
//! metric, value, unit, the peer's value from the same run, their ratio, the target and
//! whether it was met. Rows that miss their target stay in the table and say why. Targets are
//! the only numbers that are written down here; everything else is measured in the run.
//!
//! Peers run where they are installed: Python with faiss is looked for in
//! `AMBIT_PEERS_PYTHON` and `python3`. Figures of whole processes come from the real `ambit`
//! binary, which is built if need be.

#![deny(unsafe_code)]

mod area;
mod binary;
mod data;
mod error;
mod generate;
mod noise;
mod npy;
mod peer;
mod process;
mod row;
mod source_tree;
mod timing;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::area::Area;
use crate::error::BenchError;
use crate::row::Table;

/// Figures of AmbitDB, measured here and now, with peers beside them.
#[derive(Debug, Parser)]
#[command(name = "ambit-bench", version, args_conflicts_with_subcommands = true)]
struct Cli {
    /// What to measure; `--list` shows all
    #[arg(value_name = "AREA", required_unless_present = "list")]
    area: Option<String>,
    /// List the areas
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

/// How to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// One JSON object per row
    #[arg(long)]
    json: bool,
    /// Directory of the real data [default: ../shared/data beside the workspace]; without it,
    /// smaller synthetic data, and the rows say so
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Directory for stores and generated files, on the disk that is to be measured
    /// [default: ambit-bench in the build directory]
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Rows of the large array of `bounded` and `open`
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    large_rows: usize,
    /// Only hit ratios of the access traces in this folder (NAME.u64.zst, and NAME.w32.zst with
    /// sizes), for `cache`: a line for each trace, size and policy
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Gen(generate::Options),
    #[command(hide = true)]
    Measure(process::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            // Nothing is left to do when not even this can be written.
            let _ = writeln!(std::io::stderr(), "ambit-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, BenchError> {
    match cli.command {
        Some(Command::Gen(options)) => return generate::run(&options).map(|()| ExitCode::SUCCESS),
        Some(Command::Measure(options)) => return process::measure(&options),
        None => {}
    }
    if cli.list {
        let mut out = std::io::stdout().lock();
        for area in Area::ALL {
            writeln!(out, "{:<8} {}", area.name, area.question)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let name = cli.area.unwrap_or_default();
    let area = Area::from_name(&name)?;
    let mut table = Table::new(cli.options.json);
    let mut bench = area::Bench::new(cli.options)?;
    area.run(&mut bench, &mut table)?;
    table.finish()?;
    Ok(if table.failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
