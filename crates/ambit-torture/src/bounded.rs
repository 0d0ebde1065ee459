//! T14: does the kernel agree that memory stayed inside the budget?
//!
//! A child process works on a store with a hard budget and ten times as much data: batches
//! through the log, merges as they fall due, scans of every row through the mapping, deletes,
//! and scans again.
//! Its peak of resident memory, as the kernel counts it, may exceed the budget by [`BASE`] and
//! no more: code, stacks, allocator.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use ambit_mem::{Budget, Bytes};
use ambit_store::engine::{Batch, Engine, EngineOptions};
use ambit_store::host::OsHost;
use ambit_store::log::{CellLayout, Column, TableId};
use ambit_store::vfs::OsFs;

use crate::dice::Dice;

/// What a process may hold beyond its budget.
pub const BASE: Bytes = Bytes::mib(16);
/// Bytes of the wide cell: an embedding of 384 dimensions.
const WIDE: usize = 384 * 4;
/// Rows of one batch.
const BATCH: u64 = 128;
/// Rows of a block in a scan.
const BLOCK_ROWS: u64 = 256;

/// What the child measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Peak of resident memory before the store was opened.
    pub start: Bytes,
    /// Peak of resident memory at the end.
    pub peak: Bytes,
    /// Bytes of wide cells written.
    pub data: Bytes,
    /// Wide cells seen by all scans.
    pub scanned: u64,
}

/// Peak of this process's resident memory by the kernel.
fn peak() -> Result<Bytes, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.map(Bytes::kib).ok_or_else(|| "the kernel does not tell VmHWM".to_owned())
}

/// The child: fills a store in `directory` with ten times `budget` and works on it.
///
/// # Errors
/// What failed, or a scan that saw other rows than there are.
pub fn child(directory: &Path, budget: Bytes) -> Result<(), String> {
    let start = peak()?;
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let files = OsFs::create(directory).map_err(|error| told(&error))?;
    let options = EngineOptions { create: true, ..EngineOptions::default() };
    let budget_tree = Budget::new(budget);
    let host = Arc::new(OsHost::new());
    let engine = Engine::open(Arc::new(files), host, &budget_tree, options);
    let engine = engine.map_err(|error| told(&error))?;
    let columns = vec![
        Column { name: "text".into(), layout: CellLayout::Var },
        Column { name: "wide".into(), layout: CellLayout::Fixed(WIDE as u32) },
    ];
    let table = engine.create_table("rows", b"", columns).map_err(|error| told(&error))?;
    let rows = budget.get() * 10 / WIDE as u64;
    for first in (0..rows).step_by(BATCH as usize) {
        let last = (first + BATCH).min(rows);
        engine.write(fill(table, first..last)).map_err(|error| told(&error))?;
        merge(&engine)?;
    }
    let mut scanned = scan(&engine, table, rows)?;
    for first in (0..rows).step_by(3 * BATCH as usize) {
        let mut batch = Batch::new();
        (first..(first + BATCH).min(rows)).for_each(|row| batch.delete(table, &name(row)));
        engine.write(batch).map_err(|error| told(&error))?;
    }
    engine.seal().map_err(|error| told(&error))?;
    merge(&engine)?;
    engine.reclaim().map_err(|error| told(&error))?;
    let left = (0..rows).filter(|row| !(row / BATCH).is_multiple_of(3)).count() as u64;
    scanned += scan(&engine, table, left)?;
    engine.close().map_err(|error| told(&error))?;
    print_measured(Measured {
        start,
        peak: peak()?,
        data: Bytes::new(rows * WIDE as u64),
        scanned,
    });
    Ok(())
}

/// Merges what is worth it, as whoever schedules the store's background work would.
fn merge(engine: &Engine) -> Result<(), String> {
    while !engine.merge_step(10_000).map_err(|error| error.to_string())?.done {}
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the child answers its parent on standard output")]
fn print_measured(measured: Measured) {
    let Measured { start, peak, data, scanned } = measured;
    println!("{} {} {} {scanned}", start.get(), peak.get(), data.get());
}

fn name(row: u64) -> Vec<u8> {
    format!("row-{row:09}").into_bytes()
}

fn fill(table: TableId, rows: std::ops::Range<u64>) -> Batch {
    let mut batch = Batch::new();
    for row in rows {
        let mut dice = Dice::stream(14, row);
        let (text, wide) = (dice.bytes(20), dice.bytes(WIDE));
        batch.put(table, &name(row), &[Some(&text), Some(&wide)]);
    }
    batch
}

/// Visits every wide cell and every twentieth key.
fn scan(engine: &Engine, table: TableId, rows: u64) -> Result<u64, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let snapshot = engine.snapshot();
    let view = snapshot.table(table).map_err(|error| told(&error))?.ok_or("no table")?;
    let (mut seen, mut sum) = (0, 0_u64);
    for block in view.blocks(1, BLOCK_ROWS) {
        let visited = view.visit(&block, &[1], &mut |cells| {
            for index in (0..cells.rows.len()).filter(|&index| !cells.is_dead(index)) {
                let cell = &cells.cells[0][index * WIDE..(index + 1) * WIDE];
                sum = cell.iter().fold(sum, |sum, &byte| sum.wrapping_add(u64::from(byte)));
                seen += 1;
            }
        });
        visited.map_err(|error| told(&error))?;
    }
    std::hint::black_box(sum);
    if seen != rows || view.len() != rows {
        return Err(format!("a scan saw {seen} of {rows} rows, {} by count", view.len()));
    }
    for row in (BATCH..BATCH * 2).step_by(20) {
        view.find(&name(row)).map_err(|error| told(&error))?.ok_or("a row is missing")?;
    }
    Ok(seen)
}

/// Runs the child of `binary` on a store in `directory`.
///
/// # Errors
/// What the child said, or a peak above `budget` and [`BASE`].
pub fn measure(binary: &Path, directory: &Path, budget: Bytes) -> Result<Measured, String> {
    let output = Command::new(binary)
        .arg("child-bounded")
        .arg(directory)
        .arg(budget.get().to_string())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let numbers: Vec<u64> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [start, peak, data, scanned] = numbers[..] else {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("the child said {said:?} and {why:?}, {}", output.status));
    };
    let [start, peak, data] = [start, peak, data].map(Bytes::new);
    if peak.get() > budget.get() + BASE.get() {
        return Err(format!(
            "peak {peak} with a budget of {budget} and a base of {BASE}, {data} of data; it began \
             with {start}"
        ));
    }
    Ok(Measured { start, peak, data, scanned })
}
