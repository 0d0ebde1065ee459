//! Pages, ranges, groups and what is like a key: each held against one unlimited search of the same
//! collection.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use ambitdb::{
    Answer, Bytes, Collection, Config, Cursor, Entity, ErrorKind, Filter, Hit, Metric,
    SearchRequest, SpaceKind, Store, Value, WriteBatch,
};

const DIM: usize = 24;
const ROWS: usize = 2600;

fn vector(state: &mut u64) -> Vec<f32> {
    let mut next = || {
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..DIM).map(|i| next() / (1.0 + i as f32 / 4.0)).collect()
}

/// Entities in two segments, of which one has codes, and a memtable; some share a vector.
fn filled(dir: &Path, metric: Metric) -> Store {
    let store = Store::open(&Config { budget: Some(Bytes::mib(64)), ..Config::new(dir) }).unwrap();
    store.create_collection("docs").unwrap();
    store.create_space("docs", "mind", SpaceKind::Dense { dim: DIM, metric }).unwrap();
    let mut state = 5;
    let shared = vector(&mut state);
    for numbers in [0..1800, 1800..2500, 2500..ROWS] {
        let end = numbers.end;
        let mut batch = WriteBatch::new();
        for number in numbers {
            let own = vector(&mut state);
            let vector = if number % 40 == 7 { shared.clone() } else { own };
            let file = Value::String(format!("file{}", number % 23));
            let mut properties = BTreeMap::from([("file".to_owned(), file)]);
            let score = match number % 3 {
                0 => Value::Integer(number as i64 % 5),
                1 => Value::Float((number % 5) as f64),
                _ => Value::List(Vec::new()),
            };
            properties.insert("grade".to_owned(), score);
            batch.put(
                "docs",
                Entity {
                    key: format!("key-{number}"),
                    properties,
                    embeddings: BTreeMap::from([("mind".to_owned(), vector)]),
                    ..Entity::default()
                },
            );
        }
        store.write(&batch).unwrap();
        if end < ROWS {
            store.seal().unwrap();
        }
        if end == 1800 {
            assert_eq!(store.build_codes("docs", &mut |_, _| true).unwrap().segments, 1);
        }
    }
    let mut batch = WriteBatch::new();
    for number in (3..ROWS).step_by(50) {
        batch.delete("docs", &format!("key-{number}"));
    }
    store.write(&batch).unwrap();
    store
}

fn all(collection: &Collection, query: &[f32]) -> Vec<Hit> {
    let hits = collection.search(&SearchRequest::new("mind", query, ROWS)).unwrap().hits;
    assert_eq!(hits.len() as u64, collection.len());
    hits
}

/// Every page of a request, each cursor by way of its text.
fn pages(request: &SearchRequest<'_>, page: &dyn Fn(&SearchRequest<'_>) -> Answer) -> Vec<Hit> {
    let (mut hits, mut cursor) = (Vec::new(), None::<Cursor>);
    loop {
        let answer = page(&SearchRequest { after: cursor.as_ref(), ..*request });
        assert!(answer.hits.len() <= request.k);
        assert_eq!(answer.next.is_some(), answer.hits.len() == request.k);
        hits.extend(answer.hits);
        match answer.next {
            Some(next) => cursor = Some(next.to_string().parse().unwrap()),
            None => return hits,
        }
    }
}

#[test]
fn pages_and_ranges_join_to_the_whole_order() {
    for metric in Metric::ALL {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path(), metric);
        let collection = store.collection("docs").unwrap();
        let query = vector(&mut 77);
        let all = all(&collection, &query);
        let request = SearchRequest::new("mind", &query, 211);
        let page = |request: &SearchRequest<'_>| collection.search(request).unwrap();
        assert!(pages(&request, &page) == all, "{metric}");
        let score = all[500].score;
        let within = SearchRequest { reaching: Some(score), ..request };
        // Others may have the same score.
        let after = all[501..].iter().take_while(|hit| hit.score == score).count();
        let all = &all[..501 + after];
        assert!(pages(&within, &page) == all, "{metric}");
        let filter = Filter::parse("file in ('file3', 'file9')").unwrap();
        let filtered = SearchRequest { filter: Some(&filter), k: 20, ..request };
        let expected = collection.search(&SearchRequest { k: ROWS, ..filtered }).unwrap().hits;
        assert!(expected.len() > 150);
        assert!(pages(&filtered, &page) == expected, "{metric}");
        let batch = SearchRequest { k: ROWS, ..within };
        assert!(collection.search_batch(&batch).unwrap()[0].hits == all, "{metric}");
    }
}

#[test]
fn what_is_like_a_key_leaves_the_key_out_on_every_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), Metric::Cosine);
    let collection = store.collection("docs").unwrap();
    // Many have the vector of key-2087, and some of their keys come before it.
    for key in ["key-2087", "key-12", "key-2510"] {
        let own = collection.get(key).unwrap().unwrap().embeddings["mind"].clone();
        let mut expected = all(&collection, &own);
        expected.retain(|hit| hit.key != key);
        let request = SearchRequest::new("mind", &[], 9);
        let page = |request: &SearchRequest<'_>| collection.search_like(key, request).unwrap();
        assert_eq!(page(&request).hits, expected[..9]);
        let within = SearchRequest { reaching: Some(expected[99].score), ..request };
        assert!(pages(&within, &page) == expected[..100], "{key}");
        let all = SearchRequest { k: 500, ..request };
        assert!(pages(&all, &page) == expected, "{key}");
    }
    let request = SearchRequest::new("mind", &[], 3);
    let missing = collection.search_like("nobody", &request).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
}

