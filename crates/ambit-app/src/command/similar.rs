//! `ambit similar KEY`: what is most like an entity, by its vector: the nearest, all within a score, page
//! by page, or so many of each value of a property.

use ambitdb::{Answer, Collection, Cursor, Filter, Groups, Hit, MAX_K, SearchRequest};
use clap::Args;
use serde::Serialize;

use super::{Certificate, Session, TEXT_SPACE};
use crate::exit::{Code, Failure};
use crate::output::{Output, clean};
use crate::record::PrintedValue;

/// Options of `ambit similar`.
#[derive(Debug, Args)]
pub struct Options {
    /// Key of the entity
    key: String,
    /// Space whose vectors are compared
    #[arg(long, short, value_name = "NAME", default_value = TEXT_SPACE)]
    space: String,
    /// Answers, or groups of them, 1 to 10,000
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// Only entities that meet this condition: "kind = 'note' and year >= 2020"
    #[arg(long = "where", value_name = "FILTER", value_parser = super::filter)]
    filter: Option<Filter>,
    /// Only what is at least this near: a score of at least this, or a euclidean distance of at most this
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    reaching: Option<f64>,
    /// Go on after an earlier page: its `next`
    #[arg(long, value_name = "CURSOR", conflicts_with = "group_by")]
    after: Option<Cursor>,
    /// The nearest of each value of this property
    #[arg(long, value_name = "FIELD")]
    group_by: Option<String>,
    /// Answers of each group
    #[arg(long, value_name = "N", default_value_t = 1, requires = "group_by")]
    per_group: usize,
}

#[derive(Serialize)]
struct Page<'a> {
    key: &'a str,
    collection: &'a str,
    space: &'a str,
    k: u64,
    hits: Vec<Line<'a>>,
    /// For `--after`; null where there is no more.
    next: Option<String>,
    #[serde(flatten)]
    certificate: Certificate,
}

#[derive(Serialize)]
struct Grouped<'a> {
    key: &'a str,
    collection: &'a str,
    space: &'a str,
    k: u64,
    group_by: &'a str,
    groups: Vec<Group<'a>>,
    #[serde(flatten)]
    certificate: Certificate,
}

#[derive(Serialize)]
struct Group<'a> {
    value: PrintedValue<'a>,
    hits: Vec<Line<'a>>,
}

/// One answer.
#[derive(Serialize)]
struct Line<'a> {
    score: f64,
    key: &'a str,
    id: u64,
}

/// Prints what is most like an entity.
///
/// # Errors
/// Bad input; not found: store, collection, space, key; the facade's.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    if !(1..=MAX_K).contains(&options.k) {
        return Err(Failure::usage(format!("-k {}: expected 1 to {MAX_K} answers", options.k)));
    }
    let store = session.read()?;
    let collection = session.collection(&store)?;
    let request = SearchRequest {
        threads: session.settings.threads.value,
        filter: options.filter.as_ref(),
        reaching: options.reaching,
        after: options.after.as_ref(),
        ..SearchRequest::new(&options.space, &[], options.k)
    };
    match &options.group_by {
        Some(field) => {
            let per_group = options.per_group;
            let found = collection.search_groups_like(&options.key, &request, field, per_group)?;
            print_groups(options, field, &found, &collection, &mut session.output)?;
        }
        None => {
            let found = collection.search_like(&options.key, &request)?;
            print_page(options, &found, &collection, &mut session.output)?;
        }
    }
    Ok(Code::Done)
}

fn print_page(
    options: &Options,
    found: &Answer,
    collection: &Collection,
    output: &mut Output,
) -> Result<(), Failure> {
    let next = found.next.as_ref().map(ToString::to_string);
    if output.is_json() {
        return output.json(&Page {
            key: &options.key,
            collection: collection.name(),
            space: &options.space,
            k: options.k as u64,
            hits: lines(&found.hits),
            next,
            certificate: Certificate::of(found.exactness),
        });
    }
    print_hits(&found.hits, output)?;
    if let Some(next) = next {
        output.note(format_args!("more: --after '{}'", clean(&next)));
    }
    Ok(())
}

fn print_groups(
    options: &Options,
    field: &str,
    found: &Groups,
    collection: &Collection,
    output: &mut Output,
) -> Result<(), Failure> {
    if output.is_json() {
        let groups = found.groups.iter();
        let groups = groups
            .map(|group| Group { value: PrintedValue(&group.value), hits: lines(&group.hits) });
        return output.json(&Grouped {
            key: &options.key,
            collection: collection.name(),
            space: &options.space,
            k: options.k as u64,
            group_by: field,
            groups: groups.collect(),
            certificate: Certificate::of(found.exactness),
        });
    }
    for group in &found.groups {
        let value = serde_json::to_string(&PrintedValue(&group.value))
            .map_err(|error| Failure::new(Code::Io, error.to_string()))?;
        output.line(output.bold(clean(&value)))?;
        print_hits(&group.hits, output)?;
    }
    Ok(())
}

fn lines(hits: &[Hit]) -> Vec<Line<'_>> {
    hits.iter().map(|hit| Line { score: hit.score, key: &hit.key, id: hit.id.0 }).collect()
}

fn print_hits(hits: &[Hit], output: &mut Output) -> Result<(), Failure> {
    for hit in hits {
        let score = output.dim(format_args!("{:>9.6}", hit.score));
        output.line(format_args!("{score}  {}", clean(&hit.key)))?;
    }
    Ok(())
}
