//! Answers with code planes are the answers without them, whatever happens to the planes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use ambitdb::{
    Access, Answer, Bytes, Collection, Config, Entity, ErrorKind, Exactness, Metric, SearchRequest,
    Sharing, SpaceKind, Store, WriteBatch,
};

const DIM: usize = 48;
const ROWS: usize = 6000;

/// Rows of falling variance, as embeddings have it in the basis of their principal components.
fn vectors(seed: u64, rows: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..rows * DIM).map(|i| next() / (1.0 + (i % DIM) as f32 / 4.0)).collect()
}

fn config(dir: &Path) -> Config {
    Config { budget: Some(Bytes::mib(64)), ..Config::new(dir) }
}

fn import(store: &Store, rows: &[f32], first: u64) {
    let mut import = store.import("docs", "mind", first).unwrap();
    import.push(None, rows).unwrap();
    import.finish().unwrap();
}

fn filled(dir: &Path, metric: Metric) -> Store {
    let store = Store::open(&config(dir)).unwrap();
    store.create_collection("docs").unwrap();
    store.create_space("docs", "mind", SpaceKind::Dense { dim: DIM, metric }).unwrap();
    import(&store, &vectors(1, ROWS), 0);
    store
}

fn build(store: &Store) -> ambitdb::CodesReport {
    store.build_codes("docs", &mut |_, _| true).unwrap()
}

fn search(collection: &Collection, queries: &[f32]) -> Vec<Answer> {
    let request = SearchRequest { threads: 2, ..SearchRequest::new("mind", queries, 10) };
    let shared = collection.search_batch(&request).unwrap();
    let alone = SearchRequest { sharing: Sharing::OneAtATime, ..request };
    for (one, other) in shared.iter().zip(collection.search_batch(&alone).unwrap()) {
        assert_eq!(one.hits, other.hits);
    }
    shared
}

/// (rows that have no codes, rows whose fine codes were looked at, fell back)
fn seen(answer: &Answer) -> (u64, u64, bool) {
    let Exactness::Certified { uncoded, refined, fell_back, .. } = answer.exactness else {
        panic!("a search is certified")
    };
    (uncoded, refined, fell_back)
}

#[test]
fn answers_are_the_same_with_codes_and_read_fewer_rows() {
    for metric in Metric::ALL {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path(), metric);
        let queries = vectors(2, 5);
        let before = search(&store.collection("docs").unwrap(), &queries);
        assert!(before.iter().all(|answer| seen(answer) == (ROWS as u64, 0, false)));
        let report = build(&store);
        assert_eq!((report.segments, report.rows, report.trained), (1, ROWS as u64, 1));
        assert_eq!(build(&store), ambitdb::CodesReport::default(), "nothing is left to build");

        let after = search(&store.collection("docs").unwrap(), &queries);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before.hits, after.hits, "{metric}");
            let (uncoded, refined, fell_back) = seen(after);
            assert!(uncoded == 0 && refined < ROWS as u64 / 2 && !fell_back, "{metric} {refined}");
        }
        assert!(store.verify(&mut |_, _| true).unwrap().problems.is_empty());
        drop(store);
        for access in [Access::Read, Access::Write] {
            let store = Store::open(&Config { access, ..config(dir.path()) }).unwrap();
            let reopened = search(&store.collection("docs").unwrap(), &queries);
            assert!(reopened.iter().zip(&before).all(|(a, b)| a.hits == b.hits));
            assert!(reopened.iter().all(|answer| seen(answer).0 == 0));
        }
    }
}