#[test]
fn groups_are_what_grouping_the_whole_order_gives() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), Metric::InnerProduct);
    let collection = store.collection("docs").unwrap();
    let query = vector(&mut 78);
    let all = all(&collection, &query);
    for (field, k, per_group) in [
        ("file", 5, 1),
        ("file", 23, 4),
        ("file", 30, 2),
        ("grade", 5, 3),
        ("grade", 3, 900),
        ("key", 12, 2),
    ] {
        let mut expected: Vec<(Value, Vec<Hit>)> = Vec::new();
        for hit in &all {
            let value = match field {
                "key" => Value::String(hit.key.clone()),
                _ => collection.info_of(&hit.key).unwrap().unwrap().properties[field].clone(),
            };
            let number = |value: &Value| match value {
                Value::Integer(number) => Some(*number as f64),
                Value::Float(number) => Some(*number),
                _ => None,
            };
            let is_same = |other: &Value| {
                *other == value || number(other).is_some() && number(other) == number(&value)
            };
            if matches!(value, Value::List(_)) {
                continue;
            }
            match expected.iter().position(|(other, _)| is_same(other)) {
                Some(place) if expected[place].1.len() < per_group => {
                    expected[place].1.push(hit.clone());
                }
                None if expected.len() < k => expected.push((value, vec![hit.clone()])),
                _ => {}
            }
        }
        let request = SearchRequest::new("mind", &query, k);
        let found = collection.search_groups(&request, field, per_group).unwrap();
        let own = SearchRequest::new("mind", &[], k);
        let like = collection.search_groups_like("key-12", &own, field, per_group).unwrap();
        assert!(!like.groups.iter().flat_map(|group| &group.hits).any(|hit| hit.key == "key-12"));
        let nearest =
            &collection.search_like("key-12", &SearchRequest { k: 1, ..own }).unwrap().hits[0];
        assert!(field == "grade" || like.groups[0].hits[0] == *nearest);
        let found: Vec<(Value, Vec<Hit>)> =
            found.groups.into_iter().map(|group| (group.value, group.hits)).collect();
        assert_eq!(found, expected, "{k} groups of {per_group} by {field}");
    }
}

#[test]
fn cursors_that_do_not_fit_are_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), Metric::Cosine);
    let collection = store.collection("docs").unwrap();
    let (query, other) = (vector(&mut 79), vector(&mut 80));
    let request = SearchRequest::new("mind", &query, 10);
    let cursor = collection.search(&request).unwrap().next.unwrap();
    let after = SearchRequest { after: Some(&cursor), ..request };
    let refused = |collection: &Collection, request: &SearchRequest<'_>, word: &str| {
        let error = collection.search(request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(&collection, &SearchRequest { queries: &other, ..after }, "another query");
    let filter = Filter::parse("file exists").unwrap();
    refused(&collection, &SearchRequest { filter: Some(&filter), ..after }, "another query");
    refused(&collection, &SearchRequest { reaching: Some(f64::NAN), ..request }, "NaN");
    assert_eq!(collection.search_batch(&after).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(collection.search_groups(&after, "file", 1).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(
        collection.search_groups(&request, "file", 0).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert_eq!(
        collection.search_groups(&request, "a b", 1).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    for text in ["", "c1-12", "c2-0", &cursor.to_string().replace("c1-", "c1-x")] {
        assert_eq!(text.parse::<Cursor>().unwrap_err().kind(), ErrorKind::Invalid);
    }
    // The picture that the page was made of still goes on; a newer one does not.
    let second = collection.search(&after).unwrap();
    let mut batch = WriteBatch::new();
    batch.delete("docs", "key-1");
    store.write(&batch).unwrap();
    assert_eq!(collection.search(&after).unwrap(), second);
    let changed = store.collection("docs").unwrap();
    refused(&changed, &after, "changed");
    // Pages of a version outlive writes and the process.
    let first = changed.search(&request).unwrap();
    let after = SearchRequest { after: first.next.as_ref(), ..request };
    let second = changed.search(&after).unwrap();
    store.create_version("then").unwrap();
    drop((collection, changed));
    store.close().unwrap();
    drop(store);
    let store = Store::open(&Config::new(dir.path())).unwrap();
    let then = store.collection_at("docs", "then").unwrap();
    let version = then.search(&request).unwrap();
    assert_eq!(version.hits, first.hits);
    let mut batch = WriteBatch::new();
    batch.delete("docs", &second.hits[0].key);
    store.write(&batch).unwrap();
    store.seal().unwrap();
    let then = store.collection_at("docs", "then").unwrap();
    let after = SearchRequest { after: version.next.as_ref(), ..request };
    assert_eq!(then.search(&after).unwrap().hits, second.hits);
}
