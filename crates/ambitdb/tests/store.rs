//! What a user of the library does, on a real directory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use ambitdb::{
    Access, Bytes, Config, Entity, ErrorKind, ListOptions, Metric, Relation, SearchRequest,
    Sharing, SpaceKind, Store, Value, WriteBatch,
};

const DIM: usize = 8;

fn config(dir: &tempfile::TempDir) -> Config {
    Config { budget: Some(Bytes::mib(32)), ..Config::new(dir.path().join("store")) }
}

fn store(dir: &tempfile::TempDir) -> Store {
    Store::open(&config(dir)).unwrap()
}

fn docs(dir: &tempfile::TempDir, metric: Metric) -> Store {
    let store = store(dir);
    store.create_collection("docs").unwrap();
    store.create_space("docs", "body", SpaceKind::Dense { dim: DIM, metric }).unwrap();
    store
}

/// Numbers that nobody would guess, the same in each run.
fn vector(seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    (0..DIM).map(|_| next()).collect()
}

fn entity(key: &str, seed: u64) -> Entity {
    Entity {
        key: key.into(),
        kind: "note".into(),
        text: Some(format!("text of {key}")),
        properties: BTreeMap::from([
            ("n".to_owned(), Value::Integer(seed as i64)),
            ("list".to_owned(), Value::List(vec![Value::Null, Value::Float(-0.0)])),
        ]),
        embeddings: BTreeMap::from([("body".to_owned(), vector(seed))]),
        ..Entity::default()
    }
}

fn put(store: &Store, entities: impl IntoIterator<Item = Entity>) {
    let mut batch = WriteBatch::new();
    entities.into_iter().for_each(|entity| batch.put("docs", entity));
    store.write(&batch).unwrap();
}

#[test]
fn an_entity_comes_back_as_it_was_put_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = docs(&dir, Metric::Cosine);
    put(&store, (0..100).map(|n| entity(&format!("k{n}"), n)));
    for sealed in [false, true] {
        if sealed {
            store.seal().unwrap();
        }
        let docs = store.collection("docs").unwrap();
        assert_eq!(docs.len(), 100);
        assert_eq!(docs.get("k42").unwrap(), Some(entity("k42", 42)));
        assert_eq!(docs.get("absent").unwrap(), None);
    }
    store.close().unwrap();
    drop(store);
    let store = self::store(&dir);
    assert_eq!(store.collection("docs").unwrap().get("k7").unwrap(), Some(entity("k7", 7)));
}

#[test]
fn a_search_is_what_brute_force_in_f64_gives_across_segments_memtable_and_deletes() {
    for metric in Metric::ALL {
        let dir = tempfile::tempdir().unwrap();
        let store = docs(&dir, metric);
        put(&store, (0..200).map(|n| entity(&format!("k{n}"), n)));
        store.seal().unwrap();
        put(&store, (150..260).map(|n| entity(&format!("k{n}"), n + 1000)));
        let mut batch = WriteBatch::new();
        (0..50).for_each(|n| batch.delete("docs", &format!("k{}", n * 3)));
        store.write(&batch).unwrap();
        let docs = store.collection("docs").unwrap();
        for seed in 5000..5020 {
            let query = vector(seed);
            let answer = docs.search(&SearchRequest::new("body", &query, 10)).unwrap();
            assert_eq!(keys(&answer), brute(&docs, metric, &query, 10));
        }
    }
}

fn keys(answer: &ambitdb::Answer) -> Vec<String> {
    answer.hits.iter().map(|hit| hit.key.clone()).collect()
}

