//! `ambit inspect X.npy`: what the numbers are made of, and how small they get without loss.
//!
//! Rows stream through segments of the lossless codec, are decoded again and compared bit for
//! bit. No store is opened; memory is that of one segment, raw, encoded and decoded row by row.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use ambit_mem::{Budget, Bytes, Priority, default_limit};
use ambit_vector::lossless::{
    Encoder, Level, LosslessError, Origin, Report, Scratch, Segment, max_encoded_len,
};
use clap::Args;
use serde::Serialize;

use super::Session;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::npy::{Reader, Rounding};
use crate::output::{Output, counted};
use crate::progress::{Progress, Unit};

/// Bytes of the rows of a segment, where the budget is large.
const SEGMENT: usize = 16 << 20;
/// Origins that are named in the text.
const NAMED: usize = 3;

/// Options of `ambit inspect`.
#[derive(Debug, Args)]
pub struct Options {
    /// The array: n x dim, float32, float16 or float64
    file: PathBuf,
    /// Round float64 to the nearest float32 instead of refusing what does not fit
    #[arg(long)]
    round: bool,
}

#[derive(Serialize)]
struct Inspected {
    rows: u64,
    dim: usize,
    origins: Vec<Share>,
    bits_per_value: f64,
    bytes: u64,
    model_bytes: u64,
    bit_exact: bool,
    seconds: f64,
}

#[derive(Serialize)]
struct Share {
    origin: String,
    rows: u64,
    share: f64,
}

/// Encodes and decodes the file.
///
/// # Errors
/// Bad input, a budget that is too small, I/O.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let started = Instant::now();
    let rounding = if options.round { Rounding::Nearest } else { Rounding::Refuse };
    let mut reader = Reader::open(&options.file, rounding)?;
    let interrupt = Interrupt::listen()?;
    let limit = session.settings.budget.value.unwrap_or_else(|| default_limit().0);
    let mut totals = Totals::default();
    let progress =
        Progress::new(&session.output, "inspect", Unit::Items("rows"), Some(reader.rows()));
    let walked = walk(&mut reader, limit, &mut |segment| {
        totals.add(segment);
        progress.set(totals.rows);
        !interrupt.requested()
    });
    progress.finish();
    if !walked? {
        return Err(Failure::new(Code::Interrupted, "stopped by Ctrl-C"));
    }
    print(&totals.finish(reader.columns(), started), &mut session.output)
}

/// What a segment was found to be.
struct Found {
    report: Report,
    bit_exact: bool,
}

