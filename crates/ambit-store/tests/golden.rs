//! Stores of every format version so far open in this one, and read the same.
//!
//! `tests/golden/store-v1` was written by `fill` below at format version 1; a new version adds a
//! directory beside it and never touches the old ones. It holds every kind of file: superblocks,
//! a manifest, log files with unsealed rows, segments with dead rows, a named version.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ambit_mem::{Budget, Bytes};
use ambit_store::engine::{Access, Batch, Engine, EngineOptions, Snapshot};
use ambit_store::geometry::Geometry;
use ambit_store::host::OsHost;
use ambit_store::log::{CellLayout, Column, TableId};
use ambit_store::segment::Io;
use ambit_store::vfs::OsFs;

type Rows = BTreeMap<Vec<u8>, (Option<Vec<u8>>, Option<Vec<u8>>)>;

fn open(vfs: OsFs, access: Access, io: Io) -> Engine {
    let create = access == Access::Write;
    let geometry = Geometry::SMALL;
    let options = EngineOptions { geometry, access, create, io, ..EngineOptions::default() };
    let budget = Budget::new(Bytes::mib(16));
    Engine::open(Arc::new(vfs), Arc::new(OsHost::new()), &budget, options).unwrap()
}

fn key(n: u32) -> Vec<u8> {
    format!("key {n}").into_bytes()
}

/// Bytes that anybody can work out again.
fn bytes(n: u32, len: usize) -> Vec<u8> {
    (0..len).map(|at| (n as usize * 31 + at * 7) as u8).collect()
}

fn put(engine: &Engine, table: TableId, rows: &mut Rows, numbers: std::ops::Range<u32>, salt: u32) {
    for n in numbers {
        let body = (n % 5 != 0).then(|| bytes(n + salt, n as usize % 50));
        let vector = (n % 3 != 0).then(|| bytes(n + salt, 16));
        let mut batch = Batch::new();
        batch.put(table, &key(n), &[body.as_deref(), vector.as_deref()]);
        engine.write(batch).unwrap();
        rows.insert(key(n), (body, vector));
    }
}

/// Writes the golden store; gives what it holds now, and what its version `first` holds.
fn fill(engine: &Engine) -> (Rows, Rows) {
    let columns = vec![
        Column { name: "body".into(), layout: CellLayout::Var },
        Column { name: "vector".into(), layout: CellLayout::Fixed(16) },
    ];
    let table = engine.create_table("rows", b"a schema", columns).unwrap();
    let mut rows = Rows::new();
    put(engine, table, &mut rows, 0..60, 0);
    engine.create_version("first").unwrap();
    let first = rows.clone();
    put(engine, table, &mut rows, 40..90, 1000);
    engine.seal().unwrap();
    let mut batch = Batch::new();
    for n in (0..90).step_by(7) {
        batch.delete(table, &key(n));
        rows.remove(&key(n));
    }
    engine.write(batch).unwrap();
    put(engine, table, &mut rows, 85..95, 2000);
    (rows, first)
}

fn dump(snapshot: &Snapshot) -> Rows {
    let table = snapshot.table_named("rows").unwrap();
    assert_eq!(table.schema, b"a schema");
    let view = snapshot.table(table.id).unwrap().unwrap();
    let mut rows = Rows::new();
    for part in 0..view.parts() {
        view.scan_part(part, 0, &mut |row| {
            rows.insert(view.key(row)?, (view.cell(row, 0)?, view.cell(row, 1)?));
            Ok(true)
        })
        .unwrap();
    }
    rows
}

/// Set `AMBIT_GOLDEN` to a new directory to keep the store that this test writes.
#[test]
fn the_golden_store_of_version_1_reads_like_one_written_now() {
    let scratch = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("AMBIT_GOLDEN");
    let dir = kept.as_deref().map_or_else(|| scratch.path().join("store"), Into::into);
    let engine = open(OsFs::create(&dir).unwrap(), Access::Write, Io::Map);
    let (now, first) = fill(&engine);
    assert_eq!(dump(&engine.snapshot()), now);
    assert_eq!(dump(&engine.snapshot_of("first").unwrap()), first);
    engine.close().unwrap();
    drop(engine);

    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/store-v1");
    for io in [Io::Map, Io::Pread] {
        let engine = open(OsFs::open(&golden).unwrap(), Access::Read, io);
        assert_eq!(dump(&engine.snapshot()), now);
        assert_eq!(engine.verify(&mut |_, _| true).unwrap().problems, Vec::<String>::new());
    }
}

#[test]
fn a_copy_of_the_golden_store_of_version_1_can_be_written_to() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/store-v1");
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let engine = open(OsFs::open(dir.path()).unwrap(), Access::Write, Io::Map);
    let mut rows = dump(&engine.snapshot());
    let table = engine.tables()[0].id;
    put(&engine, table, &mut rows, 200..220, 5);
    engine.seal().unwrap();
    while !engine.merge_step(100).unwrap().done {}
    engine.reclaim().unwrap();
    assert_eq!(dump(&engine.snapshot()), rows);
    assert_eq!(dump(&engine.snapshot_of("first").unwrap()).len(), 60);
    engine.rollback("first").unwrap();
    assert_eq!(dump(&engine.snapshot()).len(), 60);
}
