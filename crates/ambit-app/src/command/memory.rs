//! `ambit memory`: who holds how many bytes, held against the allocator and the kernel.
//!
//! Alone it opens the store and says what that takes. With `--watch`, `--profile` or `--leaks` it
//! asks a command that is running on the store, such as an import, and does not touch the store
//! itself.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ambit_mem::Bytes;
use clap::Args;
use serde::Serialize;

use super::Session;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::live::{Form, Hello, Memory, Request, Running};
use crate::output::Output;
use crate::progress::{Progress, Unit};

/// Options of `ambit memory`.
#[derive(Debug, Args)]
pub struct Options {
    /// Follow a running command, a line each time, until it ends
    #[arg(long, group = "running")]
    watch: bool,
    /// Profile a running command: which code allocates, and what of it stays
    #[arg(long, group = "running")]
    profile: bool,
    /// Find the code of a running command whose memory grows and never comes back
    #[arg(long, group = "running")]
    leaks: bool,
    /// Process to ask, where several commands run on the store
    #[arg(long, value_name = "PID", requires = "running")]
    pid: Option<u32>,
    /// Seconds from one look to the next, for --watch and --leaks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    every: f64,
    /// Seconds to look for, for --profile and --leaks
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    length: f64,
    /// File for the profile: .pb (pprof), .svg (flame graph of all that was allocated) or .json
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Shows who holds the memory.
///
/// # Errors
/// The facade's. Not found: no running command, with an option that asks one. A failed write.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    if options.out.is_some() && !options.profile {
        return Err(Failure::usage(
            "--out FILE is for --profile; nothing else is written to a file",
        ));
    }
    if options.watch {
        watch(options, session)
    } else if options.profile {
        profile(options, session)
    } else if options.leaks {
        leaks(options, session)
    } else {
        alone(session)
    }
}

/// Opens the store and prints what that takes.
fn alone(session: &mut Session) -> Result<Code, Failure> {
    let store = session.read()?;
    // A collection that is open is what a search would hold.
    let collection = store.collection(session.name()).ok();
    let memory = Memory::from(&store.explain_memory(Some((session.allocator)())));
    drop(collection);
    if session.output.is_json() {
        session.output.json(&memory)?;
    } else {
        memory.print(&mut session.output)?;
    }
    Ok(Code::Done)
}

/// One look at a running command.
#[derive(Serialize)]
struct Look<'a> {
    pid: u32,
    command: &'a str,
    seconds: f64,
    #[serde(flatten)]
    memory: &'a Memory,
}

