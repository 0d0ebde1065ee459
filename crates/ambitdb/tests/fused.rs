//! Several spaces in one answer, against fusing their answers by hand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use ambitdb::{
    Bytes, Config, Entity, Filter, FusedRequest, FusedSpace, Fusion, Metric, SearchRequest,
    SpaceKind, SpaceQuery, SparseVector, Store, Terms, TermsRequest, WriteBatch,
};

/// 13 spaces: ten dense ones of several widths and metrics, two sparse ones, one of words.
fn filled(dir: &std::path::Path) -> Store {
    let store = Store::open(&Config { budget: Some(Bytes::mib(64)), ..Config::new(dir) }).unwrap();
    store.create_collection("docs").unwrap();
    for space in 0..10 {
        let kind = SpaceKind::Dense { dim: 4 + space, metric: Metric::ALL[space % 3] };
        store.create_space("docs", &format!("d{space}"), kind).unwrap();
    }
    for space in ["s0", "s1"] {
        store.create_space("docs", space, SpaceKind::Sparse { dim: 30_522 }).unwrap();
    }
    store.create_space("docs", "words", SpaceKind::Text { stem: None }).unwrap();
    let mut batch = WriteBatch::new();
    for row in 0..200u32 {
        let number = |at: usize| ((row as usize * 37 + at * 101) % 97) as f32 / 10.0 - 4.0;
        let mut entity = Entity { key: format!("k{row}"), ..Entity::default() };
        for space in (0..10usize).filter(|space| !(row as usize + space).is_multiple_of(7)) {
            let vector = (0..4 + space).map(|at| number(at + space)).collect();
            entity.embeddings.insert(format!("d{space}"), vector);
        }
        for (space, step) in [("s0", 3), ("s1", 5)] {
            if row % step == 0 {
                let ids = vec![row % 11, 100 + row % 13, 30_000 + row % 17];
                let weights = vec![1.0, number(1), number(2)];
                entity.sparse.insert(space.into(), SparseVector { ids, weights });
            }
        }
        if row % 4 != 0 {
            entity.text = Some(format!("word{} other{} all", row % 9, row % 23));
        }
        entity.kind = if row % 10 == 0 { "rare" } else { "often" }.into();
        batch.put("docs", entity);
    }
    store.write(&batch).unwrap();
    store
}

#[test]
fn thirteen_spaces_are_fused_by_reciprocal_rank() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let collection = store.collection("docs").unwrap();
    let vectors: Vec<Vec<f32>> =
        (0..10).map(|space| (0..4 + space).map(|at| at as f32 - 1.5).collect()).collect();
    let names: Vec<String> = (0..10).map(|space| format!("d{space}")).collect();
    let sparse = SparseVector { ids: vec![3, 105, 30_003], weights: vec![1.0, 0.5, -2.0] };
    let mut spaces: Vec<FusedSpace<'_>> = names
        .iter()
        .zip(&vectors)
        .zip(1..)
        .map(|((space, vector), weight)| FusedSpace {
            space,
            query: SpaceQuery::Vector(vector),
            weight: f64::from(weight) / 4.0,
        })
        .collect();
    for (space, query, weight) in [
        ("s0", Terms::Vector(&sparse), 2.0),
        ("s1", Terms::Vector(&sparse), 0.0),
        ("words", Terms::Text("word3 other5"), 3.0),
    ] {
        spaces.push(FusedSpace { space, query: SpaceQuery::Terms(query), weight });
    }
    let filter = Filter::parse("kind = 'rare'").unwrap();
    for filter in [None, Some(&filter)] {
        for depth in [12, 40] {
            let request =
                FusedRequest { depth, filter, threads: 2, ..FusedRequest::new(&spaces, 12) };
            let answer = collection.search_fused(&request).unwrap();
            assert_eq!(answer.hits.len(), 12);
            let mut expected: BTreeMap<String, f64> = BTreeMap::new();
            for (number, space) in spaces.iter().enumerate() {
                let hits = match space.query {
                    SpaceQuery::Vector(vector) => {
                        let asked = SearchRequest::new(space.space, vector, depth);
                        collection.search(&SearchRequest { filter, ..asked }).unwrap().hits
                    }
                    SpaceQuery::Terms(query) => {
                        let asked = TermsRequest::new(space.space, query, depth);
                        collection.search_terms(&TermsRequest { filter, ..asked }).unwrap().hits
                    }
                };
                for (rank, hit) in (1u32..).zip(hits) {
                    *expected.entry(hit.key.clone()).or_default() +=
                        space.weight / (60.0 + f64::from(rank));
                    let found = answer.hits.iter().find(|found| found.key == hit.key);
                    if let Some(found) = found {
                        let place = found.places[number].unwrap();
                        assert_eq!((place.rank, place.score), (u64::from(rank), hit.score));
                    }
                }
            }
            for hit in &answer.hits {
                assert!((hit.score - expected[&hit.key]).abs() < 1e-12, "{hit:?}");
            }
            let least = answer.hits.last().unwrap().score;
            let shown: BTreeSet<&String> = answer.hits.iter().map(|hit| &hit.key).collect();
            assert!(
                expected.iter().all(|(key, &score)| shown.contains(key) || score <= least + 1e-12)
            );
        }
    }
}

