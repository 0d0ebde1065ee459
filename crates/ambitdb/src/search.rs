//! What is nearest: requests of a dense space, and their answers.

use std::sync::atomic::AtomicBool;

use ambit_mem::{Account, Priority};
use ambit_search::{
    Batch as Queries, BatchOptions, Exactness, Limits, Options, Probes, Query, Sharing,
};
use ambit_store::engine::RowRef;
use ambit_vector::Metric;

use crate::collection::Collection;
use crate::config::most_threads;
use crate::cursor::Cursor;
use crate::entity::EntityId;
use crate::error::{Error, Result};
use crate::filter::{Filter, Matches};
use crate::schema::Space;
use crate::source::SpaceSource;
use crate::store::id_at;

/// Most results of one query.
pub const MAX_K: usize = 10_000;

/// A search in one dense space.
#[derive(Debug, Clone, Copy)]
pub struct SearchRequest<'a> {
    /// Name of the space.
    pub space: &'a str,
    /// One query (dim f32), or several one after the other (m x dim, row-major).
    pub queries: &'a [f32],
    /// Results per query, 1 to [`MAX_K`]; a collection with fewer vectors gives all.
    pub k: usize,
    /// Threads, at least 1; fewer are used where the budget is below 12 MiB for each.
    pub threads: usize,
    /// Do the queries of a batch share the scan?
    pub sharing: Sharing,
    /// Only entities that meet this; there are never fewer than k where k meet it.
    pub filter: Option<&'a Filter>,
    /// Only vectors at least this near: a score of at least this, or under euclidean a distance of at most this.
    pub reaching: Option<f64>,
    /// Only what comes after this place: the next page of the same query. Not for batches.
    pub after: Option<&'a Cursor>,
    /// Take the answer of an earlier query whose cosine with this one is at least this, 0 to 1, if there is one: its
    /// hits are scored again, but others may be nearer ([`Exactness::Reused`]). Not for batches.
    pub reuse_within: Option<f64>,
    /// Look only at the lists that look most promising: an approximate answer that says its measured recall
    /// ([`Exactness::Approximate`]). The queries of a batch are then asked one by one.
    pub probes: Option<Probes>,
    /// Ends the search early when it becomes true.
    pub cancel: Option<&'a AtomicBool>,
}

impl<'a> SearchRequest<'a> {
    /// One thread, shared scan, no filter, no limit but `k`, from the first place on.
    pub fn new(space: &'a str, queries: &'a [f32], k: usize) -> Self {
        Self {
            space,
            queries,
            k,
            threads: 1,
            sharing: Sharing::Shared,
            filter: None,
            reaching: None,
            after: None,
            reuse_within: None,
            probes: None,
            cancel: None,
        }
    }
}

/// An entity that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its key.
    pub key: String,
    /// Its number.
    pub id: EntityId,
    /// Its score: cosine or inner product (larger is nearer), or euclidean distance (smaller
    /// is nearer); NaN where the metric is undefined for the stored vector.
    pub score: f64,
}

/// What a query found.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The nearest first; equal scores in the order of [`crate::compare_keys`].
    pub hits: Vec<Hit>,
    /// How sure the answer is.
    pub exactness: Exactness,
    /// Where the next page begins; none where there is none, and in a batch.
    pub next: Option<Cursor>,
}

impl Collection {
    /// The `k` entities nearest to one query, exactly: the same as scoring every vector in
    /// f64 and sorting.
    ///
    /// # Errors
    /// Not found (space), invalid (dimension, k, NaN in the query, a zero query under cosine),
    /// over budget, corrupt, I/O.
    ///
    /// # Cost
    /// Reads the codes of every vector of the space once, or the vector where it has none, inside the
    /// mapping windows' share of the budget. A filter reads the entities that could be in the answer: few,
    /// unless nearly none meets it.
    ///
    /// The answer to a query that was asked before, of a collection that holds the same, is given again
    /// without a search ([`crate::Config::answers`]).
    ///
    /// With `reaching`, all that are at least so near; more than `k` of them come page by page. With
    /// `after`, the next page: the pages of one version join without a gap and without a repeat.
    pub fn search(&self, request: &SearchRequest<'_>) -> Result<Answer> {
        check_k(request.k)?;
        self.page(request, request.k)
    }

