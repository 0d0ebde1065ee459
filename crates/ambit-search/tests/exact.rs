//! Is the answer the one that scoring every row in f64 gives, in that order?
//!
//! Every search is held against a brute force that shares no code with it beyond the checked
//! score, on data chosen to break a bound, a tie or a threshold.

#[expect(clippy::unwrap_used, reason = "a failed search fails the test")]
mod support;

use std::sync::atomic::AtomicBool;

use ambit_mem::{Budget, Bytes, Priority};
use ambit_search::{
    Batch, BatchOptions, Exactness, Metric, Options, Query, SearchError, Sharing, search,
    search_batch,
};
use proptest::prelude::*;
use support::{Coded, Memory, Random, account, assert_exact, brute_force};

#[test]
fn random_rows_are_found_as_by_brute_force() {
    let mut random = Random(1);
    for dim in [1, 2, 3, 8, 17, 64, 384] {
        for n in [1, 5, 100, 2000] {
            let source = Memory::new(dim, random.vector(n * dim));
            let queries = random.vector(3 * dim);
            for k in [1, 10, n, n + 7] {
                assert_exact(&source, &queries, k);
            }
        }
    }
}

#[test]
fn rows_in_many_parts_and_lists_are_found_as_by_brute_force() {
    let mut random = Random(2);
    for rows_per_block in [1, 3, 64, 1000] {
        let source = Memory::new(16, random.vector(1500 * 16)).cut(rows_per_block).listed();
        assert_exact(&source, &random.vector(3 * 16), 25);
    }
}

#[test]
fn equal_rows_come_in_the_order_of_their_keys() {
    let mut random = Random(3);
    for dim in [1, 5, 32] {
        let row = random.vector(dim);
        let source = Memory::new(dim, row.repeat(3000)).cut(100);
        assert_exact(&source, &random.vector(2 * dim), 50);
    }
}

#[test]
fn clusters_of_near_duplicates_are_told_apart_to_the_last_bit() {
    let mut random = Random(4);
    for dim in [4, 64, 384] {
        let centre = random.vector(dim);
        let mut rows = Vec::new();
        for _ in 0..1500 {
            let mut row = centre.clone();
            let at = random.next() as usize % dim;
            for _ in 0..random.next() % 3 {
                row[at] = row[at].next_up();
            }
            rows.extend(row);
        }
        let source = Memory::new(dim, rows).cut(200);
        let mut queries = random.vector(2 * dim);
        queries.extend(&centre);
        assert_exact(&source, &queries, 40);
    }
}

#[test]
fn rows_of_nan_infinities_and_zeros_keep_their_place() {
    let mut random = Random(5);
    let strange = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0];
    for dim in [1, 2, 20] {
        for share in [1, 3, 30] {
            let mut rows = random.vector(600 * dim);
            for row in rows.chunks_mut(dim) {
                if random.next().is_multiple_of(share) {
                    let value = strange[random.next() as usize % strange.len()];
                    match random.next() % 2 {
                        0 => row.fill(value),
                        _ => row[random.next() as usize % dim] = value,
                    }
                }
            }
            let source = Memory::new(dim, rows).cut(77);
            for k in [1, 20, 400, 600] {
                assert_exact(&source, &random.vector(2 * dim), k);
            }
        }
    }
}

#[test]
fn subnormal_and_huge_values_are_found_as_by_brute_force() {
    let mut random = Random(6);
    for power in [-149, -148, -140, -126, -100, -75, 60, 63, 64, 100, 126] {
        for spread in [0, 2, 24] {
            for query_power in [-149, -126, 0, 64, 126] {
                let dim = 12;
                let source = Memory::new(dim, random.scaled(300 * dim, power, spread)).cut(64);
                assert_exact(&source, &random.scaled(dim, query_power, 1), 10);
                assert_exact(&source, &random.scaled(dim, power, spread), 10);
            }
        }
    }
}

