//! The k best rows of a sparse space: MaxScore by windows, with the bounds of blocks.
//!
//! Rows are looked at in windows of 2,048. What a term can give in a window is the best of its blocks
//! there. The terms whose bounds together stay below the k-th best score so far cannot bring a row
//! into the answer alone (Turtle and Flood, Query Evaluation: Strategies and Optimizations, 1995);
//! only the others are read in full, and where there are none the window is left out. Bounds per block
//! are those of Ding and Suel (Faster Top-k Document Retrieval Using Block-Max Indexes, 2011);
//! taking them by windows is what Grand, Muir, Ferenczi and Lin describe (From MaxScore to
//! Block-Max WAND, 2020).
//!
//! What is left is scored once more, term after term in the order of the query, so that a score does not
//! depend on what was left out; equal scores are ordered by key. Sums in another order differ by less than
//! 2 n u times the sum of what the terms can give, n terms, u = 2^-53 (Higham, Accuracy and Stability of
//! Numerical Algorithms, section 4.2), and a gain passes its bound by a few u; the margin
//! below is twice both, so that nothing is left out that could have been in the answer.

use std::cmp::Ordering;

use ambit_mem::{Bytes, Reservation};

use super::cursor::{Cursor, Decoded};
use super::query::SparseQuery;
use super::run::Area;
use super::score::{Score, Scoring, idf};
use super::source::{IndexedRun, Note, SparseSource, bytes_of, damaged};
use crate::answer::Hit;
use crate::error::SearchError;
use crate::query::Options;
use crate::scorer::Goodness;
use crate::source::{RowRef, SourceError};
use crate::top::{Entry, KeyOrder, Top};

/// Rows of a window.
const WINDOW: usize = 2048;
/// Bytes that are charged at a time for rows without an index.
const STEP: usize = 64 << 10;

/// What a search did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SparseWork {
    /// Postings of the query's terms in the index.
    pub postings: u64,
    /// Blocks of them that were read, of at most [`super::BLOCK`].
    pub blocks: u64,
    /// Rows that were scored in full.
    pub scored: u64,
    /// Rows without an index, whose terms were looked at.
    pub loose: u64,
}

/// The rows that score best, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseAnswer {
    /// At most k rows that share a term with the query, best first, equal scores in the order of
    /// their keys; fewer than k only if there are fewer.
    pub hits: Vec<Hit>,
    /// What it took.
    pub work: SparseWork,
}

/// The `query.k` rows of `source` that score best among those that share a term with the query.
///
/// The answer is that of scoring each of them in f64, the terms ascending. Under BM25, counts and lengths
/// are those of all live rows, whatever `source` lets through.
///
/// # Errors
/// `ZeroK`, `NotFinite` and `BadTerm` for a query that has no answer; `OverBudget` for scratch that does
/// not fit; `Source` for what cannot be read, its block the number of the run; `Cancelled`.
///
/// # Cost
/// One thread. Reads the blocks of the query's terms that may matter; of a run with deleted rows also
/// those of their blocks. Scratch: 32 KiB, 1.1 KiB a term, 32 bytes per 128 postings, 24 bytes and 8 a term
/// for each row without an index that shares terms, and 160 bytes for each of k.
pub fn search<S: SparseSource + ?Sized>(
    source: &S,
    query: &SparseQuery<'_>,
    options: &Options<'_>,
) -> Result<SparseAnswer, SearchError> {
    query.check()?;
    options.check_cancel()?;
    let mut scratch = options.account.reserve(Bytes::of(Top::initial_bytes(query.k)))?;
    let mut work = SparseWork::default();
    let mut counts = Counts { with: vec![0; query.terms.len()], ..Counts::default() };
    let loose = Loose::gather(source, query, options, &mut counts, &mut scratch)?;
    work.loose = loose.looked;
    let runs = source.runs();
    let mut opened = Vec::with_capacity(runs.len());
    for (number, run) in runs.iter().enumerate() {
        options.check_cancel()?;
        let failed = |source| SearchError::Source { block: Some(number), source };
        let cursors = open(*run, number, query, &mut scratch)?;
        if query.scoring == Scoring::Bm25 {
            counts.add(*run, &cursors).map_err(failed)?;
        }
        opened.push(cursors);
    }
    let scores: Vec<Score> = (0..query.terms.len()).map(|term| counts.score(query, term)).collect();
    let keys = Keys(source);
    let mut top = Top::new(query.k);
    loose.offer(&scores, &keys, &mut top, &mut scratch)?;
    let mut room = Room::new(query.terms.len(), &mut scratch)?;
    for (number, (run, cursors)) in runs.iter().zip(opened).enumerate() {
        let mut part = Part { source, run: *run, scores: &scores, work: &mut work };
        let failed = |error: Failed| error.in_run(number);
        part.search(cursors, &mut room, &mut top, options, &mut scratch).map_err(failed)?;
    }
    let entries = top.into_sorted(&keys);
    let entries = entries.map_err(|source| SearchError::Source { block: None, source })?;
    let hits = entries.iter().map(|entry| Hit { row: entry.row, score: entry.goodness.value() });
    Ok(SparseAnswer { hits: hits.collect(), work })
}

