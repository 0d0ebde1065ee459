//! One sparse or text space of one snapshot, as the search reads it.

use std::cmp::Ordering;
use std::collections::HashMap;

use ambit_search::sparse::{IndexedRun, Matched, Note, SparseSource};
use ambit_search::text::Words;
use ambit_search::{RowRef, SourceError};
use ambit_store::engine::{Derived, RowRef as StoredRow, TableView};
use ambit_store::{ErrorKind as StoreErrorKind, StoreError};

use super::index::{SegmentIndex, SegmentRun};
use super::vector::vector_at;
use crate::collection::Collection;
use crate::entity::Body;
use crate::error::Result;
use crate::filter::Matches;
use crate::key::compare_keys;
use crate::schema::{BODY, SpaceKind};

pub(super) struct TermsSource<'a> {
    view: &'a TableView,
    position: usize,
    kind: SpaceKind,
    runs: Vec<SegmentRun<'a>>,
    /// Parts without an index.
    loose: Vec<u32>,
    matches: Option<&'a Matches<'a>>,
    /// There is an index that cannot be used.
    pub(super) has_damaged: bool,
}

impl<'a> TermsSource<'a> {
    /// The space at `position`, with the indexes that there are.
    ///
    /// # Errors
    /// I/O. Indexes that are damaged, or that the budget has no room for, are left out.
    pub(super) fn new(
        collection: &'a Collection,
        position: usize,
        matches: Option<&'a Matches<'a>>,
    ) -> Result<Self> {
        let (view, kind) = (collection.view(), collection.spaces()[position].kind);
        let mut source = Self {
            view,
            position,
            kind,
            runs: Vec::new(),
            loose: Vec::new(),
            matches,
            has_damaged: false,
        };
        for part in 0..view.parts() {
            if view.segment_id(part).is_none() {
                source.loose.push(part);
                continue;
            }
            match SegmentIndex::of(collection.store(), view, part, position) {
                Ok(Derived::Ready(index)) => {
                    source.runs.extend((0..index.runs.len()).map(|number| SegmentRun {
                        view,
                        part,
                        index: index.clone(),
                        number,
                    }))
                }
                Ok(Derived::Missing) => source.loose.push(part),
                Ok(Derived::Damaged(_)) => {
                    source.has_damaged = true;
                    source.loose.push(part);
                }
                Err(error) if error.kind() == StoreErrorKind::OverBudget => source.loose.push(part),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(source)
    }

    /// The part of a run.
    pub(super) fn part_of(&self, run: usize) -> Option<u32> {
        self.runs.get(run).map(|run| run.part)
    }

    /// Tells of a row with text.
    fn tell_text(
        &self,
        row: StoredRow,
        seen: &mut Seen<'_>,
        take: &mut dyn FnMut(Note<'_>) -> bool,
    ) -> Result<bool> {
        let body = self.view.cell(row, BODY)?.unwrap_or_default();
        let Some(text) = Body::text_of(&body)? else {
            return Ok(true);
        };
        let (mut length, Seen { words, terms, values }) = (0u32, seen);
        values.clear();
        words.each(text, &mut |word| {
            length = length.saturating_add(1);
            if let Some(&term) = terms.get(word.as_bytes()) {
                match values.iter_mut().find(|(other, _)| *other == term) {
                    Some((_, count)) => *count += 1,
                    None => values.push((term, 1)),
                }
            }
            true
        });
        values.sort_unstable();
        Ok(length == 0 || take(note(row, length, values)))
    }

    /// Tells of a row with a sparse embedding.
    fn tell_vector(
        &self,
        row: StoredRow,
        seen: &mut Seen<'_>,
        take: &mut dyn FnMut(Note<'_>) -> bool,
    ) -> Result<bool> {
        let Some(vector) = vector_at(self.view, row, self.position)? else {
            return Ok(true);
        };
        seen.values.clear();
        for (id, weight) in vector.ids.iter().zip(&vector.weights) {
            if let Some(&term) = seen.terms.get(&id.to_be_bytes()[..]) {
                seen.values.push((term, weight.to_bits()));
            }
        }
        Ok(take(note(row, 0, &seen.values)))
    }
}

fn note(row: StoredRow, length: u32, values: &[(u32, u32)]) -> Note<'_> {
    if values.is_empty() {
        return Note::Other { length };
    }
    let row = RowRef { part: row.part, row: row.row };
    Note::Matched(Matched { row, length, values })
}

/// What looking at rows works in.
struct Seen<'a> {
    words: Words,
    terms: HashMap<&'a [u8], u32>,
    values: Vec<(u32, u32)>,
}

impl SparseSource for TermsSource<'_> {
    fn runs(&self) -> Vec<&dyn IndexedRun> {
        self.runs.iter().map(|run| run as &dyn IndexedRun).collect()
    }

    fn loose(
        &self,
        terms: &[&[u8]],
        take: &mut dyn FnMut(Note<'_>) -> bool,
    ) -> std::result::Result<(), SourceError> {
        let stem = match self.kind {
            SpaceKind::Text { stem } => stem,
            _ => None,
        };
        let numbered = terms.iter().copied().zip(0..);
        let terms = numbered.collect();
        let mut seen = Seen { words: Words::new(stem), terms, values: Vec::new() };
        for &part in &self.loose {
            let mut outcome = Ok(true);
            self.view.scan_part(part, 0, &mut |row| {
                outcome = match self.kind {
                    SpaceKind::Text { .. } => self.tell_text(row, &mut seen, take),
                    _ => self.tell_vector(row, &mut seen, take),
                };
                Ok(matches!(outcome, Ok(true)))
            })?;
            if !outcome? {
                break;
            }
        }
        Ok(())
    }

    fn meets(&self, row: RowRef) -> bool {
        self.matches.is_none_or(|matches| matches.meets(row.part, row.row))
    }

    fn compare_keys(&self, a: RowRef, b: RowRef) -> std::result::Result<Ordering, SourceError> {
        let key = |row: RowRef| -> std::result::Result<_, StoreError> {
            self.view.key(StoredRow { part: row.part, row: row.row })
        };
        Ok(compare_keys(&key(a)?, &key(b)?))
    }
}
