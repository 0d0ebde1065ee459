//! `ambit query Q.npy`: the k nearest vectors of each row, as files of ids and scores.
//!
//! Queries are taken in groups that share one scan of the space (`--one-at-a-time` scans for each
//! query); a group's rows and answers fit into buffers of a fixed size. A query with fewer than k
//! answers is filled up with id -1 and score NaN, so that the files are always queries x k.

use std::path::PathBuf;
use std::time::Instant;

use ambit_mem::{Bytes, Priority};
use ambitdb::{Answer, Collection, Filter, MAX_K, SearchRequest, Sharing};
use clap::Args;
use serde::Serialize;

use super::{Certificate, Session};
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::npy::header::Element;
use crate::npy::{Reader, Rounding, Writer};
use crate::output::{Output, clean, counted};
use crate::progress::{Progress, Unit};

/// Bytes of the smallest and of the largest buffer of queries.
const QUERIES_BUFFER: (usize, usize) = (64 << 10, 2 << 20);
/// The part of the budget that the buffer of queries is.
const SHARE: u64 = 32;
/// Most answers, over all queries of a group.
const MOST_HITS: usize = 32 << 10;

/// Options of `ambit query`.
#[derive(Debug, Args)]
pub struct Options {
    /// The queries: n x dim, float32, float16 or float64
    file: PathBuf,
    /// Space that is searched
    #[arg(long, short, value_name = "NAME")]
    space: String,
    /// Answers per query, 1 to 10,000
    #[arg(long, short, default_value_t = 10)]
    k: usize,
    /// Only entities that meet this condition: "kind = 'note' and year >= 2020"
    #[arg(long = "where", value_name = "FILTER", value_parser = super::filter)]
    filter: Option<Filter>,
    /// Write the ids here: queries x k, int64
    #[arg(long, value_name = "OUT.npy")]
    ids: Option<PathBuf>,
    /// Write the scores here: queries x k, float32
    #[arg(long, value_name = "OUT.npy")]
    scores: Option<PathBuf>,
    /// Scan the space once for each query instead of once for a group
    #[arg(long)]
    one_at_a_time: bool,
    #[command(flatten)]
    probing: super::ProbeOptions,
    /// Round float64 to the nearest float32 instead of refusing what does not fit
    #[arg(long)]
    round: bool,
}

#[derive(Serialize)]
struct Queried<'a> {
    collection: &'a str,
    space: &'a str,
    queries: u64,
    k: u64,
    threads: u64,
    #[serde(flatten)]
    certificate: Certificate,
    seconds: f64,
    search_seconds: f64,
}

#[derive(Serialize)]
struct Line<'a> {
    query: u64,
    hits: Vec<HitLine<'a>>,
}

#[derive(Serialize)]
struct HitLine<'a> {
    id: u64,
    score: f32,
    key: &'a str,
}

/// Answers every row of the file.
///
/// # Errors
/// Bad input, naming the file, row and column; the facade's; I/O.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let started = Instant::now();
    if !(1..=MAX_K).contains(&options.k) {
        return Err(Failure::usage(format!("-k {}: expected 1 to {MAX_K} answers", options.k)));
    }
    let rounding = if options.round { Rounding::Nearest } else { Rounding::Refuse };
    let mut reader = Reader::open(&options.file, rounding)?;
    let store = session.read()?;
    session.serve("query", &store);
    let collection = session.collection(&store)?;
    let space = collection.space(&options.space)?;
    if space.dim != reader.columns() {
        return Err(Failure::usage(format!(
            "{}: rows of {} numbers, space '{}' has {}; embed the queries with the same model",
            options.file.display(),
            reader.columns(),
            options.space,
            space.dim
        )));
    }
    let interrupt = Interrupt::listen()?;
    let mut files = Files::create(options)?;
    let dim = space.dim;
    let share = usize::try_from(store.budget().limit().get() / SHARE).unwrap_or(usize::MAX);
    let buffer = share.clamp(QUERIES_BUFFER.0, QUERIES_BUFFER.1);
    let most = (buffer / (dim * size_of::<f32>())).min(MOST_HITS / options.k).max(1);
    let most = usize::try_from(reader.rows()).map_or(most, |rows| most.min(rows.max(1)));
    let buffers = most * (dim * size_of::<f32>() + options.k * size_of::<(i64, f32)>());
    let account = store.budget().account("query/buffers", Priority::Query);
    let _reservation = account.reserve(Bytes::of(buffers))?;
    let mut queries = vec![0.0_f32; most * dim];
    let progress =
        Progress::new(&session.output, "query", Unit::Items("queries"), Some(reader.rows()));
    let mut done = Queried {
        collection: &session.settings.collection.value,
        space: &options.space,
        queries: reader.rows(),
        k: options.k as u64,
        threads: session.settings.threads.value as u64,
        certificate: Certificate::NONE,
        seconds: 0.0,
        search_seconds: 0.0,
    };
    while reader.next_row() < reader.rows() {
        if interrupt.requested() {
            return Err(Failure::new(Code::Interrupted, "stopped by Ctrl-C; nothing was written"));
        }
        let first = reader.next_row();
        let count = reader.read(&mut queries)?;
        let group = queries.get(..count * dim).unwrap_or_default();
        refuse_nan(options, group, dim, first)?;
        let searching = Instant::now();
        let answers = answer(options, &collection, group, session.settings.threads.value)?;
        done.search_seconds += searching.elapsed().as_secs_f64();
        for (query, answer) in (first..).zip(&answers) {
            done.certificate.add(Certificate::of(answer.exactness));
            files.write(answer, options.k)?;
            if options.ids.is_none() && options.scores.is_none() {
                print_answer(query, answer, &mut session.output)?;
            }
        }
        progress.set(reader.next_row());
    }
    progress.finish();
    files.finish()?;
    done.seconds = started.elapsed().as_secs_f64();
    if options.ids.is_none() && options.scores.is_none() {
        return Ok(Code::Done);
    }
    if session.output.is_json() {
        session.output.json(&done)?;
    } else {
        session.output.line(format_args!(
            "{} answered in {:.3} s",
            counted(done.queries, "query", "queries"),
            done.seconds
        ))?;
    }
    Ok(Code::Done)
}

