//! Vectors read at the first touch: bit for bit from every tier, charged while they are held.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ambit_mem::Priority;
use ambitdb::{Bytes, Config, Entity, ErrorKind, Metric, Relation, SpaceKind, Store, WriteBatch};

const DIM: usize = 64;
const ROWS: usize = 1200;

/// Row `number`: float16 times a scalar, so that it is coded, or any bits.
fn vector(number: usize, coded: bool) -> Vec<f32> {
    let mut state = number as u64 + 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    };
    let value = |bits: u32| {
        if coded {
            let unit = bits as f32 / u32::MAX as f32 - 0.5;
            f32::from_bits(unit.to_bits() & 0xffff_e000) * 0.037
        } else {
            f32::from_bits(bits)
        }
    };
    (0..DIM).map(|_| value(next())).collect()
}

fn filled(dir: &Path, coded: bool) -> Store {
    let store = Store::open(&Config { budget: Some(Bytes::mib(32)), ..Config::new(dir) }).unwrap();
    store.create_collection("docs").unwrap();
    store
        .create_space("docs", "v", SpaceKind::Dense { dim: DIM, metric: Metric::Euclidean })
        .unwrap();
    for sealed in [0..ROWS / 2, ROWS / 2..ROWS - 50, ROWS - 50..ROWS] {
        let end = sealed.end;
        let mut batch = WriteBatch::new();
        for number in sealed {
            let mut embeddings = BTreeMap::new();
            if number % 100 != 17 {
                embeddings.insert("v".to_owned(), vector(number, coded));
            }
            batch
                .put("docs", Entity { key: format!("k{number}"), embeddings, ..Entity::default() });
        }
        store.write(&batch).unwrap();
        if end < ROWS {
            store.seal().unwrap();
        }
    }
    store
}

fn bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_vector_is_read_at_the_first_touch_and_can_be_let_go_and_read_again() {
    for coded in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path(), coded);
        let collection = store.collection("docs").unwrap();
        let held = || store.budget().account("embeddings", Priority::Query).used();
        for number in (0..ROWS).filter(|number| number % 100 != 17) {
            let lazy = collection.embedding("v", &format!("k{number}")).unwrap().unwrap();
            assert!(!lazy.is_loaded());
            for _ in 0..4 {
                let first = lazy.get().unwrap();
                assert_eq!(bits(&first), bits(&vector(number, coded)));
                assert!(lazy.is_loaded() && Arc::ptr_eq(&first, &lazy.get().unwrap()));
                assert_eq!(held(), Bytes::of(4 * DIM));
                lazy.unload();
                assert!(!lazy.is_loaded());
                assert_eq!(held(), Bytes::ZERO);
            }
        }
        let stats = store.vector_stats().unwrap();
        assert!(stats.loaded >= 1100 && stats.packed.hits > 500 && stats.unpacked.hits > 500);
    }
}

#[test]
fn many_are_loaded_in_one_pass_and_prefetched_ones_in_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), true);
    let collection = store.collection("docs").unwrap();
    let numbers = [1199, 3, 640, 1, 2, 1170, 900, 3];
    let lazies: Vec<_> = numbers
        .iter()
        .map(|number| collection.embedding("v", &format!("k{number}")).unwrap().unwrap())
        .collect();
    collection.load(&lazies.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(store.vector_stats().unwrap().loads, 1);
    for (lazy, &number) in lazies.iter().zip(&numbers) {
        assert!(lazy.is_loaded());
        assert_eq!(bits(&lazy.get().unwrap()), bits(&vector(number, true)));
    }
    let mut batch = WriteBatch::new();
    for target in ["k30", "k700", "nobody", "k17"] {
        let (source, target) = ("k5".to_owned(), target.to_owned());
        let (kind, properties) = ("to".to_owned(), BTreeMap::new());
        batch.relate("docs", Relation { source, kind, target, weight: 1.0, properties });
    }
    store.write(&batch).unwrap();
    let collection = store.collection("docs").unwrap();
    collection.prefetch("v", &["k10", "k11", "k12", "nobody"]).unwrap();
    collection.prefetch_related("v", "k5").unwrap();
    let loads = store.vector_stats().unwrap().loads;
    for number in [10, 11, 12, 30, 700] {
        let lazy = collection.embedding("v", &format!("k{number}")).unwrap().unwrap();
        assert_eq!(bits(&lazy.get().unwrap()), bits(&vector(number, true)));
    }
    assert_eq!(store.vector_stats().unwrap().loads, loads);
}

#[test]
fn what_has_no_vector_is_an_error_each_time_and_never_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), true);
    let collection = store.collection("docs").unwrap();
    assert!(collection.embedding("v", "nobody").unwrap().is_none());
    assert_eq!(collection.embedding("w", "k1").unwrap_err().kind(), ErrorKind::NotFound);
    for key in ["k17", "k1117", "k617"] {
        let lazy = collection.embedding("v", key).unwrap().unwrap();
        for _ in 0..2 {
            assert_eq!(lazy.get().unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(collection.load(&[&lazy]).unwrap_err().kind(), ErrorKind::NotFound);
            assert!(!lazy.is_loaded());
        }
    }
    // Rows that are written anew are read anew; the older picture keeps its own.
    let mut batch = WriteBatch::new();
    let embeddings = BTreeMap::from([("v".to_owned(), vector(7777, false))]);
    batch.put("docs", Entity { key: "k1".to_owned(), embeddings, ..Entity::default() });
    store.write(&batch).unwrap();
    let read = |collection: &ambitdb::Collection| {
        bits(&collection.embedding("v", "k1").unwrap().unwrap().get().unwrap())
    };
    assert_eq!(read(&collection), bits(&vector(1, true)));
    assert_eq!(read(&store.collection("docs").unwrap()), bits(&vector(7777, false)));
    store.seal().unwrap();
    assert_eq!(read(&store.collection("docs").unwrap()), bits(&vector(7777, false)));
}
