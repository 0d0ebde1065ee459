//! Rows of codes in lists: near duplicates are left out together, and approximate answers say how good
//! they are.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use ambitdb::{
    Answer, Bytes, Collection, Config, ErrorKind, Exactness, Filter, Metric, Probes, SearchRequest,
    SpaceKind, Store,
};

const DIM: usize = 32;
const ROWS: usize = 12_000;

struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// Rows around 60 centres, each of `copies` near duplicates.
fn rows(copies: usize) -> Vec<f32> {
    let mut random = Random(1);
    let centres: Vec<f32> = (0..60 * DIM).map(|_| random.next()).collect();
    let bases: Vec<f32> = (0..ROWS / copies * DIM)
        .map(|at| centres[at / DIM % 60 * DIM + at % DIM] + 0.6 * random.next())
        .collect();
    (0..ROWS * DIM).map(|at| bases[at % bases.len()] + 0.03 * random.next()).collect()
}

fn filled(dir: &Path, metric: Metric, rows: &[f32]) -> Store {
    let config = Config { budget: Some(Bytes::mib(64)), ..Config::new(dir) };
    let store = Store::open(&config).unwrap();
    store.create_collection("docs").unwrap();
    store.create_space("docs", "mind", SpaceKind::Dense { dim: DIM, metric }).unwrap();
    let mut import = store.import("docs", "mind", 0).unwrap();
    import.push(None, rows).unwrap();
    import.finish().unwrap();
    store
}

fn search(collection: &Collection, query: &[f32], probes: Option<Probes>) -> Answer {
    let request = SearchRequest { probes, ..SearchRequest::new("mind", query, 10) };
    collection.search(&request).unwrap()
}

fn queries() -> Vec<f32> {
    let mut random = Random(9);
    rows(1)[7 * DIM..27 * DIM].iter().map(|x| x + 0.5 * random.next()).collect()
}

#[test]
fn near_duplicates_are_left_out_together_and_answers_stay_exact() {
    for metric in Metric::ALL {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path(), metric, &rows(12));
        let queries = queries();
        let before: Vec<Answer> = queries
            .chunks(DIM)
            .map(|query| search(&store.collection("docs").unwrap(), query, None))
            .collect();
        let report = store.build_codes("docs", &mut |_, _| true).unwrap();
        assert_eq!(report.rows, ROWS as u64);
        let collection = store.collection("docs").unwrap();
        for (query, before) in queries.chunks(DIM).zip(&before) {
            // Asked in a batch, where no answer is kept from before.
            let request = SearchRequest::new("mind", query, 10);
            let after = &collection.search_batch(&request).unwrap()[0];
            assert_eq!(after.hits, before.hits, "{metric}");
            let Exactness::Certified { scanned, skipped, uncoded, .. } = after.exactness else {
                panic!("a search is certified")
            };
            assert_eq!((scanned, uncoded), (ROWS as u64, 0));
            let all_lead = metric == Metric::Euclidean;
            assert!(if all_lead { skipped == 0 } else { skipped > 3000 }, "{metric} {skipped}");
        }
    }
}

#[test]
fn an_approximate_answer_reads_fewer_rows_and_has_about_the_recall_that_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), Metric::Cosine, &rows(1));
    store.build_codes("docs", &mut |_, _| true).unwrap();
    let collection = store.collection("docs").unwrap();
    let (mut found, mut said, mut looked_at) = (0, 0.0, 0);
    let queries = queries();
    for query in queries.chunks(DIM) {
        let exact = search(&collection, query, None);
        let some = search(&collection, query, Some(Probes::Recall(0.8)));
        let Exactness::Approximate { probes, lists, recall, queries, scanned, .. } = some.exactness
        else {
            panic!("lists were probed")
        };
        assert!(probes < lists && lists == 23 && queries == 100 && recall >= 0.8, "{recall}");
        found += some.hits.iter().filter(|hit| exact.hits.contains(hit)).count();
        (said, looked_at) = (recall, looked_at + scanned);
        let all = search(&collection, query, Some(Probes::Lists(usize::MAX)));
        assert_eq!(all.hits, exact.hits);
    }
    let recall = found as f64 / 200.0;
    assert!(recall > said - 0.2, "{recall} found, {said} said");
    assert!(looked_at < 20 * ROWS as u64 * 3 / 4, "{looked_at}");
    let request = SearchRequest {
        probes: Some(Probes::Lists(1)),
        ..SearchRequest::new("mind", &queries, 10)
    };
    assert_eq!(collection.search_batch(&request).unwrap().len(), 20);
    let none = SearchRequest { probes: Some(Probes::Recall(1.5)), ..request };
    let error = collection.search_batch(&none).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[test]
fn a_filter_that_few_meet_is_answered_in_full_whatever_is_probed() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path(), Metric::Cosine, &rows(12));
    store.build_codes("docs", &mut |_, _| true).unwrap();
    let collection = store.collection("docs").unwrap();
    let keys: Vec<String> = (0..12).map(|number| format!("'{}'", number * 997)).collect();
    let filter = Filter::parse(&format!("key in ({})", keys.join(", "))).unwrap();
    let rows = rows(12);
    let request = SearchRequest {
        filter: Some(&filter),
        probes: Some(Probes::Lists(1)),
        ..SearchRequest::new("mind", &rows[..DIM], 10)
    };
    assert_eq!(collection.search(&request).unwrap().hits.len(), 10);
    let exact = SearchRequest { probes: None, ..request };
    assert_eq!(collection.search(&exact).unwrap().hits.len(), 10);
}
