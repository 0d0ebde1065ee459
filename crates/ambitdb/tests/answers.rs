//! Kept answers: given again only while they are right, whatever is written, sealed, merged or rolled back;
//! those of similar queries only on request, scored anew and marked.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use ambitdb::{
    Answer, Bytes, Collection, Config, Entity, ErrorKind, Exactness, Filter, Metric, Relation,
    SearchRequest, SpaceKind, Store, WriteBatch,
};

const DIM: usize = 48;

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn vector(&mut self) -> Vec<f32> {
        (0..DIM).map(|_| self.below(1 << 20) as f32 / (1u64 << 19) as f32 - 1.0).collect()
    }
}

fn open(dir: &Path, answers: Option<Bytes>) -> Store {
    let config = Config { budget: Some(Bytes::mib(32)), answers, ..Config::new(dir) };
    Store::open(&config).unwrap()
}

fn create(store: &Store, metric: Metric) {
    store.create_collection("docs").unwrap();
    store.create_space("docs", "mind", SpaceKind::Dense { dim: DIM, metric }).unwrap();
}

fn put(batch: &mut WriteBatch, number: u64, vector: Vec<f32>) {
    let embeddings = BTreeMap::from([("mind".to_owned(), vector)]);
    batch.put("docs", Entity { key: format!("key-{number}"), embeddings, ..Entity::default() });
}

/// The same search by the way of a batch, which keeps nothing.
fn anew(collection: &Collection, request: &SearchRequest<'_>) -> Answer {
    collection.search_batch(request).unwrap().remove(0)
}

fn assert_right(collection: &Collection, request: &SearchRequest<'_>) {
    for _ in 0..2 {
        let found = collection.search(request).unwrap();
        assert!(found.hits == anew(collection, request).hits, "{request:?}");
    }
}

#[test]
fn kept_answers_are_right_whatever_happens_to_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), None);
    create(&store, Metric::Cosine);
    let mut random = Random(1);
    let queries: Vec<Vec<f32>> = (0..4).map(|_| random.vector()).collect();
    let filter = Filter::parse("related to 'hub' or key starts with 'key-1'").unwrap();
    let mut versions = 0;
    let mut held = Vec::new();
    for step in 0..300 {
        match random.below(12) {
            0..=4 => {
                let mut batch = WriteBatch::new();
                for _ in 0..=random.below(20) {
                    put(&mut batch, random.below(90), random.vector());
                }
                store.write(&batch).unwrap();
            }
            5 => {
                let mut batch = WriteBatch::new();
                batch.delete("docs", &format!("key-{}", random.below(90)));
                store.write(&batch).unwrap();
            }
            6 => {
                let mut batch = WriteBatch::new();
                batch.relate(
                    "docs",
                    Relation {
                        source: format!("key-{}", random.below(90)),
                        kind: "of".to_owned(),
                        target: "hub".to_owned(),
                        weight: 1.0,
                        properties: BTreeMap::new(),
                    },
                );
                store.write(&batch).unwrap();
            }
            7 => store.seal().unwrap(),
            8 => drop(store.merge_step(1000).unwrap()),
            9 => {
                store.create_version(&format!("v{versions}")).unwrap();
                versions += 1;
            }
            10 if versions > 0 => {
                store.rollback(&format!("v{}", random.below(versions))).unwrap();
            }
            _ => {}
        }
        if step % 40 == 0 {
            held.push(store.collection("docs").unwrap());
        }
        let now = store.collection("docs").unwrap();
        for collection in held.iter().chain([&now]) {
            let queries = &queries[random.below(4) as usize];
            let request = SearchRequest::new("mind", queries, 7);
            assert_right(collection, &request);
            assert_right(collection, &SearchRequest { filter: Some(&filter), ..request });
            assert_right(collection, &SearchRequest { k: 3, ..request });
        }
    }
    let stats = store.answer_stats().unwrap();
    assert!(stats.hits > 1000 && stats.misses > 300, "{stats:?}");
}

