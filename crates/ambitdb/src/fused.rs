//! Search over several spaces of an entity: an answer of each, fused into one.
//!
//! Each space gives its best, [`FusedRequest::depth`] of them, exactly. They are fused by reciprocal rank
//! (Cormack, Clarke and Buettcher, Reciprocal Rank Fusion Outperforms Condorcet and Individual Rank
//! Learning Methods, 2009): an entity gains weight / (60 + its rank) by each space that found it; or by
//! scores, each list's brought to 0 to 1. Since each list has k entities or all that there are, the answer
//! has k wherever the spaces have k between them.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use ambit_mem::{Bytes, Priority};
use ambit_search::Exactness;
use ambit_search::sparse::SparseWork;
use ambit_vector::Metric;

use crate::collection::Collection;
use crate::entity::EntityId;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::key::compare_keys;
use crate::search::{Hit, MAX_K, SearchRequest, check_k};
use crate::sparse::{Terms, TermsRequest};

/// Bytes of an entity in a list and in the fused one.
const HIT_COST: usize = 256;

/// How answers become one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fusion {
    /// Sums of weight / (k + rank), ranks from 1.
    ReciprocalRank {
        /// How little the first places matter, at least 0; 60 in the literature.
        k: f64,
    },
    /// Sums of weight x score, each list's scores brought to 0 (its last) to 1 (its first).
    Scores,
}

impl Default for Fusion {
    /// Reciprocal ranks with 60.
    fn default() -> Self {
        Self::ReciprocalRank { k: 60.0 }
    }
}

/// What is looked for in one space.
#[derive(Debug, Clone, Copy)]
pub enum SpaceQuery<'a> {
    /// A vector, in a dense space.
    Vector(&'a [f32]),
    /// Words or terms, in a text or sparse space.
    Terms(Terms<'a>),
}

/// One space of a fused search.
#[derive(Debug, Clone, Copy)]
pub struct FusedSpace<'a> {
    /// Its name.
    pub space: &'a str,
    /// What is looked for in it.
    pub query: SpaceQuery<'a>,
    /// How much it counts, finite, at least 0.
    pub weight: f64,
}

/// A search over several spaces.
#[derive(Debug, Clone, Copy)]
pub struct FusedRequest<'a> {
    /// The spaces, at least one.
    pub spaces: &'a [FusedSpace<'a>],
    /// Results, 1 to [`MAX_K`].
    pub k: usize,
    /// Entities that each space gives, at least `k`; at most [`MAX_K`].
    pub depth: usize,
    /// How they become one.
    pub fusion: Fusion,
    /// Threads of the dense searches.
    pub threads: usize,
    /// Only entities that meet this.
    pub filter: Option<&'a Filter>,
    /// Ends the search early when it becomes true.
    pub cancel: Option<&'a AtomicBool>,
}

impl<'a> FusedRequest<'a> {
    /// Reciprocal ranks, the best 100 of each space or `k`, one thread, no filter.
    pub fn new(spaces: &'a [FusedSpace<'a>], k: usize) -> Self {
        let (fusion, depth) = (Fusion::default(), k.max(100));
        Self { spaces, k, depth, fusion, threads: 1, filter: None, cancel: None }
    }
}

/// Where a space has an entity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Its place in the space's list, from 1.
    pub rank: u64,
    /// Its score there.
    pub score: f64,
}

/// An entity that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FusedHit {
    /// Its key.
    pub key: String,
    /// Its number.
    pub id: EntityId,
    /// What it gained by all spaces.
    pub score: f64,
    /// Its place in each space, in the order of the request; none where it is not among the space's best.
    pub places: Vec<Option<Place>>,
}

/// How one space was searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fused {
    /// A dense one, and how sure its answer is.
    Dense(Exactness),
    /// A sparse or text one.
    Terms {
        /// What it took.
        work: SparseWork,
        /// There is an index that is damaged; the rows themselves were read instead.
        fell_back: bool,
    },
}

/// What a search over several spaces found.
#[derive(Debug, Clone, PartialEq)]
pub struct FusedAnswer {
    /// The best first, equal scores in the order of [`compare_keys`].
    pub hits: Vec<FusedHit>,
    /// How each space was searched.
    pub spaces: Vec<Fused>,
}

