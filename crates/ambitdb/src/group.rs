//! The nearest entities, so many of each value of a field.
//!
//! Hits are taken page by page in their order. A group that is full is left out of the pages that follow,
//! and once there are enough groups, only those that are not full are asked for. So the groups are
//! those of the best hits, and each has its best hits, as grouping the whole order would give.

use std::collections::HashMap;

use ambit_search::Exactness;

use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::filter::{Field, Filter, plain_value};
use crate::search::{Answer, Hit, MAX_K, SearchRequest, check_k};
use crate::value::Value;

/// Hits of a page at least.
const LEAST_PAGE: usize = 64;

/// Entities that have the same value in the field.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The value.
    pub value: Value,
    /// The nearest of them first.
    pub hits: Vec<Hit>,
}

/// What a grouped query found.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    /// The group of the nearest entity first.
    pub groups: Vec<Group>,
    /// How sure the answer is, over all pages that it took.
    pub exactness: Exactness,
}

impl Collection {
    /// The `k` groups of entities with the same value in `field` whose best members are nearest, each with its
    /// nearest `per_group`. `field` is named as filters name it. Entities that do not have it, or have a list,
    /// a map or null there, are in no group; numbers of equal value are one.
    ///
    /// # Errors
    /// As [`Collection::search`]; invalid: field, k x per_group above [`MAX_K`], a cursor.
    ///
    /// # Cost
    /// One search where the first page has all; a page more for each that does not. Where a group has fewer
    /// than `per_group` members, or there are fewer than `k` groups, all entities are looked at.
    pub fn search_groups(
        &self,
        request: &SearchRequest<'_>,
        field: &str,
        per_group: usize,
    ) -> Result<Groups> {
        self.grouped(request, field, per_group, None)
    }

    /// The same, of what is most like `key`, which is in no group itself.
    ///
    /// # Errors
    /// As [`Collection::search_like`] and [`Collection::search_groups`].
    pub fn search_groups_like(
        &self,
        key: &str,
        request: &SearchRequest<'_>,
        field: &str,
        per_group: usize,
    ) -> Result<Groups> {
        let vector = self.vector_like(key, request)?;
        self.grouped(&SearchRequest { queries: &vector, ..*request }, field, per_group, Some(key))
    }

    /// Groups without the entity `own`.
    fn grouped(
        &self,
        request: &SearchRequest<'_>,
        field: &str,
        per_group: usize,
        own: Option<&str>,
    ) -> Result<Groups> {
        check_k(request.k)?;
        check_k(request.k.saturating_mul(per_group)).map_err(|_| {
            let what = format!("{} groups of {per_group}: 1 to {MAX_K} hits in all", request.k);
            Error::invalid(what)
        })?;
        if request.after.is_some() {
            return Err(Error::invalid("groups have no pages: ask for more groups"));
        }
        let field = Field::parse(field)?;
        let mut taken =
            Taken { most: request.k, per_group, groups: Vec::new(), places: HashMap::new() };
        let mut size = (2 * request.k * per_group).clamp(LEAST_PAGE, MAX_K);
        let (mut after, mut exactness) = (None, None);
        loop {
            let filter = taken.filter(request.filter, &field);
            let page = SearchRequest { filter: Some(&filter), ..*request };
            let Answer { hits, exactness: seen, .. } = self.page_after(&page, size, after)?;
            exactness = Some(exactness.map_or(seen, |before: Exactness| before.and(seen)));
            if let Some(last) = hits.last() {
                after = self.place_of(&last.key, last.score)?;
            }
            let is_last = hits.len() < size;
            for hit in hits.into_iter().filter(|hit| own != Some(&hit.key)) {
                let info = self.info_of(&hit.key)?;
                if let Some(value) = info.and_then(|info| plain_value(&info, &field)) {
                    taken.take(value, hit);
                }
            }
            if is_last || taken.is_full() {
                let exactness = exactness.unwrap_or(seen);
                return Ok(Groups { groups: taken.groups, exactness });
            }
            size = (2 * size).min(MAX_K);
        }
    }
}

/// The groups so far.
struct Taken {
    most: usize,
    per_group: usize,
    groups: Vec<Group>,
    places: HashMap<Same, usize>,
}

/// Values that are equal are the same.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Same {
    Bool(bool),
    Integer(i64),
    /// Bits of a float that no integer equals.
    Float(u64),
    Text(String),
}

impl Same {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Integer(value) => Some(Self::Integer(*value)),
            Value::Float(value) => {
                // The range of i64, whose end is not in it.
                let is_whole =
                    value.trunc() == *value && (-2f64.powi(63)..2f64.powi(63)).contains(value);
                Some(if is_whole {
                    Self::Integer(*value as i64)
                } else {
                    Self::Float(value.to_bits())
                })
            }
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }
}

impl Taken {
    fn take(&mut self, value: Value, hit: Hit) {
        let Some(same) = Same::of(&value) else {
            return;
        };
        match self.places.get(&same) {
            Some(&place) => {
                let hits = &mut self.groups[place].hits;
                if hits.len() < self.per_group {
                    hits.push(hit);
                }
            }
            None if self.groups.len() < self.most => {
                self.places.insert(same, self.groups.len());
                self.groups.push(Group { value, hits: vec![hit] });
            }
            None => {}
        }
    }

    fn is_full(&self) -> bool {
        self.groups.len() == self.most
            && self.groups.iter().all(|group| group.hits.len() == self.per_group)
    }

    /// What the next page is to hold.
    fn filter(&self, base: Option<&Filter>, field: &Field) -> Filter {
        let values = |is_full: bool| {
            let of_kind = |group: &&Group| (group.hits.len() == self.per_group) == is_full;
            self.groups.iter().filter(of_kind).map(|group| group.value.clone()).collect()
        };
        match self.groups.len() == self.most {
            true => Filter::narrowed(base, field, Some(values(false)), Vec::new()),
            false => Filter::narrowed(base, field, None, values(true)),
        }
    }
}
