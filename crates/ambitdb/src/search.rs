//! What is nearest: requests of a dense space, and their answers.

use std::sync::atomic::AtomicBool;

use ambit_mem::{Account, Priority};
use ambit_search::{Batch as Queries, BatchOptions, Exactness, Options, Query, Sharing};
use ambit_store::engine::RowRef;
use ambit_vector::Metric;

use crate::collection::Collection;
use crate::config::most_threads;
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
    /// Ends the search early when it becomes true.
    pub cancel: Option<&'a AtomicBool>,
}

impl<'a> SearchRequest<'a> {
    /// One thread, shared scan, no filter.
    pub fn new(space: &'a str, queries: &'a [f32], k: usize) -> Self {
        Self { space, queries, k, threads: 1, sharing: Sharing::Shared, filter: None, cancel: None }
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
    pub fn search(&self, request: &SearchRequest<'_>) -> Result<Answer> {
        let account = self.store().budget().account("query/scratch", Priority::Query);
        self.filtered(request, &account, &mut |source, metric| {
            let query = Query { vector: request.queries, k: request.k, metric };
            let options = self.options(request, &account);
            self.answer(ambit_search::search(source, &query, &options)?)
        })
    }

    /// The `k` entities nearest to each of several queries.
    ///
    /// # Errors
    /// As [`Collection::search`].
    ///
    /// # Cost
    /// With [`Sharing::Shared`] every vector is read once for all queries.
    pub fn search_batch(&self, request: &SearchRequest<'_>) -> Result<Vec<Answer>> {
        let account = self.store().budget().account("query/scratch", Priority::Query);
        self.filtered(request, &account, &mut |source, metric| {
            let batch = Queries { vectors: request.queries, k: request.k, metric };
            let options = self.options(request, &account);
            let options = BatchOptions { options, sharing: request.sharing };
            let answers = ambit_search::search_batch(source, &batch, &options)?;
            answers.into_iter().map(|answer| self.answer(answer)).collect()
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
        let position = self.position(request.space)?;
        if request.k == 0 || request.k > MAX_K {
            return Err(Error::invalid(format!("k is {}; it must be 1 to {MAX_K}", request.k)));
        }
        let Space { dim, metric, .. } = self.spaces()[position];
        let matches =
            request.filter.map(|filter| Matches::new(self, filter, account)).transpose()?;
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
        let mut hits = Vec::with_capacity(found.hits.len());
        for hit in found.hits {
            let row = RowRef { part: hit.row.part, row: hit.row.row };
            hits.push(Hit { key: self.key(row)?, id: id_at(self.view(), row)?, score: hit.score });
        }
        Ok(Answer { hits, exactness: found.exactness })
    }
}