/// Encodes, decodes and compares segment after segment, until `go_on` says no; whether it never did.
fn walk(
    reader: &mut Reader,
    limit: Bytes,
    go_on: &mut dyn FnMut(&Found) -> bool,
) -> Result<bool, Failure> {
    let dim = reader.columns();
    let most = SEGMENT.min(limit.to_usize().unwrap_or(usize::MAX) / 8);
    let rows = most / (dim * size_of::<f32>());
    let rows = rows.min(usize::try_from(reader.rows()).unwrap_or(rows)).max(1);
    let encoded = max_encoded_len(rows, dim).ok_or_else(|| failed(LosslessError::TooLarge))?;
    let values = rows * dim;
    let held = Encoder::bytes(dim)
        + (values + dim) * size_of::<f32>()
        + encoded
        + Scratch::bytes(dim)
        + Segment::max_held_bytes(encoded, dim);
    let account = Budget::new(limit).account("inspect", Priority::Write);
    let _reservation = account.reserve(Bytes::of(held))?;
    let mut encoder = Encoder::new(dim, Level::Compact).map_err(failed)?;
    let mut raw = vec![0.0_f32; values];
    let mut bytes = vec![0_u8; encoded];
    let mut row = vec![0.0_f32; dim];
    let mut scratch = Scratch::new(dim);
    while reader.next_row() < reader.rows() {
        let count = reader.read(&mut raw)?;
        let raw = raw.get(..count * dim).unwrap_or_default();
        let len = encoder.encode_segment(raw, &mut bytes).map_err(failed)?;
        let segment = Segment::open(bytes.get(..len).unwrap_or_default()).map_err(failed)?;
        let mut decoded = segment.rows_from(0).map_err(failed)?;
        let mut bit_exact = segment.rows() == count;
        for original in raw.chunks_exact(dim) {
            bit_exact &= decoded.next_into(&mut scratch, &mut row).map_err(failed)?;
            let bits = |row: &[f32]| -> Vec<u32> { row.iter().map(|x| x.to_bits()).collect() };
            bit_exact &= bits(&row) == bits(original);
        }
        if !go_on(&Found { report: segment.report().map_err(failed)?, bit_exact }) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn failed(error: LosslessError) -> Failure {
    let code = if error.is_corrupt() { Code::Corrupt } else { Code::Usage };
    Failure::new(code, error.to_string())
}

/// Sums over segments.
#[derive(Default)]
struct Totals {
    rows: u64,
    origins: BTreeMap<Origin, u64>,
    bytes: u64,
    model_bytes: u64,
    differs: bool,
}

impl Totals {
    fn add(&mut self, found: &Found) {
        for share in &found.report.origins {
            *self.origins.entry(share.origin).or_default() += share.rows as u64;
        }
        self.rows += found.report.rows as u64;
        self.bytes += found.report.bytes as u64;
        self.model_bytes += found.report.model_bytes as u64;
        self.differs |= !found.bit_exact;
    }

    fn finish(self, dim: usize, started: Instant) -> Inspected {
        let share = |rows: u64| rows as f64 / self.rows.max(1) as f64;
        let mut origins: Vec<Share> = self
            .origins
            .iter()
            .map(|(origin, &rows)| Share { origin: origin.to_string(), rows, share: share(rows) })
            .collect();
        origins.sort_by_key(|share| std::cmp::Reverse(share.rows));
        let values = self.rows as f64 * dim as f64;
        Inspected {
            rows: self.rows,
            dim,
            origins,
            bits_per_value: 8.0 * self.bytes as f64 / values.max(1.0),
            bytes: self.bytes,
            model_bytes: self.model_bytes,
            bit_exact: !self.differs,
            seconds: started.elapsed().as_secs_f64(),
        }
    }
}

fn print(inspected: &Inspected, output: &mut Output) -> Result<Code, Failure> {
    if output.is_json() {
        output.json(inspected)?;
    } else {
        let shape = counted(inspected.rows, "row", "rows");
        output.line(format_args!("{shape} of {} numbers", inspected.dim))?;
        if inspected.rows > 0 {
            output.line(summary(inspected))?;
        }
    }
    Ok(if inspected.bit_exact { Code::Done } else { Code::Corrupt })
}

/// As in "97.3 % fp16 x scalar, 2.7 % fp32, 13.7 bits/value, 57 % smaller, bit-exact".
fn summary(inspected: &Inspected) -> String {
    let mut parts: Vec<String> = inspected
        .origins
        .iter()
        .take(NAMED)
        .map(|share| format!("{:.1} % {}", 100.0 * share.share, share.origin))
        .collect();
    if let Some(more) = inspected.origins.len().checked_sub(NAMED).filter(|more| *more > 0) {
        parts.push(format!("{more} more"));
    }
    let bits = inspected.bits_per_value;
    parts.push(format!("{bits:.1} bits/value"));
    let (percent, word) = match 100.0 * (1.0 - bits / 32.0) {
        smaller if smaller >= 0.0 => (smaller, "smaller"),
        larger => (-larger, "larger"),
    };
    parts.push(format!("{percent:.0} % {word}"));
    parts.push(if inspected.bit_exact { "bit-exact" } else { "NOT bit-exact" }.to_owned());
    parts.join(", ")
}
