//! Answers that were given before, and may be given again.
//!
//! An answer is kept under everything that decides it: what the collection holds
//! ([`ambit_store::engine::TableView::digest`], so a write makes older answers unreachable), the space, filter,
//! k and limits, and the bits of the query. The whole request is compared, not only its hash. Kept answers
//! are a cache like any other: its bytes are charged, and go first when the budget is short.
//!
//! A request may also allow the answer of a *similar* query. Among the last ones that asked for the same, those with
//! about the same signs are looked at; the hits of the most similar one are scored again for the new query, in
//! f64 and in order. They need not be its nearest, and the answer says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};

use ambit_cache::{Cache, CacheConfig, CacheStats, Weigh};
use ambit_mem::{Account, Bytes, Reservation};
use ambit_search::Exactness;
use ambit_store::sync::lock;
use ambit_store::wire::Put;
use ambit_vector::Metric;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::key::compare_keys;
use crate::schema::Space;
use crate::search::{Answer, Hit, SearchRequest};

/// The part of the budget that answers may take, and its bounds.
const SHARE: u64 = 128;
const LEAST: Bytes = Bytes::kib(64);
const MOST: Bytes = Bytes::mib(4);
/// Queries that a similar one is looked for among.
const RECENT: usize = 1024;
/// Answers of more hits are not kept.
const MOST_KEPT: usize = 1000;
/// Signs of a query that are compared.
const SIGNS: usize = 128;

/// The answers of a store.
pub(crate) struct Answers {
    account: Account,
    cap: Bytes,
    kept: OnceLock<Option<Kept>>,
}

struct Kept {
    cache: Cache<u128, Arc<One>>,
    recent: Mutex<VecDeque<Recent>>,
    _recent_room: Reservation,
}

/// A kept answer, and the whole request that it answers.
struct One {
    asked: Box<[u8]>,
    answer: Answer,
}

/// A query that was answered.
#[derive(Clone, Copy)]
struct Recent {
    /// All but the query.
    terms: u64,
    signs: u128,
    id: u128,
}

/// A request as bytes: the query last.
struct Asked {
    bytes: Vec<u8>,
    query_at: usize,
    id: u128,
}

impl Weigh for One {
    fn heap_bytes(&self) -> usize {
        let Answer { hits, exactness: _, next } = &self.answer;
        let keys: usize = hits.iter().map(|hit| hit.key.capacity()).sum();
        let next = next.as_ref().map_or(0, crate::cursor::Cursor::heap_bytes);
        self.asked.len() + hits.capacity() * size_of::<Hit>() + keys + next
    }
}

impl Asked {
    fn new(collection: &Collection, request: &SearchRequest<'_>, k: usize) -> Result<Self> {
        // All are named, so that whoever adds to a request decides whether it belongs here.
        let SearchRequest {
            space,
            queries,
            filter,
            reaching,
            after,
            k: _,
            threads: _,
            sharing: _,
            reuse_within: _,
            probes: _,
            cancel: _,
        } = *request;
        let filter = filter.map(|filter| filter.text());
        let mut bytes = Vec::with_capacity(96 + size_of_val(queries));
        bytes.extend(collection.digest(filter.is_some())?.to_le_bytes());
        bytes.put_u64(k as u64);
        bytes.put_u64(reaching.map_or(u64::MAX, f64::to_bits));
        for text in [Some(space), filter, after.map(ToString::to_string).as_deref()] {
            bytes.put_u8(u8::from(text.is_some()));
            bytes.put_bytes(text.unwrap_or_default().as_bytes());
        }
        let query_at = bytes.len();
        bytes.extend_from_slice(bytemuck::cast_slice(queries));
        let id = xxh3_128(&bytes);
        Ok(Self { bytes, query_at, id })
    }

    fn terms(&self) -> u64 {
        xxh3_64(&self.bytes[..self.query_at])
    }
}

impl Answers {
    /// Room for `cap` bytes, or what a budget of `limit` is good for; none for 0.
    pub(crate) fn new(account: Account, cap: Option<Bytes>, limit: Bytes) -> Self {
        let share = Bytes::new(limit.get() / SHARE).max(LEAST).min(MOST);
        Self { account, cap: cap.unwrap_or(share), kept: OnceLock::new() }
    }

    /// Made at the first search; none where it is not wanted or the budget has no room for it.
    fn kept(&self) -> Option<&Kept> {
        let make = || {
            let room = RECENT * size_of::<Recent>();
            (self.cap > Bytes::of(room)).then_some(())?;
            let _recent_room = self.account.reserve(Bytes::of(room)).ok()?;
            let cap = self.cap.saturating_sub(Bytes::of(room));
            let cache = Cache::new(CacheConfig::new(cap), &self.account).ok()?;
            let recent = Mutex::new(VecDeque::with_capacity(RECENT));
            Some(Kept { cache, recent, _recent_room })
        };
        self.kept.get_or_init(make).as_ref()
    }