#[test]
fn deleted_replaced_and_new_rows_are_seen_past_the_codes() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), Metric::Cosine);
    build(&store);
    let queries = vectors(3, 3);
    let first = search(&store.collection("docs").unwrap(), &queries);
    let mut batch = WriteBatch::new();
    batch.delete("docs", &first[0].hits[0].key);
    for (key, vector) in
        [(first[1].hits[0].key.as_str(), vectors(9, 1)), ("new", queries[..DIM].to_vec())]
    {
        let embeddings = [("mind".to_owned(), vector)].into();
        batch.put("docs", Entity { key: key.into(), embeddings, ..Entity::default() });
    }
    store.write(&batch).unwrap();
    let second = search(&store.collection("docs").unwrap(), &queries);
    assert_eq!(second[0].hits[0].key, "new");
    assert_eq!(second[0].hits[1].key, first[0].hits[1].key);
    assert_eq!(second[1].hits[0].key, first[1].hits[1].key);
    assert_eq!(seen(&second[0]).0, 2, "the rows in the memtable have no codes");
    // A second segment is coded with the model of the first, whose data it resembles.
    import(&store, &vectors(4, 2000), ROWS as u64);
    let before = search(&store.collection("docs").unwrap(), &queries);
    let report = build(&store);
    assert_eq!((report.segments, report.rows, report.trained), (1, 2000, 0));
    let after = search(&store.collection("docs").unwrap(), &queries);
    assert!(before.iter().zip(&after).all(|(a, b)| a.hits == b.hits));
}

#[test]
fn rows_without_a_vector_do_not_shift_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&config(dir.path())).unwrap();
    store.create_collection("docs").unwrap();
    store
        .create_space("docs", "mind", SpaceKind::Dense { dim: DIM, metric: Metric::Cosine })
        .unwrap();
    let rows = vectors(5, 3000);
    for (chunk, some) in rows.chunks(500 * DIM).enumerate() {
        let mut batch = WriteBatch::new();
        for (index, row) in some.chunks(DIM).enumerate() {
            let number = chunk * 500 + index;
            let embeddings = match number % 3 {
                0 => std::collections::BTreeMap::new(),
                _ => [("mind".to_owned(), row.to_vec())].into(),
            };
            batch.put("docs", Entity { key: number.to_string(), embeddings, ..Entity::default() });
        }
        store.write(&batch).unwrap();
    }
    store.seal().unwrap();
    while !store.merge_step(u32::MAX).unwrap().done {}
    assert!(build(&store).segments > 0);
    let queries = &rows[DIM..2 * DIM];
    let answers = search(&store.collection("docs").unwrap(), queries);
    assert_eq!(answers[0].hits[0].key, "1");
    assert!(answers[0].hits.iter().all(|hit| hit.key.parse::<usize>().unwrap() % 3 != 0));
}

#[test]
fn damaged_codes_are_said_and_cost_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), Metric::Cosine);
    build(&store);
    let queries = vectors(6, 4);
    let good = search(&store.collection("docs").unwrap(), &queries);
    drop(store);
    let codes: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("derived-"))
        .collect();
    assert_eq!(codes.len(), 2);
    for path in &codes {
        let bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        for at in [0, 70, 300, middle, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            std::fs::write(path, &damaged).unwrap();
            let store = Store::open(&config(dir.path())).unwrap();
            let collection = store.collection("docs").unwrap();
            for _ in 0..2 {
                for (good, found) in good.iter().zip(search(&collection, &queries)) {
                    assert_eq!(good.hits, found.hits);
                    assert_eq!(seen(&found), (ROWS as u64, 0, true), "{path:?} byte {at}");
                }
            }
            assert!(!store.verify(&mut |_, _| true).unwrap().problems.is_empty());
            // Built again, they serve again.
            assert_eq!(build(&store).segments, 1);
            let repaired = search(&store.collection("docs").unwrap(), &queries);
            assert!(repaired.iter().all(|answer| seen(answer).0 == 0));
        }
        std::fs::write(path, &bytes).unwrap();
    }
    // Planes of two codings, or one of them alone, are not used.
    std::fs::remove_file(&codes[0]).unwrap();
    let store = Store::open(&config(dir.path())).unwrap();
    let found = search(&store.collection("docs").unwrap(), &queries);
    assert!(found.iter().zip(&good).all(|(a, b)| a.hits == b.hits && seen(a).0 == ROWS as u64));
}

#[test]
fn building_can_be_stopped_and_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), Metric::Euclidean);
    import(&store, &vectors(7, 3000), ROWS as u64);
    let stopped = store.build_codes("docs", &mut |done, total| {
        assert_eq!(total, ROWS as u64 + 3000);
        done < ROWS as u64 + 1000
    });
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Interrupted);
    let left = std::fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("tmp-"));
    assert_eq!(left.count(), 0);
    assert_eq!(build(&store).rows, 3000, "the first segment stayed done");
    assert!(store.build_codes("nowhere", &mut |_, _| true).is_err());
}
