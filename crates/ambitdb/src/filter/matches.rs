//! Conditions held against entities, each entity at most once for all queries that ask the same.
//!
//! What is known of a filter is two bits a row: is it known, and does it meet the filter? Bits are filled in
//! when a search asks for a row, and kept for the next search with the same filter over the same rows. A sample
//! tells filters that nearly nothing meets: for them all rows are looked at once, and searches then go through
//! those few alone.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Memory};
use std::sync::{Arc, OnceLock};

use ambit_cache::Weigh as _;
use ambit_mem::{Account, Bytes, Reservation};
use ambit_search::RowRef as FoundRow;
use ambit_store::engine::{RowRef, TableView};
use xxhash_rust::xxh3::xxh3_128;

use super::known::{KEY_COST, Known};
use super::{Comparison, Field, Filter, Node};
use crate::collection::{Collection, EntityInfo};
use crate::entity::{Body, corrupt};
use crate::error::{Error, Result};
use crate::schema::BODY;
use crate::value::{Properties, Value};

/// Rows that are looked at to see how many meet a filter.
const SAMPLE: u64 = 512;
/// A filter that fewer of the sample meet has all rows looked at, and one that fewer of all rows meet is
/// answered from those alone: one in so many.
const RARE: u64 = 64;

/// What one call knows of which rows meet its filter.
pub(crate) struct Matches<'a> {
    view: &'a TableView,
    filter: &'a Filter,
    known: Arc<Known>,
    /// The first failure to read an entity.
    failure: OnceLock<Error>,
    _charge: Reservation,
}

impl<'a> Matches<'a> {
    /// What is known of a filter already, or what a sample tells. Ends early when `cancel` becomes true.
    ///
    /// # Errors
    /// Over budget; corrupt, I/O; interrupted.
    ///
    /// # Cost
    /// A quarter of a byte a row. A filter that was not asked for before reads 512 entities, and all
    /// of them where fewer than one in 64 of those meet it; one with `related to` reads all relations.
    pub(crate) fn new(
        collection: &'a Collection,
        filter: &'a Filter,
        account: &Account,
        cancel: Option<&AtomicBool>,
    ) -> Result<Self> {
        let view = collection.view();
        let kept = collection.store().filters();
        // Filters without a text are made for one call.
        let id = match filter.text.is_empty() {
            true => None,
            false => Some(xxh3_128(
                &[&collection.digest(true)?.to_le_bytes(), filter.text.as_bytes()].concat(),
            )),
        };
        if let Some(known) = id.and_then(|id| kept.get(id)) {
            let _charge = account.reserve(Bytes::of(known.heap_bytes()))?;
            return Ok(Self { view, filter, known, failure: OnceLock::new(), _charge });
        }
        let rows: Vec<u64> = (0..view.parts()).map(|part| view.rows_in(part)).collect();
        let words: u64 = rows.iter().map(|rows| rows.div_ceil(32)).sum();
        let mut charge = account.reserve(Bytes::new(words * 8))?;
        let parts =
            rows.iter().map(|rows| (0..rows.div_ceil(32)).map(|_| AtomicU64::new(0)).collect());
        let parts = parts.collect();
        let mut related = Vec::new();
        collect_related(&filter.root, collection, &mut related, &mut charge)?;
        let known = Known { related, parts, few: None };
        let failure = OnceLock::new();
        let mut matches = Self { view, filter, known: Arc::new(known), failure, _charge: charge };
        if matches.is_rare(rows.iter().sum())? {
            let few = matches.find_few(cancel)?;
            if let Some(known) = Arc::get_mut(&mut matches.known) {
                known.few = few;
            }
        }
        if let (Some(id), None) = (id, matches.failure.get()) {
            kept.keep(id, &matches.known);
        }
        Ok(matches)
    }

    /// The rows that meet the filter, ascending, where they are few.
    pub(crate) fn few(&self) -> Option<&[FoundRow]> {
        self.known.few.as_deref()
    }

