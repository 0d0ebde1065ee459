//! Rows in lists, leaders before followers: what is left out with a leader, and what is found when only
//! some lists are probed.

#![allow(clippy::unwrap_used, reason = "a failed search fails the test")]

#[expect(dead_code, reason = "shared with the tests of whole searches")]
mod support;

use ambit_search::{
    DenseSource, Exactness, Limits, Metric, Options, Probes, Query, SearchError, search,
    search_probed,
};
use support::{Coded, Memory, Random, account, assert_same, brute_force, model, real_or_clustered};

const DIM: usize = 32;

/// Rows in tight groups of eight around `groups` centres.
fn near_duplicates(groups: usize) -> Vec<f32> {
    let mut random = Random(31);
    let centres = random.vector(groups * DIM);
    let noise = random.vector(8 * groups * DIM);
    let rows = noise.chunks(DIM).enumerate().flat_map(|(row, noise)| {
        let centre = &centres[row % groups * DIM..][..DIM];
        centre.iter().zip(noise).map(|(x, noise)| x + 0.02 * noise).collect::<Vec<f32>>()
    });
    rows.collect()
}

#[test]
fn most_followers_are_left_out_with_their_leader_and_the_answer_is_exact() {
    let memory = Memory::new(DIM, near_duplicates(600)).cut(100);
    for metric in [Metric::Cosine, Metric::InnerProduct] {
        let model = model(&memory, metric);
        let coded = Coded::ordered(&memory, &model, &[0..20, 20..memory.blocks()]);
        let parts = coded.coded();
        let followers: usize = parts.iter().map(|part| part.rows() - part.leaders()).sum();
        assert!(followers > 3000, "{followers}");
        let account = account();
        for vector in Random(5).vector(8 * DIM).chunks(DIM) {
            for (threads, k) in [(1, 10), (2, 40)] {
                let options = Options { threads, account: &account, cancel: None };
                let answer = search(&coded, &Query { vector, k, metric }, &options).unwrap();
                assert_same(&answer.hits, &brute_force(&memory, vector, k, metric));
                let Exactness::Certified { scanned, skipped, margin, .. } = answer.exactness else {
                    unreachable!("a search is certified")
                };
                assert_eq!(scanned, 4800);
                assert!(skipped > 2000, "{metric} {skipped}");
                assert!(margin >= 0.0, "{margin}");
            }
        }
    }
}

#[test]
fn all_lists_are_the_exact_answer_and_fewer_are_the_best_of_what_they_hold() {
    let memory = Memory::new(DIM, near_duplicates(300)).cut(100);
    for metric in Metric::ALL {
        let model = model(&memory, metric);
        let coded = Coded::ordered(&memory, &model, std::slice::from_ref(&(0..memory.blocks())));
        let account = account();
        let options = Options { threads: 2, account: &account, cancel: None };
        let none = Limits::default();
        let mut found = 0;
        for vector in Random(6).vector(8 * DIM).chunks(DIM) {
            let query = Query { vector, k: 8, metric };
            let expected = brute_force(&memory, vector, 8, metric);
            for probes in [Probes::Lists(2), Probes::Lists(99), Probes::Recall(1.0)] {
                let answer = search_probed(&coded, &query, &none, probes, &options).unwrap();
                assert_same(&answer.hits, &expected);
                let Exactness::Approximate { probes, lists, recall, .. } = answer.exactness else {
                    unreachable!("lists were probed")
                };
                assert_eq!((probes, lists, recall), (2, 2, 1.0));
            }
            for probes in [Probes::Lists(1), Probes::Recall(0.7)] {
                let answer = search_probed(&coded, &query, &none, probes, &options).unwrap();
                let Exactness::Approximate { probes, recall, scanned, queries, .. } =
                    answer.exactness
                else {
                    unreachable!("lists were probed")
                };
                assert_eq!((probes, recall, queries), (1, 0.75, 1));
                assert!(scanned < 2400 && answer.hits.len() == 8);
                found += answer.hits.iter().filter(|hit| expected.contains(hit)).count();
            }
        }
        assert!(found >= 64, "{metric}: {found} of 128");
        assert_eq!(account.used(), ambit_mem::Bytes::ZERO);
    }
}

#[test]
fn more_lists_are_probed_where_fewer_than_k_are_found() {
    let memory = Memory::new(DIM, near_duplicates(300)).cut(100).with_dead(|row| row % 400 != 3);
    let model = model(&memory, Metric::Cosine);
    let coded = Coded::ordered(&memory, &model, std::slice::from_ref(&(0..memory.blocks())));
    let account = account();
    let options = Options { threads: 1, account: &account, cancel: None };
    let vector = Random(7).vector(DIM);
    let query = Query { vector: &vector, k: 6, metric: Metric::Cosine };
    let none = Limits::default();
    let answer = search_probed(&coded, &query, &none, Probes::Lists(1), &options).unwrap();
    assert_same(&answer.hits, &brute_force(&memory, &vector, 6, Metric::Cosine));
    for probes in
        [Probes::Lists(0), Probes::Recall(0.0), Probes::Recall(f64::NAN), Probes::Recall(1.1)]
    {
        let refused = search_probed(&coded, &query, &none, probes, &options);
        assert!(matches!(refused, Err(SearchError::NoProbes)), "{probes:?}");
    }
}

#[test]
fn real_rows_in_lists_are_found_as_by_brute_force() {
    let (dim, rows, queries) = real_or_clustered(5000, 10);
    let memory = Memory::new(dim, rows).cut(600);
    let model = model(&memory, Metric::Cosine);
    let coded = Coded::ordered(&memory, &model, std::slice::from_ref(&(0..memory.blocks())));
    let account = account();
    let options = Options { threads: 2, account: &account, cancel: None };
    for vector in queries.chunks(dim) {
        let query = Query { vector, k: 10, metric: Metric::Cosine };
        let answer = search(&coded, &query, &options).unwrap();
        assert_same(&answer.hits, &brute_force(&memory, vector, 10, Metric::Cosine));
    }
}