#[test]
fn rows_of_very_different_norms_are_found_as_by_brute_force() {
    let mut random = Random(7);
    let dim = 24;
    let mut rows = random.vector(2000 * dim);
    for row in rows.chunks_mut(dim) {
        let scale = 2f32.powi((random.next() % 61) as i32 - 30);
        row.iter_mut().for_each(|element| *element *= scale);
    }
    assert_exact(&Memory::new(dim, rows).cut(128), &random.vector(4 * dim), 30);
}

#[test]
fn nearly_orthogonal_rows_are_found_as_by_brute_force() {
    // Scores far below |q||x|, so that the f32 error is as large as their differences.
    let mut random = Random(8);
    let dim = 256;
    let query = random.vector(dim);
    let mut rows = random.vector(1000 * dim);
    for row in rows.chunks_mut(dim) {
        let along = ambit_vector::oracle::dot(row, &query) / ambit_vector::oracle::norm_sq(&query);
        for (element, q) in row.iter_mut().zip(&query) {
            *element = (f64::from(*element) - along * f64::from(*q)) as f32;
        }
    }
    assert_exact(&Memory::new(dim, rows).cut(100), &query, 20);
}

#[test]
fn deleted_rows_are_never_found() {
    let mut random = Random(9);
    for share in [1, 2, 50] {
        let source = Memory::new(8, random.vector(900 * 8)).cut(100);
        let dead = |row: u32| u64::from(row).is_multiple_of(share);
        let source = source.with_dead(dead);
        assert_exact(&source, &random.vector(2 * 8), 30);
        assert_exact(&source, &random.vector(2 * 8), 900);
    }
}

#[test]
fn an_empty_space_gives_an_empty_answer() {
    for source in [Memory::new(4, Vec::new()), Memory::new(4, Vec::new()).cut(0)] {
        assert_exact(&source, &[1.0, 2.0, 3.0, 4.0], 3);
    }
}

#[test]
fn few_rows_are_scored_again_where_scores_differ() {
    let mut random = Random(10);
    let source = Memory::new(128, random.vector(20_000 * 128)).cut(1000);
    let account = account();
    let options = Options { threads: 1, account: &account, cancel: None };
    for metric in Metric::ALL {
        let vector = random.vector(128);
        let query = Query { vector: &vector, k: 10, metric };
        let Exactness::Certified { scanned, rescored, .. } =
            search(&source, &query, &options).unwrap().exactness
        else {
            unreachable!("an exact search says so")
        };
        assert_eq!(scanned, 20_000);
        assert!(rescored < 200, "{metric}: {rescored} of {scanned}");
    }
}

#[test]
fn queries_without_an_answer_are_refused_with_the_place() {
    let source = Memory::new(3, vec![1.0; 30]);
    let account = account();
    let options = Options { threads: 1, account: &account, cancel: None };
    let ask = |vector: &[f32], k, metric| {
        search(&source, &Query { vector, k, metric }, &options).unwrap_err()
    };
    let cosine = Metric::Cosine;
    assert!(matches!(ask(&[1.0; 3], 0, cosine), SearchError::ZeroK));
    let error = ask(&[1.0; 4], 1, cosine);
    assert!(matches!(error, SearchError::Dimension { expected: 3, found: 4 }), "{error}");
    let error = ask(&[1.0, 2.0, f32::NAN], 1, cosine);
    assert!(matches!(error, SearchError::NotFinite { query: 0, position: 2, .. }), "{error}");
    let error = ask(&[1.0, f32::INFINITY, 0.0], 1, Metric::Euclidean);
    assert!(error.to_string().contains("inf at position 1"), "{error}");
    assert!(matches!(ask(&[0.0, -0.0, 0.0], 1, cosine), SearchError::ZeroQuery { query: 0 }));
    let zero = Query { vector: &[0.0; 3], k: 20, metric: Metric::InnerProduct };
    assert_eq!(search(&source, &zero, &options).unwrap().hits.len(), 10);

    let options = BatchOptions { options, sharing: Sharing::Shared };
    let ask =
        |vectors: &[f32], k| search_batch(&source, &Batch { vectors, k, metric: cosine }, &options);
    let error = ask(&[1.0, 1.0, 1.0, 1.0, f32::NAN, 1.0], 1).unwrap_err();
    assert!(matches!(error, SearchError::NotFinite { query: 1, position: 1, .. }), "{error}");
    let error = ask(&[1.0, 1.0, 1.0, 0.0, 0.0, 0.0], 1).unwrap_err();
    assert!(matches!(error, SearchError::ZeroQuery { query: 1 }), "{error}");
    assert!(matches!(ask(&[1.0; 7], 1).unwrap_err(), SearchError::Dimension { .. }));
    assert_eq!(ask(&[], 1).unwrap(), []);
}

