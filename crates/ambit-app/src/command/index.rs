//! `ambit index PATH...`: the text files under paths, as entities that `search` finds.
//!
//! A file is one entity of kind `file`, keyed by its path, with the hash of its content and the
//! names of its pieces; a piece is one of kind `chunk`, keyed `path#Lfirst-Llast`. Both change in
//! one atomic batch; a file of several megabytes takes several, and has no hash until the last, so
//! that a run that ends in between is made good by the next. Run again, a file whose hash and
//! embedder are the same is skipped, a changed one replaced, and one that is gone (or is no text
//! any more) removed; a file that could not be read this time keeps what it had.

use std::path::PathBuf;
use std::time::Instant;

use ambit_embed::{Embedder, StaticEmbedder};
use ambit_mem::Priority;
use ambitdb::{Metric, SpaceKind, Store};
use clap::Args;
use serde::Serialize;

use super::Session;
use super::ingest::{Ingest, Skip, Tally};
use super::search::TEXT_SPACE;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::output::{Output, clean, counted};
use crate::progress::{Progress, Unit};

/// Skipped files that are named; the rest are counted.
const NAMED: usize = 10;

/// Options of `ambit index`.
#[derive(Debug, Args)]
pub struct Options {
    /// Files and folders; what .gitignore leaves out is left out
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Indexed<'a> {
    collection: &'a str,
    files: u64,
    indexed: u64,
    unchanged: u64,
    removed: u64,
    skipped: u64,
    chunks: u64,
    bytes: u64,
    seconds: f64,
    complete: bool,
    skips: &'a [Skip],
}

/// Indexes the paths.
///
/// # Errors
/// Not found: a path that neither exists nor was indexed before. The facade's.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let started = Instant::now();
    let interrupt = Interrupt::listen()?;
    let store = session.create()?;
    session.serve("index", &store);
    let tally = index(&options.paths, &store, session, &interrupt)?;
    if !interrupt.requested() {
        super::indexes::build(session, &store, &interrupt)?;
        super::codes::build(session, &store, &interrupt)?;
    }
    store.close()?;
    let complete = !interrupt.requested();
    let indexed = Indexed {
        collection: &session.settings.collection.value,
        files: tally.files,
        indexed: tally.indexed,
        unchanged: tally.unchanged,
        removed: tally.removed,
        skipped: tally.skipped,
        chunks: tally.chunks,
        bytes: tally.bytes,
        seconds: started.elapsed().as_secs_f64(),
        complete,
        skips: &tally.skips,
    };
    print(&indexed, &mut session.output)?;
    if let Some(Skip { path, reason }) = &tally.refused {
        let message = format!("{path} was left out: {reason}; the rest is indexed");
        return Err(Failure::new(Code::OverBudget, message));
    }
    if complete {
        return Ok(Code::Done);
    }
    Err(Failure::new(Code::Interrupted, "stopped by Ctrl-C; the same command goes on"))
}

/// Brings the session's collection up to date with the files under `paths`.
///
/// # Errors
/// As [`run`].
pub fn index(
    paths: &[PathBuf],
    store: &Store,
    session: &Session,
    interrupt: &Interrupt,
) -> Result<Tally, Failure> {
    let account = store.budget().account("embedder", Priority::Write);
    let embedder = StaticEmbedder::built_in(&account)?;
    let collection = session.collection_or_new(store)?;
    if collection.space(TEXT_SPACE).is_err() {
        let kind = SpaceKind::Dense { dim: embedder.dim(), metric: Metric::Cosine };
        store.create_space(session.name(), TEXT_SPACE, kind)?;
    }
    super::indexes::add_words(&collection, store)?;
    drop(collection);
    let progress = Progress::new(&session.output, "index", Unit::Items("files"), None);
    let ingest = Ingest {
        store,
        collection: session.name(),
        embedder: &embedder,
        interrupt,
        threads: session.settings.threads.value,
    };
    let tally = ingest.run(paths, &progress);
    progress.finish();
    tally
}

fn print(indexed: &Indexed<'_>, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(indexed);
    }
    for skip in indexed.skips.iter().take(NAMED) {
        output.note(format_args!("skipped {}: {}", clean(&skip.path), clean(&skip.reason)));
    }
    let unnamed = indexed.skipped.saturating_sub(NAMED as u64);
    if unnamed > 0 {
        output.note(format_args!("skipped {} more", counted(unnamed, "file", "files")));
    }
    if indexed.files == 0 && indexed.removed == 0 {
        output.note("no text files were found under the given paths");
    }
    let rate = indexed.bytes as f64 / indexed.seconds.max(1e-9) / 1e6;
    output.line(format_args!(
        "{}: {} indexed ({}), {} unchanged, {} removed, {} skipped in {:.2} s ({rate:.1} MB/s)",
        counted(indexed.files, "file", "files"),
        indexed.indexed,
        counted(indexed.chunks, "chunk", "chunks"),
        indexed.unchanged,
        indexed.removed,
        indexed.skipped,
        indexed.seconds
    ))
}
