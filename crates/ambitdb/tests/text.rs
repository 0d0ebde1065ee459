//! Text and sparse spaces give what a straightforward reference gives, indexed or not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use ambitdb::{
    Bytes, Collection, Config, Entity, ErrorKind, Filter, Language, SpaceKind, SparseVector, Store,
    Terms, TermsAnswer, TermsRequest, WriteBatch, compare_keys,
};
use proptest::prelude::*;

fn config(dir: &Path) -> Config {
    Config { budget: Some(Bytes::mib(64)), ..Config::new(dir) }
}

fn store(dir: &Path, stem: Option<Language>) -> Store {
    let store = Store::open(&config(dir)).unwrap();
    store.create_collection("docs").unwrap();
    store.create_space("docs", "words", SpaceKind::Text { stem }).unwrap();
    store.create_space("docs", "terms", SpaceKind::Sparse { dim: 1000 }).unwrap();
    store
}

/// What the store should hold: text and terms by key.
type Model = BTreeMap<String, (Option<String>, Option<SparseVector>)>;

struct Random(u64);

impl Random {
    fn next(&mut self, below: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as u32) % below
    }

    /// Few words often, many seldom.
    fn word(&mut self) -> String {
        let rank = (f64::from(self.next(10_000)) / 10_000.0).powi(3) * 300.0;
        format!("w{}", rank as u32)
    }

    fn text(&mut self) -> Option<String> {
        match self.next(10) {
            0 => None,
            1 => Some(" ... ".to_owned()),
            _ => {
                let len = 1 + self.next(20);
                Some((0..len).map(|_| self.word() + ", ").collect())
            }
        }
    }

    fn vector(&mut self) -> Option<SparseVector> {
        let mut terms = BTreeMap::new();
        for _ in 0..self.next(12) {
            let weight = f32::from_bits(self.next(u32::MAX));
            let weight = if weight.is_finite() { weight } else { -0.0 };
            terms.insert(self.next(1000) * self.next(1000) / 1000, weight);
        }
        let (ids, weights) = terms.into_iter().unzip();
        (self.next(5) > 0).then_some(SparseVector { ids, weights })
    }
}

fn put(store: &Store, model: &mut Model, random: &mut Random, keys: u32, count: u32) {
    let mut batch = WriteBatch::new();
    for _ in 0..count {
        let key = format!("k{}", random.next(keys));
        if random.next(6) == 0 {
            batch.delete("docs", &key);
            model.remove(&key);
            continue;
        }
        let (text, vector) = (random.text(), random.vector());
        let sparse = vector.iter().map(|vector| ("terms".to_owned(), vector.clone())).collect();
        let kind = if random.next(3) == 0 { "rare" } else { "often" }.to_owned();
        let entity =
            Entity { key: key.clone(), kind, text: text.clone(), sparse, ..Entity::default() };
        model.insert(key, (text, vector));
        batch.put("docs", entity);
    }
    store.write(&batch).unwrap();
}

fn ranked(mut scored: Vec<(f64, String)>, k: usize) -> Vec<(String, f64)> {
    scored.sort_by(|a, b| {
        b.0.partial_cmp(&a.0).unwrap().then(compare_keys(a.1.as_bytes(), b.1.as_bytes()))
    });
    scored.into_iter().take(k).map(|(score, key)| (key, score + 0.0)).collect()
}

/// BM25 over all texts, without an index.
fn bm25(model: &Model, query: &str, k: usize, meets: &dyn Fn(&str) -> bool) -> Vec<(String, f64)> {
    let words = |text: &str| -> Vec<String> {
        text.split([',', ' ', '.']).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
    };
    let docs: Vec<(&String, Vec<String>)> = model
        .iter()
        .filter_map(|(key, (text, _))| Some((key, words(text.as_deref()?))))
        .filter(|(_, words)| !words.is_empty())
        .collect();
    let total: usize = docs.iter().map(|(_, words)| words.len()).sum();
    let mean = (total as f64 / docs.len().max(1) as f64).max(1.0);
    let mut wanted: BTreeMap<String, f64> = BTreeMap::new();
    words(query).into_iter().for_each(|word| *wanted.entry(word).or_default() += 1.0);
    let mut scores = vec![(0.0, false); docs.len()];
    for (word, times) in &wanted {
        let with = docs.iter().filter(|(_, words)| words.contains(word)).count() as f64;
        let n = docs.len() as f64;
        let idf = (1.0 + (n - with + 0.5) / (with + 0.5)).ln();
        for ((_, words), (score, shares)) in docs.iter().zip(&mut scores) {
            let count = words.iter().filter(|other| *other == word).count() as f64;
            if count > 0.0 {
                let held = 1.2 * (1.0 - 0.75) + 1.2 * 0.75 / mean * words.len() as f64;
                *score += times * idf * (count * (1.2 + 1.0) / (count + held));
                *shares = true;
            }
        }
    }
    let found = docs.iter().zip(scores).filter(|((key, _), (_, shares))| *shares && meets(key));
    ranked(found.map(|((key, _), (score, _))| (score, (*key).clone())).collect(), k)
}