#[test]
fn a_space_of_dimension_zero_is_refused() {
    let source = Memory::new(0, Vec::new());
    let account = account();
    let options = Options { threads: 1, account: &account, cancel: None };
    let query = Query { vector: &[], k: 1, metric: Metric::Euclidean };
    assert!(matches!(search(&source, &query, &options), Err(SearchError::ZeroDimension)));
    let options = BatchOptions { options, sharing: Sharing::Shared };
    let batch = Batch { vectors: &[], k: 1, metric: Metric::Euclidean };
    assert!(matches!(search_batch(&source, &batch, &options), Err(SearchError::ZeroDimension)));
}

#[test]
fn scratch_is_charged_while_the_search_runs_and_given_back() {
    let mut random = Random(11);
    let source = Memory::new(8, random.vector(9000 * 8)).cut(500);
    let vectors = random.vector(20 * 8);
    for limit in [Bytes::new(100), Bytes::kib(40), Bytes::kib(400), Bytes::mib(64)] {
        let budget = Budget::new(limit);
        let account = budget.account("query/scratch", Priority::Query);
        let options = Options { threads: 2, account: &account, cancel: None };
        let query = Query { vector: &vectors[..8], k: 9000, metric: Metric::InnerProduct };
        match search(&source, &query, &options) {
            Ok(answer) => assert_eq!(answer.hits.len(), 9000),
            Err(error) => assert!(matches!(error, SearchError::OverBudget(_)), "{error}"),
        }
        assert_eq!(budget.used(), Bytes::ZERO);
        for sharing in [Sharing::Shared, Sharing::OneAtATime] {
            let options = BatchOptions { options, sharing };
            let batch = Batch { vectors: &vectors, k: 2000, metric: Metric::Cosine };
            match search_batch(&source, &batch, &options) {
                Ok(answers) => assert_eq!(answers[19].hits.len(), 2000),
                Err(error) => assert!(matches!(error, SearchError::OverBudget(_)), "{error}"),
            }
            assert_eq!(budget.used(), Bytes::ZERO);
        }
    }
}

#[test]
fn a_huge_k_needs_room_only_for_the_rows_that_exist() {
    let source = Memory::new(2, vec![1.0; 20]);
    let budget = Budget::new(Bytes::mib(1));
    let account = budget.account("query/scratch", Priority::Query);
    let options = Options { threads: 1, account: &account, cancel: None };
    let query = Query { vector: &[1.0, 0.0], k: usize::MAX, metric: Metric::Euclidean };
    assert_eq!(search(&source, &query, &options).unwrap().hits.len(), 10);
}

#[test]
fn a_cancelled_search_says_so() {
    let source = Memory::new(2, vec![1.0; 2000]).cut(10);
    let account = account();
    let cancel = AtomicBool::new(true);
    let options = Options { threads: 2, account: &account, cancel: Some(&cancel) };
    let query = Query { vector: &[1.0, 0.0], k: 3, metric: Metric::Cosine };
    assert!(matches!(search(&source, &query, &options), Err(SearchError::Cancelled)));
}