struct Keys<'a, S: ?Sized>(&'a S);

impl<S: SparseSource + ?Sized> KeyOrder for Keys<'_, S> {
    fn compare_keys(&self, a: RowRef, b: RowRef) -> Result<Ordering, SourceError> {
        self.0.compare_keys(a, b)
    }
}

/// Why a run could not be searched.
enum Failed {
    Search(SearchError),
    Source(SourceError),
}

impl Failed {
    fn in_run(self, run: usize) -> SearchError {
        match self {
            Self::Search(error) => error,
            Self::Source(source) => SearchError::Source { block: Some(run), source },
        }
    }
}

impl From<SourceError> for Failed {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<SearchError> for Failed {
    fn from(error: SearchError) -> Self {
        Self::Search(error)
    }
}

/// What BM25 needs to know of all rows.
#[derive(Debug, Default)]
struct Counts {
    rows: u64,
    length: u64,
    /// Rows with each term.
    with: Vec<u64>,
}

impl Counts {
    /// Adds the live rows of a run.
    fn add(&mut self, run: &dyn IndexedRun, cursors: &[Cursor]) -> Result<(), SourceError> {
        let info = run.info();
        self.rows += u64::from(info.filled);
        self.length = self.length.saturating_add(info.length);
        let mut outcome = Ok(());
        run.deleted(&mut |row| {
            match length_of(run, row) {
                Ok(length) => {
                    self.rows = self.rows.saturating_sub(u64::from(length > 0));
                    self.length = self.length.saturating_sub(u64::from(length));
                }
                Err(error) => outcome = Err(error),
            }
            outcome.is_ok()
        });
        outcome?;
        for cursor in cursors {
            self.with[cursor.term] += cursor.live(run)?;
        }
        Ok(())
    }

    fn score(&self, query: &SparseQuery<'_>, term: usize) -> Score {
        let weight = f64::from(query.terms[term].weight);
        let factor = match query.scoring {
            Scoring::Inner => weight,
            Scoring::Bm25 => weight * idf(self.rows, self.with[term]),
        };
        let mean = self.length as f64 / self.rows.max(1) as f64;
        Score::new(query.scoring, factor, mean)
    }
}

/// The length of one row.
fn length_of(run: &dyn IndexedRun, row: u32) -> Result<u32, SourceError> {
    let mut length = [0];
    lengths(run, row, &mut length)?;
    Ok(length[0])
}

/// The lengths of the rows from `row` on.
fn lengths(run: &dyn IndexedRun, row: u32, out: &mut [u32]) -> Result<(), SourceError> {
    let width = usize::from(run.info().length_width);
    if width == 0 {
        return Ok(());
    }
    let Some(first) = row.checked_sub(run.info().first_row) else {
        return Err(damaged("a row of a run"));
    };
    let start = u64::from(first) * width as u64;
    let range = start..start + (out.len() * width) as u64;
    bytes_of(run, Area::Lengths, range, &mut |bytes| {
        for (length, bytes) in out.iter_mut().zip(bytes.chunks_exact(width)) {
            *length = bytes.iter().rev().fold(0, |length, &byte| length << 8 | u32::from(byte));
        }
    })
}

fn open(
    run: &dyn IndexedRun,
    number: usize,
    query: &SparseQuery<'_>,
    scratch: &mut Reservation,
) -> Result<Vec<Cursor>, SearchError> {
    let mut cursors = Vec::new();
    for (term, wanted) in query.terms.iter().enumerate() {
        let cursor = Cursor::open(run, term, &wanted.term, scratch);
        cursors.extend(cursor.map_err(|error| error.in_run(number))?);
    }
    Ok(cursors)
}

/// The rows without an index that share terms with the query.
#[derive(Debug, Default)]
struct Loose {
    /// (row, length, end of its values)
    rows: Vec<(RowRef, u32, usize)>,
    values: Vec<(u32, u32)>,
    looked: u64,
}

impl Loose {
    fn gather<S: SparseSource + ?Sized>(
        source: &S,
        query: &SparseQuery<'_>,
        options: &Options<'_>,
        counts: &mut Counts,
        scratch: &mut Reservation,
    ) -> Result<Self, SearchError> {
        let terms: Vec<&[u8]> = query.terms.iter().map(|term| &*term.term).collect();
        let mut loose = Self::default();
        let mut outcome = Ok(());
        let mut charged = 0;
        let mut take = |note: Note<'_>| {
            loose.looked += 1;
            counts.rows += 1;
            match note {
                Note::Other { length } => counts.length += u64::from(length),
                Note::Matched(row) => {
                    counts.length += u64::from(row.length);
                    row.values.iter().for_each(|&(term, _)| counts.with[term as usize] += 1);
                    // Doubled, as vectors grow.
                    let held = 2 * (size_of_val(row.values) + 32) + loose.bytes();
                    if held > charged {
                        let more = (held - charged).next_multiple_of(STEP);
                        outcome = scratch.grow(Bytes::of(more)).map_err(SearchError::from);
                        charged += more;
                    }
                    loose.values.extend_from_slice(row.values);
                    loose.rows.push((row.row, row.length, loose.values.len()));
                }
            }
            outcome = std::mem::replace(&mut outcome, Ok(())).and_then(|()| options.check_cancel());
            outcome.is_ok()
        };
        let scanned = source.loose(&terms, &mut take);
        outcome?;
        scanned.map_err(|source| SearchError::Source { block: None, source })?;
        Ok(loose)
    }