fn inner(model: &Model, query: &SparseVector, k: usize) -> Vec<(String, f64)> {
    let weights: BTreeMap<u32, f32> =
        query.ids.iter().copied().zip(query.weights.iter().copied()).collect();
    let mut scored = Vec::new();
    for (key, (_, vector)) in model {
        let Some(vector) = vector else { continue };
        let shared: Vec<f64> = vector
            .ids
            .iter()
            .zip(&vector.weights)
            .filter_map(|(id, &weight)| Some(f64::from(*weights.get(id)?) * f64::from(weight)))
            .collect();
        if !shared.is_empty() {
            scored.push((shared.iter().fold(0.0, |sum, part| sum + part), key.clone()));
        }
    }
    ranked(scored, k)
}

fn found(answer: &TermsAnswer) -> Vec<(String, f64)> {
    answer.hits.iter().map(|hit| (hit.key.clone(), hit.score + 0.0)).collect()
}

fn check(collection: &Collection, model: &Model, seed: u64) {
    let mut random = Random(seed);
    let rare: Vec<String> = {
        let mut keys = Vec::new();
        let options = ambitdb::ListOptions { kind: Some("rare".into()), ..Default::default() };
        collection
            .scan(&options, &mut |info| {
                keys.push(info.key);
                true
            })
            .unwrap();
        keys
    };
    let filter = Filter::parse("kind = 'rare'").unwrap();
    for round in 0..4 {
        let query: String = (0..1 + random.next(6)).map(|_| random.word() + " ").collect();
        let k = 1 + random.next(30) as usize;
        let request = TermsRequest::new("words", Terms::Text(&query), k);
        let answer = collection.search_terms(&request).unwrap();
        assert_eq!(found(&answer), bm25(model, &query, k, &|_| true), "{round} {query}");
        let answer =
            collection.search_terms(&TermsRequest { filter: Some(&filter), ..request }).unwrap();
        assert_eq!(
            found(&answer),
            bm25(model, &query, k, &|key| rare.iter().any(|one| one == key))
        );
        let query = random.vector().unwrap_or_default();
        let request = TermsRequest::new("terms", Terms::Vector(&query), k);
        let answer = collection.search_terms(&request).unwrap();
        assert_eq!(found(&answer), inner(model, &query, k));
    }
}

fn build(store: &Store) -> ambitdb::IndexReport {
    store.build_indexes("docs", &mut |_, _| true).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn answers_are_those_of_the_reference(
        seed: u64,
        steps in prop::collection::vec((0u8..5, 1u32..600), 1..7),
        keys in 50u32..1500,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(dir.path(), None);
        let (mut model, mut random) = (Model::new(), Random(seed));
        for (step, count) in steps {
            match step {
                0 => store.seal().unwrap(),
                1 => { build(&store); }
                2 => while !store.merge_step(u32::MAX).unwrap().done {},
                _ => put(&store, &mut model, &mut random, keys, count),
            }
            check(&store.collection("docs").unwrap(), &model, seed);
        }
        build(&store);
        check(&store.collection("docs").unwrap(), &model, !seed);
        assert!(store.verify(&mut |_, _| true).unwrap().problems.is_empty());
        drop(store);
        store = Store::open(&config(dir.path())).unwrap();
        check(&store.collection("docs").unwrap(), &model, seed ^ 7);
        let mut exported = Vec::new();
        let collection = store.collection("docs").unwrap();
        collection.export_sparse("terms", &mut |id, vector| {
            exported.push((id, vector.clone()));
            Ok(())
        }).unwrap();
        let held = model.values().filter(|(_, vector)| vector.is_some()).count();
        prop_assert_eq!(exported.len(), held);
        prop_assert_eq!(collection.vectors_in("terms").unwrap(), held as u64);
        for (key, (_, vector)) in &model {
            let entity = collection.get(key).unwrap().unwrap();
            let bits = |vector: &SparseVector| -> Vec<u32> {
                vector.weights.iter().map(|weight| weight.to_bits()).collect()
            };
            let read = entity.sparse.get("terms");
            prop_assert_eq!(read.map(|read| (&read.ids, bits(read))),
                vector.as_ref().map(|vector| (&vector.ids, bits(vector))));
        }
    }
}