#[test]
fn a_source_that_fails_ends_the_search_with_its_reason_and_the_block() {
    let account = account();
    for threads in [1, 2] {
        let options = Options { threads, account: &account, cancel: None };
        let query = Query { vector: &[1.0, 0.0], k: 3, metric: Metric::Cosine };
        let source = Memory::new(2, vec![1.0; 2000]).cut(10).failing_at(7);
        let error = search(&source, &query, &options).unwrap_err();
        assert!(matches!(error, SearchError::Source { block: Some(7), .. }), "{error}");
        let reason = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(reason, "block 7 is unreadable");

        let source = Memory::new(2, vec![1.0; 2000]).cut(10).with_unreadable_keys();
        let error = search(&source, &query, &options).unwrap_err();
        assert!(matches!(error, SearchError::Source { .. }), "{error}");

        let source = Memory::new(2, vec![1.0; 2000]).cut(10).malformed_at(4);
        let error = search(&source, &query, &options).unwrap_err();
        assert!(matches!(error, SearchError::MalformedBlock { block: 4, .. }), "{error}");
    }
}

#[test]
fn codes_leave_few_rows_and_say_how_sure_they_are() {
    let (dim, rows, queries) = support::real_or_clustered(20_000, 20);
    let n = (rows.len() / dim) as u64;
    let source = Memory::new(dim, rows).cut(600);
    let model = support::model(&source, Metric::Cosine);
    let coded = Coded::whole(&source, &model);
    let account = account();
    let options = Options { threads: 1, account: &account, cancel: None };
    let (mut all_refined, mut all_rescored, count) = (0, 0, (queries.len() / dim) as u64);
    for vector in queries.chunks(dim) {
        let query = Query { vector, k: 10, metric: Metric::Cosine };
        let answer = search(&coded, &query, &options).unwrap();
        let Exactness::Certified { scanned, refined, rescored, margin, .. } = answer.exactness
        else {
            unreachable!("a search is certified")
        };
        assert_eq!(scanned, n);
        all_refined += refined;
        all_rescored += rescored;
        assert!(margin >= 0.0, "{margin}");
        let all = brute_force(&source, vector, 11, Metric::Cosine);
        assert!(all[10].score <= answer.hits[9].score);
    }
    assert!(all_refined < count * n / 6, "{all_refined} of {n} refined by {count} queries");
    assert!(all_rescored < count * 200, "{all_rescored} rescored by {count} queries");
}

#[test]
fn many_portions_in_many_parts_are_each_looked_at_once() {
    // 40,000 rows in two coded parts are several portions for a batch, and 700 rows in between
    // have no codes.
    let mut random = Random(15);
    let source = Memory::new(8, random.vector(80_700 * 8)).cut(100);
    let model = support::model(&source, Metric::Euclidean);
    let coded = Coded::new(&source, &model, &[0..400, 407..807]);
    let queries = random.vector(19 * 8);
    let account = account();
    for threads in [1, 2, 5] {
        let options = Options { threads, account: &account, cancel: None };
        let batch = Batch { vectors: &queries, k: 5, metric: Metric::Euclidean };
        let options = BatchOptions { options, sharing: Sharing::Shared };
        let answers = search_batch(&coded, &batch, &options).unwrap();
        for (vector, answer) in queries.chunks(8).zip(answers) {
            let query = Query { vector, k: 5, metric: Metric::Euclidean };
            let alone = search(&coded, &query, &options.options).unwrap();
            for answer in [answer, alone] {
                let expected = brute_force(&source, vector, 5, Metric::Euclidean);
                support::assert_same(&answer.hits, &expected);
                let Exactness::Certified { scanned, uncoded, .. } = answer.exactness else {
                    unreachable!("a search is certified")
                };
                assert_eq!((scanned, uncoded), (80_700, 700));
            }
        }
    }
}

