//! What does a key cost that is not there, and new keys beside many unmerged segments?
//!
//! A store that seals and never merges, under a small budget: the worst case of look-ups, since most
//! windows are not resident. Nothing is synced by the write itself, so that the disk does not hide the
//! look-ups.

use std::path::Path;
use std::sync::Arc;

use ambit_mem::{Account, Budget, Bytes, Priority};
use ambit_store::engine::{Batch, Durability, Engine, EngineOptions, TableView};
use ambit_store::geometry::Geometry;
use ambit_store::host::OsHost;
use ambit_store::log::{CellLayout, Column, TableId};
use ambit_store::vfs::OsFs;

use super::Bench;
use crate::error::BenchError;
use crate::row::{Row, Table, Target};
use crate::timing::time;

const BUDGET: Bytes = Bytes::mib(32);
const SEGMENTS: usize = 50;
const DIM: usize = 384;
const BODY: usize = 200;
/// Rows of a batch.
const BATCH: u64 = 64;
/// Rows whose writing is timed.
const NEW_ROWS: u64 = 16 << 10;
const LOOKUPS: u64 = 20_000;

/// A store that is only written to.
struct Unmerged {
    engine: Engine,
    table: TableId,
    rows: u64,
    filters: Account,
}

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let path = bench.fresh("keys")?;
    let mut store = Unmerged::create(&path)?;
    let alone = store.ingest(NEW_ROWS)?;
    while store.segments() < SEGMENTS {
        store.ingest(BATCH)?;
    }
    let case = format!("keys, {SEGMENTS} unmerged segments x {DIM}, {BUDGET}");
    let absent = store.look_up("other", |found| !found)?;
    let present = store.look_up("key", |found| found)?;
    let windows = "windows brought in by a look-up";
    table.add(
        Row::new(&case, "look-up of an absent key, mean", absent.seconds * 1e9, "ns")
            .peer("of one that is there", present.seconds * 1e9),
    )?;
    table.add(
        Row::new(&case, &format!("{windows} of an absent key"), absent.windows, "")
            .peer("of one that is there", present.windows)
            .target(Target::AtMost(0.3)),
    )?;
    let of_filters = store.filters.used().get() as f64;
    let sealed = store.sealed_rows()?;
    table.add(
        Row::new(&case, "filters in memory", of_filters * 8.0 / sealed, "bits a key")
            .target(Target::AtMost(12.0)),
    )?;
    let beside = store.ingest(NEW_ROWS)?;
    table.add(
        Row::new(&case, "ingest of new keys", beside, "MB/s")
            .peer("beside none", alone)
            .ratio_target(Target::AtLeast(0.5)),
    )?;
    store.engine.close()?;
    bench.fresh("keys")?;
    Ok(())
}

/// What look-ups took, each.
struct LookUp {
    seconds: f64,
    windows: f64,
}

impl Unmerged {
    fn create(path: &Path) -> Result<Self, BenchError> {
        let geometry = Geometry {
            memtable: (BUDGET.get() / 8) as usize,
            copy_buffer: (BUDGET.get() / 64) as usize,
            ..Geometry::STANDARD
        };
        let durability = Durability::Async;
        let options = EngineOptions { geometry, create: true, durability, ..Default::default() };
        let budget = Budget::new(BUDGET);
        let host = Arc::new(OsHost::new());
        let engine = Engine::open(Arc::new(OsFs::create(path)?), host, &budget, options)?;
        let columns = vec![
            Column { name: "body".into(), layout: CellLayout::Var },
            Column { name: "vector".into(), layout: CellLayout::Fixed(4 * DIM as u32) },
        ];
        let table = engine.create_table("keys", &[], columns)?;
        let filters = budget.account("store/filters", Priority::Cache);
        Ok(Self { engine, table, rows: 0, filters })
    }

    fn view(&self) -> Result<TableView, BenchError> {
        let view = self.engine.snapshot().table(self.table)?;
        view.ok_or_else(|| BenchError::new("the table is gone"))
    }

    fn segments(&self) -> usize {
        self.engine.tables().iter().map(|table| table.segments).sum()
    }

    fn sealed_rows(&self) -> Result<f64, BenchError> {
        let view = self.view()?;
        Ok((0..view.parts() - 1).map(|part| view.rows_in(part)).sum::<u64>() as f64)
    }

    /// Writes rows of new keys; gives MB of cells a second.
    fn ingest(&mut self, rows: u64) -> Result<f64, BenchError> {
        let (body, mut vector) = ([b'b'; BODY], vec![0_u8; 4 * DIM]);
        let (outcome, took) = time(|| {
            for first in (0..rows).step_by(BATCH as usize) {
                let mut batch = Batch::new();
                for row in first..rows.min(first + BATCH) {
                    let number = self.rows + row;
                    vector[..8].copy_from_slice(&number.to_le_bytes());
                    let key = format!("key {number}");
                    batch.put(self.table, key.as_bytes(), &[Some(&body), Some(&vector)]);
                }
                self.engine.write(batch)?;
            }
            Ok::<_, BenchError>(())
        })?;
        outcome?;
        self.rows += rows;
        Ok((rows * (BODY + 4 * DIM) as u64) as f64 / took.wall / 1e6)
    }

    /// Looks keys up, all over the store, and holds each answer against what is expected. The first
    /// look-ups, which bring the filters in, are not counted.
    fn look_up(&self, what: &str, expected: fn(bool) -> bool) -> Result<LookUp, BenchError> {
        let view = self.view()?;
        let find = |from: u64, count: u64| {
            for number in from..from + count {
                let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.rows;
                if !expected(view.find(format!("{what} {key}").as_bytes())?.is_some()) {
                    return Err(BenchError::new(format!("a wrong answer for {what} {key}")));
                }
            }
            Ok(())
        };
        find(0, LOOKUPS / 10)?;
        let before = self.engine.windows_charged();
        let (outcome, took) = time(|| find(LOOKUPS / 10, LOOKUPS))?;
        outcome?;
        let windows = (self.engine.windows_charged() - before) as f64 / LOOKUPS as f64;
        Ok(LookUp { seconds: took.wall / LOOKUPS as f64, windows })
    }
}
