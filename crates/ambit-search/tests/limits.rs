//! Do limited searches give the part of the order that they name? Held against the brute force.

#![allow(clippy::unwrap_used, reason = "a failed search fails the test")]

#[expect(dead_code, reason = "shared with the tests of unlimited searches")]
mod support;

use ambit_search::{DenseSource, Hit, Limits, Metric, Options, Query, SearchError, search_limited};
use support::{Coded, Memory, Random, account, assert_same, brute_force, model, real_or_clustered};

/// The pages of `k` hits each, one after the other, from the limits on.
fn pages<S: DenseSource>(source: &S, query: &Query<'_>, reaching: Option<f64>) -> Vec<Hit> {
    let account = account();
    let mut hits = Vec::new();
    for threads in [1, 2].into_iter().cycle() {
        let limits = Limits { reaching, after: hits.last().copied() };
        let options = Options { threads, account: &account, cancel: None };
        let answer = search_limited(source, query, &limits, &options).unwrap();
        assert!(answer.hits.len() <= query.k);
        if answer.hits.is_empty() {
            return hits;
        }
        hits.extend(answer.hits);
    }
    hits
}

/// Pages of all rows and of those within scores, with and without codes.
fn assert_limited(source: &Memory, vector: &[f32], k: usize) {
    for metric in Metric::ALL {
        let all = brute_force(source, vector, usize::MAX, metric);
        let query = Query { vector, k, metric };
        let model = model(source, metric);
        let coded = Coded::whole(source, &model);
        assert_same(&pages(source, &query, None), &all);
        assert_same(&pages(&coded, &query, None), &all);
        // A score that a row has, and one that lies just beyond it.
        for place in [0, all.len() / 7, all.len() / 2, all.len() - 1] {
            let score = all[place].score;
            let beyond =
                if metric == Metric::Euclidean { score.next_down() } else { score.next_up() };
            for reaching in [score, beyond] {
                let reaches = |hit: &&Hit| match metric {
                    Metric::Euclidean => hit.score <= reaching,
                    _ => hit.score >= reaching,
                };
                let expected: Vec<Hit> = all.iter().filter(reaches).copied().collect();
                if reaching.is_nan() {
                    continue;
                }
                assert_same(&pages(source, &query, Some(reaching)), &expected);
                assert_same(&pages(&coded, &query, Some(reaching)), &expected);
            }
        }
    }
}

#[test]
fn pages_and_ranges_join_to_what_the_brute_force_gives() {
    let mut random = Random(31);
    for dim in [1, 8, 48] {
        let source =
            Memory::new(dim, random.vector(700 * dim)).cut(90).with_dead(|row| row % 9 == 4);
        assert_limited(&source, &random.vector(dim), 97);
    }
}

#[test]
fn pages_of_equal_scores_go_on_by_key() {
    let mut random = Random(32);
    let mut rows = random.vector(16).repeat(150);
    rows.extend(random.vector(16).repeat(150));
    rows.extend([0.0; 16 * 40]);
    let source = Memory::new(16, rows).cut(64);
    assert_limited(&source, &random.vector(16), 33);
}

#[test]
fn pages_of_real_vectors_join() {
    let (dim, rows, queries) = real_or_clustered(6000, 10);
    let source = Memory::new(dim, rows).cut(1000);
    let metric = Metric::Cosine;
    let vector = &queries[..dim];
    let expected = brute_force(&source, vector, 200, metric);
    let model = model(&source, metric);
    let coded = Coded::whole(&source, &model);
    let query = Query { vector, k: 23, metric };
    let hits = pages(&coded, &query, Some(expected[199].score));
    assert_same(&hits, &expected);
}

#[test]
fn a_range_that_nothing_reaches_is_empty_and_nan_is_refused() {
    let source = Memory::new(4, Random(33).vector(4 * 400));
    let account = account();
    for metric in Metric::ALL {
        let query = Query { vector: &[1.0, 0.5, 0.25, 2.0], k: 5, metric };
        let options = Options { threads: 1, account: &account, cancel: None };
        let search = |reaching| {
            let limits = Limits { reaching: Some(reaching), after: None };
            search_limited(&source, &query, &limits, &options)
        };
        let nearest = if metric == Metric::Euclidean { -1.0 } else { 1e30 };
        assert!(search(nearest).unwrap().hits.is_empty());
        let farthest = if metric == Metric::Euclidean { f64::INFINITY } else { f64::NEG_INFINITY };
        assert_eq!(search(farthest).unwrap().hits.len(), 5);
        assert!(matches!(search(f64::NAN), Err(SearchError::NotAScore)));
    }
}
