//! What is nearest to a question, by meaning and by words?
//!
//! The best by the cosine of embeddings and the best by BM25 are fused by reciprocal rank. Meaning counts
//! three times as much as words, but half where most of what is found is source code, as the names of its
//! files say: there the asker's words are names more often than not.

use std::path::Path;
use std::str::FromStr;

use ambit_embed::Embedder;
use ambitdb::{
    Collection, Filter, FusedHit, Fusion, Hit, MAX_K, Metric, Place, SearchRequest, Terms,
    TermsRequest, Value, fuse,
};
use serde::Serialize;

use super::indexes::words_space;
use super::{Certificate, TEXT_SPACE};
use crate::exit::Failure;
use crate::index::split::is_code;

/// Entities that each way gives, at least.
const DEPTH: usize = 100;
/// How little the first places matter: less than the 60 of the literature, which is for more lists than two.
const RANKS: f64 = 10.0;
/// Entities of each way that are asked whether they are code.
const LOOKED_AT: usize = 10;

/// By what a search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Meaning and words, as far as the collection has both.
    Hybrid,
    /// Meaning.
    Dense,
    /// Words.
    Text,
}

/// How much meaning and words count: both finite and at least 0, not both 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Weights {
    /// Of meaning.
    pub dense: f64,
    /// Of words.
    pub text: f64,
}

impl Weights {
    /// For prose.
    const PROSE: Self = Self { dense: 3.0, text: 1.0 };
    /// For source code.
    const CODE: Self = Self { dense: 1.0, text: 2.0 };
}

impl FromStr for Weights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.trim().parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
        };
        let both =
            text.split_once(',').and_then(|(dense, text)| Some((number(dense)?, number(text)?)));
        match both {
            Some((dense, text)) if dense + text > 0.0 => Ok(Self { dense, text }),
            _ => Err("expected two numbers of at least 0, not both 0, as 1,2".to_owned()),
        }
    }
}

/// How the nearest texts are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Answers, at least 1.
    pub k: usize,
    /// Threads that scan.
    pub threads: usize,
    /// Only what meets this.
    pub filter: Option<&'a Filter>,
    /// By what it goes.
    pub mode: Mode,
    /// How much each counts in [`Mode::Hybrid`]; none: as what is found says.
    pub weights: Option<Weights>,
}

impl Look<'_> {
    /// By both, no filter.
    pub fn new(k: usize, threads: usize) -> Self {
        Self { k, threads, filter: None, mode: Mode::Hybrid, weights: None }
    }
}

/// One answer with its text.
#[derive(Debug, Serialize)]
pub struct FoundText {
    /// Place, from 1.
    pub rank: u64,
    /// Sum of weight / (10 + rank) over both ways; of one alone, the cosine or BM25.
    pub score: f64,
    /// Place and cosine by meaning; null where it is not among the best by it.
    pub dense: Option<Placed>,
    /// Place and BM25 by words; null likewise.
    pub words: Option<Placed>,
    /// Key of the entity.
    pub key: String,
    /// Id of the entity.
    pub id: u64,
    /// Kind of the entity.
    pub kind: String,
    /// File that the text is from.
    pub path: Option<String>,
    /// The text.
    pub text: Option<String>,
}

/// Where one way has an entity.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Placed {
    rank: u64,
    score: f64,
}

impl From<Place> for Placed {
    fn from(Place { rank, score }: Place) -> Self {
        Self { rank, score }
    }
}

/// How it was searched.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Searched {
    /// By what.
    pub mode: Mode,
    /// How much each counted; null where it went by one alone.
    weights: Option<Weights>,
    /// How sure the answer by meaning is, and whether codes or an index were damaged.
    #[serde(flatten)]
    certificate: Certificate,
    /// Postings of the query's words.
    postings: u64,
    /// Blocks of them that were read.
    blocks: u64,
    /// Texts without an index, which were cut into words.
    unindexed: u64,
}

/// Answers with how they were found.
#[derive(Debug)]
pub struct FoundTexts {
    /// The answers, nearest first.
    pub hits: Vec<FoundText>,
    /// How they were found.
    pub searched: Searched,
}

