//! Filters: what they mean, what they refuse, and that a search finds exactly the nearest of
//! those that meet them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use ambitdb::{
    Bytes, Collection, Config, Entity, ErrorKind, Exactness, Filter, Metric, Relation,
    SearchRequest, Sharing, SpaceKind, Store, Value, WriteBatch,
};

const DIM: usize = 32;
const ROWS: usize = 3000;

fn vectors(seed: u64, rows: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..rows * DIM).map(|i| next() / (1.0 + (i % DIM) as f32 / 4.0)).collect()
}

fn open(dir: &Path) -> Store {
    let store = Store::open(&Config { budget: Some(Bytes::mib(64)), ..Config::new(dir) }).unwrap();
    store.create_collection("docs").unwrap();
    let kind = SpaceKind::Dense { dim: DIM, metric: Metric::Cosine };
    store.create_space("docs", "mind", kind).unwrap();
    store
}

fn entity(number: usize, vector: &[f32]) -> Entity {
    let inner = BTreeMap::from([("deep".to_owned(), Value::Integer(number as i64 % 7))]);
    let mut properties = BTreeMap::from([
        ("n".to_owned(), Value::Integer(number as i64)),
        ("half".to_owned(), Value::Float(number as f64 / 2.0)),
        ("even".to_owned(), Value::Bool(number.is_multiple_of(2))),
        ("in".to_owned(), Value::Map(inner)),
        ("tags".to_owned(), Value::List(vec![Value::String(format!("t{}", number % 10))])),
        ("kind".to_owned(), Value::String("a property".to_owned())),
    ]);
    if number.is_multiple_of(5) {
        properties.insert("rare".to_owned(), Value::Null);
    }
    Entity {
        key: format!("key{number}"),
        kind: if number.is_multiple_of(3) { "note" } else { "page" }.to_owned(),
        text: (number != 1).then(|| format!("text of {number}")),
        properties,
        embeddings: BTreeMap::from([("mind".to_owned(), vector.to_vec())]),
        ..Entity::default()
    }
}

fn filled(store: &Store) -> Vec<f32> {
    let rows = vectors(1, ROWS);
    for (chunk, some) in rows.chunks(250 * DIM).enumerate() {
        let mut batch = WriteBatch::new();
        for (index, vector) in some.chunks(DIM).enumerate() {
            batch.put("docs", entity(chunk * 250 + index, vector));
        }
        for number in chunk * 250..chunk * 250 + 250 {
            if number % 11 == 4 {
                let relation = Relation {
                    source: format!("key{number}"),
                    kind: if number % 2 == 0 { "part_of" } else { "near" }.to_owned(),
                    target: "whole \"thing\"".to_owned(),
                    weight: 1.0,
                    properties: BTreeMap::new(),
                };
                batch.relate("docs", relation);
            }
        }
        store.write(&batch).unwrap();
    }
    rows
}