impl Collection {
    /// The `k` entities that several spaces together find best.
    ///
    /// # Errors
    /// Those of [`Collection::search`] and [`Collection::search_terms`]; invalid: no space, k, depth, a weight.
    ///
    /// # Cost
    /// One search per space, and 256 bytes for each entity that one gives.
    pub fn search_fused(&self, request: &FusedRequest<'_>) -> Result<FusedAnswer> {
        check_k(request.k)?;
        if request.spaces.is_empty() {
            return Err(Error::invalid("no space is named; name at least one"));
        }
        if !(request.k..=MAX_K).contains(&request.depth) {
            let (k, depth) = (request.k, request.depth);
            let what = format!("a depth of {depth}; it must be k ({k}) to {MAX_K}");
            return Err(Error::invalid(what));
        }
        let account = self.store().budget().account("query/scratch", Priority::Query);
        let most = request.spaces.len().saturating_mul(request.depth);
        let held =
            most.min(usize::try_from(self.len()).unwrap_or(usize::MAX) * request.spaces.len());
        let _charge = account.reserve(Bytes::of(held.saturating_mul(HIT_COST)))?;
        let (mut lists, mut spaces) = (Vec::new(), Vec::new());
        for space in request.spaces {
            let (hits, how) = self.list(request, space)?;
            let metric = self.space(space.space)?.metric;
            lists.push((space.weight, hits, metric));
            spaces.push(how);
        }
        let lists: Vec<(f64, &[Hit], Metric)> =
            lists.iter().map(|(weight, hits, metric)| (*weight, &hits[..], *metric)).collect();
        Ok(FusedAnswer { hits: fuse(&lists, request.fusion, request.k)?, spaces })
    }

    fn list(
        &self,
        request: &FusedRequest<'_>,
        space: &FusedSpace<'_>,
    ) -> Result<(Vec<Hit>, Fused)> {
        let FusedRequest { depth, threads, filter, cancel, .. } = *request;
        match space.query {
            SpaceQuery::Vector(vector) => {
                let asked = SearchRequest::new(space.space, vector, depth);
                let answer = self.search(&SearchRequest { threads, filter, cancel, ..asked })?;
                Ok((answer.hits, Fused::Dense(answer.exactness)))
            }
            SpaceQuery::Terms(query) => {
                let asked = TermsRequest::new(space.space, query, depth);
                let answer = self.search_terms(&TermsRequest { filter, cancel, ..asked })?;
                let (work, fell_back) = (answer.work, answer.fell_back);
                Ok((answer.hits, Fused::Terms { work, fell_back }))
            }
        }
    }
}

/// Fuses lists (weight, hits best first, what their scores are) into the `k` best.
///
/// # Errors
/// Invalid for a weight, or a constant of reciprocal ranks, that is negative or not finite.
///
/// # Cost
/// Linear in the hits, but for one sort.
pub fn fuse(lists: &[(f64, &[Hit], Metric)], fusion: Fusion, k: usize) -> Result<Vec<FusedHit>> {
    let constant = match fusion {
        Fusion::ReciprocalRank { k } => Some(k),
        Fusion::Scores => None,
    };
    let numbers = lists.iter().map(|(weight, ..)| *weight).chain(constant);
    if let Some(bad) = numbers.into_iter().find(|number| !number.is_finite() || *number < 0.0) {
        return Err(Error::invalid(format!(
            "{bad} as a weight, or as the constant of reciprocal ranks; both are at least 0"
        )));
    }
    let mut found: HashMap<EntityId, FusedHit> = HashMap::new();
    for (number, (weight, hits, metric)) in lists.iter().enumerate() {
        for (rank, hit) in (1..).zip(*hits) {
            let fused = found.entry(hit.id).or_insert_with(|| FusedHit {
                key: hit.key.clone(),
                id: hit.id,
                score: 0.0,
                places: vec![None; lists.len()],
            });
            fused.score += weight
                * match fusion {
                    Fusion::ReciprocalRank { k } => 1.0 / (k + rank as f64),
                    Fusion::Scores => share(hits, hit.score, *metric),
                };
            fused.places[number] = Some(Place { rank, score: hit.score });
        }
    }
    let mut hits: Vec<FusedHit> = found.into_values().collect();
    hits.sort_unstable_by(|a, b| {
        let by_key = || compare_keys(a.key.as_bytes(), b.key.as_bytes());
        b.score.total_cmp(&a.score).then_with(by_key)
    });
    hits.truncate(k);
    Ok(hits)
}

/// Where a score lies between the last (0) and the first (1) of its list; NaN is last.
fn share(hits: &[Hit], score: f64, metric: Metric) -> f64 {
    let good = |score: f64| if metric == Metric::Euclidean { -score } else { score };
    let mut known = hits.iter().map(|hit| good(hit.score)).filter(|score| !score.is_nan());
    let Some(first) = known.next() else {
        return 0.0;
    };
    let last = known.next_back().unwrap_or(first);
    match good(score) {
        score if score.is_nan() => 0.0,
        _ if first <= last => 1.0,
        score => (score - last) / (first - last),
    }
}
