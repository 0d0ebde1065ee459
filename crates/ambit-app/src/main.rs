//! The binary `ambit`: the command line over the facade `ambitdb`.
//!
//! The thread through it: [`cli`] reads the arguments, [`config`] settles the settings, one
//! module of [`command`] does the work with the facade, [`output`] prints, and [`exit`] says how
//! it ended. [`npy`], [`keys`] and [`record`] bring bytes from outside into rows, keys and
//! entities; [`index`] turns folders into pieces of text; [`flow`] are the nodes of graphs
//! that work on a store. The binary installs the tracking
//! allocator, so that `ambit memory` can hold the ledger against it; libraries never do. While a long
//! command runs, [`live`] tells another process of its memory.

#![forbid(unsafe_code)]

mod cli;
mod command;
mod config;
mod exit;
mod flow;
mod index;
mod interrupt;
mod keys;
mod live;
mod npy;
mod output;
mod progress;
mod record;

use std::alloc::System;
use std::process::ExitCode;

use ambit_mem::TrackingAllocator;

use cli::Cli;
use command::Session;
use config::{Flags, Settings};
use output::{Format, Output, Verbosity, report};

#[global_allocator]
static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);

fn main() -> ExitCode {
    let Cli { settings, command } = Cli::from_process();
    let flags = Flags::from(settings);
    let format = |json: bool| if json { Format::Json } else { Format::Human };
    let settings = match Settings::resolve(&flags) {
        Ok(settings) => settings,
        Err(failure) => {
            report(&failure, format(flags.json));
            return failure.code().status().into();
        }
    };
    let format = format(settings.json.value);
    let verbosity = if settings.quiet.value { Verbosity::Quiet } else { Verbosity::Normal };
    let output = Output::new(format, verbosity);
    let mut session = Session { settings, output, allocator: || ALLOCATOR.stats(), live: None };
    let ended =
        command::run(command, &mut session).and_then(|code| session.output.flush().map(|()| code));
    match ended {
        Ok(code) => code.status().into(),
        Err(failure) => {
            // Results printed before the failure reach their reader first.
            let _ = session.output.flush();
            report(&failure, format);
            failure.code().status().into()
        }
    }
}