fn brute(docs: &ambitdb::Collection, metric: Metric, query: &[f32], k: usize) -> Vec<String> {
    let mut all = Vec::new();
    docs.scan(&ListOptions::default(), &mut |info| {
        all.push(info.key);
        true
    })
    .unwrap();
    let mut scored: Vec<(f64, String)> = all
        .into_iter()
        .map(|key| {
            let vector = docs.get(&key).unwrap().unwrap().embeddings["body"].clone();
            let pairs = || query.iter().zip(&vector).map(|(&a, &b)| (f64::from(a), f64::from(b)));
            let dot: f64 = pairs().map(|(a, b)| a * b).sum();
            let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let score = match metric {
                Metric::Cosine => dot / (norm(query) * norm(&vector)),
                Metric::Euclidean => -pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>(),
                _ => dot,
            };
            (score, key)
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    scored.into_iter().take(k).map(|(_, key)| key).collect()
}

#[test]
fn an_import_comes_back_bit_for_bit_in_row_order_even_after_updates_and_merges() {
    let dir = tempfile::tempdir().unwrap();
    let store = docs(&dir, Metric::InnerProduct);
    let mut rows: Vec<f32> = (0..500).flat_map(vector).collect();
    rows[3] = f32::from_bits(0x7fc0_1234);
    rows[11] = -0.0;
    rows[19] = f32::INFINITY;
    rows[27] = f32::from_bits(1);
    let mut import = store.import("docs", "body", 0).unwrap();
    for part in rows.chunks(DIM * 70) {
        import.push(None, part).unwrap();
        import.commit().unwrap();
    }
    assert_eq!(import.finish().unwrap().rows, 500);
    assert_eq!(bits(&export(&store)), bits(&rows));
    put(&store, [Entity { key: "17".into(), ..entity("17", 9999) }]);
    rows[17 * DIM..18 * DIM].copy_from_slice(&vector(9999));
    assert_eq!(bits(&export(&store)), bits(&rows));
    while !store.merge_step(64).unwrap().done {}
    store.reclaim().unwrap();
    assert_eq!(bits(&export(&store)), bits(&rows));
    assert!(store.verify(&mut |_, _| true).unwrap().problems.is_empty());
}

fn export(store: &Store) -> Vec<f32> {
    let (mut out, mut next) = (Vec::new(), 0);
    let docs = store.collection("docs").unwrap();
    docs.export("body", &mut |ids, rows| {
        assert!(ids.iter().all(|&id| {
            next += 1;
            id == next - 1
        }));
        out.extend_from_slice(rows);
        Ok(())
    })
    .unwrap();
    out
}

fn bits(rows: &[f32]) -> Vec<u32> {
    rows.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn batches_share_a_scan_and_answer_as_single_queries_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = docs(&dir, Metric::Cosine);
    put(&store, (0..300).map(|n| entity(&format!("{n}"), n)));
    let docs = store.collection("docs").unwrap();
    let queries: Vec<f32> = (900..917).flat_map(vector).collect();
    let request = SearchRequest { threads: 2, ..SearchRequest::new("body", &queries, 5) };
    let shared = docs.search_batch(&request).unwrap();
    let request = SearchRequest { sharing: Sharing::OneAtATime, ..request };
    let apart = docs.search_batch(&request).unwrap();
    for (index, query) in queries.chunks(DIM).enumerate() {
        let single = docs.search(&SearchRequest::new("body", query, 5)).unwrap();
        assert_eq!(shared[index].hits, single.hits);
        assert_eq!(apart[index].hits, single.hits);
    }
}

#[test]
fn relations_are_kept_replaced_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = docs(&dir, Metric::Cosine);
    let relation = |weight| Relation {
        source: "a".into(),
        kind: "part_of".into(),
        target: "b".into(),
        weight,
        properties: BTreeMap::new(),
    };
    let all = || {
        let mut all = Vec::new();
        store
            .collection("docs")
            .unwrap()
            .relations(&mut |relation| {
                all.push(relation);
                true
            })
            .unwrap();
        all
    };
    let mut batch = WriteBatch::new();
    batch.relate("docs", relation(1.0));
    batch.relate("docs", relation(2.0));
    store.write(&batch).unwrap();
    assert_eq!(all(), [relation(2.0)]);
    let mut batch = WriteBatch::new();
    batch.unrelate("docs", "a", "part_of", "b");
    store.write(&batch).unwrap();
    assert_eq!(all(), []);
}

#[test]
fn versions_are_read_and_rolled_back_to() {
    let dir = tempfile::tempdir().unwrap();
    let store = docs(&dir, Metric::Cosine);
    put(&store, [entity("a", 1)]);
    store.create_version("before").unwrap();
    put(&store, [entity("a", 2), entity("b", 3)]);
    let then = store.collection_at("docs", "before").unwrap();
    assert_eq!(then.get("a").unwrap(), Some(entity("a", 1)));
    assert_eq!(then.len(), 1);
    store.rollback("before").unwrap();
    let now = store.collection("docs").unwrap();
    assert_eq!(now.get("a").unwrap(), Some(entity("a", 1)));
    assert_eq!(now.get("b").unwrap(), None);
}

#[test]
fn a_batch_with_one_bad_change_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = docs(&dir, Metric::Cosine);
    let bad: Vec<(Entity, ErrorKind, &str)> = vec![
        (Entity { key: String::new(), ..entity("x", 1) }, ErrorKind::Invalid, "0 bytes"),
        (Entity { key: "k".repeat(65_536), ..entity("x", 1) }, ErrorKind::Invalid, "65536"),
        (Entity { key: "a\nb".into(), ..entity("x", 1) }, ErrorKind::Invalid, "line break"),
        (with("body", vec![1.0; DIM + 1]), ErrorKind::Invalid, "dimension 8"),
        (with("body", vec![0.0; DIM]), ErrorKind::Invalid, "zero vector"),
        (with("bodi", vec![1.0; DIM]), ErrorKind::NotFound, "did you mean body"),
    ];
    for (entity_, kind, words) in bad {
        let mut batch = WriteBatch::new();
        batch.put("docs", entity("good", 1));
        batch.put("docs", entity_);
        let error = store.write(&batch).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(store.collection("docs").unwrap().is_empty());
    }
    let error = store.collection("dosc").err().unwrap();
    assert!(error.to_string().contains("did you mean docs"), "{error}");
}