#[test]
fn planes_that_cannot_be_read_are_replaced_by_exact_rows_and_the_answer_says_so() {
    let mut random = Random(13);
    let source = Memory::new(32, random.vector(3000 * 32)).cut(100);
    let model = support::model(&source, Metric::Cosine);
    let queries = random.vector(3 * 32);
    let account = account();
    for threads in [1, 2] {
        let coded = Coded::new(&source, &model, &[0..10, 20..30]).unreadable(1);
        let options = Options { threads, account: &account, cancel: None };
        let batch = Batch { vectors: &queries, k: 7, metric: Metric::Cosine };
        let options = BatchOptions { options, sharing: Sharing::Shared };
        let answers = search_batch(&coded, &batch, &options).unwrap();
        for (vector, answer) in queries.chunks(32).zip(answers) {
            let query = Query { vector, k: 7, metric: Metric::Cosine };
            let alone = search(&coded, &query, &options.options).unwrap();
            for answer in [answer, alone] {
                let expected = brute_force(&source, vector, 7, Metric::Cosine);
                support::assert_same(&answer.hits, &expected);
                let Exactness::Certified { fell_back, refined, .. } = answer.exactness else {
                    unreachable!("a search is certified")
                };
                assert!(fell_back && refined == 0);
            }
        }
    }
}

#[test]
fn codes_of_another_metric_are_not_read() {
    let mut random = Random(14);
    let source = Memory::new(16, random.vector(500 * 16)).cut(100);
    let model = support::model(&source, Metric::Cosine);
    let coded = Coded::whole(&source, &model).unreadable(0);
    let vector = random.vector(16);
    let account = account();
    let options = Options { threads: 1, account: &account, cancel: None };
    let query = Query { vector: &vector, k: 7, metric: Metric::Euclidean };
    let answer = search(&coded, &query, &options).unwrap();
    support::assert_same(&answer.hits, &brute_force(&source, &vector, 7, Metric::Euclidean));
}

proptest! {
    /// Rows and queries of a few values from all of f32, where ties and overflows are common.
    #[test]
    fn any_rows_are_found_as_by_brute_force(
        dim in 1usize..9,
        palette in prop::collection::vec(any::<u32>(), 1..6),
        picks in prop::collection::vec(any::<u8>(), 8..600),
        query in prop::collection::vec(-4i8..5, 8),
        query_power in -149i32..127,
        rows_per_block in 1usize..80,
        k in 1usize..30,
    ) {
        let element = |pick: &u8| match pick % 4 {
            0 => f32::from_bits(palette[usize::from(*pick) / 4 % palette.len()]),
            1 => f32::from(*pick) * 2f32.powi(query_power / 2),
            _ => f32::from(*pick) - 128.0,
        };
        let mut rows: Vec<f32> = picks.iter().map(element).collect();
        rows.truncate(rows.len() / dim * dim);
        let scale = (2f64.powi(query_power) as f32).max(f32::from_bits(1));
        let mut query: Vec<f32> = query[..dim].iter().map(|q| f32::from(*q) * scale).collect();
        query.iter_mut().for_each(|q| *q = q.clamp(f32::MIN, f32::MAX));
        query[0] += scale;
        prop_assume!(query.iter().any(|q| *q != 0.0) && query[0].is_finite());
        assert_exact(&Memory::new(dim, rows).cut(rows_per_block), &query, k);
    }
}

#[test]
fn real_embeddings_are_found_as_by_brute_force_for_a_thousand_queries() {
    let (dim, rows, queries) = support::real_or_clustered(3000, 1000);
    let source = Memory::new(dim, rows).cut(600);
    let account = account();
    for metric in Metric::ALL {
        let batch = Batch { vectors: &queries, k: 10, metric };
        let options = Options { threads: 2, account: &account, cancel: None };
        let options = BatchOptions { options, sharing: Sharing::Shared };
        let answers = search_batch(&source, &batch, &options).unwrap();
        assert_eq!(answers.len(), queries.len() / dim);
        for (query, answer) in queries.chunks(dim).zip(&answers) {
            let expected = brute_force(&source, query, 10, metric);
            support::assert_same(&answer.hits, &expected);
        }
        let options = BatchOptions { sharing: Sharing::OneAtATime, ..options };
        let alone = search_batch(&source, &batch, &options).unwrap();
        for (shared, alone) in answers.iter().zip(&alone) {
            support::assert_same(&shared.hits, &alone.hits);
        }
    }
}
