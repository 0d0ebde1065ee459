//! Sparse search against a reference that scores every row, over random rows, runs and deletes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ambit_mem::{Account, Budget, Bytes, OverBudget, Priority};
use ambit_search::sparse::{
    Area, B, IndexedRun, K1, Matched, Note, QueryTerm, RunBuilder, RunInfo, RunSink, Scoring,
    SparseAnswer, SparseQuery, SparseSource, Values, search,
};
use ambit_search::{Options, RowRef, SearchError, SourceError};
use proptest::prelude::*;

/// Terms of a row with their values; none: no embedding.
type Row = BTreeMap<Vec<u8>, u32>;

#[derive(Default)]
struct Areas(BTreeMap<Area, Vec<u8>>, Option<Area>);

impl RunSink for Areas {
    type Error = OverBudget;

    fn begin(&mut self, area: Area) -> Result<(), OverBudget> {
        self.0.insert(area, Vec::new());
        self.1 = Some(area);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), OverBudget> {
        self.0.get_mut(&self.1.unwrap()).unwrap().extend_from_slice(bytes);
        Ok(())
    }
}

struct Run {
    part: u32,
    info: RunInfo,
    areas: Areas,
    deleted: BTreeSet<u32>,
}

impl IndexedRun for Run {
    fn part(&self) -> u32 {
        self.part
    }

    fn info(&self) -> &RunInfo {
        &self.info
    }

    fn len(&self, area: Area) -> u64 {
        self.areas.0[&area].len() as u64
    }

    fn read(
        &self,
        area: Area,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), SourceError> {
        take(&self.areas.0[&area][range.start as usize..range.end as usize]);
        Ok(())
    }

    fn deleted(&self, each: &mut dyn FnMut(u32) -> bool) {
        for &row in &self.deleted {
            if !each(row) {
                break;
            }
        }
    }

    fn deleted_len(&self) -> u64 {
        self.deleted.len() as u64
    }

    fn is_deleted(&self, row: u32) -> bool {
        self.deleted.contains(&row)
    }
}

struct Source {
    runs: Vec<Run>,
    loose: Vec<Row>,
    /// Rows that do not meet the filter: those whose number is a multiple of this.
    hidden: u32,
    values: Values,
}

const LOOSE: u32 = 1000;

impl SparseSource for Source {
    fn runs(&self) -> Vec<&dyn IndexedRun> {
        self.runs.iter().map(|run| run as &dyn IndexedRun).collect()
    }

