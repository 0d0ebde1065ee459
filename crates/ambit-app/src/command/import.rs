//! `ambit import X.npy`: rows of an array become vectors of a space, in order, bit for bit.
//!
//! Input is checked before anything is written: the header against the file's length, the keys
//! against the rows and each other. Rows then stream through one buffer of a fixed size, so that
//! the peak memory does not depend on the file. Whatever ends an import early, the rows before
//! that point are made durable first and the message says from which row to go on.

use std::path::PathBuf;
use std::time::Instant;

use ambit_mem::{Bytes, Priority};
use ambitdb::{CodesReport, Import, Metric, SpaceKind, Store};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Session;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::keys::{KeyReader, KeysFile};
use crate::npy::{Reader, Rounding};
use crate::output::{Output, counted, grouped};
use crate::progress::{Progress, Unit};

/// Bytes of the buffer of rows.
const ROWS_BUFFER: usize = 1 << 20;
/// Most rows that are pushed at a time.
const MOST_ROWS: usize = 4096;
/// Bytes of keys that are pushed at a time, but for the last one.
const KEYS_BUFFER: usize = 512 << 10;

/// Options of `ambit import`.
#[derive(Debug, Args)]
pub struct Options {
    /// The array: n x dim, float32, float16 or float64
    file: PathBuf,
    /// Space that the vectors go to, made if it is new
    #[arg(long, short, value_name = "NAME")]
    space: String,
    /// What nearest means: cosine, inner-product or euclidean [default: cosine]
    #[arg(long, value_parser = super::metric)]
    metric: Option<Metric>,
    /// Keys of the rows, one per line [default: the row numbers]
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Round float64 to the nearest float32 instead of refusing what does not fit
    #[arg(long)]
    round: bool,
    /// Start at this row, counted from 0
    #[arg(long, value_name = "ROW", conflicts_with = "resume")]
    from: Option<u64>,
    /// Go on where an earlier import of this file ended
    #[arg(long)]
    resume: bool,
    /// When to build the codes that make searches fast: now, or later by `ambit optimize`
    #[arg(long, value_enum, default_value_t = When::Now)]
    codes: When,
}

/// When something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    Now,
    Later,
}

#[derive(Serialize)]
struct Imported<'a> {
    collection: &'a str,
    space: &'a str,
    first_row: u64,
    next_row: u64,
    rows: u64,
    first_id: u64,
    segments: u64,
    bytes: u64,
    coded_rows: u64,
    import_seconds: f64,
    seconds: f64,
    complete: bool,
}

/// Imports the file.
///
/// # Errors
/// Bad input, naming the file and the row; the facade's; I/O.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let started = Instant::now();
    let rounding = if options.round { Rounding::Nearest } else { Rounding::Refuse };
    let mut reader = Reader::open(&options.file, rounding)?;
    let interrupt = Interrupt::listen()?;
    let store = session.create()?;
    session.serve("import", &store);
    let keys = match &options.keys {
        Some(path) => Some(KeysFile::check(path, reader.rows(), store.budget())?),
        None => None,
    };
    make_space(options, session, &store, reader.columns())?;
    let first_row = match (options.from, options.resume) {
        (Some(row), _) => row,
        (None, true) => resume_row(options, session, &store, &mut reader, keys.as_ref())?,
        (None, false) => 0,
    };
    reader.seek(first_row)?;

    let first_id = session.collection(&store)?.next_id()?;
    let mut stream = Stream {
        import: store.import(session.name(), &options.space, first_row)?,
        keys: keys.as_ref().map(|keys| keys.keys_from(first_row)).transpose()?,
    };
    let progress =
        Progress::new(&session.output, "import", Unit::Items("rows"), Some(reader.rows()));
    let streamed = stream.run(&mut reader, &store, &interrupt, &progress);
    progress.finish();
    let report = stream.import.finish()?;
    let import_seconds = started.elapsed().as_secs_f64();
    let coded = match (&streamed, options.codes) {
        (Ok(()), When::Now) => super::codes::build(session, &store, &interrupt)?,
        _ => CodesReport::default(),
    };
    store.close()?;
    let next_row = first_row + report.rows;
    if let Err(failure) = streamed {
        return Err(failure.with(how_to_go_on(first_row, next_row)));
    }

    let complete = next_row == reader.rows();
    let imported = Imported {
        collection: &session.settings.collection.value,
        space: &options.space,
        first_row,
        next_row,
        rows: report.rows,
        first_id,
        segments: report.segments,
        bytes: report.rows * reader.row_bytes(),
        coded_rows: coded.rows,
        import_seconds,
        seconds: started.elapsed().as_secs_f64(),
        complete,
    };
    print(&imported, &mut session.output)?;
    if complete {
        return Ok(Code::Done);
    }
    Err(Failure::new(Code::Interrupted, "stopped by Ctrl-C")
        .with(how_to_go_on(first_row, next_row)))
}