/// The texts of `collection` that are nearest to `query`.
///
/// # Errors
/// A query without a word that anything knows; a way that the collection does not have; the facade's.
pub fn nearest(
    collection: &Collection,
    embedder: &dyn Embedder,
    query: &str,
    look: Look<'_>,
) -> Result<FoundTexts, Failure> {
    let words = match look.mode {
        Mode::Dense => None,
        _ => words_space(collection),
    };
    if look.mode == Mode::Text && words.is_none() {
        return Err(Failure::usage(format!(
            "collection '{}' has no space of words; `ambit optimize` adds it to what was indexed",
            collection.name().escape_debug()
        )));
    }
    let has_vectors = words.is_none() || collection.space(TEXT_SPACE).is_ok_and(|s| s.is_dense());
    let mut vector = vec![0.0; embedder.dim()];
    let is_known = !embedder.embed(query, &mut vector)?.is_zero;
    if !is_known && words.is_none() {
        return Err(Failure::usage(format!(
            "'{}' holds no word that the embedder knows; say it in other words",
            query.escape_debug()
        )));
    }
    let by_meaning = look.mode != Mode::Text && has_vectors && is_known;
    let mode = match (by_meaning, words) {
        (true, Some(_)) => Mode::Hybrid,
        (true, None) => Mode::Dense,
        _ => Mode::Text,
    };
    let depth = if mode == Mode::Hybrid { look.k.clamp(DEPTH, MAX_K) } else { look.k };
    let Look { threads, filter, .. } = look;
    let mut certificate = Certificate::NONE;
    let mut dense = Vec::new();
    if by_meaning {
        let asked = SearchRequest::new(TEXT_SPACE, &vector, depth);
        let answer = collection.search(&SearchRequest { threads, filter, ..asked })?;
        certificate = Certificate::of(answer.exactness);
        dense = answer.hits;
    }
    let mut searched =
        Searched { mode, weights: None, certificate, postings: 0, blocks: 0, unindexed: 0 };
    let mut text = Vec::new();
    if let Some(space) = words {
        let asked = TermsRequest::new(space, Terms::Text(query), depth);
        let answer = collection.search_terms(&TermsRequest { filter, ..asked })?;
        (searched.postings, searched.blocks) = (answer.work.postings, answer.work.blocks);
        searched.unindexed = answer.work.loose;
        searched.certificate.fell_back |= answer.fell_back;
        text = answer.hits;
    }
    let fused = match mode {
        Mode::Hybrid => {
            let weights = match look.weights {
                Some(weights) => weights,
                None => weights_for(collection, &dense, &text)?,
            };
            searched.weights = Some(weights);
            let lists = [
                (weights.dense, &dense[..], Metric::Cosine),
                (weights.text, &text[..], Metric::InnerProduct),
            ];
            fuse(&lists, Fusion::ReciprocalRank { k: RANKS }, look.k)?
        }
        Mode::Dense => alone(dense, 0),
        Mode::Text => alone(text, 1),
    };
    let hits = (1..).zip(fused).map(|(rank, hit)| described(collection, rank, hit));
    Ok(FoundTexts { hits: hits.collect::<Result<_, _>>()?, searched })
}

/// Hits of the way `number` of two.
fn alone(hits: Vec<Hit>, number: usize) -> Vec<FusedHit> {
    let fused = |(rank, hit): (u64, Hit)| {
        let mut places = vec![None; 2];
        places[number] = Some(Place { rank, score: hit.score });
        FusedHit { key: hit.key, id: hit.id, score: hit.score, places }
    };
    (1..).zip(hits).map(fused).collect()
}

/// The weights for what was found: those of code where at least half of the best of both ways is from files
/// of source code.
fn weights_for(collection: &Collection, dense: &[Hit], text: &[Hit]) -> Result<Weights, Failure> {
    let (mut code, mut all) = (0, 0);
    for hit in dense.iter().take(LOOKED_AT).chain(text.iter().take(LOOKED_AT)) {
        let info = collection.info_of(&hit.key)?;
        let path = info.as_ref().and_then(|info| info.properties.get("path"));
        all += 1;
        code += usize::from(matches!(path, Some(Value::String(path)) if is_code(Path::new(path))));
    }
    Ok(if all > 0 && 2 * code >= all { Weights::CODE } else { Weights::PROSE })
}

fn described(collection: &Collection, rank: u64, hit: FusedHit) -> Result<FoundText, Failure> {
    let (kind, text, path) = match collection.info_of(&hit.key)? {
        Some(info) => {
            let path = match info.properties.get("path") {
                Some(Value::String(path)) => Some(path.clone()),
                _ => None,
            };
            (info.kind, info.text, path)
        }
        None => (String::new(), None, None),
    };
    let place = |way: usize| hit.places.get(way).copied().flatten().map(Placed::from);
    let (dense, words) = (place(0), place(1));
    let FusedHit { key, id, score, .. } = hit;
    Ok(FoundText { rank, score, dense, words, key, id: id.0, kind, path, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_two_numbers() {
        assert_eq!("1,2".parse(), Ok(Weights { dense: 1.0, text: 2.0 }));
        assert_eq!("0, 0.5".parse(), Ok(Weights { dense: 0.0, text: 0.5 }));
        for bad in ["", "1", "1,", "0,0", "-1,2", "nan,1", "inf,1", "1,2,3"] {
            assert!(bad.parse::<Weights>().unwrap_err().contains("two numbers"), "{bad}");
        }
    }
}
