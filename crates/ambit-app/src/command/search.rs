//! `ambit search QUERY`: the indexed text that is nearest to a question.

use ambit_embed::{EmbedError, Embedder, StaticEmbedder};
use ambit_mem::Priority;
use ambitdb::{Collection, Filter, MAX_K, SearchRequest, Value};
use clap::Args;
use serde::Serialize;

use super::{Certificate, Session};
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
    certificate: Certificate,
}

/// One answer with its text.
#[derive(Debug, Serialize)]
pub struct FoundText {
    /// Place, from 1.
    pub rank: u64,
    /// Cosine, in [-1, 1].
    pub score: f64,
    /// Key of the entity.
    pub key: String,
    /// Id of the entity.
    pub id: u64,
    /// Kind of the entity.
    pub kind: String,
    /// File that the text is from.
    pub path: Option<String>,
    /// The text.
    pub text: Option<String>,
}

/// Answers with how exact they are.
#[derive(Debug)]
pub struct FoundTexts {
    /// The answers, nearest first.
    pub hits: Vec<FoundText>,
    /// How sure they are.
    pub certificate: Certificate,
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
    let look = Look { k: options.k, threads, filter: options.filter.as_ref() };
    let found = nearest(&collection, &embedder, &query, look)?;
    if session.output.is_json() {
        return session
            .output
            .json(&Found {
                query: &query,
                collection: &session.settings.collection.value,
                space: TEXT_SPACE,
                k: options.k as u64,
                hits: &found.hits,
                certificate: found.certificate,
            })
            .map(|()| Code::Done);
    }
    print(&found.hits, options.lines, &mut session.output)?;
    Ok(Code::Done)
}

/// How the nearest texts are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Answers, at least 1.
    pub k: usize,
    /// Threads that scan.
    pub threads: usize,
    /// Only what meets this.
    pub filter: Option<&'a Filter>,
}

/// The texts of `collection` that are nearest to `query`.
///
/// # Errors
/// A query without a known word; the facade's.
pub fn nearest(
    collection: &Collection,
    embedder: &dyn Embedder,
    query: &str,
    look: Look<'_>,
) -> Result<FoundTexts, Failure> {
    let Look { k, threads, filter } = look;
    let mut vector = vec![0.0; embedder.dim()];
    if embedder.embed(query, &mut vector)?.is_zero {
        return Err(Failure::usage(format!(
            "'{}' holds no word that the embedder knows; say it in other words",
            query.escape_debug()
        )));
    }
    let request = SearchRequest { threads, filter, ..SearchRequest::new(TEXT_SPACE, &vector, k) };
    let answer = collection.search(&request)?;
    let mut hits = Vec::with_capacity(answer.hits.len());
    for (rank, hit) in (1..).zip(answer.hits) {
        let info = collection.info_of(&hit.key)?;
        let (kind, text, path) = match info {
            Some(info) => {
                let path = match info.properties.get("path") {
                    Some(Value::String(path)) => Some(path.clone()),
                    _ => None,
                };
                (info.kind, info.text, path)
            }
            None => (String::new(), None, None),
        };
        hits.push(FoundText {
            rank,
            score: hit.score,
            key: hit.key,
            id: hit.id.0,
            kind,
            path,
            text,
        });
    }
    Ok(FoundTexts { hits, certificate: Certificate::of(answer.exactness) })
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
