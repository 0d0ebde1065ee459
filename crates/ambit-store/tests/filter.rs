//! A filter in front of each segment changes what is read, never what is found.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use ambit_mem::{Budget, Bytes, Priority, Refusal};
use ambit_store::engine::{Access, Batch, Engine, EngineOptions, TableView};
use ambit_store::geometry::Geometry;
use ambit_store::host::OsHost;
use ambit_store::log::{CellLayout, Column, TableId};
use ambit_store::vfs::{OpenMode, SimFs, Vfs, read_exact_at, write_all_at};

/// Small blocks and windows, but segments of thousands of rows.
const GEOMETRY: Geometry = Geometry { memtable: 4 << 20, log_file: 4 << 20, ..Geometry::SMALL };

fn open(vfs: &Arc<dyn Vfs>, budget: &Budget, access: Access) -> Engine {
    let create = access == Access::Write;
    let options = EngineOptions { geometry: GEOMETRY, access, create, ..EngineOptions::default() };
    Engine::open(Arc::clone(vfs), Arc::new(OsHost::new()), budget, options).unwrap()
}

fn table(engine: &Engine) -> TableId {
    match engine.tables().first() {
        Some(table) => table.id,
        None => {
            let number = Column { name: "number".into(), layout: CellLayout::Fixed(4) };
            engine.create_table("t", &[], vec![number]).unwrap()
        }
    }
}

fn view(engine: &Engine) -> TableView {
    engine.snapshot().table(table(engine)).unwrap().unwrap()
}

/// A sealed segment of these keys.
fn seal(engine: &Engine, numbers: std::ops::Range<u32>) {
    let table = table(engine);
    for first in numbers.clone().step_by(50) {
        let mut batch = Batch::new();
        for number in first..numbers.end.min(first + 50) {
            batch.put(table, &key(number), &[Some(&number.to_le_bytes())]);
        }
        engine.write(batch).unwrap();
    }
    engine.seal().unwrap();
}

fn key(number: u32) -> Vec<u8> {
    format!("key {number}").into_bytes()
}

/// How many of these keys are there? Each that is has its own number.
fn found(view: &TableView, numbers: std::ops::Range<u32>) -> usize {
    let mut found = 0;
    for number in numbers {
        if let Some(row) = view.find(&key(number)).unwrap() {
            assert_eq!(view.cell(row, 0).unwrap().unwrap(), number.to_le_bytes());
            found += 1;
        }
    }
    found
}

fn filters(budget: &Budget) -> Bytes {
    budget.account("store/filters", Priority::Cache).used()
}

/// Names of the segments' files, and where their filters lie in them.
fn filter_places(vfs: &Arc<dyn Vfs>) -> Vec<(String, Option<usize>)> {
    let names = vfs.list().unwrap().into_iter().filter(|name| name.starts_with("segment-"));
    names
        .map(|name| {
            let file = vfs.open(&name, OpenMode::Read).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            read_exact_at(&*file, 0, &mut bytes).unwrap();
            let at = bytes.windows(4).position(|window| window == b"ABF1");
            (name, at)
        })
        .collect()
}

#[test]
fn absent_keys_bring_in_next_to_nothing_also_after_reopening() {
    let vfs: Arc<dyn Vfs> = Arc::new(SimFs::new());
    let budget = Budget::new(Bytes::mib(16));
    let engine = open(&vfs, &budget, Access::Write);
    for first in (0..20_000).step_by(2000) {
        seal(&engine, first..first + 2000);
    }
    engine.close().unwrap();
    drop(engine);
    assert_eq!(budget.used(), Bytes::ZERO);
    // Ten segments of 90 KiB, and room for no more than some of their windows.
    let budget = Budget::new(Bytes::kib(400));
    for access in [Access::Write, Access::Read] {
        let engine = open(&vfs, &budget, access);
        let view = view(&engine);
        assert_eq!(filters(&budget), Bytes::ZERO, "nothing is read before it is asked for");
        assert_eq!(found(&view, 20_000..20_100), 0);
        let of_filters = filters(&budget).get() as f64;
        assert!(of_filters > 20_000.0 && of_filters < 20_000.0 * 13.0 / 8.0, "{of_filters} B");
        let before = engine.windows_charged();
        assert_eq!(found(&view, 30_000..40_000), 0);
        let windows = engine.windows_charged() - before;
        assert!(windows < 1200, "{windows} windows for 10,000 look-ups in ten segments");
        assert_eq!(found(&view, 0..20_000), 20_000);
        drop((view, engine));
        assert_eq!(budget.used(), Bytes::ZERO);
    }
}

