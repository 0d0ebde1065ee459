//! What does a search by words cost, and what does it find that meaning does not?
//!
//! The glosses of WordNet without their examples are the texts; the examples are the questions, each to find the
//! gloss that it was taken from. Beside us stand tantivy on the same texts and questions, and the answers
//! of scoring every text that shares a word.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use ambit_embed::{Embedder, StaticEmbedder};
use ambit_mem::Priority;
use ambit_search::text::Words;
use ambitdb::{
    Bytes, Collection, Config, Entity, Fusion, Language, Metric, SearchRequest, SpaceKind, Store,
    Terms, TermsRequest, WriteBatch, compare_keys, fuse,
};
use serde::Deserialize;

use super::Bench;
use crate::error::BenchError;
use crate::peer;
use crate::row::{Row, Table, Target};
use crate::timing::{median, thread_cpu};

/// Questions, drawn evenly.
const QUESTIONS: usize = 2000;
/// Places that count for the mean reciprocal rank.
const PLACES: usize = 100;
/// Ways to fuse: the weight of meaning beside 1 of words, and how. The first is that of `ambit search`,
/// chosen on other questions than those asked here.
const WAYS: [(f64, Fusion); 3] = [
    (3.0, Fusion::ReciprocalRank { k: 10.0 }),
    (1.0, Fusion::ReciprocalRank { k: 60.0 }),
    (3.0, Fusion::Scores),
];
const BUDGET: Bytes = Bytes::mib(128);
const STEM: Option<Language> = Some(Language::English);

/// Texts, and questions with the number of the text that each belongs to.
struct Corpus {
    texts: Vec<String>,
    questions: Vec<(usize, String)>,
    note: &'static str,
}

#[derive(Deserialize)]
struct Peer {
    version: String,
    index_cpu: f64,
    bytes: u64,
    median_ms: f64,
    mean_ms: f64,
}

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let corpus = Corpus::new(bench.data.texts()?);
    let peer = beside(bench, &corpus)?;
    with_store(bench, &corpus, &mut |store, embedder| {
        build(table, store, &corpus, peer.as_ref())?;
        let collection = store.collection("bench").map_err(failed)?;
        time(table, &collection, &corpus, peer.as_ref())?;
        reference(table, &collection, &corpus)?;
        retrieval(table, &collection, &corpus, embedder, "its gloss")
    })?;
    let corpus = Corpus::new(bench.data.named_texts()?);
    with_store(bench, &corpus, &mut |store, embedder| {
        store.build_indexes("bench", &mut |_, _| true).map_err(failed)?;
        let collection = store.collection("bench").map_err(failed)?;
        retrieval(table, &collection, &corpus, embedder, "its names and gloss")
    })
}

/// Calls `measure` with a store of the texts, their vectors and codes, that has no index yet.
fn with_store(
    bench: &Bench,
    corpus: &Corpus,
    measure: &mut dyn FnMut(&Store, &dyn Embedder) -> Result<(), BenchError>,
) -> Result<(), BenchError> {
    let path = bench.fresh("words")?;
    let config = Config { budget: Some(BUDGET), ..Config::new(&path) };
    let store = Store::open(&config).map_err(failed)?;
    let account = store.budget().account("embedder", Priority::Query);
    let embedder = StaticEmbedder::built_in(&account).map_err(failed)?;
    fill(&store, corpus, &embedder)?;
    measure(&store, &embedder)?;
    drop(store);
    bench.fresh("words").map(|_| ())
}

