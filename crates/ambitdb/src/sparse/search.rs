//! Requests of a sparse or text space, and their answers.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use ambit_mem::Priority;
use ambit_search::sparse::{
    self, DamagedRun, QueryTerm, Scoring, SparseAnswer, SparseQuery, SparseWork,
};
use ambit_search::text::Words;
use ambit_search::{Options, SearchError};
use ambit_store::StoreError;

use super::index::slot;
use super::source::TermsSource;
use super::vector::SparseVector;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::filter::{Filter, Matches};
use crate::schema::SpaceKind;
use crate::search::{Hit, check_k};

/// What is looked for in a sparse or text space.
#[derive(Debug, Clone, Copy)]
pub enum Terms<'a> {
    /// The words of a text, in a text space.
    Text(&'a str),
    /// Terms with weights, in a sparse space.
    Vector(&'a SparseVector),
}

/// A search in one sparse or text space.
#[derive(Debug, Clone, Copy)]
pub struct TermsRequest<'a> {
    /// Name of the space.
    pub space: &'a str,
    /// What is looked for.
    pub query: Terms<'a>,
    /// Results, 1 to [`crate::MAX_K`]; where fewer entities share a term with the query, all of those.
    pub k: usize,
    /// Only entities that meet this; there are never fewer than k where k meet it and share a term.
    pub filter: Option<&'a Filter>,
    /// Ends the search early when it becomes true.
    pub cancel: Option<&'a AtomicBool>,
}

impl<'a> TermsRequest<'a> {
    /// Without a filter.
    pub fn new(space: &'a str, query: Terms<'a>, k: usize) -> Self {
        Self { space, query, k, filter: None, cancel: None }
    }
}

/// What a search in a sparse or text space found.
#[derive(Debug, Clone, PartialEq)]
pub struct TermsAnswer {
    /// The best first: larger scores are better; equal ones in the order of [`crate::compare_keys`].
    pub hits: Vec<Hit>,
    /// What it took.
    pub work: SparseWork,
    /// There is an index that is damaged; the rows themselves were read instead.
    pub fell_back: bool,
}

impl Collection {
    /// The `k` entities that score best among those that share a term with the query, exactly: the same as
    /// scoring each in f64 and sorting. In a text space a score is BM25 (k1 1.2, b 0.75) over the words of
    /// all entities of the collection as it is, deleted ones left out, filtered ones not; in a sparse space
    /// the inner product.
    ///
    /// # Errors
    /// Not found (space), invalid (k, a query of another kind, bad terms), over budget, interrupted,
    /// corrupt, I/O.
    ///
    /// # Cost
    /// One thread. Of segments with an index, reads the postings of the query's terms that may matter; of others, and
    /// of rows that are not sealed yet, every row: [`crate::Store::build_indexes`].
    pub fn search_terms(&self, request: &TermsRequest<'_>) -> Result<TermsAnswer> {
        check_k(request.k)?;
        let position = self.position(request.space)?;
        let (terms, scoring) = self.terms(request, position)?;
        let account = self.store().budget().account("query/scratch", Priority::Query);
        let matches = request
            .filter
            .map(|filter| Matches::new(self, filter, &account, request.cancel))
            .transpose()?;
        let query = SparseQuery { terms: &terms, k: request.k, scoring };
        let options = Options { threads: 1, account: &account, cancel: request.cancel };
        let mut fell_back = false;
        // Each round has one index less; at last there is none.
        let found = loop {
            let source = TermsSource::new(self, position, matches.as_ref())?;
            fell_back |= source.has_damaged;
            let error = match sparse::search(&source, &query, &options) {
                Ok(found) => break Ok(found),
                Err(error) => error,
            };
            let SearchError::Source { block: Some(run), source: cause } = &error else {
                break Err(error);
            };
            match source.part_of(*run).filter(|_| is_damage(&**cause)) {
                Some(part) => {
                    self.view().forget_derived(part, slot(position), &cause.to_string());
                    fell_back = true;
                }
                None => break Err(error),
            }
        };
        match matches.and_then(Matches::failure) {
            Some(failure) => Err(failure),
            None => self.terms_answer(found?, fell_back),
        }
    }

    fn terms(
        &self,
        request: &TermsRequest<'_>,
        position: usize,
    ) -> Result<(Vec<QueryTerm>, Scoring)> {
        let space = request.space;
        match (self.spaces()[position].kind, request.query) {
            (SpaceKind::Text { stem }, Terms::Text(text)) => {
                let mut counts: BTreeMap<Vec<u8>, f32> = BTreeMap::new();
                Words::new(stem).each(text, &mut |word| {
                    *counts.entry(word.as_bytes().to_vec()).or_insert(0.0) += 1.0;
                    true
                });
                let terms = counts.into_iter().map(|(term, weight)| QueryTerm { term, weight });
                Ok((terms.collect(), Scoring::Bm25))
            }
            (SpaceKind::Sparse { dim }, Terms::Vector(vector)) => {
                vector
                    .check(dim)
                    .map_err(|what| Error::invalid(format!("query for space {space}: {what}")))?;
                let terms = vector.ids.iter().zip(&vector.weights);
                let terms = terms
                    .map(|(id, &weight)| QueryTerm { term: id.to_be_bytes().to_vec(), weight });
                Ok((terms.collect(), Scoring::Inner))
            }
            (SpaceKind::Dense { .. }, _) => Err(Error::invalid(format!(
                "space {space} holds dense vectors; search it with one"
            ))),
            (SpaceKind::Text { .. }, _) => {
                Err(Error::invalid(format!("space {space} holds words; search it with a text")))
            }
            (SpaceKind::Sparse { .. }, _) => Err(Error::invalid(format!(
                "space {space} holds terms with weights; search it with some"
            ))),
        }
    }

    fn terms_answer(&self, found: SparseAnswer, fell_back: bool) -> Result<TermsAnswer> {
        Ok(TermsAnswer { hits: self.hits(found.hits)?, work: found.work, fell_back })
    }
}

fn is_damage(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.is::<DamagedRun>()
        || error
            .downcast_ref::<StoreError>()
            .is_some_and(|error| error.kind() == ambit_store::ErrorKind::Corrupt)
}
