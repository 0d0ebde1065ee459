//! The engine against a naive model, on a simulated directory: every operation, in any order.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use ambit_mem::{Budget, Bytes};
use ambit_store::bugs::Bugs;
use ambit_store::engine::{Access, Batch, Engine, EngineOptions, Snapshot};
use ambit_store::geometry::Geometry;
use ambit_store::host::Host;
use ambit_store::log::{CellLayout, Column, TableId};
use ambit_store::vfs::{SimFs, Vfs};
use proptest::prelude::*;

struct TestHost;

impl Host for TestHost {
    fn unix_micros(&self) -> u64 {
        1_000_000
    }
    fn random_u64(&self) -> u64 {
        7
    }
    fn pid(&self) -> u32 {
        1
    }
    fn started_micros(&self) -> u64 {
        0
    }
}

type Row = (Option<Vec<u8>>, Option<Vec<u8>>);
type Model = BTreeMap<Vec<u8>, Row>;

fn open(vfs: &Arc<dyn Vfs>, create: bool) -> Engine {
    let options = EngineOptions {
        geometry: Geometry::SMALL,
        access: Access::Write,
        create,
        bugs: Bugs::NONE,
        ..EngineOptions::default()
    };
    let budget = Budget::new(Bytes::mib(16));
    Engine::open(Arc::clone(vfs), Arc::new(TestHost), &budget, options).unwrap()
}

fn columns() -> Vec<Column> {
    vec![
        Column { name: "body".into(), layout: CellLayout::Var },
        Column { name: "vector".into(), layout: CellLayout::Fixed(12) },
    ]
}

fn table(engine: &Engine) -> TableId {
    engine.tables()[0].id
}

fn dump(snapshot: &Snapshot, table: TableId) -> Model {
    let view = snapshot.table(table).unwrap().unwrap();
    let mut rows = Model::new();
    for part in 0..view.parts() {
        view.scan_part(part, 0, &mut |row| {
            let key = view.key(row)?;
            assert_eq!(view.find(&key)?, Some(row));
            let old = rows.insert(key, (view.cell(row, 0)?, view.cell(row, 1)?));
            assert!(old.is_none(), "a key is live twice");
            Ok(true)
        })
        .unwrap();
    }
    assert_eq!(rows.len() as u64, view.len());
    assert_eq!(scan_vectors(&view), vectors_of(&rows));
    rows
}

fn scan_vectors(view: &ambit_store::engine::TableView) -> Vec<Vec<u8>> {
    let mut vectors = Vec::new();
    for block in view.blocks(1, 3) {
        view.visit(&block, &[1], &mut |block| {
            for (index, cell) in block.cells[0].chunks_exact(12).enumerate() {
                if !block.is_dead(index) {
                    vectors.push(cell.to_vec());
                }
            }
        })
        .unwrap();
    }
    vectors.sort();
    vectors
}

fn vectors_of(model: &Model) -> Vec<Vec<u8>> {
    let mut vectors: Vec<_> = model.values().filter_map(|row| row.1.clone()).collect();
    vectors.sort();
    vectors
}

/// A key, and what is put there (body, has a vector), or that it is deleted.
type Op = (u8, Option<(Option<u8>, bool)>);

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Op>),
    Seal,
    Merge(u8),
    Reclaim,
    Reopen,
    Version,
    Rollback(u8),
    Bulk(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let cell = (proptest::option::of(any::<u8>()), any::<bool>());
    let write = (0u8..24, proptest::option::weighted(0.75, cell));
    prop_oneof![
        8 => prop::collection::vec(write, 1..6).prop_map(Step::Write),
        3 => Just(Step::Seal),
        4 => (1u8..40).prop_map(Step::Merge),
        1 => Just(Step::Reclaim),
        2 => Just(Step::Reopen),
        1 => Just(Step::Version),
        1 => any::<u8>().prop_map(Step::Rollback),
        2 => prop::collection::vec(0u8..24, 1..12).prop_map(Step::Bulk),
    ]
}

fn row(key: u8, body: Option<u8>, vector: bool) -> Row {
    let body = body.map(|body| vec![body; usize::from(body) % 40]);
    (body, vector.then(|| (0..12).map(|at| key.wrapping_mul(7) ^ at).collect()))
}

fn key(key: u8) -> Vec<u8> {
    format!("key-{key}").into_bytes()
}

fn write(engine: &Engine, id: TableId, model: &mut Model, ops: Vec<Op>) {
    let mut batch = Batch::new();
    for (number, put) in ops {
        match put {
            Some((body, vector)) => {
                let row = row(number, body, vector);
                batch.put(id, &key(number), &[row.0.as_deref(), row.1.as_deref()]);
                model.insert(key(number), row);
            }
            None => {
                batch.delete(id, &key(number));
                model.remove(&key(number));
            }
        }
    }
    assert!(engine.write(batch).unwrap().durable);
}