    fn bytes(&self) -> usize {
        2 * (self.rows.len() * size_of::<(RowRef, u32, usize)>() + size_of_val(&self.values[..]))
    }

    fn offer<S: SparseSource + ?Sized>(
        &self,
        scores: &[Score],
        keys: &Keys<'_, S>,
        top: &mut Top,
        scratch: &mut Reservation,
    ) -> Result<(), SearchError> {
        let mut start = 0;
        for &(row, length, end) in &self.rows {
            let values = self.values[start..end].iter();
            let score = values
                .fold(0.0, |sum, &(term, value)| sum + scores[term as usize].of(value, length));
            start = end;
            let worse = top.kth().is_some_and(|kth| score < kth.threshold());
            if !worse && keys.0.meets(row) {
                let entry = Entry { goodness: Goodness::of(score), row };
                top.offer(entry, keys, scratch).map_err(|error| error.while_scanning(None))?;
            }
        }
        Ok(())
    }
}

/// What the search of a run works in.
struct Room {
    decoded: Vec<Decoded>,
    sums: Vec<f64>,
    lengths: Vec<u32>,
    touched: [u64; WINDOW / 64],
}

impl Room {
    fn new(terms: usize, scratch: &mut Reservation) -> Result<Self, SearchError> {
        let window = WINDOW * (size_of::<f64>() + size_of::<u32>());
        scratch.grow(Bytes::of(window + terms * Decoded::BYTES))?;
        Ok(Self {
            decoded: (0..terms).map(|_| Decoded::none()).collect(),
            sums: vec![0.0; WINDOW],
            lengths: vec![0; WINDOW],
            touched: [0; WINDOW / 64],
        })
    }
}

/// One run that is searched.
struct Part<'a, S: ?Sized> {
    source: &'a S,
    run: &'a dyn IndexedRun,
    scores: &'a [Score],
    work: &'a mut SparseWork,
}

/// A term in a window: its cursor, its blocks, and what they can give.
struct Share {
    cursor: usize,
    blocks: std::ops::Range<usize>,
    best: f64,
}

