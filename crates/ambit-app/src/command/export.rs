//! `ambit export X.npy`: every vector of a space, in the order of ids, bit for bit.

use std::path::PathBuf;
use std::time::Instant;

use ambitdb::{Error, ErrorKind};
use clap::Args;
use serde::Serialize;

use super::Session;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::npy::Writer;
use crate::npy::header::Element;
use crate::output::counted;
use crate::progress::{Progress, Unit};

/// Options of `ambit export`.
#[derive(Debug, Args)]
pub struct Options {
    /// The .npy file to write: n x dim, float32
    file: PathBuf,
    /// Space whose vectors are written
    #[arg(long, short, value_name = "NAME")]
    space: String,
}

#[derive(Serialize)]
struct Exported<'a> {
    collection: &'a str,
    space: &'a str,
    file: String,
    rows: u64,
    dim: u64,
    bytes: u64,
    seconds: f64,
}

/// Writes the file; an older one of that name stays until the new one is complete.
///
/// # Errors
/// Not found: the collection or the space. The facade's. I/O.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let started = Instant::now();
    let interrupt = Interrupt::listen()?;
    let store = session.read()?;
    session.serve("export", &store);
    let collection = session.collection(&store)?;
    let dim = collection.space(&options.space)?.dim;
    let mut writer = Writer::create(&options.file, Element::Float32, dim)?;
    let total = Some(collection.vectors_in(&options.space)?);
    let progress = Progress::new(&session.output, "export", Unit::Items("rows"), total);
    let mut rows_done = 0;
    let mut ended = Ok(());
    let exported = collection.export(&options.space, &mut |_, rows| {
        ended = writer.write_f32(rows);
        rows_done += (rows.len() / dim) as u64;
        progress.set(rows_done);
        if ended.is_err() || interrupt.requested() {
            return Err(Error::new(ErrorKind::Interrupted, "the export was stopped"));
        }
        Ok(())
    });
    progress.finish();
    ended?;
    match exported {
        Err(error) if error.kind() == ErrorKind::Interrupted => {
            return Err(Failure::new(
                Code::Interrupted,
                format!("stopped by Ctrl-C; {} was not written", options.file.display()),
            ));
        }
        exported => exported?,
    }
    let exported = Exported {
        collection: &session.settings.collection.value,
        space: &options.space,
        file: options.file.display().to_string(),
        rows: rows_done,
        dim: dim as u64,
        bytes: writer.finish()?,
        seconds: started.elapsed().as_secs_f64(),
    };
    if session.output.is_json() {
        session.output.json(&exported)?;
    } else {
        let rate = exported.bytes as f64 / exported.seconds.max(1e-9) / 1e6;
        session.output.line(format_args!(
            "{} of {} numbers into {} in {:.2} s ({rate:.0} MB/s)",
            counted(exported.rows, "row", "rows"),
            exported.dim,
            exported.file,
            exported.seconds
        ))?;
    }
    Ok(Code::Done)
}