fn bulk(engine: &Engine, id: TableId, model: &mut Model, mut keys: Vec<u8>) {
    keys.sort_unstable();
    keys.dedup();
    let mut bulk = engine.bulk(id, 1).unwrap();
    for number in keys {
        let row = row(number, Some(number), true);
        bulk.push(&key(number), &[row.0.as_deref(), row.1.as_deref()]).unwrap();
        model.insert(key(number), row);
    }
    bulk.finish().unwrap();
}

fn run(steps: Vec<Step>) {
    let vfs: Arc<dyn Vfs> = Arc::new(SimFs::new());
    let mut engine = open(&vfs, true);
    engine.create_table("rows", b"schema", columns()).unwrap();
    let id = table(&engine);
    let mut model = Model::new();
    let mut versions: Vec<(String, Model)> = Vec::new();
    let mut digests: BTreeMap<u128, Model> = BTreeMap::new();
    for step in steps {
        let before = engine.snapshot();
        let expected = model.clone();
        match step {
            Step::Write(ops) => write(&engine, id, &mut model, ops),
            Step::Seal => engine.seal().unwrap(),
            Step::Merge(rows) => {
                engine.merge_step(u32::from(rows)).unwrap();
            }
            Step::Reclaim => {
                engine.reclaim().unwrap();
            }
            Step::Reopen => {
                engine.close().unwrap();
                drop(engine);
                engine = open(&vfs, false);
            }
            Step::Version => {
                let name = format!("v{}", versions.len());
                engine.create_version(&name).unwrap();
                versions.push((name, model.clone()));
            }
            Step::Rollback(which) if !versions.is_empty() => {
                let (name, rows) = &versions[usize::from(which) % versions.len()];
                engine.rollback(name).unwrap();
                model = rows.clone();
            }
            Step::Rollback(_) => {}
            Step::Bulk(keys) => bulk(&engine, id, &mut model, keys),
        }
        assert_eq!(dump(&before, id), expected, "a snapshot changed");
        let now = engine.snapshot();
        assert_eq!(dump(&now, id), model);
        let digest = now.table(id).unwrap().unwrap().digest();
        assert_eq!(digests.entry(digest).or_insert_with(|| model.clone()), &model);
        for (name, rows) in &versions {
            assert_eq!(&dump(&engine.snapshot_of(name).unwrap(), id), rows);
        }
    }
    let report = engine.verify(&mut |_, _| true).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn any_operations_in_any_order_match_the_model(steps in prop::collection::vec(step(), 1..40)) {
        run(steps);
    }
}

#[test]
fn keys_cells_and_columns_are_taken_up_to_their_limits_and_not_beyond() {
    use ambit_store::limits::{MAX_CELL, MAX_COLUMNS, MAX_KEY, MAX_STRIDE};
    let options = EngineOptions { create: true, ..EngineOptions::default() };
    let budget = Budget::new(Bytes::mib(256));
    let vfs: Arc<dyn Vfs> = Arc::new(SimFs::new());
    let engine = Engine::open(vfs, Arc::new(TestHost), &budget, options).unwrap();
    let var = |name: usize| Column { name: name.to_string(), layout: CellLayout::Var };
    for (count, fits) in [(MAX_COLUMNS - 1, true), (MAX_COLUMNS, true), (MAX_COLUMNS + 1, false)] {
        let columns = (0..count).map(var).collect();
        let made = engine.create_table(&format!("columns {count}"), &[], columns);
        assert_eq!(made.is_ok(), fits, "{count} columns");
    }
    for (stride, fits) in [(MAX_STRIDE - 1, true), (MAX_STRIDE, true), (MAX_STRIDE + 1, false)] {
        let columns = vec![Column { name: "f".into(), layout: CellLayout::Fixed(stride as u32) }];
        let made = engine.create_table(&format!("stride {stride}"), &[], columns);
        assert_eq!(made.is_ok(), fits, "stride {stride}");
    }
    let id = engine.create_table("rows", &[], vec![var(0)]).unwrap();
    let write = |key: &[u8], cell: &[u8]| {
        let mut batch = Batch::new();
        batch.put(id, key, &[Some(cell)]);
        engine.write(batch).is_ok()
    };
    for (len, fits) in
        [(0, false), (1, true), (MAX_KEY - 1, true), (MAX_KEY, true), (MAX_KEY + 1, false)]
    {
        assert_eq!(write(&vec![b'k'; len], b"x"), fits, "a key of {len} bytes");
    }
    for (len, fits) in [(MAX_CELL - 1, true), (MAX_CELL, true), (MAX_CELL + 1, false)] {
        assert_eq!(write(b"cell", &vec![7; len]), fits, "a cell of {len} bytes");
    }
    let view = engine.snapshot().table(id).unwrap().unwrap();
    let row = view.find(b"cell").unwrap().unwrap();
    assert_eq!(view.cell(row, 0).unwrap().unwrap().len(), MAX_CELL);
}