#[test]
fn an_answer_has_k_where_the_spaces_have_k_between_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let collection = store.collection("docs").unwrap();
    // Words find 8 entities, the vectors 171; some of the words' entities have no vector.
    let vector = [1.0, 0.5, 0.0, -1.0];
    let spaces = [
        FusedSpace { space: "d0", query: SpaceQuery::Vector(&vector), weight: 1.0 },
        FusedSpace { space: "words", query: SpaceQuery::Terms(Terms::Text("other5")), weight: 1.0 },
    ];
    for fusion in [Fusion::default(), Fusion::Scores] {
        for k in [1, 7, 150, 200] {
            let request = FusedRequest { fusion, ..FusedRequest::new(&spaces, k) };
            let answer = collection.search_fused(&request).unwrap();
            let ids: BTreeSet<u64> = answer.hits.iter().map(|hit| hit.id.0).collect();
            assert_eq!(ids.len(), answer.hits.len());
            let words = TermsRequest::new("words", Terms::Text("other5"), 200);
            let words = collection.search_terms(&words).unwrap().hits;
            let dense = collection.search(&SearchRequest::new("d0", &vector, 200)).unwrap().hits;
            let all: BTreeSet<u64> = words.iter().chain(&dense).map(|hit| hit.id.0).collect();
            assert_eq!(answer.hits.len(), k.min(all.len()));
            assert!(answer.hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
        }
    }
    let only_words = [FusedSpace { weight: 0.0, ..spaces[0] }, spaces[1]];
    let request = FusedRequest { fusion: Fusion::Scores, ..FusedRequest::new(&only_words, 1) };
    let best = collection.search_fused(&request).unwrap().hits.remove(0);
    assert_eq!((best.score, best.places[1].unwrap().rank), (1.0, 1));
}

#[test]
fn requests_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path());
    let collection = store.collection("docs").unwrap();
    let query = SpaceQuery::Terms(Terms::Text("all"));
    let space = FusedSpace { space: "words", query, weight: 1.0 };
    let refused = |spaces: &[FusedSpace<'_>], change: &dyn Fn(&mut FusedRequest<'_>)| {
        let mut request = FusedRequest::new(spaces, 5);
        change(&mut request);
        collection.search_fused(&request).unwrap_err().to_string()
    };
    assert!(refused(&[], &|_| {}).contains("no space is named"));
    assert!(refused(&[space], &|request| request.depth = 4).contains("a depth of 4"));
    assert!(refused(&[space], &|request| request.k = 0).contains("k is 0"));
    let negative = FusedSpace { weight: -1.0, ..space };
    assert!(refused(&[negative], &|_| {}).contains("-1 as a weight"));
    let constant = Fusion::ReciprocalRank { k: f64::NAN };
    assert!(refused(&[space], &|request| request.fusion = constant).contains("NaN"));
    let wrong = FusedSpace { space: "d0", ..space };
    assert!(refused(&[wrong], &|_| {}).contains("search it with one"));
}