#[test]
fn seals_imports_and_merges_write_filters_of_the_keys_they_write() {
    let vfs: Arc<dyn Vfs> = Arc::new(SimFs::new());
    let budget = Budget::new(Bytes::mib(16));
    let engine = open(&vfs, &budget, Access::Write);
    for first in (0..1200).step_by(300) {
        seal(&engine, first..first + 300);
    }
    let mut bulk = engine.bulk(table(&engine), 0).unwrap();
    for number in 1000..1500_u32 {
        bulk.push(&key(number), &[Some(&number.to_le_bytes())]).unwrap();
    }
    bulk.finish().unwrap();
    let places = filter_places(&vfs);
    assert_eq!(places.len(), 5);
    assert!(places.iter().all(|(_, at)| at.is_some()), "{places:?}");
    let mut batch = Batch::new();
    (0..700).step_by(7).for_each(|number| batch.delete(table(&engine), &key(number)));
    engine.write(batch).unwrap();
    engine.seal().unwrap();
    while !engine.merge_step(100).unwrap().done {}
    engine.reclaim().unwrap();
    let places = filter_places(&vfs);
    assert!(places.len() < 5 && places[0].1.is_some(), "{places:?}");
    assert_eq!(found(&view(&engine), 0..3000), 1400);
    assert_eq!(engine.verify(&mut |_, _| true).unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_damaged_filter_is_done_without_and_said_by_the_verification() {
    let vfs: Arc<dyn Vfs> = Arc::new(SimFs::new());
    let budget = Budget::new(Bytes::mib(16));
    let engine = open(&vfs, &budget, Access::Write);
    seal(&engine, 0..10_000);
    engine.close().unwrap();
    drop(engine);
    let (name, at) = filter_places(&vfs).pop().unwrap();
    // In a block that has nothing but the filter.
    let at = (at.unwrap() as u64).next_multiple_of(4096) + 1000;
    let file = vfs.open(&name, OpenMode::Write).unwrap();
    let mut byte = [0];
    read_exact_at(&*file, at, &mut byte).unwrap();
    write_all_at(&*file, at, &[byte[0] ^ 1]).unwrap();
    let engine = open(&vfs, &budget, Access::Write);
    assert_eq!(found(&view(&engine), 0..11_000), 10_000);
    assert_eq!(filters(&budget), Bytes::ZERO);
    let problems = engine.verify(&mut |_, _| true).unwrap().problems;
    assert!(problems.len() == 1 && problems[0].contains("checksum"), "{problems:?}");
}

#[test]
fn a_refused_reservation_leaves_out_a_filter_and_no_answer() {
    let vfs: Arc<dyn Vfs> = Arc::new(SimFs::new());
    let budget = Budget::new(Bytes::mib(16));
    let engine = open(&vfs, &budget, Access::Write);
    for first in (0..400).step_by(100) {
        seal(&engine, first..first + 100);
    }
    drop(engine);
    let mut without = 0;
    for refused in 0..40 {
        let engine = open(&vfs, &budget, Access::Write);
        let view = view(&engine);
        budget.plant_refusal(Some(Refusal::Once(refused)));
        let found: Vec<bool> = (0..500)
            .filter_map(|number| Some(view.find(&key(number)).ok()?.is_some() == (number < 400)))
            .collect();
        budget.plant_refusal(None);
        assert!(found.len() >= 499 && found.iter().all(|is_right| *is_right), "{refused}");
        without += usize::from(found.len() == 500);
        drop((view, engine));
        assert_eq!(budget.outstanding(), Vec::new(), "{refused}");
    }
    assert!(without > 0);
    // While they are built.
    let engine = open(&vfs, &budget, Access::Write);
    for refused in 0..30 {
        let first = 1000 + refused as u32 * 100;
        let mut batch = Batch::new();
        batch.put(table(&engine), &key(first), &[Some(&first.to_le_bytes())]);
        engine.write(batch).unwrap();
        budget.plant_refusal(Some(Refusal::Once(refused)));
        let sealed = engine.seal();
        budget.plant_refusal(None);
        if sealed.is_err() {
            engine.seal().unwrap();
        }
        assert_eq!(found(&view(&engine), first..first + 100), 1, "{refused}");
    }
    assert_eq!(found(&view(&engine), 0..4000), 430);
    assert_eq!(engine.verify(&mut |_, _| true).unwrap().problems, Vec::<String>::new());
}