    /// What the cache of answers has done.
    pub(crate) fn stats(&self) -> Option<CacheStats> {
        Some(self.kept.get()?.as_ref()?.cache.stats())
    }

    /// The answer that was given before, or that of a similar query where the request allows it, or else what
    /// `search` gives.
    pub(crate) fn answer(
        &self,
        collection: &Collection,
        request: &SearchRequest<'_>,
        k: usize,
        search: impl FnOnce() -> Result<Answer>,
    ) -> Result<Answer> {
        if let Some(cosine) = request.reuse_within
            && !(0.0..=1.0).contains(&cosine)
        {
            let what = format!("reuse within a cosine of {cosine}: give 0 to 1, as 0.999");
            return Err(Error::invalid(what));
        }
        let (Some(kept), true) = (self.kept(), k <= MOST_KEPT) else {
            return search();
        };
        let asked = Asked::new(collection, request, k)?;
        if let Some(one) = kept.cache.get(&asked.id)
            && *one.asked == *asked.bytes
        {
            return Ok(one.answer.clone());
        }
        if let Some(least) = request.reuse_within
            && let Some(answer) = kept.similar(collection, request, &asked, least)?
        {
            return Ok(answer);
        }
        let answer = search()?;
        let Exactness::Certified { fell_back, .. } = answer.exactness else {
            return Ok(answer);
        };
        if !fell_back {
            kept.keep(&asked, request, &answer);
        }
        Ok(answer)
    }
}

impl Kept {
    fn keep(&self, asked: &Asked, request: &SearchRequest<'_>, answer: &Answer) {
        let one = One { asked: asked.bytes.as_slice().into(), answer: answer.clone() };
        // What has no room is asked again another time.
        if self.cache.insert(asked.id, Arc::new(one)).is_err() {
            return;
        }
        let recent = Recent { terms: asked.terms(), signs: signs(request.queries), id: asked.id };
        let mut all = lock(&self.recent);
        if all.len() == RECENT {
            all.pop_front();
        }
        all.push_back(recent);
    }

    /// The hits of the most similar of the last queries that asked for the same, scored for this one; none where
    /// no cosine is at least `least`.
    fn similar(
        &self,
        collection: &Collection,
        request: &SearchRequest<'_>,
        asked: &Asked,
        least: f64,
    ) -> Result<Option<Answer>> {
        let (terms, own) = (asked.terms(), signs(request.queries));
        // Signs differ where a component lies between the two; twice as many as on average, and a few.
        let compared = request.queries.len().min(SIGNS) as f64;
        let most = 2.0 * compared * least.acos() / std::f64::consts::PI + 4.0;
        let is_near = |other: &&Recent| {
            other.terms == terms && f64::from((other.signs ^ own).count_ones()) <= most
        };
        let near: Vec<u128> =
            lock(&self.recent).iter().filter(is_near).map(|other| other.id).collect();
        let mut best: Option<(f64, Arc<One>)> = None;
        for id in near {
            let Some(one) = self.cache.get(&id) else {
                continue;
            };
            if one.asked.get(..asked.query_at) != asked.bytes.get(..asked.query_at) {
                continue;
            }
            let query: Vec<f32> =
                bytemuck::allocation::pod_collect_to_vec(&one.asked[asked.query_at..]);
            if query.len() != request.queries.len() {
                continue;
            }
            let cosine = ambit_search::score(&query, request.queries, Metric::Cosine);
            if cosine >= least && best.as_ref().is_none_or(|(best, _)| cosine > *best) {
                best = Some((cosine, one));
            }
        }
        best.map(|(cosine, one)| scored_again(collection, request, &one.answer, cosine)).transpose()
    }
}

/// The hits of `answer`, scored and ordered for another query.
fn scored_again(
    collection: &Collection,
    request: &SearchRequest<'_>,
    answer: &Answer,
    cosine: f64,
) -> Result<Answer> {
    let (column, &Space { metric, .. }) = collection.vectors(request.space)?;
    let mut hits = Vec::with_capacity(answer.hits.len());
    for hit in &answer.hits {
        let Some(row) = collection.view().find(hit.key.as_bytes())? else {
            continue;
        };
        let vector = collection.view().cell(row, column)?.unwrap_or_default();
        let vector: Vec<f32> = bytemuck::allocation::pod_collect_to_vec(&vector);
        let score = ambit_search::score(request.queries, &vector, metric);
        hits.push(Hit { score, ..hit.clone() });
    }
    hits.sort_by(|a, b| {
        ambit_search::compare_scores(metric, b.score, a.score)
            .then_with(|| compare_keys(a.key.as_bytes(), b.key.as_bytes()))
    });
    let exactness = Exactness::Reused { cosine, rescored: hits.len() as u64 };
    Ok(Answer { hits, exactness, next: None })
}

/// The signs of a query's first components.
fn signs(query: &[f32]) -> u128 {
    let signs = query.iter().take(SIGNS).map(|value| u128::from(value.is_sign_negative()));
    signs.enumerate().fold(0, |all, (at, sign)| all | sign << at)
}
