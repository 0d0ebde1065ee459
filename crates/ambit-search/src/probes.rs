//! Which lists are looked at, and how many? What an approximate search probes.
//!
//! Of each part that has lists those are probed that rank best for the query. Their rows are
//! searched exactly, as a certified search does all rows, so what an answer may miss lies in a
//! list that was not probed. Spans of places are widened to whole blocks of codes: what comes in
//! with them is searched, too. Rows in no list (memtable, parts without lists) are always searched.

use std::ops::Range;

use ambit_vector::Metric;
use ambit_vector::planes::BLOCK_ROWS;

use crate::answer::Exactness;
use crate::error::SearchError;
use crate::source::CodedPart;

/// How much of each part an approximate search looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Probes {
    /// So many lists, at least 1.
    Lists(usize),
    /// As many as found this share of the true neighbours of held-out rows, above 0 and up to 1.
    Recall(f64),
}

impl Probes {
    /// # Errors
    /// `NoProbes` for no list, or for a share that is not above 0 and up to 1.
    pub(crate) fn check(self) -> Result<(), SearchError> {
        match self {
            Self::Lists(0) => Err(SearchError::NoProbes),
            Self::Recall(recall) if !(recall > 0.0 && recall <= 1.0) => Err(SearchError::NoProbes),
            _ => Ok(()),
        }
    }

    /// Lists of a part with `lists` that are probed.
    fn of(self, lists: &ambit_vector::planes::Lists) -> usize {
        match self {
            Self::Lists(probes) => probes.min(lists.count()),
            Self::Recall(recall) => lists.probes(recall),
        }
    }
}

/// What is probed, of all parts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Probed {
    probes: u64,
    lists: u64,
    queries: u64,
    rows: u64,
    /// The sum of recall x rows.
    found: f64,
}

impl Probed {
    /// The leaders of a part that are probed, whole blocks, the most promising first.
    ///
    /// # Errors
    /// `Source` for lists of another dimension.
    pub(crate) fn probe(
        &mut self,
        part: &dyn CodedPart,
        metric: Metric,
        vector: &[f32],
        probes: Probes,
    ) -> Result<Vec<Range<usize>>, SearchError> {
        let rows = part.rows() as u64;
        self.rows += rows;
        let Some(lists) = part.lists() else {
            self.found += rows as f64;
            return Ok(std::iter::once(0..part.leaders()).collect());
        };
        let most = probes.of(lists);
        self.probes += most as u64;
        self.lists += lists.count() as u64;
        self.queries += u64::from(lists.held_out());
        self.found += rows as f64 * lists.recall(most);
        let ranked = lists.rank(metric, vector, most).map_err(|error| SearchError::Source {
            block: Some(part.blocks().start),
            source: error.into(),
        })?;
        let places = ranked.into_iter().map(|list| lists.places(list as usize));
        Ok(joined(places.filter(|places| !places.is_empty()), part.leaders()))
    }

    /// Are all lists probed?
    pub(crate) fn is_all(&self) -> bool {
        self.probes == self.lists
    }

    /// Lists that are probed.
    pub(crate) fn probes(&self) -> u64 {
        self.probes
    }

    /// What is known about an answer of the rows that are probed.
    pub(crate) fn exactness(&self, scanned: u64, rescored: u64) -> Exactness {
        Exactness::Approximate {
            probes: self.probes,
            lists: self.lists,
            recall: if self.rows == 0 { 1.0 } else { self.found / self.rows as f64 },
            queries: self.queries,
            scanned,
            rescored,
        }
    }
}

/// Spans of whole blocks (the last one ends at `end`) that hold all of `places`, none twice, in
/// the order of the first of `places` in each.
fn joined(places: impl Iterator<Item = Range<usize>>, end: usize) -> Vec<Range<usize>> {
    let mut spans: Vec<(usize, Range<usize>)> = places
        .map(|places| {
            let first = places.start / BLOCK_ROWS * BLOCK_ROWS;
            first..places.end.next_multiple_of(BLOCK_ROWS).min(end)
        })
        .enumerate()
        .collect();
    spans.sort_unstable_by_key(|(_, span)| span.start);
    spans.dedup_by(|(rank, span), (before, joined)| {
        let meets = span.start <= joined.end;
        if meets {
            *before = (*before).min(*rank);
            joined.end = joined.end.max(span.end);
        }
        meets
    });
    spans.sort_unstable_by_key(|(rank, _)| *rank);
    spans.into_iter().map(|(_, span)| span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_whole_blocks_none_twice_the_best_first() {
        let places = [100..120, 10..20, 17..40, 300..333, 120..130];
        let spans = joined(places.into_iter(), 333);
        assert_eq!(spans, [96..144, 0..48, 288..333]);
        assert_eq!(joined(std::iter::empty(), 5), []);
    }
}