type Naive = (&'static str, fn(usize) -> bool);

/// Filters and what they mean for entity number n.
const FILTERS: &[Naive] = &[
    ("kind = 'note'", |n| n % 3 == 0),
    ("kind != 'note'", |n| n % 3 != 0),
    ("kind = \"note\" AND even = TRUE", |n| n % 6 == 0),
    ("n < 100 or n >= 2990", |n| !(100..2990).contains(&n)),
    ("not (n < 100 or n >= 2990)", |n| (100..2990).contains(&n)),
    ("n = 17", |n| n == 17),
    ("n > 16.5 and n <= 18.0", |n| n == 17 || n == 18),
    ("half = 8", |n| n == 16),
    ("half < 0.6 and half >= -1", |n| n < 2),
    ("n in (1, 5, 2.0, 'x')", |n| [1, 5, 2].contains(&n)),
    ("in.deep = 3", |n| n % 7 == 3),
    ("`in`.deep = 3 and properties.kind = 'a property'", |n| n % 7 == 3),
    ("tags contains 't4'", |n| n % 10 == 4),
    ("text contains '99'", |n| n.to_string().contains("99") && n != 1),
    ("key starts with 'key29'", |n| n.to_string().starts_with("29")),
    ("rare exists", |n| n % 5 == 0),
    ("not rare exists", |n| n % 5 != 0),
    ("rare = null", |n| n % 5 == 0),
    ("text exists", |n| n != 1),
    ("nothing = 3", |_| false),
    ("nothing != 3", |_| false),
    ("not nothing = 3", |_| true),
    ("n = 'three' or even < 3", |_| false),
    ("related to 'whole \"thing\"'", |n| n % 11 == 4),
    ("related to \"whole \\\"thing\\\"\" by 'part_of'", |n| n % 11 == 4 && n % 2 == 0),
    ("not related to 'x' and related to 'whole \"thing\"' by 'near'", |n| {
        n % 11 == 4 && n % 2 == 1
    }),
    ("n < 9 and related to 'whole \"thing\"' or n = 8", |n| n == 4 || n == 8),
    ("n >= 0", |_| true),
];

fn number_of(key: &str) -> usize {
    key.trim_start_matches("key").parse().unwrap()
}

/// Holds all filters against a plain scan of all rows.
fn assert_filtered(collection: &Collection, rows: &[f32], queries: &[f32]) {
    let everything = SearchRequest::new("mind", queries, ROWS);
    let ranked = collection.search_batch(&everything).unwrap();
    assert_eq!(ranked[0].hits.len(), rows.len() / DIM);
    for (text, naive) in FILTERS {
        let filter = Filter::parse(text).unwrap();
        for sharing in [Sharing::Shared, Sharing::OneAtATime] {
            let filter = Some(&filter);
            let request = SearchRequest { filter, sharing, k: 10, threads: 2, ..everything };
            let found = collection.search_batch(&request).unwrap();
            for (ranked, found) in ranked.iter().zip(found) {
                let expected = ranked.hits.iter().filter(|hit| naive(number_of(&hit.key))).take(10);
                assert!(found.hits.iter().eq(expected), "{text}: {:?}", found.hits);
            }
        }
    }
}

#[test]
fn the_nearest_of_those_that_meet_a_filter_are_found_with_and_without_codes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let rows = filled(&store);
    let queries = vectors(2, 3);
    assert_filtered(&store.collection("docs").unwrap(), &rows, &queries);
    store.seal().unwrap();
    while !store.merge_step(u32::MAX).unwrap().done {}
    assert!(store.build_codes("docs", &mut |_, _| true).unwrap().rows > 2000);
    assert_filtered(&store.collection("docs").unwrap(), &rows, &queries);
    assert_eq!(
        store.budget().account("query/scratch", ambit_mem::Priority::Query).used(),
        Bytes::ZERO
    );
}

#[test]
fn a_filter_that_nearly_nothing_meets_is_answered_from_those_alone_until_something_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let rows = filled(&store);
    store.seal().unwrap();
    let filter = Filter::parse("n in (3, 500, 2999) or related to 'nobody'").unwrap();
    let queries = vectors(4, 2);
    let request =
        SearchRequest { filter: Some(&filter), ..SearchRequest::new("mind", &queries, 10) };
    let keys = |collection: &Collection| -> Vec<Vec<String>> {
        let answers = collection.search_batch(&request).unwrap();
        for answer in &answers {
            let Exactness::Certified { scanned, .. } = answer.exactness else {
                panic!("{:?}", answer.exactness)
            };
            assert_eq!(scanned, answer.hits.len() as u64);
        }
        answers
            .into_iter()
            .map(|answer| answer.hits.into_iter().map(|hit| hit.key).collect())
            .collect()
    };
    let ranked = |collection: &Collection, numbers: &[usize]| -> Vec<Vec<String>> {
        let all = SearchRequest::new("mind", &queries, ROWS);
        let ranked = collection.search_batch(&all).unwrap().into_iter().map(|answer| {
            let keys = answer.hits.into_iter().map(|hit| hit.key);
            keys.filter(|key| numbers.contains(&number_of(key))).collect()
        });
        ranked.collect()
    };
    for _ in 0..3 {
        let collection = store.collection("docs").unwrap();
        assert_eq!(keys(&collection), ranked(&collection, &[3, 500, 2999]));
    }
    // Another entity meets it by a relation, one no more, one has no vector.
    let before = store.collection("docs").unwrap();
    let mut batch = WriteBatch::new();
    batch.relate(
        "docs",
        Relation {
            source: "key77".to_owned(),
            kind: "of".to_owned(),
            target: "nobody".to_owned(),
            weight: 1.0,
            properties: BTreeMap::new(),
        },
    );
    batch.delete("docs", "key500");
    let bare = entity(2999, &rows[..DIM]);
    batch.put("docs", Entity { embeddings: BTreeMap::new(), ..bare });
    store.write(&batch).unwrap();
    let after = store.collection("docs").unwrap();
    let answers = after.search_batch(&request).unwrap();
    let found: Vec<Vec<String>> = answers
        .into_iter()
        .map(|answer| answer.hits.into_iter().map(|hit| hit.key).collect())
        .collect();
    assert_eq!(found, ranked(&after, &[3, 77]));
    assert_eq!(keys(&before), ranked(&before, &[3, 500, 2999]));
}

