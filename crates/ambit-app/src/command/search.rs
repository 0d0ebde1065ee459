//! `ambit search QUERY`: the indexed text that is nearest to a question, by meaning and by words
//! ([`super::hybrid`]).

use ambit_embed::{EmbedError, StaticEmbedder};
use ambit_mem::Priority;
use ambitdb::{Filter, MAX_K};
use clap::Args;
use serde::Serialize;

use super::Session;
use super::hybrid::Searched;
pub use super::hybrid::{FoundText, Look, Mode, Weights, nearest};
use crate::exit::{Code, Failure};
use crate::output::{Output, clean};

/// The space that indexed text goes to.
pub const TEXT_SPACE: &str = "text";

/// Options of `ambit search`.
#[derive(Debug, Args)]
pub struct Options {
    /// What to look for, in your own words
    #[arg(required = true)]
    query: Vec<String>,
    /// Answers, 1 to 10,000
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// Only what meets this condition: "kind = 'function' and path starts with 'src/'"
    #[arg(long = "where", value_name = "FILTER", value_parser = super::filter)]
    filter: Option<Filter>,
    /// By meaning only: the cosine of embeddings
    #[arg(long, conflicts_with = "text")]
    dense: bool,
    /// By words only: BM25
    #[arg(long)]
    text: bool,
    /// How much meaning and words count; left out, 3,1, and 1,2 where most of what is found is code
    #[arg(long, value_name = "DENSE,TEXT", conflicts_with_all = ["dense", "text"])]
    weights: Option<Weights>,
    /// Lines of text to show of each answer; 0 shows all
    #[arg(long, default_value_t = 8)]
    lines: usize,
}

#[derive(Serialize)]
struct Found<'a> {
    query: &'a str,
    collection: &'a str,
    space: &'a str,
    k: u64,
    hits: &'a [FoundText],
    #[serde(flatten)]
    searched: Searched,
}

/// Prints the nearest texts.
///
/// # Errors
/// Bad input; not found: store, collection or space; the facade's.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let query = options.query.join(" ");
    if query.trim().is_empty() {
        return Err(Failure::usage("the query is empty; say what to look for"));
    }
    if !(1..=MAX_K).contains(&options.k) {
        return Err(Failure::usage(format!("-k {}: expected 1 to {MAX_K} answers", options.k)));
    }
    let store = session.read()?;
    let collection = session.collection(&store)?;
    let account = store.budget().account("embedder", Priority::Query);
    let embedder = StaticEmbedder::built_in(&account)?;
    let threads = session.settings.threads.value;
    let mode = match (options.dense, options.text) {
        (true, _) => Mode::Dense,
        (_, true) => Mode::Text,
        _ => Mode::Hybrid,
    };
    let filter = options.filter.as_ref();
    let look = Look { k: options.k, threads, filter, mode, weights: options.weights };
    let found = nearest(&collection, &embedder, &query, look)?;
    if mode == Mode::Hybrid && found.searched.mode == Mode::Dense {
        session.output.note(
            "searched by meaning only: this collection has no space of words; `ambit optimize` adds \
             it to what was indexed",
        );
    }
    if session.output.is_json() {
        return session
            .output
            .json(&Found {
                query: &query,
                collection: &session.settings.collection.value,
                space: TEXT_SPACE,
                k: options.k as u64,
                hits: &found.hits,
                searched: found.searched,
            })
            .map(|()| Code::Done);
    }
    print(&found.hits, options.lines, &mut session.output)?;
    Ok(Code::Done)
}

/// Prints answers for a person: score, key, and the first `lines` lines of text.
///
/// # Errors
/// A failed write.
pub fn print(hits: &[FoundText], lines: usize, output: &mut Output) -> Result<(), Failure> {
    let shown = if lines == 0 { usize::MAX } else { lines };
    for hit in hits {
        let score = output.dim(format_args!("{:.4}", hit.score));
        let key = output.bold(clean(&hit.key));
        output.line(format_args!("{score}  {key}"))?;
        let text = hit.text.as_deref().unwrap_or_default();
        for line in text.lines().take(shown) {
            output.line(format_args!("    {}", clean(line)))?;
        }
        if text.lines().count() > shown {
            output.line(output.dim("    ..."))?;
        }
    }
    Ok(())
}

impl From<EmbedError> for Failure {
    fn from(error: EmbedError) -> Self {
        let code = if error.is_over_budget() { Code::OverBudget } else { Code::Io };
        Self::new(code, error.to_string())
    }
}
