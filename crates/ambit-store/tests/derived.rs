//! Derived files: there or not, never believed when they are not what was written, gone with
//! their segment.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;

use ambit_mem::{Budget, Bytes};
use ambit_store::StoreError;
use ambit_store::engine::{Access, Batch, Derived, Engine, EngineOptions, TableView};
use ambit_store::geometry::Geometry;
use ambit_store::host::OsHost;
use ambit_store::log::{CellLayout, Column};
use ambit_store::segment::Segment;
use ambit_store::vfs::{OpenMode, SimFs, Vfs};

const SLOT: u16 = 5;

fn open(vfs: &Arc<dyn Vfs>, access: Access) -> Engine {
    let create = access == Access::Write;
    let options =
        EngineOptions { geometry: Geometry::SMALL, access, create, ..EngineOptions::default() };
    let budget = Budget::new(Bytes::mib(16));
    Engine::open(Arc::clone(vfs), Arc::new(OsHost::new()), &budget, options).unwrap()
}

/// A store with one table of one segment of ten rows.
fn with_segment() -> (Arc<dyn Vfs>, Engine) {
    let vfs: Arc<dyn Vfs> = Arc::new(SimFs::new());
    let engine = open(&vfs, Access::Write);
    let column = Column { name: "number".into(), layout: CellLayout::Fixed(4) };
    let table = engine.create_table("t", &[], vec![column]).unwrap();
    let mut batch = Batch::new();
    for row in 0..10u32 {
        batch.put(table, format!("key{row}").as_bytes(), &[Some(&row.to_le_bytes())]);
    }
    engine.write(batch).unwrap();
    engine.seal().unwrap();
    (vfs, engine)
}

fn view(engine: &Engine) -> TableView {
    let id = engine.tables()[0].id;
    engine.snapshot().table(id).unwrap().unwrap()
}

/// The squares of a segment's numbers, as a derived file.
fn derive(engine: &Engine) {
    let view = view(engine);
    let mut writer = engine.derive(&view, 0, SLOT).unwrap();
    writer.file.begin("squares", 4).unwrap();
    let mut outcome = Ok(());
    view.cells(0, 0, 0..view.cells_in(0, 0), &mut |cells| {
        for cell in cells.as_chunks::<4>().0 {
            let number = u32::from_le_bytes(*cell);
            outcome = writer.file.write(&(number * number).to_le_bytes());
        }
    })
    .unwrap();
    outcome.unwrap();
    writer.file.end().unwrap();
    writer.finish().unwrap();
}

fn squares(view: &TableView) -> Derived<Vec<u32>> {
    let make = |segment: Arc<Segment>| -> Result<Vec<u32>, StoreError> {
        let section = segment.section("squares").unwrap();
        Ok(segment.read(section, 0..section.len)?.as_u32()?.to_vec())
    };
    view.derived(0, SLOT, &make).unwrap()
}

fn assert_ready(view: &TableView) {
    let Derived::Ready(found) = squares(view) else { panic!("{:?}", squares(view)) };
    assert_eq!(*found, (0..10).map(|number| number * number).collect::<Vec<u32>>());
}

fn derived_files(vfs: &Arc<dyn Vfs>) -> Vec<String> {
    vfs.list().unwrap().into_iter().filter(|name| name.starts_with("derived-")).collect()
}

#[test]
fn a_derived_file_is_found_at_once_and_after_reopening() {
    let (vfs, engine) = with_segment();
    assert!(matches!(squares(&view(&engine)), Derived::Missing));
    derive(&engine);
    assert_ready(&view(&engine));
    let report = engine.verify(&mut |_, _| true).unwrap();
    assert_eq!((report.problems.len(), report.files), (0, 5), "{report:?}");
    engine.close().unwrap();
    drop(engine);
    let engine = open(&vfs, Access::Write);
    assert_ready(&view(&engine));
    assert_ready(&view(&open(&vfs, Access::Read)));
    // Again, over the old one.
    derive(&engine);
    assert_ready(&view(&engine));
    assert_eq!(derived_files(&vfs).len(), 1);
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let (vfs, engine) = with_segment();
    let before = vfs.list().unwrap();
    let mut writer = engine.derive(&view(&engine), 0, SLOT).unwrap();
    writer.file.begin("squares", 4).unwrap();
    drop(writer);
    assert_eq!(vfs.list().unwrap(), before);
    assert!(matches!(squares(&view(&engine)), Derived::Missing));
    assert!(engine.derive(&view(&engine), 1, SLOT).is_err(), "the memtable is no segment");
}

#[test]
fn a_derived_file_goes_with_its_segment() {
    let (vfs, engine) = with_segment();
    derive(&engine);
    assert_eq!(derived_files(&vfs).len(), 1);
    let table = engine.tables()[0].id;
    engine.drop_table(table).unwrap();
    engine.reclaim().unwrap();
    assert_eq!(derived_files(&vfs), Vec::<String>::new());

    let (vfs, engine) = with_segment();
    derive(&engine);
    engine.drop_table(engine.tables()[0].id).unwrap();
    engine.close().unwrap();
    drop(engine);
    drop(open(&vfs, Access::Write));
    assert_eq!(derived_files(&vfs), Vec::<String>::new());
}

#[test]
fn any_flipped_bit_is_damage_or_an_error_and_never_another_answer() {
    let (vfs, engine) = with_segment();
    derive(&engine);
    engine.close().unwrap();
    drop(engine);
    let [name] = &derived_files(&vfs)[..] else { panic!("one file") };
    let len = vfs.open(name, OpenMode::Read).unwrap().len().unwrap();
    for at in 0..len {
        let file = vfs.open(name, OpenMode::Write).unwrap();
        let mut byte = [0];
        assert_eq!(file.read_at(at, &mut byte).unwrap(), 1);
        file.write_at(at, &[byte[0] ^ 1 << (at % 8)]).unwrap();
        let engine = open(&vfs, Access::Read);
        match squares(&view(&engine)) {
            Derived::Damaged(what) => assert!(what.contains("derived-"), "{what}"),
            found => panic!("byte {at} of {len}: {found:?}"),
        }
        let report = engine.verify(&mut |_, _| true).unwrap();
        assert!(report.problems.iter().any(|line| line.contains("nothing is lost")), "{at}");
        file.write_at(at, &byte).unwrap();
    }
    assert_ready(&view(&open(&vfs, Access::Read)));
}

#[test]
fn a_file_derived_from_another_segment_is_not_believed() {
    let (vfs, engine) = with_segment();
    derive(&engine);
    let mut batch = Batch::new();
    let table = engine.tables()[0].id;
    batch.put(table, b"new", &[Some(&[1, 0, 0, 0])]);
    engine.write(batch).unwrap();
    engine.seal().unwrap();
    engine.close().unwrap();
    drop(engine);
    let [name] = &derived_files(&vfs)[..] else { panic!("one file") };
    let engine = open(&vfs, Access::Write);
    let other = format!("derived-{:08x}-{SLOT:04x}", view(&engine).segment_id(1).unwrap());
    assert_ne!(*name, other);
    vfs.rename(name, &other).unwrap();
    let make = |_: Arc<Segment>| -> Result<Vec<u32>, StoreError> { Ok(Vec::new()) };
    let found = view(&engine).derived(1, SLOT, &make).unwrap();
    assert!(matches!(found, Derived::Damaged(_)), "{found:?}");
    view(&engine).forget_derived(0, SLOT, "seen to be wrong");
    assert!(
        matches!(squares(&view(&engine)), Derived::Damaged(what) if what == "seen to be wrong")
    );
}