    /// The entities whose vectors are most like that of `key`, without itself. `request` has no queries of
    /// its own.
    ///
    /// # Errors
    /// As [`Collection::search`]; not found (key, or a vector of it in this space).
    pub fn search_like(&self, key: &str, request: &SearchRequest<'_>) -> Result<Answer> {
        check_k(request.k)?;
        let vector = self.vector_like(key, request)?;
        // One more, since it finds itself.
        let found = self.page(&SearchRequest { queries: &vector, ..*request }, request.k + 1)?;
        let Answer { mut hits, exactness, mut next } = found;
        hits.retain(|hit| hit.key != key);
        if hits.len() > request.k {
            hits.truncate(request.k);
            let place = hits.last().map(|hit| (hit.key.clone(), hit.score));
            next = next.zip(place).map(|(next, (key, score))| next.at(key, score));
        }
        Ok(Answer { hits, exactness, next })
    }

    /// The vector of `key`, to search by.
    pub(crate) fn vector_like(&self, key: &str, request: &SearchRequest<'_>) -> Result<Vec<f32>> {
        if !request.queries.is_empty() {
            let what = "what is like a key is asked for: give the key or queries, not both";
            return Err(Error::invalid(what));
        }
        let (column, _) = self.vectors(request.space)?;
        let no_key = || Error::not_found(format!("collection {} has no key {key}", self.name()));
        let row = self.view().find(key.as_bytes())?.ok_or_else(no_key)?;
        let Some(vector) = self.view().cell(row, column)? else {
            let what = format!("{key} has no vector in space {}", request.space);
            return Err(Error::not_found(what));
        };
        Ok(bytemuck::allocation::pod_collect_to_vec(&vector))
    }

    /// The best `k` of what the request asks for, however many it says.
    fn page(&self, request: &SearchRequest<'_>, k: usize) -> Result<Answer> {
        let after = request.after.map(|cursor| cursor.hit(self, request)).transpose()?;
        let search = || {
            let mut answer = self.page_after(request, k, after)?;
            if let Some(last) = answer.hits.get(k - 1) {
                answer.next = Some(Cursor::new(self, request)?.at(last.key.clone(), last.score));
            }
            Ok(answer)
        };
        // What is kept is exact.
        match request.probes {
            Some(_) => search(),
            None => self.store().answers().answer(self, request, k, search),
        }
    }

    /// The hit of this key and score, as the search names it.
    pub(crate) fn place_of(&self, key: &str, score: f64) -> Result<Option<ambit_search::Hit>> {
        let row = self.view().find(key.as_bytes())?;
        Ok(row.map(|RowRef { part, row }| ambit_search::Hit {
            row: ambit_search::RowRef { part, row },
            score,
        }))
    }

    /// The best `k` of what comes after a hit of the same query over the same rows.
    pub(crate) fn page_after(
        &self,
        request: &SearchRequest<'_>,
        k: usize,
        after: Option<ambit_search::Hit>,
    ) -> Result<Answer> {
        let account = self.store().budget().account("query/scratch", Priority::Query);
        self.filtered(request, &account, &mut |source, metric| {
            let query = Query { vector: request.queries, k, metric };
            self.one(source, &query, after, request, &account)
        })
    }

    /// The answer to one query of a request, which may be one of several.
    fn one(
        &self,
        source: &SpaceSource<'_>,
        query: &Query<'_>,
        after: Option<ambit_search::Hit>,
        request: &SearchRequest<'_>,
        account: &Account,
    ) -> Result<Answer> {
        let limits = Limits { reaching: request.reaching, after };
        let options = self.options(request, account);
        self.answer(match request.probes {
            Some(probes) => ambit_search::search_probed(source, query, &limits, probes, &options)?,
            None => ambit_search::search_limited(source, query, &limits, &options)?,
        })
    }