    /// Does nearly nothing meet the filter? Says a sample, evenly drawn.
    fn is_rare(&self, rows: u64) -> Result<bool> {
        let (mut asked, mut met) = (0_u64, 0_u64);
        let step = rows.div_ceil(SAMPLE).max(1);
        for part in 0..self.view.parts() {
            let of_part = self.view.rows_in(part);
            for from in (0..of_part).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
                self.view.scan_part(part, from as u32, &mut |row| {
                    asked += 1;
                    met += u64::from(self.meets(row.part, row.row));
                    Ok(false)
                })?;
            }
        }
        Ok(met * RARE < asked)
    }

    /// Looks at all rows; those that meet the filter, unless they are too many.
    fn find_few(&mut self, cancel: Option<&AtomicBool>) -> Result<Option<Box<[FoundRow]>>> {
        let most = (self.view.len() / RARE).max(SAMPLE) as usize;
        let mut few = Vec::new();
        for part in 0..self.view.parts() {
            self.view.scan_part(part, 0, &mut |row| {
                if self.meets(row.part, row.row) {
                    few.push(FoundRow { part: row.part, row: row.row });
                }
                let is_cancelled = cancel.is_some_and(|cancel| cancel.load(Memory::Relaxed));
                Ok(few.len() <= most && !is_cancelled)
            })?;
            if cancel.is_some_and(|cancel| cancel.load(Memory::Relaxed)) {
                return Err(ambit_search::SearchError::Cancelled.into());
            }
            if few.len() > most {
                return Ok(None);
            }
        }
        self._charge.grow(Bytes::of(few.len() * size_of::<FoundRow>()))?;
        Ok(Some(few.into_boxed_slice()))
    }

    /// Does the entity of a row meet the filter? One that cannot be read does not; see
    /// [`Matches::failure`].
    pub(crate) fn meets(&self, part: u32, row: u32) -> bool {
        let parts = &self.known.parts;
        let word = parts.get(part as usize).and_then(|part| part.get(row as usize / 32));
        let Some(word) = word else {
            return false;
        };
        let shift = row % 32 * 2;
        // Relaxed: the two bits are all that is told, and they come together.
        let known = word.load(Memory::Relaxed) >> shift & 3;
        if known != 0 {
            return known == 3;
        }
        let meets = match self.look(RowRef { part, row }) {
            Ok(meets) => meets,
            Err(error) => {
                // A second failure says no more than the first. Nothing is remembered of the row.
                let _ = self.failure.set(error);
                return false;
            }
        };
        word.fetch_or((1 + 2 * u64::from(meets)) << shift, Memory::Relaxed);
        meets
    }

    /// What kept an entity from being read, if anything did.
    pub(crate) fn failure(self) -> Option<Error> {
        self.failure.into_inner()
    }

    fn look(&self, row: RowRef) -> Result<bool> {
        let body = Body::decode(&self.view.cell(row, BODY)?.unwrap_or_default())?;
        let key = String::from_utf8(self.view.key(row)?)
            .map_err(|_| corrupt(format!("the key of row {row:?} is not UTF-8")))?;
        let entity = Seen { key: &key, body: &body, related: &self.known.related };
        Ok(entity.meets(&self.filter.root, &mut 0))
    }
}

/// Finds the keys of each `related to`, in the order in which [`Seen::meets`] counts them.
fn collect_related(
    node: &Node,
    collection: &Collection,
    related: &mut Vec<HashSet<String>>,
    charge: &mut Reservation,
) -> Result<()> {
    match node {
        Node::Or(nodes) | Node::And(nodes) => {
            nodes.iter().try_for_each(|node| collect_related(node, collection, related, charge))
        }
        Node::Not(node) => collect_related(node, collection, related, charge),
        Node::Related { target, kind } => {
            let mut keys = HashSet::new();
            let mut room = Ok(());
            collection.relations(&mut |relation| {
                let is_kind = kind.as_ref().is_none_or(|kind| *kind == relation.kind);
                if is_kind && relation.target == *target && !keys.contains(&relation.source) {
                    room = charge.grow(Bytes::of(KEY_COST + relation.source.len()));
                    keys.insert(relation.source);
                }
                room.is_ok()
            })?;
            room?;
            related.push(keys);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The value of a field of an entity, where it is one of the plain ones: no list, no map, not null, and
/// not NaN, which equals nothing.
pub(crate) fn plain_value(info: &EntityInfo, field: &Field) -> Option<Value> {
    let found = match field {
        Field::Key => return Some(Value::String(info.key.clone())),
        Field::Kind => return Some(Value::String(info.kind.clone())),
        Field::Text => return info.text.clone().map(Value::String),
        Field::Property(names) => property(&info.properties, names)?,
    };
    match found {
        Value::Float(number) if number.is_nan() => None,
        Value::Null | Value::List(_) | Value::Map(_) => None,
        plain => Some(plain.clone()),
    }
}

/// The property that these names lead to.
fn property<'a>(properties: &'a Properties, names: &[String]) -> Option<&'a Value> {
    let (first, rest) = names.split_first()?;
    let mut value = properties.get(first)?;
    for name in rest {
        let Value::Map(inner) = value else {
            return None;
        };
        value = inner.get(name)?;
    }
    Some(value)
}

/// An entity that is looked at.
struct Seen<'a> {
    key: &'a str,
    body: &'a Body,
    related: &'a [HashSet<String>],
}