#[test]
fn a_kept_answer_is_given_again_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), None);
    create(&store, Metric::InnerProduct);
    let mut random = Random(2);
    let mut batch = WriteBatch::new();
    (0..200).for_each(|number| put(&mut batch, number, random.vector()));
    store.write(&batch).unwrap();
    let collection = store.collection("docs").unwrap();
    let query = random.vector();
    let request = SearchRequest::new("mind", &query, 20);
    let first = collection.search(&request).unwrap();
    let again = store.collection("docs").unwrap().search(&request).unwrap();
    assert_eq!(first, again);
    assert_eq!(store.answer_stats().unwrap().hits, 1);
    let page = SearchRequest { after: first.next.as_ref(), ..request };
    let second = collection.search(&page).unwrap();
    assert_eq!(collection.search(&page).unwrap(), second);
    assert!(second.hits != first.hits);
    let within = SearchRequest { reaching: Some(second.hits[0].score), ..request };
    assert_eq!(collection.search(&within).unwrap().hits, first.hits);
    let within = SearchRequest { reaching: Some(first.hits[4].score), ..request };
    assert_eq!(collection.search(&within).unwrap().hits, first.hits[..5]);
}

#[test]
fn similar_queries_share_an_answer_only_on_request_scored_anew_and_marked() {
    for metric in Metric::ALL {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), None);
        create(&store, metric);
        let mut random = Random(3);
        let mut batch = WriteBatch::new();
        (0..500).for_each(|number| put(&mut batch, number, random.vector()));
        store.write(&batch).unwrap();
        let collection = store.collection("docs").unwrap();
        let query = random.vector();
        let request = SearchRequest::new("mind", &query, 10);
        let of_first = collection.search(&request).unwrap();
        for _ in 0..50 {
            let other = random.vector();
            collection.search(&SearchRequest { queries: &other, ..request }).unwrap();
        }
        let mut similar = query.clone();
        similar.iter_mut().for_each(|value| *value += random.below(100) as f32 / 10_000.0);
        let cosine = cosine(&query, &similar);
        assert!(cosine > 0.999 && cosine < 1.0, "{cosine}");
        let request = SearchRequest { queries: &similar, ..request };
        let refused = SearchRequest { reuse_within: Some((1.0 + cosine) / 2.0), ..request };
        let reusing = SearchRequest { reuse_within: Some(0.999), ..request };
        let reused = collection.search(&reusing).unwrap();
        let Exactness::Reused { cosine: said, rescored: 10 } = reused.exactness else {
            panic!("not reused: {:?}", reused.exactness);
        };
        assert!((said - cosine).abs() < 1e-6 && reused.next.is_none());
        // The hits of the first query, with the scores that the second one gives them, in that order.
        let whole = anew(&collection, &SearchRequest { k: 500, ..request });
        let expected: Vec<_> = whole
            .hits
            .into_iter()
            .filter(|hit| of_first.hits.iter().any(|first| first.key == hit.key))
            .collect();
        assert_eq!(reused.hits, expected, "{metric}");
        for exact in [refused, request] {
            let answer = collection.search(&exact).unwrap();
            assert!(matches!(answer.exactness, Exactness::Certified { .. }));
            assert_eq!(answer.hits, anew(&collection, &exact).hits);
        }
        let shorter = SearchRequest { queries: &similar[1..], ..reusing };
        assert_eq!(collection.search(&shorter).unwrap_err().kind(), ErrorKind::Invalid);
        let beyond = SearchRequest { reuse_within: Some(1.5), ..request };
        assert_eq!(collection.search(&beyond).unwrap_err().kind(), ErrorKind::Invalid);
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn answers_stay_below_their_cap_and_are_not_kept_where_there_is_none() {
    for answers in [Some(Bytes::ZERO), Some(Bytes::kib(128)), Some(Bytes::mib(1))] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), answers);
        create(&store, Metric::Euclidean);
        let mut random = Random(4);
        let mut batch = WriteBatch::new();
        (0..300).for_each(|number| put(&mut batch, number, random.vector()));
        store.write(&batch).unwrap();
        let collection = store.collection("docs").unwrap();
        let used = || store.budget().account("cache/answers", ambit_mem::Priority::Cache).used();
        for _ in 0..1500 {
            let query = random.vector();
            collection.search(&SearchRequest::new("mind", &query, 12)).unwrap();
            assert!(used() <= answers.unwrap(), "{}", used());
        }
        assert_eq!(store.answer_stats().is_some(), answers != Some(Bytes::ZERO));
        assert_eq!(used() > Bytes::ZERO, answers != Some(Bytes::ZERO));
    }
}