impl Corpus {
    fn new((glosses, note): (Vec<String>, &'static str)) -> Self {
        let mut corpus = Self { texts: Vec::new(), questions: Vec::new(), note };
        for gloss in glosses {
            let number = corpus.texts.len();
            let mut parts = gloss.split('"');
            let mut text = parts.next().unwrap_or_default().to_owned();
            while let (Some(example), rest) = (parts.next(), parts.next().unwrap_or_default()) {
                corpus.questions.push((number, plain(example)));
                text.push_str(rest);
            }
            corpus.texts.push(text.trim_end_matches(['"', ' ', ';']).to_owned());
        }
        if corpus.questions.is_empty() {
            // The stand-in has no examples: the first half of a text asks for it.
            corpus.questions = corpus
                .texts
                .iter()
                .map(|text| plain(&text[..text.len() / 2]))
                .enumerate()
                .collect();
        }
        corpus.questions.retain(|(_, question)| !question.is_empty());
        let step = (corpus.questions.len() / QUESTIONS).max(1);
        let drawn = corpus.questions.into_iter().skip(step / 2).step_by(step);
        corpus.questions = drawn.take(QUESTIONS).collect();
        corpus
    }

    fn bytes(&self) -> f64 {
        self.texts.iter().map(String::len).sum::<usize>() as f64
    }
}

/// The words of a text, as any parser of queries takes them for words.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

fn beside(bench: &Bench, corpus: &Corpus) -> Result<Option<Peer>, BenchError> {
    let Some(python) = peer::python_with("tantivy") else {
        return Ok(None);
    };
    let (texts, questions) = (bench.fresh("texts.txt")?, bench.fresh("questions.txt")?);
    let lines = |lines: &mut dyn Iterator<Item = &str>| {
        lines.fold(String::new(), |all, line| all + &line.replace('\n', " ") + "\n")
    };
    std::fs::write(&texts, lines(&mut corpus.texts.iter().map(String::as_str)))?;
    std::fs::write(&questions, lines(&mut corpus.questions.iter().map(|(_, text)| &text[..])))?;
    let found = peer::run(&python, include_str!("../../peers/text.py"), &[&texts, &questions]);
    bench.fresh("texts.txt")?;
    bench.fresh("questions.txt")?;
    found.map(Some)
}

fn fill(store: &Store, corpus: &Corpus, embedder: &dyn Embedder) -> Result<(), BenchError> {
    store.create_collection("bench").map_err(failed)?;
    let dense = SpaceKind::Dense { dim: embedder.dim(), metric: Metric::Cosine };
    store.create_space("bench", "text", dense).map_err(failed)?;
    store.create_space("bench", "words", SpaceKind::Text { stem: STEM }).map_err(failed)?;
    let mut number = 0usize;
    for some in corpus.texts.chunks(500) {
        let mut batch = WriteBatch::new();
        for text in some {
            let mut vector = vec![0.0; embedder.dim()];
            let mut entity =
                Entity { key: number.to_string(), text: Some(text.clone()), ..Entity::default() };
            if !embedder.embed(text, &mut vector).map_err(failed)?.is_zero {
                entity.embeddings.insert("text".to_owned(), vector);
            }
            batch.put("bench", entity);
            number += 1;
        }
        store.write(&batch).map_err(failed)?;
    }
    store.seal().map_err(failed)?;
    while !store.merge_step(u32::MAX).map_err(failed)?.done {}
    store.build_codes("bench", &mut |_, _| true).map_err(failed)?;
    Ok(())
}

fn build(
    table: &mut Table,
    store: &Store,
    corpus: &Corpus,
    peer: Option<&Peer>,
) -> Result<(), BenchError> {
    let (begun, wall) = (thread_cpu()?, Instant::now());
    let report = store.build_indexes("bench", &mut |_, _| true).map_err(failed)?;
    let (cpu, wall) = (thread_cpu()? - begun, wall.elapsed().as_secs_f64());
    let case = format!("text, {} glosses, one thread", corpus.texts.len());
    let rate =
        Row::new(&case, "index, MB of text a cpu second", corpus.bytes() / cpu / 1e6, "MB/s");
    let rate = rate.note(corpus.note).note(format!("{wall:.2} s by the clock, stems, synced"));
    let of_peer = |peer: &Peer| corpus.bytes() / peer.index_cpu / 1e6;
    table.add(with_peer(rate, peer, of_peer).ratio_target(Target::AtLeast(1.0)))?;
    let rows = corpus.texts.len() as f64;
    let size = Row::new(&case, "index, bytes a text", report.bytes as f64 / rows, "B");
    table.add(
        with_peer(size, peer, |peer| peer.bytes as f64 / rows).ratio_target(Target::AtMost(1.0)),
    )?;
    let postings = report.postings as f64 / rows;
    table.add(Row::new(&case, "postings a text", postings, ""))
}

fn with_peer(row: Row, peer: Option<&Peer>, figure: impl Fn(&Peer) -> f64) -> Row {
    match peer {
        Some(peer) => row.peer("tantivy", figure(peer)).note(&peer.version),
        None => row.absent_peer(
            "tantivy",
            "no Python with tantivy: set AMBIT_PEERS_PYTHON after pip install tantivy",
        ),
    }
}

fn by_words<'a>(question: &'a str, k: usize) -> TermsRequest<'a> {
    TermsRequest::new("words", Terms::Text(question), k)
}