/// A store of 3,000 texts in one segment, indexed, and what its queries find.
fn filled(dir: &Path) -> (Store, Model) {
    let store = store(dir, None);
    let (mut model, mut random) = (Model::new(), Random(5));
    for _ in 0..6 {
        put(&store, &mut model, &mut random, 100_000, 500);
    }
    store.seal().unwrap();
    while !store.merge_step(u32::MAX).unwrap().done {}
    (store, model)
}

#[test]
fn an_index_serves_alone_and_an_older_version_sees_its_own_rows() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut model) = filled(dir.path());
    let loose = |store: &Store| {
        let request = TermsRequest::new("words", Terms::Text("w1 w200"), 10);
        store.collection("docs").unwrap().search_terms(&request).unwrap().work.loose
    };
    assert_eq!(
        loose(&store),
        model
            .values()
            .filter(|(text, _)| text.as_ref().is_some_and(|text| text.contains('w')))
            .count() as u64
    );
    let report = build(&store);
    assert_eq!(report.segments, 2);
    assert!(report.postings > 10_000 && report.read > 50_000 && report.bytes > 10_000);
    assert_eq!(build(&store), ambitdb::IndexReport::default(), "nothing is left to build");
    assert_eq!(loose(&store), 0);
    store.create_version("before").unwrap();
    let before = model.clone();
    put(&store, &mut model, &mut Random(9), 100_000, 300);
    for key in before.keys().take(400) {
        let mut batch = WriteBatch::new();
        batch.delete("docs", key);
        store.write(&batch).unwrap();
        model.remove(key);
    }
    check(&store.collection("docs").unwrap(), &model, 1);
    check(&store.collection_at("docs", "before").unwrap(), &before, 2);
}

#[test]
fn a_damaged_index_is_said_and_costs_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (store, model) = filled(dir.path());
    build(&store);
    drop(store);
    let files: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("derived-"))
        .collect();
    assert_eq!(files.len(), 2);
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        for at in [0, 70, 4200, bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            std::fs::write(path, &damaged).unwrap();
            let store = Store::open(&config(dir.path())).unwrap();
            let collection = store.collection("docs").unwrap();
            for seed in 0..2 {
                check(&collection, &model, seed);
            }
            let all = SparseVector { ids: (0..1000).collect(), weights: vec![1.0; 1000] };
            let text: String = (0..300).map(|word| format!("w{word} ")).collect();
            let text = TermsRequest::new("words", Terms::Text(&text), 3);
            let vector = TermsRequest::new("terms", Terms::Vector(&all), 3);
            let fell_back = [text, vector]
                .iter()
                .any(|request| collection.search_terms(request).unwrap().fell_back);
            // A byte that no query reads, as padding, is found by the check.
            assert!(fell_back || !store.verify(&mut |_, _| true).unwrap().problems.is_empty());
            if fell_back {
                assert_eq!(build(&store).segments, 1);
                check(&store.collection("docs").unwrap(), &model, 3);
            }
        }
        std::fs::write(path, &bytes).unwrap();
    }
}

#[test]
fn building_stays_in_its_share_and_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { budget: Some(ambitdb::MIN_BUDGET), ..Config::new(dir.path()) };
    let store = Store::open(&config).unwrap();
    store.create_collection("docs").unwrap();
    store.create_space("docs", "words", SpaceKind::Text { stem: None }).unwrap();
    let (mut model, mut random) = (Model::new(), Random(3));
    for batch in 0..40u32 {
        let mut changes = WriteBatch::new();
        for row in 0..50u32 {
            // Words that no other row has fill the room of a run.
            let key = format!("{}", batch * 50 + row);
            let own: String = (0..40).map(|word| format!("x{key}y{word} ")).collect();
            let text = own + &random.text().unwrap_or_default();
            model.insert(key.clone(), (Some(text.clone()), None));
            changes.put("docs", Entity { key, text: Some(text), ..Entity::default() });
        }
        store.write(&changes).unwrap();
    }
    store.seal().unwrap();
    while !store.merge_step(u32::MAX).unwrap().done {}
    let stopped = store.build_indexes("docs", &mut |done, total| {
        assert_eq!(total, 2000);
        done < 1000
    });
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Interrupted);
    let left = std::fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("tmp-"));
    assert_eq!(left.count(), 0);
    assert_eq!(build(&store).rows, 2000);
    let collection = store.collection("docs").unwrap();
    for query in ["w1 w250 x7y3", "x1999y39", "w0 w0 w3"] {
        let request = TermsRequest::new("words", Terms::Text(query), 10);
        let answer = collection.search_terms(&request).unwrap();
        assert_eq!(answer.work.loose, 0);
        assert_eq!(found(&answer), bm25(&model, query, 10, &|_| true), "{query}");
    }
    assert!(store.build_indexes("nowhere", &mut |_, _| true).is_err());
}