fn watch(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let interrupt = Interrupt::listen()?;
    let mut running = find(options, session)?;
    let begun = Instant::now();
    let mut looks = 0_u32;
    while !interrupt.requested() {
        let Some(body) = running.ask(&Request::Memory, &interrupt, &mut || {})? else { break };
        let memory: Memory = serde_json::from_slice(&body).map_err(unreadable)?;
        let Hello { pid, ref command, .. } = running.hello;
        let look = Look { pid, command, seconds: begun.elapsed().as_secs_f64(), memory: &memory };
        if session.output.is_json() {
            session.output.json(&look)?;
        } else {
            if looks.is_multiple_of(20) {
                session.output.line(format_args!(
                    "{:>8} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}",
                    "seconds", "held", "of budget", "in use", "RssAnon", "peak", "unexplained"
                ))?;
            }
            line(&look, &mut session.output)?;
        }
        session.output.flush()?;
        looks += 1;
        let next = begun + Duration::from_secs_f64(options.every * f64::from(looks));
        while !interrupt.requested() && Instant::now() < next {
            let left = next.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
    Ok(Code::Done)
}

fn line(look: &Look<'_>, output: &mut Output) -> Result<(), Failure> {
    let text = |bytes: Option<u64>| {
        bytes.map_or_else(|| "?".to_owned(), |bytes| Bytes::new(bytes).to_string())
    };
    let Memory { limit, ledger_total, allocator, kernel, unexplained, .. } = look.memory;
    let unexplained = unexplained.map_or_else(
        || "?".to_owned(),
        |bytes| {
            let sign = if bytes < 0 { "-" } else { "" };
            format!("{sign}{}", Bytes::new(bytes.unsigned_abs()))
        },
    );
    output.line(format_args!(
        "{:>8.1} {:>11} {:>11} {:>11} {:>11} {:>11} {unexplained:>11}",
        look.seconds,
        text(Some(*ledger_total)),
        text(Some(*limit)),
        text(allocator.as_ref().map(|allocator| allocator.current)),
        text(kernel.as_ref().map(|kernel| kernel.rss_anon)),
        text(kernel.as_ref().map(|kernel| kernel.vm_hwm)),
    ))
}

/// A profile that was written to a file.
#[derive(Serialize)]
struct Written<'a> {
    pid: u32,
    command: &'a str,
    file: &'a Path,
    bytes: u64,
}

fn profile(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let form = match &options.out {
        None if session.output.is_json() => Form::Json,
        None => Form::Text,
        Some(path) => form_of(path)?,
    };
    let (hello, body) =
        ask_long(&Request::Profile { seconds: options.length, form }, options, session)?;
    let Some(path) = &options.out else { return print(&body, session) };
    std::fs::write(path, &body).map_err(|error| Failure::io("write", path, &error))?;
    let bytes = body.len() as u64;
    if session.output.is_json() {
        let Hello { pid, ref command, .. } = hello;
        session.output.json(&Written { pid, command, file: path, bytes })?;
    } else {
        session.output.line(format_args!("{}: {}", path.display(), Bytes::new(bytes)))?;
    }
    Ok(Code::Done)
}

fn form_of(path: &Path) -> Result<Form, Failure> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("pb") => Ok(Form::Pprof),
        Some("svg") => Ok(Form::FlameGraph),
        Some("json") => Ok(Form::Json),
        _ => Err(Failure::usage(format!(
            "{}: a profile is written as .pb (pprof), .svg (flame graph) or .json",
            path.display()
        ))),
    }
}

fn leaks(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let form = if session.output.is_json() { Form::Json } else { Form::Text };
    let request = Request::Leaks { seconds: options.length, every: options.every, form };
    let (_, body) = ask_long(&request, options, session)?;
    print(&body, session)
}

/// Asks for something that takes as long as the options say, and shows that it is waited for.
fn ask_long(
    request: &Request,
    options: &Options,
    session: &Session,
) -> Result<(Hello, Vec<u8>), Failure> {
    let interrupt = Interrupt::listen()?;
    let mut running = find(options, session)?;
    let Hello { pid, ref command, .. } = running.hello;
    session.output.note(format_args!(
        "looking at {command} (process {pid}) for {} s, or until it ends; Ctrl-C shows what there \
         is by then",
        options.length
    ));
    let begun = Instant::now();
    let total = options.length.ceil() as u64;
    let progress = Progress::new(&session.output, "memory", Unit::Items("seconds"), Some(total));
    let answer = running.ask(request, &interrupt, &mut || {
        progress.set(begun.elapsed().as_secs().min(total));
    });
    progress.finish();
    match answer? {
        Some(body) => Ok((running.hello, body)),
        None => Err(Failure::not_found("the command ended before it could answer")),
    }
}

fn print(body: &[u8], session: &mut Session) -> Result<Code, Failure> {
    session.output.line(String::from_utf8_lossy(body).trim_end())?;
    Ok(Code::Done)
}

fn find(options: &Options, session: &Session) -> Result<Running, Failure> {
    Running::find(&session.settings.store.value, options.pid)
}

fn unreadable(error: serde_json::Error) -> Failure {
    Failure::new(Code::Io, format!("the running command gave figures that cannot be read: {error}"))
}

/// Seconds of the command line.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("seconds are a number from 0.1 to 86400".to_owned()),
    }
}
