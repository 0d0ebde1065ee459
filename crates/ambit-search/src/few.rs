//! Which k of a few known rows are nearest? Each is scored in f64.

use ambit_mem::Bytes;

use crate::answer::{Answer, Exactness};
use crate::error::SearchError;
use crate::limits::Place;
use crate::query::Options;
use crate::refine::Best;
use crate::scorer::Scorer;
use crate::source::{DenseSource, RowRef};
use crate::top::{Threshold, Top};

/// Rows between two looks at the cancellation.
const CHUNK: usize = 256;

/// The `k` of `rows` that are nearest.
///
/// # Errors
/// As [`crate::search`].
pub(crate) fn search_few<S: DenseSource + ?Sized>(
    source: &S,
    rows: &[RowRef],
    scorer: Scorer<'_>,
    (k, place): (usize, Place),
    options: &Options<'_>,
) -> Result<Answer, SearchError> {
    let k = k.min(rows.len()).max(1);
    let threshold = Threshold::of(place.floor());
    let mut scratch = options.account.reserve(Bytes::of(Top::initial_bytes(k)))?;
    let mut best = Best::new(scorer, k, &threshold).within(place);
    for rows in rows.chunks(CHUNK) {
        options.check_cancel()?;
        for &row in rows {
            let mut outcome = Ok(());
            let mut take = |vector: &[f32]| {
                // A row of another length is the source's mistake, and scores nothing.
                if vector.len() == scorer.dim() {
                    outcome = best.offer(row, vector, 0, source, &mut scratch);
                }
            };
            let read = source.vector(row, &mut take);
            read.map_err(|source| SearchError::Source { block: None, source })?;
            outcome?;
        }
    }
    let (hits, rescored) = best.into_hits(source)?;
    let exactness = Exactness::Certified {
        scanned: rows.len() as u64,
        skipped: 0,
        uncoded: rows.len() as u64,
        refined: 0,
        rescored,
        margin: f64::INFINITY,
        fell_back: false,
    };
    Ok(Answer { hits, exactness })
}
