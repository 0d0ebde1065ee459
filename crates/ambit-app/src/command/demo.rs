//! `ambit demo`: the main job with no set-up: index a folder of real text, ask it three
//! questions, and show that memory stayed inside the budget.
//!
//! The folder is this program's own source tree, found from the working directory or where the
//! program was built; where there is none, a bundled text takes its place. The store is
//! temporary and gone at the end.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ambit_embed::StaticEmbedder;
use ambit_mem::process::Resident;
use ambit_mem::{Bytes, Priority};
use clap::Args;
use serde::Serialize;

use super::Session;
use super::search::{FoundText, Look, nearest, print};
use crate::config::Source;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::output::{counted, grouped};

/// What is asked.
const QUESTIONS: [&str; 3] = [
    "what happens when the memory budget is used up?",
    "how does a write survive a power cut?",
    "how are the nearest vectors found exactly?",
];
/// Answers to each question.
const ANSWERS: usize = 2;
/// Lines of text of each answer.
const LINES: usize = 5;
/// Budget where nobody set one.
const BUDGET: Bytes = Bytes::mib(64);
/// What is indexed where the source tree is not there.
const BUNDLED: &str = include_str!("../../assets/handbook.md");
/// A file that only this program's source tree has.
const LANDMARK: &str = "crates/ambit-app/src/command/demo.rs";

/// Options of `ambit demo`.
#[derive(Debug, Args)]
pub struct Options {
    /// Ask this instead of the three questions
    #[arg(value_name = "QUESTION")]
    question: Option<String>,
}

#[derive(Serialize)]
struct Shown<'a> {
    folder: String,
    files: u64,
    chunks: u64,
    bytes: u64,
    index_seconds: f64,
    answers: &'a [Answered],
    budget: u64,
    vm_hwm: Option<u64>,
}

#[derive(Serialize)]
struct Answered {
    query: String,
    seconds: f64,
    hits: Vec<FoundText>,
}

/// Shows the main job.
///
/// # Errors
/// The facade's; I/O.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let interrupt = Interrupt::listen()?;
    let made = tempfile::Builder::new().prefix("ambit-demo-").tempdir();
    let temporary = made.map_err(|error| Failure::io("create", &std::env::temp_dir(), &error))?;
    session.settings.store.value = temporary.path().join("store");
    if session.settings.budget.source == Source::Default {
        session.settings.budget.value = Some(BUDGET);
    }
    let folder = folder(temporary.path())?;
    std::env::set_current_dir(&folder).map_err(|error| Failure::io("open", &folder, &error))?;

    let store = session.create()?;
    let started = Instant::now();
    let tally = super::index::index(&[PathBuf::from(".")], &store, session, &interrupt)?;
    let index_seconds = started.elapsed().as_secs_f64();
    let collection = session.collection(&store)?;
    let embedder = StaticEmbedder::built_in(&store.budget().account("embedder", Priority::Query))?;
    let questions = match &options.question {
        Some(question) => vec![question.as_str()],
        None => QUESTIONS.to_vec(),
    };
    let mut answers = Vec::new();
    for query in questions {
        let asked = Instant::now();
        let look = Look::new(ANSWERS, session.settings.threads.value);
        let hits = nearest(&collection, &embedder, query, look)?.hits;
        answers.push(Answered {
            query: query.to_owned(),
            seconds: asked.elapsed().as_secs_f64(),
            hits,
        });
    }
    let shown = Shown {
        folder: folder.display().to_string(),
        files: tally.files,
        chunks: tally.chunks,
        bytes: tally.bytes,
        index_seconds,
        answers: &answers,
        budget: store.budget().limit().get(),
        vm_hwm: Resident::read().map(|resident| resident.vm_hwm.get()),
    };
    drop(collection);
    store.close()?;
    show(&shown, session)?;
    Ok(Code::Done)
}

fn show(shown: &Shown<'_>, session: &mut Session) -> Result<(), Failure> {
    let output = &mut session.output;
    if output.is_json() {
        return output.json(shown);
    }
    output.line(format_args!(
        "Indexed {} of {}: {}, {} of text in {:.2} s",
        counted(shown.files, "file", "files"),
        shown.folder,
        counted(shown.chunks, "chunk", "chunks"),
        Bytes::new(shown.bytes),
        shown.index_seconds
    ))?;
    for answered in shown.answers {
        let milliseconds = answered.seconds * 1e3;
        let query = output.bold(&answered.query);
        output.line(format_args!("\n{query}  ({milliseconds:.1} ms)"))?;
        print(&answered.hits, LINES, output)?;
    }
    let peak = match shown.vm_hwm {
        Some(bytes) => Bytes::new(bytes).to_string(),
        None => "unknown here".to_owned(),
    };
    output.line(format_args!(
        "\nBudget {}; the kernel's peak for this process, program code included: {peak}",
        Bytes::new(shown.budget)
    ))?;
    output.line(format_args!(
        "The store held {} vectors and is gone now; `ambit index PATH` makes one that stays.",
        grouped(shown.chunks)
    ))
}

/// The source tree, or a folder under `temporary` with the bundled text.
fn folder(temporary: &Path) -> Result<PathBuf, Failure> {
    let is_source = |folder: &Path| folder.join(LANDMARK).is_file();
    let here = std::env::current_dir().unwrap_or_default();
    if let Some(folder) = here.ancestors().find(|folder| is_source(folder)) {
        return Ok(folder.to_path_buf());
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    if let Some(folder) = built.filter(|folder| is_source(folder)) {
        return Ok(folder.to_path_buf());
    }
    let folder = temporary.join("handbook");
    std::fs::create_dir(&folder)
        .and_then(|()| std::fs::write(folder.join("handbook.md"), BUNDLED))
        .map_err(|error| Failure::io("write", &folder, &error))?;
    Ok(folder)
}