fn time(
    table: &mut Table,
    collection: &Collection,
    corpus: &Corpus,
    peer: Option<&Peer>,
) -> Result<(), BenchError> {
    let mut took = Vec::new();
    let (mut blocks, mut postings, mut scored) = (0, 0, 0);
    // Once before, so that pages are in and checked.
    for timed in [false, true] {
        for (_, question) in &corpus.questions {
            let begun = thread_cpu()?;
            let answer = collection.search_terms(&by_words(question, 10)).map_err(failed)?;
            if timed {
                took.push((thread_cpu()? - begun) * 1e3);
                blocks += answer.work.blocks;
                postings += answer.work.postings;
                scored += answer.work.scored;
            }
        }
    }
    let case =
        format!("text, BM25, k = 10, {} glosses, {} questions", corpus.texts.len(), took.len());
    let queries = took.len() as f64;
    let mean = took.iter().sum::<f64>() / queries;
    let row = Row::new(&case, "cpu of a question, median", median(took.iter().copied()), "ms");
    table.add(with_peer(row, peer, |peer| peer.median_ms).ratio_target(Target::AtMost(1.0)))?;
    let row = Row::new(&case, "cpu of a question, mean", mean, "ms");
    table.add(with_peer(row, peer, |peer| peer.mean_ms).ratio_target(Target::AtMost(1.0)))?;
    table.add(Row::new(&case, "postings of its words", postings as f64 / queries, ""))?;
    table.add(Row::new(&case, "blocks of 128 that were read", blocks as f64 / queries, ""))?;
    table.add(Row::new(&case, "texts scored in full", scored as f64 / queries, ""))
}

/// Holds the ten best of some questions against scoring every text that shares a word.
fn reference(
    table: &mut Table,
    collection: &Collection,
    corpus: &Corpus,
) -> Result<(), BenchError> {
    let mut words = Words::new(STEM);
    let mut postings: HashMap<String, Vec<(usize, f64)>> = HashMap::new();
    let mut lengths = Vec::new();
    let mut cut = |text: &str| {
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        words.each(text, &mut |word| {
            *counts.entry(word.to_owned()).or_default() += 1.0;
            true
        });
        counts
    };
    for (number, text) in corpus.texts.iter().enumerate() {
        let counts = cut(text);
        lengths.push(counts.values().sum::<f64>());
        for (word, count) in counts {
            postings.entry(word).or_default().push((number, count));
        }
    }
    let filled = lengths.iter().filter(|&&length| length > 0.0).count() as f64;
    let mean = lengths.iter().sum::<f64>() / filled;
    let (mut differing, mut took) = (0, Vec::new());
    let questions = corpus.questions.iter().step_by(10);
    for (_, question) in questions.clone() {
        let begun = thread_cpu()?;
        let mut scores: HashMap<usize, f64> = HashMap::new();
        for (word, times) in cut(question) {
            let Some(rows) = postings.get(&word) else { continue };
            let with = rows.len() as f64;
            let idf = (1.0 + (filled - with + 0.5) / (with + 0.5)).ln();
            for &(row, count) in rows {
                let held = 1.2 * (1.0 - 0.75) + 1.2 * 0.75 / mean * lengths[row];
                *scores.entry(row).or_default() += times * idf * (count * 2.2 / (count + held));
            }
        }
        let mut best: Vec<(usize, f64)> = scores.into_iter().collect();
        best.sort_by(|a, b| {
            let by_key = || compare_keys(a.0.to_string().as_bytes(), b.0.to_string().as_bytes());
            b.1.total_cmp(&a.1).then_with(by_key)
        });
        took.push((thread_cpu()? - begun) * 1e3);
        let found = collection.search_terms(&by_words(question, 10)).map_err(failed)?.hits;
        // Sums in another order may swap texts whose scores are equal but for rounding.
        let same =
            best.iter().take(10).zip(&found).all(|(best, hit)| (best.1 - hit.score).abs() < 1e-9);
        differing += usize::from(!same || found.len() != best.len().min(10));
    }
    let case = format!("text, every text that shares a word, {} questions", took.len());
    let row =
        Row::new(&case, "answers that differ", differing as f64, "").target(Target::AtMost(0.0));
    table.add(row)?;
    table.add(Row::new(&case, "cpu of a question by the reference, median", median(took), "ms"))
}