    fn loose(
        &self,
        terms: &[&[u8]],
        take: &mut dyn FnMut(Note<'_>) -> bool,
    ) -> Result<(), SourceError> {
        for (row, cells) in (0..).zip(&self.loose).filter(|(_, cells)| !cells.is_empty()) {
            let length = length(self.values, cells);
            let values: Vec<(u32, u32)> = (0..)
                .zip(terms)
                .filter_map(|(number, &term)| Some((number, *cells.get(term)?)))
                .collect();
            let row = RowRef { part: LOOSE, row };
            let note = match values.is_empty() {
                true => Note::Other { length },
                false => Note::Matched(Matched { row, length, values: &values }),
            };
            if !take(note) {
                break;
            }
        }
        Ok(())
    }

    fn meets(&self, row: RowRef) -> bool {
        !row.row.is_multiple_of(self.hidden)
    }

    fn compare_keys(&self, a: RowRef, b: RowRef) -> Result<Ordering, SourceError> {
        Ok(key(a).cmp(&key(b)))
    }
}

/// Not in the order of rows, so that ties are seen.
fn key(row: RowRef) -> (u32, u32) {
    (row.row.wrapping_mul(2_654_435_761) % 97, row.part << 20 | row.row)
}

fn length(values: Values, row: &Row) -> u32 {
    match values {
        Values::Counts => row.values().sum(),
        Values::Weights => u32::from(!row.is_empty()),
    }
}

fn account() -> Account {
    Budget::new(Bytes::mib(64)).account("test", Priority::Query)
}

fn built(part: u32, first: u32, values: Values, rows: &[Row]) -> Run {
    let mut builder = RunBuilder::new(values, first, account().reserve(Bytes::ZERO).unwrap());
    for row in rows {
        for (term, &value) in row {
            match values {
                Values::Counts => (0..value).for_each(|_| builder.add(term, 1).unwrap()),
                Values::Weights => builder.add(term, value).unwrap(),
            }
        }
        builder.end_row(length(values, row)).unwrap();
    }
    let mut areas = Areas::default();
    let info = builder.finish(&mut areas).unwrap();
    assert_eq!(RunInfo::decode(&info.encode()), Some(info));
    Run { part, info, areas, deleted: BTreeSet::new() }
}

fn query(source: &Source, terms: &[(Vec<u8>, f32)], k: usize) -> Result<SparseAnswer, SearchError> {
    let terms: BTreeMap<Vec<u8>, f32> = terms.iter().cloned().collect();
    let terms: Vec<QueryTerm> =
        terms.into_iter().map(|(term, weight)| QueryTerm { term, weight }).collect();
    let scoring = match source.values {
        Values::Counts => Scoring::Bm25,
        Values::Weights => Scoring::Inner,
    };
    let account = account();
    let options = Options { threads: 1, account: &account, cancel: None };
    let answer = search(source, &SparseQuery { terms: &terms, k, scoring }, &options);
    assert_eq!(account.used(), Bytes::ZERO);
    answer
}

/// Every row that shares a term, scored and sorted.
fn reference(
    source: &Source,
    rows: &[(RowRef, &Row)],
    terms: &[(Vec<u8>, f32)],
    k: usize,
) -> Vec<(RowRef, u64)> {
    let filled: Vec<_> = rows.iter().filter(|(_, row)| !row.is_empty()).collect();
    let lengths: u64 = filled.iter().map(|(_, row)| u64::from(length(source.values, row))).sum();
    let mean = (lengths as f64 / filled.len().max(1) as f64).max(1.0);
    let terms: BTreeMap<Vec<u8>, f32> = terms.iter().cloned().collect();
    let with: Vec<f64> = terms
        .keys()
        .map(|term| filled.iter().filter(|(_, row)| row.contains_key(term)).count() as f64)
        .collect();
    let mut scored: Vec<(f64, RowRef)> = Vec::new();
    for &&(at, row) in &filled {
        let mut score = 0.0;
        let mut shares = false;
        for ((term, &weight), with) in terms.iter().zip(&with) {
            let Some(&value) = row.get(term) else {
                continue;
            };
            shares = true;
            score += match source.values {
                Values::Weights => f64::from(weight) * f64::from(f32::from_bits(value)),
                Values::Counts => {
                    let n = filled.len() as f64;
                    let idf = (1.0 + (n - *with + 0.5) / (*with + 0.5)).ln();
                    let length = f64::from(length(source.values, row));
                    let held = K1 * (1.0 - B) + K1 * B / mean * length;
                    let count = f64::from(value);
                    f64::from(weight) * idf * (count * (K1 + 1.0) / (count + held))
                }
            };
        }
        if shares && source.meets(at) {
            scored.push((score, at));
        }
    }
    scored.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(key(a.1).cmp(&key(b.1))));
    scored.into_iter().take(k).map(|(score, at)| (at, score.to_bits())).collect()
}

fn check(source: &Source, runs: &[Vec<Row>], firsts: &[u32], terms: &[(Vec<u8>, f32)], k: usize) {
    let mut rows: Vec<(RowRef, &Row)> = Vec::new();
    for ((run, cells), &first) in source.runs.iter().zip(runs).zip(firsts) {
        rows.extend(
            (first..)
                .zip(cells)
                .filter(|(row, _)| !run.deleted.contains(row))
                .map(|(row, cells)| (RowRef { part: run.part, row }, cells)),
        );
    }
    let loose = (0..).zip(&source.loose);
    rows.extend(loose.map(|(row, cells)| (RowRef { part: LOOSE, row }, cells)));
    let found = query(source, terms, k).unwrap();
    // Zeros of both signs are one score.
    let plain = |score: f64| if score == 0.0 { 0 } else { score.to_bits() };
    let found: Vec<(RowRef, u64)> =
        found.hits.iter().map(|hit| (hit.row, plain(hit.score))).collect();
    let expected = reference(source, &rows, terms, k).into_iter();
    let expected: Vec<_> = expected.map(|(at, bits)| (at, plain(f64::from_bits(bits)))).collect();
    assert_eq!(found, expected);
}

/// Words by a falling law, so that some have many blocks and most one.
fn word(pick: u32) -> Vec<u8> {
    let rank = (f64::from(pick % 10_000) / 10_000.0).powi(4) * 400.0;
    format!("w{}", rank as u32).into_bytes()
}

