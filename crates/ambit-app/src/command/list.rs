//! `ambit list`: keys, kinds and first lines of text, in the order of writing.

use ambitdb::ListOptions;
use clap::Args;
use serde::Serialize;

use super::Session;
use crate::exit::{Code, Failure};
use crate::output::clean;

/// Characters of text that a line shows.
const SHOWN: usize = 80;

/// Options of `ambit list`.
#[derive(Debug, Args)]
pub struct Options {
    /// Only keys that start with this
    #[arg(long)]
    prefix: Option<String>,
    /// Only entities of this kind
    #[arg(long)]
    kind: Option<String>,
    /// Only keys after this one
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    /// At most this many
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Line<'a> {
    key: &'a str,
    id: u64,
    kind: &'a str,
    text: Option<&'a str>,
}

/// Prints one line per entity.
///
/// # Errors
/// Not found: the collection. The facade's. A failed write.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let store = session.read()?;
    let collection = session.collection(&store)?;
    let wanted = ListOptions {
        prefix: options.prefix.clone().unwrap_or_default(),
        kind: options.kind.clone(),
        after: options.after.clone(),
        limit: options.limit.unwrap_or(0),
    };
    let output = &mut session.output;
    let mut printed = Ok(());
    collection.scan(&wanted, &mut |entity| {
        printed = if output.is_json() {
            let (key, kind) = (&entity.key, &entity.kind);
            output.json(&Line { key, id: entity.id.0, kind, text: entity.text.as_deref() })
        } else {
            let text = entity.text.as_deref().unwrap_or_default();
            let first = text.lines().next().unwrap_or_default();
            let first: String = clean(first).chars().take(SHOWN).collect();
            let key = output.bold(clean(&entity.key));
            output.line(format_args!("{key}\t{}\t{first}", clean(&entity.kind)))
        };
        printed.is_ok()
    })?;
    printed.map(|()| Code::Done)
}
