//! `ambit add`: entities from standard input, one JSON object per line.
//!
//! Whatever lines are already there form one atomic batch; the batch is durable before its keys
//! are acknowledged. So a slow writer gets an acknowledgement per line, a fast one shares the
//! sync among the lines of a full pipe, and no line waits for a later one. A bad line stops the
//! run after the lines before it were stored.

use std::io::{BufRead, BufReader, Read, StdinLock};

use ambit_mem::{Bytes, Priority};
use ambitdb::{Entity, Metric, SpaceKind, Store, WriteBatch};
use clap::Args;
use serde::Serialize;

use super::Session;
use super::indexes::WORDS_SPACE;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::output::{counted, grouped};
use crate::record;

/// Bytes read ahead; at most this much forms one batch, unless one line alone is longer.
const READ_AHEAD: usize = 512 << 10;
/// Bytes of the longest line.
const MAX_LINE: usize = 8 << 20;

/// Options of `ambit add`.
#[derive(Debug, Args)]
pub struct Options {
    /// Print each key on a line of its own once it is durable
    #[arg(long)]
    ack: bool,
    /// What nearest means in a space that is new: cosine, inner-product or euclidean
    #[arg(long, value_parser = super::metric, default_value = "cosine")]
    metric: Metric,
}

#[derive(Serialize)]
struct Added<'a> {
    collection: &'a str,
    added: u64,
}

#[derive(Serialize)]
struct Acknowledged<'a> {
    key: &'a str,
}

/// Adds entities until standard input ends.
///
/// # Errors
/// A bad line, naming its number; the facade's; I/O.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let interrupt = Interrupt::listen()?;
    let store = session.create()?;
    session.serve("add", &store);
    session.collection_or_new(&store)?;
    let account = store.budget().account("add/lines", Priority::Write);
    let mut reservation = account.reserve(Bytes::of(2 * READ_AHEAD))?;
    let mut lines = Lines::new(std::io::stdin().lock());
    let mut added = 0;
    let mut keys = Vec::new();
    loop {
        let mut ended = Ok(true);
        let mut batch = WriteBatch::new();
        while ended.is_ok() && (keys.is_empty() || lines.has_another()) {
            ended = match interrupt.idle(|| lines.advance()) {
                Ok(true) if lines.line.trim_ascii().is_empty() => Ok(true),
                Ok(true) => {
                    reservation.resize(Bytes::of(2 * READ_AHEAD + 2 * lines.line.len()))?;
                    lines.entity().and_then(|entity| {
                        make_spaces(&entity, options, &store, session)?;
                        keys.push(entity.key.clone());
                        batch.put(session.name(), entity);
                        Ok(true)
                    })
                }
                Ok(false) => break,
                Err(failure) => Err(failure),
            };
        }
        if keys.is_empty() && ended.is_ok() {
            break;
        }
        if !keys.is_empty() {
            let written = store.write(&batch).and_then(|()| match options.ack {
                true => store.flush(),
                false => Ok(()),
            });
            written.map_err(|error| {
                Failure::from(error).with(format_args!(
                    "{} were stored before the lines up to {}",
                    counted(added, "entity", "entities"),
                    lines.number
                ))
            })?;
            added += keys.len() as u64;
            acknowledge(options, &keys, session)?;
            keys.clear();
        }
        if let Err(failure) = ended {
            store.close()?;
            let stored = counted(added, "entity", "entities");
            return Err(failure.with(format_args!("{stored} before it were stored")));
        }
        if interrupt.requested() {
            store.close()?;
            return Err(Failure::new(
                Code::Interrupted,
                format!("stopped by Ctrl-C; go on after line {}", grouped(lines.number)),
            ));
        }
    }
    super::indexes::build(session, &store, &interrupt)?;
    super::codes::build(session, &store, &interrupt)?;
    store.close()?;
    if !options.ack {
        if session.output.is_json() {
            session
                .output
                .json(&Added { collection: &session.settings.collection.value, added })?;
        } else {
            session.output.line(format_args!("{} added", counted(added, "entity", "entities")))?;
        }
    }
    Ok(Code::Done)
}

fn acknowledge(options: &Options, keys: &[String], session: &mut Session) -> Result<(), Failure> {
    if !options.ack {
        return Ok(());
    }
    for key in keys {
        if session.output.is_json() {
            session.output.json(&Acknowledged { key })?;
        } else {
            session.output.line(key)?;
        }
    }
    session.output.flush()
}

/// Makes the spaces that `entity` has an embedding for and the collection does not have.
fn make_spaces(
    entity: &Entity,
    options: &Options,
    store: &Store,
    session: &Session,
) -> Result<(), Failure> {
    let collection = session.collection(store)?;
    for space in entity.sparse.keys().filter(|space| collection.space(space).is_err()) {
        store.create_space(session.name(), space, SpaceKind::Sparse { dim: u32::MAX })?;
        session.output.note(format_args!("new space '{}': sparse", space.escape_debug()));
    }
    for (space, row) in &entity.embeddings {
        if collection.space(space).is_ok() {
            continue;
        }
        let kind = SpaceKind::Dense { dim: row.len(), metric: options.metric };
        store.create_space(session.name(), space, kind)?;
        session.output.note(format_args!(
            "new space '{}': {} numbers, {}",
            space.escape_debug(),
            row.len(),
            options.metric
        ));
    }
    if entity.text.is_some() && super::indexes::add_words(&collection, store)? {
        session.output.note(format_args!("new space '{WORDS_SPACE}': the words of texts"));
    }
    Ok(())
}

/// Lines of standard input.
struct Lines {
    reader: BufReader<StdinLock<'static>>,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    fn new(stdin: StdinLock<'static>) -> Self {
        Self { reader: BufReader::with_capacity(READ_AHEAD, stdin), line: Vec::new(), number: 0 }
    }

    /// Whether a whole line is there without waiting.
    fn has_another(&self) -> bool {
        self.reader.buffer().contains(&b'\n')
    }

    /// Waits for the next line; false at the end.
    fn advance(&mut self) -> Result<bool, Failure> {
        self.line.clear();
        let most = (MAX_LINE + 1) as u64;
        let read = (&mut self.reader).take(most).read_until(b'\n', &mut self.line);
        let read = read.map_err(|error| {
            Failure::new(Code::Io, format!("cannot read standard input: {error}"))
        })?;
        self.number += u64::from(read > 0);
        if read > MAX_LINE {
            return Err(Failure::usage(format!(
                "standard input, line {}: more than {} bytes; an entity is at most that long",
                self.number,
                grouped(MAX_LINE as u64)
            )));
        }
        Ok(read > 0)
    }

    /// The current line as an entity.
    fn entity(&self) -> Result<Entity, Failure> {
        record::parse(&self.line)
            .map_err(|what| Failure::usage(format!("standard input, line {}: {what}", self.number)))
    }
}