#[test]
fn integers_and_floats_compare_by_value_at_the_ends_of_their_ranges() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut batch = WriteBatch::new();
    let values = [i64::MIN, i64::MIN + 1, -1, 0, (1 << 53) + 1, i64::MAX];
    for (number, value) in values.into_iter().enumerate() {
        let mut entity = entity(number, &vectors(number as u64 + 1, 1));
        entity.properties.insert("v".to_owned(), Value::Integer(value));
        batch.put("docs", entity);
    }
    store.write(&batch).unwrap();
    let collection = store.collection("docs").unwrap();
    let count = |text: &str| {
        let filter = Filter::parse(text).unwrap();
        let queries = vectors(9, 1);
        let request =
            SearchRequest { filter: Some(&filter), ..SearchRequest::new("mind", &queries, 10) };
        collection.search(&request).unwrap().hits.len()
    };
    assert_eq!(count("v = 9007199254740993"), 1);
    assert_eq!(count("v = 9007199254740992.0"), 0);
    assert_eq!(count("v > 9007199254740992.0"), 2);
    assert_eq!(count("v < 9223372036854775807.0"), 6);
    assert_eq!(count("v >= -9223372036854775808.0"), 6);
    assert_eq!(count("v > -9223372036854775808.0"), 5);
    assert_eq!(count("v > -0.5 and v < 0.5"), 1);
    assert_eq!(count("v > 1e300 or v < -1e300"), 0);
}

#[test]
fn a_filter_that_cannot_be_read_is_refused_with_the_place() {
    for (text, column, words) in [
        ("", 1, "a field"),
        ("kind", 5, "one of = !="),
        ("kind = ", 8, "a string in quotes, a number"),
        ("kind = note", 8, "a string in quotes, a number"),
        ("kind = 'note' n = 3", 15, "'and', 'or' or the end"),
        ("(kind = 'a'", 12, "')'"),
        ("n in 3", 6, "'('"),
        ("n in (1 2)", 9, "')'"),
        ("n starts 'a'", 10, "'with'"),
        ("n starts with 3", 15, "a string in quotes"),
        ("n = 'open", 5, "a closing '"),
        ("n = 12x", 5, "a number"),
        ("n = 1e999", 5, "a number"),
        ("n = 1 & m = 2", 7, "a sign of the filter language"),
        ("a. = 3", 4, "a name"),
        ("not", 4, "a field"),
        ("größe = ", 9, "a string in quotes"),
        ("related to 3", 12, "a string in quotes"),
    ] {
        let error = Filter::parse(text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let message = error.to_string();
        assert!(
            message.contains(&format!("column {column}:")) && message.contains(words),
            "{message}"
        );
    }
    let deep = |n: usize| format!("{}n = 1{}", "(".repeat(n), ")".repeat(n));
    assert!(Filter::parse(&deep(63)).is_ok());
    assert!(Filter::parse(&deep(64)).unwrap_err().to_string().contains("at most 64"));
    assert!(Filter::parse(&"not ".repeat(100_000)).is_err());
    let long = format!("n = '{}'", "x".repeat(ambitdb::MAX_FILTER - 6));
    assert!(Filter::parse(&long).is_ok());
    assert!(Filter::parse(&format!("{long} ")).unwrap_err().to_string().contains("at most 65536"));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_fail_otherwise(text in "[ -~é\\\\'\"`()=<>.]{0,60}") {
        let _ = Filter::parse(&text);
    }
}
