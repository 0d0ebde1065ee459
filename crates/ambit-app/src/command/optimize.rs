//! `ambit optimize`: everything that makes a store smaller and its searches faster.
//!
//! Segments are merged in bounded steps, the indexes and codes that segments lack are built (and the
//! words of what was indexed before there were any), files that nothing names are deleted. What is done when it is stopped stays done; the same command goes
//! on.

use std::time::Instant;

use ambit_mem::Bytes;
use serde::Serialize;

use super::Session;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::output::{Output, counted};
use crate::progress::{Progress, Unit};

/// Rows that are copied between two looks at Ctrl-C.
const STEP: u32 = 64 << 10;

#[derive(Serialize, Default)]
struct Optimized {
    merged_segments: u64,
    indexed_segments: u64,
    indexed_rows: u64,
    indexed_bytes: u64,
    coded_segments: u64,
    coded_rows: u64,
    coded_bytes: u64,
    deleted_files: u64,
    deleted_bytes: u64,
    seconds: f64,
    complete: bool,
}

/// Optimises the whole store.
///
/// # Errors
/// The facade's. A failed write.
pub fn run(session: &mut Session) -> Result<Code, Failure> {
    let started = Instant::now();
    let interrupt = Interrupt::listen()?;
    let store = session.write()?;
    session.serve("optimize", &store);
    let mut done = Optimized::default();
    let progress = Progress::new(&session.output, "merge", Unit::Items("rows"), None);
    let mut rows = 0;
    while !interrupt.requested() {
        let step = store.merge_step(STEP)?;
        rows += step.rows;
        done.merged_segments += step.replaced as u64;
        progress.set(rows);
        if step.done {
            break;
        }
    }
    progress.finish();
    for collection in store.collections()? {
        if interrupt.requested() {
            break;
        }
        super::indexes::add_words_to_indexed(&store.collection(&collection.name)?, &store)?;
        let built = super::indexes::of_collection(&collection.name, session, &store, &interrupt)?;
        done.indexed_segments += built.segments;
        done.indexed_rows += built.rows;
        done.indexed_bytes += built.bytes;
        let built = super::codes::of_collection(&collection.name, session, &store, &interrupt)?;
        done.coded_segments += built.segments;
        done.coded_rows += built.rows;
        done.coded_bytes += built.bytes;
    }
    let reclaimed = store.reclaim()?;
    store.close()?;
    done.deleted_files = reclaimed.files;
    done.deleted_bytes = reclaimed.bytes.get();
    done.seconds = started.elapsed().as_secs_f64();
    done.complete = !interrupt.requested();
    print(&done, &mut session.output)?;
    if done.complete {
        return Ok(Code::Done);
    }
    Err(Failure::new(Code::Interrupted, "stopped by Ctrl-C; the same command goes on"))
}

fn print(done: &Optimized, output: &mut Output) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(done);
    }
    output.line(format_args!(
        "{} merged, {} indexed ({} in {}), {} coded ({} in {}), {} deleted ({}) in {:.2} s",
        counted(done.merged_segments, "segment", "segments"),
        counted(done.indexed_segments, "segment", "segments"),
        counted(done.indexed_rows, "row", "rows"),
        Bytes::new(done.indexed_bytes),
        counted(done.coded_segments, "segment", "segments"),
        counted(done.coded_rows, "row", "rows"),
        Bytes::new(done.coded_bytes),
        counted(done.deleted_files, "file", "files"),
        Bytes::new(done.deleted_bytes),
        done.seconds
    ))
}