fn how_to_go_on(first_row: u64, next_row: u64) -> String {
    if next_row == first_row {
        return format!("no row was stored; the same command with --from {next_row} goes on there");
    }
    format!(
        "rows {first_row} to {} are stored; the same command with --from {next_row} goes on there",
        next_row - 1
    )
}

fn print(imported: &Imported<'_>, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(imported);
    }
    let rate = imported.bytes as f64 / imported.import_seconds.max(1e-9) / 1e6;
    output.line(format_args!(
        "{} into {}/{} in {:.2} s ({rate:.0} MB/s), ids from {}, {}",
        counted(imported.rows, "row", "rows"),
        imported.collection,
        imported.space,
        imported.import_seconds,
        grouped(imported.first_id),
        counted(imported.segments, "segment", "segments")
    ))
}

/// The way of rows from the file into the store.
struct Stream<'a> {
    import: Import<'a>,
    keys: Option<KeyReader>,
}

impl Stream<'_> {
    /// Pushes every row that is left, until the end or Ctrl-C.
    ///
    /// # Errors
    /// I/O, the facade's; the rows pushed before stay.
    fn run(
        &mut self,
        reader: &mut Reader,
        store: &Store,
        interrupt: &Interrupt,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let dim = reader.columns();
        let most = (ROWS_BUFFER / (dim * size_of::<f32>())).clamp(1, MOST_ROWS);
        let account = store.budget().account("import/buffers", Priority::Write);
        let buffers = most * dim * size_of::<f32>() + KEYS_BUFFER;
        let _reservation = account.reserve(Bytes::of(buffers))?;
        let mut rows = vec![0.0_f32; most * dim];
        let mut keys = Vec::new();
        while reader.next_row() < reader.rows() && !interrupt.requested() {
            let count = self.fill(reader, &mut rows, &mut keys)?;
            let given = self.keys.is_some().then_some(keys.as_slice());
            let pushed = self.import.push(given, rows.get(..count * dim).unwrap_or_default());
            pushed.map_err(|error| Failure::from(error).within(reader.name()))?;
            progress.set(reader.next_row());
        }
        Ok(())
    }

    /// Reads the next rows, as many as there are keys for.
    fn fill(
        &mut self,
        reader: &mut Reader,
        rows: &mut [f32],
        keys: &mut Vec<String>,
    ) -> Result<usize, Failure> {
        let dim = reader.columns();
        let mut fit = rows.len() / dim;
        if let Some(from) = &mut self.keys {
            let left = usize::try_from(reader.rows() - reader.next_row()).unwrap_or(usize::MAX);
            from.next(keys, fit.min(left), KEYS_BUFFER)?;
            fit = keys.len();
        }
        reader.read(rows.get_mut(..fit * dim).unwrap_or_default())
    }
}

/// The space that the options name, made if it is new, and of `dim` numbers a row.
fn make_space(
    options: &Options,
    session: &Session,
    store: &Store,
    dim: usize,
) -> Result<(), Failure> {
    let collection = session.collection_or_new(store)?;
    let Ok(space) = collection.space(&options.space) else {
        let kind = SpaceKind::Dense { dim, metric: options.metric.unwrap_or(Metric::Cosine) };
        return Ok(store.create_space(session.name(), &options.space, kind)?);
    };
    if space.dim != dim {
        return Err(Failure::usage(format!(
            "{}: rows of {dim} numbers, space '{}' has {}; import them into another space",
            options.file.display(),
            options.space,
            space.dim
        )));
    }
    match options.metric {
        Some(metric) if metric != space.metric => Err(Failure::usage(format!(
            "--metric {metric}: space '{}' is {}; leave it out, or import into another space",
            options.space, space.metric
        ))),
        _ => Ok(()),
    }
}

/// The row after the last one that the space holds, after checking that it is this file's.
fn resume_row(
    options: &Options,
    session: &Session,
    store: &Store,
    reader: &mut Reader,
    keys: Option<&KeysFile>,
) -> Result<u64, Failure> {
    let collection = session.collection(store)?;
    let stored = collection.vectors_in(&options.space)?;
    let Some(last) = stored.checked_sub(1) else {
        return Ok(0);
    };
    let other = || {
        Failure::usage(format!(
            "{}: space '{}' holds {} vectors, and the last is not row {last} of this file; \
             --resume goes on with the import that filled the space, --from ROW starts where you say",
            options.file.display(),
            options.space,
            grouped(stored)
        ))
    };
    if stored > reader.rows() {
        return Err(other());
    }
    reader.seek(last)?;
    let mut row = vec![0.0; reader.columns()];
    reader.read(&mut row)?;
    let key = match keys {
        Some(keys) => {
            let mut key = Vec::new();
            keys.keys_from(last)?.next(&mut key, 1, 1)?;
            key.pop().unwrap_or_default()
        }
        None => last.to_string(),
    };
    let entity = collection.get(&key)?.ok_or_else(other)?;
    let held = entity.embeddings.get(&options.space).ok_or_else(other)?;
    let same = held.iter().map(|value| value.to_bits()).eq(row.iter().map(|value| value.to_bits()));
    if same { Ok(stored) } else { Err(other()) }
}