#[test]
fn stems_and_parts_of_identifiers_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), Some(Language::English));
    let mut batch = WriteBatch::new();
    for (key, text) in
        [("a", "He was running home."), ("b", "fn readFile(path: &str)"), ("c", "let max_len = 3;")]
    {
        batch.put("docs", Entity { key: key.into(), text: Some(text.into()), ..Entity::default() });
    }
    store.write(&batch).unwrap();
    let collection = store.collection("docs").unwrap();
    for (query, key) in
        [("runs", "a"), ("file", "b"), ("READFILE", "b"), ("max_len", "c"), ("len", "c")]
    {
        let request = TermsRequest::new("words", Terms::Text(query), 5);
        let answer = collection.search_terms(&request).unwrap();
        assert_eq!(found(&answer).first().map(|(key, _)| key.as_str()), Some(key), "{query}");
    }
    drop((collection, store));
    let store = Store::open(&config(dir.path())).unwrap();
    let kind = store.collection("docs").unwrap().space("words").unwrap().kind;
    assert_eq!(kind, SpaceKind::Text { stem: Some(Language::English) });
}

#[test]
fn what_does_not_fit_a_space_is_refused_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), None);
    let vector =
        |ids: &[u32], weights: &[f32]| SparseVector { ids: ids.into(), weights: weights.into() };
    let cases = [
        (vector(&[1, 2], &[1.0]), "2 ids and 1 weights"),
        (vector(&[2, 1], &[1.0, 1.0]), "id 1 at position 1 stands after 2"),
        (vector(&[1, 1], &[1.0, 1.0]), "each once"),
        (vector(&[1000], &[1.0]), "the space has 1000 terms"),
        (vector(&[3], &[f32::NAN]), "weight NaN of id 3"),
        (vector(&[3], &[f32::INFINITY]), "weights are finite"),
    ];
    let collection = store.collection("docs").unwrap();
    for (vector, expected) in cases {
        let mut batch = WriteBatch::new();
        let sparse = [("terms".to_owned(), vector.clone())].into();
        batch.put("docs", Entity { key: "k".into(), sparse, ..Entity::default() });
        let error = store.write(&batch).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(expected), "{error}");
        let request = TermsRequest::new("terms", Terms::Vector(&vector), 3);
        let error = collection.search_terms(&request).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let none = SparseVector::default();
    let refused = [
        ("words", Terms::Vector(&none), 1, "search it with a text"),
        ("terms", Terms::Text("a"), 1, "terms with weights"),
        ("word", Terms::Text("a"), 1, "did you mean words"),
        ("words", Terms::Text("a"), 0, "k is 0"),
    ];
    for (space, query, k, expected) in refused {
        let error = collection.search_terms(&TermsRequest::new(space, query, k)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    for space in ["words", "terms"] {
        let mut batch = WriteBatch::new();
        let embeddings = [(space.to_owned(), vec![1.0])].into();
        batch.put("docs", Entity { key: "k".into(), embeddings, ..Entity::default() });
        assert!(store.write(&batch).unwrap_err().to_string().contains("which holds terms"));
        let error = collection.search(&ambitdb::SearchRequest::new(space, &[1.0], 1)).unwrap_err();
        assert!(error.to_string().contains("not dense vectors"), "{error}");
        assert!(store.import("docs", space, 0).is_err());
    }
    assert!(store.create_space("docs", "none", SpaceKind::Sparse { dim: 0 }).is_err());
    assert!(collection.export_sparse("words", &mut |_, _| Ok(())).is_err());
    let nothing =
        collection.search_terms(&TermsRequest::new("words", Terms::Text("?"), 9)).unwrap();
    assert!(nothing.hits.is_empty());
}