fn answer(
    options: &Options,
    collection: &Collection,
    queries: &[f32],
    threads: usize,
) -> Result<Vec<Answer>, Failure> {
    let sharing = if options.one_at_a_time { Sharing::OneAtATime } else { Sharing::Shared };
    let request = SearchRequest {
        threads,
        sharing,
        filter: options.filter.as_ref(),
        probes: options.probing.probes(),
        ..SearchRequest::new(&options.space, queries, options.k)
    };
    Ok(collection.search_batch(&request)?)
}

fn refuse_nan(options: &Options, queries: &[f32], dim: usize, first: u64) -> Result<(), Failure> {
    let Some(at) = queries.iter().position(|value| !value.is_finite()) else {
        return Ok(());
    };
    Err(Failure::usage(format!(
        "{}: row {}, column {}: {} in a query, expected finite numbers",
        options.file.display(),
        first + (at / dim) as u64,
        at % dim,
        queries.get(at).copied().unwrap_or_default()
    )))
}

fn print_answer(query: u64, answer: &Answer, output: &mut Output) -> Result<(), Failure> {
    let hits: Vec<HitLine<'_>> = answer
        .hits
        .iter()
        .map(|hit| HitLine { id: hit.id.0, score: hit.score as f32, key: &hit.key })
        .collect();
    if output.is_json() {
        return output.json(&Line { query, hits });
    }
    output.line(format_args!("query {query}"))?;
    for hit in hits {
        output.line(format_args!("  {:>9.6}  {}", hit.score, clean(hit.key)))?;
    }
    Ok(())
}

/// The files of ids and scores, where they are wanted.
struct Files {
    ids: Option<Writer>,
    scores: Option<Writer>,
}

impl Files {
    fn create(options: &Options) -> Result<Self, Failure> {
        let create = |path: &Option<PathBuf>, element| {
            path.as_ref().map(|path| Writer::create(path, element, options.k)).transpose()
        };
        Ok(Self {
            ids: create(&options.ids, Element::Int64)?,
            scores: create(&options.scores, Element::Float32)?,
        })
    }

    fn write(&mut self, answer: &Answer, k: usize) -> Result<(), Failure> {
        let none = k.saturating_sub(answer.hits.len());
        if let Some(ids) = &mut self.ids {
            // Ids count rows and so stay far below 2^63.
            let row: Vec<i64> = answer.hits.iter().map(|hit| hit.id.0 as i64).collect();
            ids.write_i64(&row)?;
            ids.write_i64(&vec![-1; none])?;
        }
        if let Some(scores) = &mut self.scores {
            let row: Vec<f32> = answer.hits.iter().map(|hit| hit.score as f32).collect();
            scores.write_f32(&row)?;
            scores.write_f32(&vec![f32::NAN; none])?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        for writer in [self.ids, self.scores].into_iter().flatten() {
            writer.finish()?;
        }
        Ok(())
    }
}
