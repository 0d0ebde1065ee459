//! Where a page of an answer ends and the next one begins.
//!
//! A cursor names a place in the order of an answer: the score and the key of the last hit. It also knows
//! of which query it is and what the collection held, so that pages that would not join are refused
//! instead of given. As text it can leave the process and come back.

use std::fmt;
use std::str::FromStr;

use ambit_search::Hit as Found;
use xxhash_rust::xxh3::Xxh3;

use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::search::SearchRequest;

/// The place after the last hit of a page; see [`SearchRequest::after`](crate::SearchRequest::after).
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor {
    /// What the collection held.
    digest: u128,
    /// What was asked for.
    query: u64,
    score: f64,
    key: String,
}

impl Cursor {
    /// A cursor of this request, at no place yet.
    pub(crate) fn new(collection: &Collection, request: &SearchRequest<'_>) -> Result<Self> {
        let (digest, query) = (collection.digest(request.filter.is_some())?, query_digest(request));
        Ok(Self { digest, query, score: 0.0, key: String::new() })
    }

    /// The same, after the hit of this key and score.
    #[must_use]
    pub(crate) fn at(self, key: String, score: f64) -> Self {
        Self { score, key, ..self }
    }

    /// Bytes that it holds beside its own.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.key.capacity()
    }

    /// The hit that a page of the same request goes on after.
    ///
    /// # Errors
    /// Invalid: of another query, or the collection has changed.
    pub(crate) fn hit(
        &self,
        collection: &Collection,
        request: &SearchRequest<'_>,
    ) -> Result<Found> {
        if self.query != query_digest(request) {
            let what = "the cursor is of another query, filter or space; give it back with the request \
                        that it came from, or begin without one";
            return Err(Error::invalid(what));
        }
        let is_same = self.digest == collection.digest(request.filter.is_some())?;
        match collection.place_of(&self.key, self.score)? {
            Some(place) if is_same => Ok(place),
            _ => {
                let what = format!(
                    "collection {} has changed since the page was made; begin again without the cursor, \
                     or page through a version",
                    collection.name()
                );
                Err(Error::invalid(what))
            }
        }
    }
}

/// What decides the order of an answer.
fn query_digest(request: &SearchRequest<'_>) -> u64 {
    let mut digest = Xxh3::new();
    let filter = request.filter.map_or("", |filter| filter.text());
    for text in [request.space, filter] {
        digest.update(&(text.len() as u64).to_le_bytes());
        digest.update(text.as_bytes());
    }
    digest.update(bytemuck::cast_slice(request.queries));
    digest.digest()
}

/// `c1-DIGEST-QUERY-SCORE-KEY`, numbers in hexadecimal, the score as the bits of its float64.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest, query, score, key } = self;
        write!(f, "c1-{digest:032x}-{query:016x}-{:016x}-{key}", score.to_bits())
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        read(text).ok_or_else(|| {
            let begin: String = text.chars().take(40).collect();
            Error::invalid(format!("{begin:?} is no cursor; give one as an answer gave it, whole"))
        })
    }
}

fn read(text: &str) -> Option<Cursor> {
    let mut parts = text.splitn(5, '-');
    let (version, digest, query) = (parts.next()?, parts.next()?, parts.next()?);
    let (score, key) = (parts.next()?, parts.next()?);
    if version != "c1" || digest.len() != 32 || query.len() != 16 || score.len() != 16 {
        return None;
    }
    Some(Cursor {
        digest: u128::from_str_radix(digest, 16).ok()?,
        query: u64::from_str_radix(query, 16).ok()?,
        score: f64::from_bits(u64::from_str_radix(score, 16).ok()?),
        key: key.to_owned(),
    })
}