    /// The `k` entities nearest to each of several queries.
    ///
    /// # Errors
    /// As [`Collection::search`]; invalid with `after`.
    ///
    /// # Cost
    /// With [`Sharing::Shared`] every vector is read once for all queries.
    pub fn search_batch(&self, request: &SearchRequest<'_>) -> Result<Vec<Answer>> {
        check_k(request.k)?;
        if request.after.is_some() {
            return Err(Error::invalid("a batch has no pages: ask for them query by query"));
        }
        let reaches = reaching(request)?;
        let account = self.store().budget().account("query/scratch", Priority::Query);
        self.filtered(request, &account, &mut |source, metric| {
            if request.probes.is_some() {
                let dim = self.space(request.space)?.dim;
                if dim == 0 || !request.queries.len().is_multiple_of(dim) {
                    let found = request.queries.len();
                    let error = ambit_search::SearchError::Dimension { expected: dim, found };
                    return Err(error.into());
                }
                let answer = |vector| {
                    let query = Query { vector, k: request.k, metric };
                    self.one(source, &query, None, request, &account)
                };
                return request.queries.chunks_exact(dim).map(answer).collect();
            }
            let batch = Queries { vectors: request.queries, k: request.k, metric };
            let options = self.options(request, &account);
            let options = BatchOptions { options, sharing: request.sharing };
            let answers = ambit_search::search_batch(source, &batch, &options)?;
            let within = |mut answer: ambit_search::Answer| {
                answer.hits.retain(|hit| reaches(hit.score, metric));
                self.answer(answer)
            };
            answers.into_iter().map(within).collect()
        })
    }

    fn options<'a>(&self, request: &SearchRequest<'a>, account: &'a Account) -> Options<'a> {
        Options { threads: self.threads(request), account, cancel: request.cancel }
    }

    /// As many threads as are wanted and the budget has windows for.
    fn threads(&self, request: &SearchRequest<'_>) -> usize {
        request.threads.clamp(1, most_threads(self.store().budget().limit()))
    }

    /// Calls `search` with the rows of the space that the filter lets through.
    fn filtered<T>(
        &self,
        request: &SearchRequest<'_>,
        account: &Account,
        search: &mut dyn FnMut(&SpaceSource<'_>, Metric) -> Result<T>,
    ) -> Result<T> {
        let position = self.dense(request.space)?;
        let Space { dim, metric, .. } = self.spaces()[position];
        let matches = request
            .filter
            .map(|filter| Matches::new(self, filter, account, request.cancel))
            .transpose()?;
        let models = self.store().models();
        let source = SpaceSource::new(self.view(), position, dim, models, matches.as_ref())?;
        let found = search(&source, metric);
        drop(source);
        match matches.and_then(Matches::failure) {
            Some(failure) => Err(failure),
            None => found,
        }
    }

    fn answer(&self, found: ambit_search::Answer) -> Result<Answer> {
        Ok(Answer { hits: self.hits(found.hits)?, exactness: found.exactness, next: None })
    }

    /// The entities of the rows that a search found.
    pub(crate) fn hits(&self, found: Vec<ambit_search::Hit>) -> Result<Vec<Hit>> {
        let named = found.into_iter().map(|ambit_search::Hit { row, score }| {
            let row = RowRef { part: row.part, row: row.row };
            Ok(Hit { key: self.key(row)?, id: id_at(self.view(), row)?, score })
        });
        named.collect()
    }
}

/// # Errors
/// Invalid, unless 1 to [`MAX_K`].
pub(crate) fn check_k(k: usize) -> Result<()> {
    if k == 0 || k > MAX_K {
        return Err(Error::invalid(format!("k is {k}; it must be 1 to {MAX_K}")));
    }
    Ok(())
}

/// Whether a score of a metric is near enough for the request.
fn reaching(request: &SearchRequest<'_>) -> Result<impl Fn(f64, Metric) -> bool + use<>> {
    let least = request.reaching;
    if least.is_some_and(f64::is_nan) {
        return Err(ambit_search::SearchError::NotAScore.into());
    }
    Ok(move |score: f64, metric| {
        least.is_none_or(|least| ambit_search::compare_scores(metric, score, least).is_ge())
    })
}