fn corpus(seed: u64, rows: usize, values: Values) -> Vec<Row> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 33) as u32
    };
    let mut all = Vec::new();
    for _ in 0..rows {
        let mut row = Row::new();
        let most = if next() % 50 == 0 { 300 } else { 12 };
        for _ in 0..next() % most {
            let term = word(next());
            match values {
                Values::Counts => *row.entry(term).or_insert(0) += 1,
                Values::Weights => {
                    let weight = (next() % 2001) as f32 / 500.0 - 1.0;
                    row.insert(term, weight.to_bits());
                }
            }
        }
        all.push(row);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_answer_is_that_of_scoring_every_row(
        seed: u64,
        sizes in prop::collection::vec(0usize..6000, 0..3),
        loose in 0usize..200,
        gone in 1u32..60,
        hidden in 1u32..8,
        picks in prop::collection::vec((0u32..10_000, 1u8..4), 1..9),
        k in 1usize..40,
        is_counts: bool,
        is_signed: bool,
    ) {
        let values = if is_counts { Values::Counts } else { Values::Weights };
        let hidden = if hidden == 1 { 1_000_000_007 } else { hidden };
        let firsts = [0, 77, 3_000_000_000];
        let runs: Vec<Vec<Row>> =
            sizes.iter().zip(seed..).map(|(&size, seed)| corpus(seed, size, values)).collect();
        let mut source = Source { runs: Vec::new(), loose: corpus(!seed, loose, values), hidden, values };
        for ((rows, first), part) in runs.iter().zip(firsts).zip(0..) {
            let mut run = built(part, first, values, rows);
            if gone > 2 {
                run.deleted =
                    (first..).take(rows.len()).filter(|row| row.is_multiple_of(gone)).collect();
            }
            source.runs.push(run);
        }
        let terms: Vec<(Vec<u8>, f32)> = picks
            .iter()
            .map(|&(pick, weight)| {
                let sign = if is_signed && !is_counts && pick % 3 == 0 { -1.0 } else { 1.0 };
                (word(pick), sign * f32::from(weight))
            })
            .collect();
        check(&source, &runs, &firsts, &terms, k);
    }

    #[test]
    fn damaged_bytes_are_an_error_or_an_answer_but_no_panic(
        seed: u64,
        places in prop::collection::vec((0usize..4, any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let rows = corpus(seed, 1500, Values::Counts);
        let mut run = built(0, 5, Values::Counts, &rows);
        for (area, place, byte) in places {
            let bytes = run.areas.0.get_mut(&Area::ALL[area]).unwrap();
            let at = place.index(bytes.len());
            bytes[at] ^= byte;
        }
        run.deleted = (5..50).collect();
        let source = Source { runs: vec![run], loose: vec![], hidden: 9, values: Values::Counts };
        for pick in [0, 40, 3000, 9999] {
            match query(&source, &[(word(pick), 1.0), (word(100), 1.0)], 5) {
                Ok(answer) => prop_assert!(answer.hits.len() <= 5),
                Err(SearchError::Source { block: Some(0), source }) => {
                    prop_assert!(source.to_string().contains("build the index again"));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn blocks_that_cannot_matter_are_not_read() {
    // Rows with the rare word stand first; the frequent one is in every row.
    let rows: Vec<Row> = (0..100_000u32)
        .map(|row| {
            let mut cells = Row::from([(b"often".to_vec(), 1)]);
            if row % 7 == 3 && row < 140 {
                cells.insert(b"rare".to_vec(), 1);
            }
            cells
        })
        .collect();
    let run = built(0, 0, Values::Counts, &rows);
    let source =
        Source { runs: vec![run], loose: vec![], hidden: 1_000_000_007, values: Values::Counts };
    let terms = [(b"often".to_vec(), 1.0), (b"rare".to_vec(), 1.0)];
    let answer = query(&source, &terms, 10).unwrap();
    assert_eq!(answer.hits.len(), 10);
    assert!(answer.work.blocks < 100, "{:?}", answer.work);
    check(&source, &[rows], &[0], &terms, 10);
}

#[test]
fn queries_that_have_no_answer_are_refused() {
    let source = Source { runs: vec![], loose: vec![], hidden: 9, values: Values::Weights };
    let account = account();
    let options = Options { threads: 1, account: &account, cancel: None };
    let ask = |terms: &[(&[u8], f32)], k, scoring| {
        let terms: Vec<QueryTerm> =
            terms.iter().map(|&(term, weight)| QueryTerm { term: term.to_vec(), weight }).collect();
        search(&source, &SparseQuery { terms: &terms, k, scoring }, &options)
    };
    assert!(matches!(ask(&[], 0, Scoring::Inner), Err(SearchError::ZeroK)));
    let nan = ask(&[(b"a", f32::NAN)], 1, Scoring::Inner);
    assert!(matches!(nan, Err(SearchError::NotFinite { .. })));
    assert!(matches!(ask(&[(b"a", 0.0)], 1, Scoring::Bm25), Err(SearchError::NotFinite { .. })));
    let twice = ask(&[(b"a", 1.0), (b"a", 1.0)], 1, Scoring::Inner);
    assert!(matches!(twice, Err(SearchError::BadTerm { position: 0 })));
    let long = [b'a'; 256];
    let long = ask(&[(&long[..], 1.0)], 1, Scoring::Inner);
    assert!(matches!(long, Err(SearchError::BadTerm { position: 0 })));
    assert!(ask(&[], 1, Scoring::Inner).unwrap().hits.is_empty());
    let cancel = std::sync::atomic::AtomicBool::new(true);
    let options = Options { cancel: Some(&cancel), ..options };
    let asked = SparseQuery { terms: &[], k: 1, scoring: Scoring::Inner };
    assert!(matches!(search(&source, &asked, &options), Err(SearchError::Cancelled)));
}