/// A value of a field.
#[derive(Clone, Copy)]
enum Found<'a> {
    Text(&'a str),
    Value(&'a Value),
}

impl<'a> Seen<'a> {
    /// `next`: how many `related to` stand before this node.
    fn meets(&self, node: &Node, next: &mut usize) -> bool {
        match node {
            // Every node is visited, so that those after it are counted right.
            Node::Or(nodes) => nodes.iter().fold(false, |met, node| self.meets(node, next) | met),
            Node::And(nodes) => nodes.iter().fold(true, |met, node| self.meets(node, next) & met),
            Node::Not(node) => !self.meets(node, next),
            Node::Exists(field) => self.value(field).is_some(),
            Node::Compare { field, how, with } => {
                self.value(field).is_some_and(|found| how.holds(found, with))
            }
            Node::In { field, values } => self.value(field).is_some_and(|found| {
                values.iter().any(|value| Comparison::Equal.holds(found, value))
            }),
            Node::Contains { field, value } => {
                self.value(field).is_some_and(|found| contains(found, value))
            }
            Node::StartsWith { field, prefix } => {
                self.value(field).and_then(text_of).is_some_and(|text| text.starts_with(prefix))
            }
            Node::Related { .. } => {
                *next += 1;
                self.related.get(*next - 1).is_some_and(|keys| keys.contains(self.key))
            }
        }
    }

    fn value(&self, field: &Field) -> Option<Found<'a>> {
        match field {
            Field::Key => Some(Found::Text(self.key)),
            Field::Kind => Some(Found::Text(&self.body.kind)),
            Field::Text => self.body.text.as_deref().map(Found::Text),
            Field::Property(names) => property(&self.body.properties, names).map(Found::Value),
        }
    }
}

fn text_of(found: Found<'_>) -> Option<&str> {
    match found {
        Found::Text(text) => Some(text),
        Found::Value(Value::String(text)) => Some(text),
        Found::Value(_) => None,
    }
}

fn contains(found: Found<'_>, value: &Value) -> bool {
    match (found, value) {
        (Found::Value(Value::List(values)), _) => {
            values.iter().any(|one| Comparison::Equal.holds(Found::Value(one), value))
        }
        (found, Value::String(part)) => text_of(found).is_some_and(|text| text.contains(part)),
        _ => false,
    }
}

impl Comparison {
    fn holds(self, found: Found<'_>, with: &Value) -> bool {
        let order = match (found, with) {
            (Found::Value(Value::Bool(one)), Value::Bool(other)) => Some(one.cmp(other)),
            (Found::Value(Value::Null), Value::Null) => Some(Ordering::Equal),
            (found, Value::String(other)) => text_of(found).map(|one| one.cmp(other)),
            (Found::Value(one), other) => compare_numbers(one, other),
            _ => None,
        };
        match (self, order) {
            // What cannot be compared is not equal.
            (Self::Unequal, order) => order != Some(Ordering::Equal),
            (_, None) => false,
            (Self::Equal, Some(order)) => order.is_eq(),
            (Self::Less, Some(order)) => order.is_lt(),
            (Self::LessOrEqual, Some(order)) => order.is_le(),
            (Self::Greater, Some(order)) => order.is_gt(),
            (Self::GreaterOrEqual, Some(order)) => order.is_ge(),
        }
    }
}

/// Compares integers and floats by value, exactly; none for NaN and for what is no number.
fn compare_numbers(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Integer(one), Value::Integer(other)) => Some(one.cmp(other)),
        (Value::Float(one), Value::Float(other)) => one.partial_cmp(other),
        (Value::Integer(one), Value::Float(other)) => compare_mixed(*one, *other),
        (Value::Float(one), Value::Integer(other)) => {
            compare_mixed(*other, *one).map(Ordering::reverse)
        }
        _ => None,
    }
}

fn compare_mixed(integer: i64, float: f64) -> Option<Ordering> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        return None;
    }
    if float >= BEYOND {
        return Some(Ordering::Less);
    }
    if float < -BEYOND {
        return Some(Ordering::Greater);
    }
    // In range, so the whole part is exact.
    let whole = float.trunc();
    let order = integer.cmp(&(whole as i64));
    Some(order.then_with(|| 0.0f64.partial_cmp(&(float - whole)).unwrap_or(Ordering::Equal)))
}