/// How far up does the right text stand?
fn retrieval(
    table: &mut Table,
    collection: &Collection,
    corpus: &Corpus,
    embedder: &dyn Embedder,
    what: &str,
) -> Result<(), BenchError> {
    let mut sums = [0.0f64; 5];
    for (number, question) in &corpus.questions {
        let mut vector = vec![0.0; embedder.dim()];
        let own = number.to_string();
        let mut dense = Vec::new();
        if !embedder.embed(question, &mut vector).map_err(failed)?.is_zero {
            let asked = SearchRequest::new("text", &vector, PLACES);
            dense = collection.search(&asked).map_err(failed)?.hits;
        }
        let words = collection.search_terms(&by_words(question, PLACES)).map_err(failed)?.hits;
        for (sum, hits) in sums.iter_mut().zip([&dense, &words]) {
            *sum += gain(&own, hits.iter().map(|hit| &hit.key[..]));
        }
        for (sum, (weight, fusion)) in sums[2..].iter_mut().zip(WAYS) {
            let lists =
                [(weight, &dense[..], Metric::Cosine), (1.0, &words[..], Metric::InnerProduct)];
            let fused = fuse(&lists, fusion, PLACES).map_err(failed)?;
            *sum += gain(&own, fused.iter().map(|hit| &hit.key[..]));
        }
    }
    let [dense, text, search, plain, scores] = sums.map(|sum| sum / corpus.questions.len() as f64);
    let case = format!("text, example to {what}, {} questions", corpus.questions.len());
    let metric = |way: &str| format!("mean reciprocal rank in the best {PLACES}, {way}");
    table.add(Row::new(&case, &metric("meaning"), dense, "").note(corpus.note))?;
    table.add(Row::new(&case, &metric("words"), text, ""))?;
    let best = dense.max(text);
    let both = Row::new(&case, &metric("both as `ambit search` has it"), search, "");
    let both = both.note("3 / (10 + rank) by meaning, 1 / (10 + rank) by words");
    table.add(both.peer("the better of the two", best).ratio_target(Target::AtLeast(1.0)))?;
    for (way, found) in
        [("both by rank, 60, equal weights", plain), ("both by score, 3 to 1", scores)]
    {
        let row = Row::new(&case, &metric(way), found, "");
        table.add(row.peer("the better of the two", best))?;
    }
    Ok(())
}

/// 1 / the place of a key, from 1; 0 where it is not there.
fn gain<'a>(own: &str, mut keys: impl Iterator<Item = &'a str>) -> f64 {
    keys.position(|key| key == own).map_or(0.0, |place| 1.0 / (place + 1) as f64)
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::new(error.to_string())
}