fn with(space: &str, vector: Vec<f32>) -> Entity {
    Entity { embeddings: BTreeMap::from([(space.to_owned(), vector)]), ..entity("x", 1) }
}

#[test]
fn keys_are_taken_up_to_the_limit_and_not_beyond() {
    let dir = tempfile::tempdir().unwrap();
    let store = docs(&dir, Metric::Cosine);
    for (len, fits) in [(4095, true), (4096, true), (4097, false)] {
        let mut batch = WriteBatch::new();
        batch.put("docs", Entity { key: "k".repeat(len), ..entity("x", 1) });
        assert_eq!(store.write(&batch).is_ok(), fits, "{len}");
    }
}

#[test]
fn a_second_writer_is_refused_by_name_and_a_reader_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = docs(&dir, Metric::Cosine);
    put(&store, [entity("a", 1)]);
    let error = Store::open(&config(&dir)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    let reader = Store::open(&Config { access: Access::Read, ..config(&dir) }).unwrap();
    assert_eq!(reader.collection("docs").unwrap().get("a").unwrap(), Some(entity("a", 1)));
    let error = reader.write(&{
        let mut batch = WriteBatch::new();
        batch.delete("docs", "a");
        batch
    });
    assert!(error.unwrap_err().to_string().contains("opened for reading"));
}

#[test]
fn a_budget_below_the_least_says_the_least() {
    let dir = tempfile::tempdir().unwrap();
    let least = ambitdb::MIN_BUDGET;
    for (budget, fits) in [(least.get() - 1, false), (least.get(), true), (least.get() + 1, true)] {
        let config = Config { budget: Some(Bytes::new(budget)), ..config(&dir) };
        let opened = Store::open(&config);
        assert_eq!(opened.is_ok(), fits, "{budget}");
        if let Err(error) = opened {
            assert!(error.is_over_budget() && error.to_string().contains("12.0 MiB"), "{error}");
        }
    }
}

#[test]
fn writes_merge_what_seals_leave_and_pictures_taken_before_stay_readable() {
    let dir = tempfile::tempdir().unwrap();
    let store = docs(&dir, Metric::Cosine);
    put(&store, [entity("first", 1)]);
    store.seal().unwrap();
    let picture = store.collection("docs").unwrap();
    for n in 0..60 {
        put(&store, [entity(&format!("k{n}"), n), entity("again", n)]);
        store.seal().unwrap();
    }
    for n in 0..20 {
        put(&store, [entity("last", n)]);
    }
    let info = &store.collections().unwrap()[0];
    assert!(info.segments < 16, "{} segments", info.segments);
    assert_eq!(info.entities, 63);
    assert_eq!(store.collection("docs").unwrap().get("again").unwrap(), Some(entity("again", 59)));
    assert_eq!(picture.get("first").unwrap(), Some(entity("first", 1)));
    assert_eq!(picture.len(), 1);
    drop(picture);
    store.reclaim().unwrap();
    let files = std::fs::read_dir(dir.path().join("store")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("segment-")).count(), info.segments);
}