impl<S: SparseSource + ?Sized> Part<'_, S> {
    fn search(
        &mut self,
        mut cursors: Vec<Cursor>,
        room: &mut Room,
        top: &mut Top,
        options: &Options<'_>,
        scratch: &mut Reservation,
    ) -> Result<(), Failed> {
        for cursor in &mut cursors {
            cursor.set(&self.scores[cursor.term]);
            self.work.postings += u64::from(cursor.count());
        }
        room.decoded.iter_mut().for_each(Decoded::forget);
        let most: f64 = cursors.iter().map(|cursor| cursor.most).sum();
        let margin = 4.0 * (cursors.len() + 2) as f64 * f64::EPSILON * most;
        let info = self.run.info();
        let mut shares = Vec::with_capacity(cursors.len());
        for start in (info.first_row..info.end()).step_by(WINDOW) {
            options.check_cancel()?;
            let rows = start..info.end().min(start.saturating_add(WINDOW as u32));
            shares.clear();
            for (number, cursor) in cursors.iter().enumerate() {
                let blocks = cursor.blocks_in(&rows);
                if !blocks.is_empty() {
                    let best = cursor.best_of(blocks.clone());
                    shares.push(Share { cursor: number, blocks, best });
                }
            }
            shares.sort_unstable_by(|a, b| a.best.total_cmp(&b.best));
            let threshold = threshold(top);
            let (mut rest, mut weak) = (0.0, 0);
            while let Some(share) = shares.get(weak)
                && rest + share.best + margin < threshold
            {
                rest += share.best;
                weak += 1;
            }
            if weak == shares.len() {
                continue;
            }
            let mut window = Window { rows, shares: &shares, weak, rest, margin };
            self.gather(&mut window, &cursors, room)?;
            self.offer(&window, &cursors, room, top, scratch)?;
        }
        self.work.blocks +=
            room.decoded.iter_mut().map(|one| std::mem::take(&mut one.reads)).sum::<u64>();
        Ok(())
    }

    /// Sums up what the terms that matter give to each row of the window.
    fn gather(
        &self,
        window: &mut Window<'_>,
        cursors: &[Cursor],
        room: &mut Room,
    ) -> Result<(), SourceError> {
        let Room { decoded, sums, lengths: window_lengths, touched } = room;
        let rows = window.rows.clone();
        lengths(self.run, rows.start, &mut window_lengths[..rows.len()])?;
        for share in &window.shares[window.weak..] {
            let cursor = &cursors[share.cursor];
            let score = &self.scores[cursor.term];
            let decoded = &mut decoded[share.cursor];
            for block in share.blocks.clone() {
                cursor.read(self.run, block, decoded)?;
                let from = decoded.rows.partition_point(|&row| row < rows.start);
                for (&row, &value) in decoded.rows[from..].iter().zip(&decoded.values[from..]) {
                    if row >= rows.end {
                        break;
                    }
                    let at = (row - rows.start) as usize;
                    sums[at] += score.of(value, window_lengths[at]);
                    touched[at / 64] |= 1 << (at % 64);
                }
            }
        }
        Ok(())
    }

    /// Offers the rows of the window that may be among the best.
    fn offer(
        &mut self,
        window: &Window<'_>,
        cursors: &[Cursor],
        room: &mut Room,
        top: &mut Top,
        scratch: &mut Reservation,
    ) -> Result<(), Failed> {
        for word in 0..room.touched.len() {
            let mut left = std::mem::take(&mut room.touched[word]);
            while left != 0 {
                let at = 64 * word + left.trailing_zeros() as usize;
                left &= left - 1;
                let sum = std::mem::take(&mut room.sums[at]);
                let row = window.rows.start + at as u32;
                let length = room.lengths[at];
                let candidate = Candidate { row, score: sum };
                let may = self.may_enter(&candidate, length, window, cursors, room, top)?;
                let at = RowRef { part: self.run.part(), row };
                if !may || self.run.is_deleted(row) || !self.source.meets(at) {
                    continue;
                }
                let score = self.score(row, length, cursors, room)?;
                let entry = Entry { goodness: Goodness::of(score), row: at };
                let offered = top.offer(entry, &Keys(self.source), scratch);
                offered.map_err(|error| error.while_scanning(None))?;
            }
        }
        Ok(())
    }

    /// May a row be among the best? Adds the terms that were left out, the strongest first.
    fn may_enter(
        &self,
        candidate: &Candidate,
        length: u32,
        window: &Window<'_>,
        cursors: &[Cursor],
        room: &mut Room,
        top: &Top,
    ) -> Result<bool, SourceError> {
        let threshold = threshold(top);
        let (mut sum, mut rest) = (candidate.score, window.rest);
        for share in window.shares[..window.weak].iter().rev() {
            if sum + rest + window.margin < threshold {
                return Ok(false);
            }
            rest -= share.best;
            let cursor = &cursors[share.cursor];
            let decoded = &mut room.decoded[share.cursor];
            if let Some(value) = cursor.value_of(self.run, candidate.row, decoded)? {
                sum += self.scores[cursor.term].of(value, length);
            }
        }
        Ok(sum + rest.max(0.0) + window.margin >= threshold)
    }

    /// The score of a row, its terms ascending.
    fn score(
        &mut self,
        row: u32,
        length: u32,
        cursors: &[Cursor],
        room: &mut Room,
    ) -> Result<f64, SourceError> {
        self.work.scored += 1;
        let mut score = 0.0;
        for (cursor, decoded) in cursors.iter().zip(&mut room.decoded) {
            if let Some(value) = cursor.value_of(self.run, row, decoded)? {
                score += self.scores[cursor.term].of(value, length);
            }
        }
        Ok(score)
    }
}

struct Candidate {
    row: u32,
    score: f64,
}

/// The rows that are looked at together, and what their terms can give.
struct Window<'a> {
    rows: std::ops::Range<u32>,
    /// By what they can give, the least first.
    shares: &'a [Share],
    /// So many cannot bring a row into the answer alone.
    weak: usize,
    /// What those can give together.
    rest: f64,
    margin: f64,
}

/// The score below which nothing enters.
fn threshold(top: &Top) -> f64 {
    top.kth().map_or(f64::NEG_INFINITY, Goodness::threshold)
}
