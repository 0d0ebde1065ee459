//! The values of one run, by key.
//!
//! Keys stand in a hash table that points into a list of entries. Clearing marks the entries as
//! unset and keeps them, with the buffers of their texts and arrays: the next run that uses the
//! same keys allocates nothing. JSON is dropped when it is cleared, for its parts cannot be used
//! again. A context that has seen many keys and used few of them forgets all.
//!
//! Two sizes are kept. [`Context::heap`] is what is held, by capacity, and is charged to the
//! account before it is taken. [`Context::len_bytes`] is what the values say, and is what a run's
//! own limit is held against: it does not depend on what earlier runs left behind.

use ambit_mem::{Account, Bytes};
use hashbrown::HashTable;
use serde_json::Value as Json;

use super::charge::Charge;
use super::error::nearest;
use super::{AsKey, ContextError, Key};
use crate::{Type, Value, ValueRef};

/// Keys that a cleared context keeps in any case.
const KEYS_KEPT: usize = 256;

/// The values of one run, by key.
///
/// ```
/// use ambit_flow::{Context, ContextError};
/// use ambit_mem::{Budget, Bytes, Priority};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let mut context = Context::new(&budget.account("flow/request", Priority::Query));
/// context.set("income", 52_000)?;
/// context.set("purpose", "a new roof")?;
/// context.set("vector", &[0.25_f32, -1.0][..])?;
/// assert_eq!(context.int("income")?, 52_000);
/// assert_eq!(context.floats("vector")?, [0.25, -1.0]);
/// let error = context.text("propose").unwrap_err();
/// assert_eq!(error.to_string(), "nothing is set under 'propose'; is 'purpose' meant?");
/// assert!(matches!(context.text("income"), Err(ContextError::WrongType { .. })));
/// # Ok::<(), ContextError>(())
/// ```
pub struct Context {
    table: HashTable<u32>,
    entries: Vec<Entry>,
    /// Bytes that the values say.
    said: usize,
    /// Bytes that the entries hold beyond themselves.
    held: usize,
    /// Values that are set.
    values_set: usize,
    limit: Bytes,
    is_spoilt: bool,
    charge: Charge,
}

struct Entry {
    key: Key,
    value: Value,
    /// Bytes that the value says; counted while it is set.
    len: usize,
    is_set: bool,
}

impl Context {
    /// An empty context, whose bytes are charged to `account`.
    pub fn new(account: &Account) -> Self {
        Self {
            table: HashTable::new(),
            entries: Vec::new(),
            said: 0,
            held: 0,
            values_set: 0,
            limit: Bytes::MAX,
            is_spoilt: false,
            charge: Charge::new(account),
        }
    }

    /// Values that are set.
    pub fn len(&self) -> usize {
        self.values_set
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.values_set == 0
    }

    /// Bytes that the values say: 8 for a scalar, the length of anything else and 8.
    pub fn len_bytes(&self) -> Bytes {
        Bytes::of(self.said)
    }

    /// Bytes that the context holds on the heap, with what it keeps for later.
    pub fn heap(&self) -> Bytes {
        Bytes::of(self.heap_now())
    }

    fn heap_now(&self) -> usize {
        self.held + self.table.allocation_size() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Refuses values beyond `limit` bytes in all, as [`Context::len_bytes`] counts them.
    pub fn set_limit(&mut self, limit: Bytes) {
        self.limit = limit;
    }

    /// The limit.
    pub fn limit(&self) -> Bytes {
        self.limit
    }

    /// The account that the context is charged to.
    pub fn account(&self) -> &Account {
        self.charge.account()
    }

    /// The value under `key`, if it is set.
    ///
    /// # Cost
    /// One probe of a hash table; no hashing where `key` is a [`Key`].
    #[inline]
    pub fn get(&self, key: impl AsKey) -> Option<ValueRef<'_>> {
        let entry = &self.entries[self.find(&key)?];
        entry.is_set.then(|| entry.value.borrow())
    }

    /// Whether a value is set under `key`.
    pub fn contains(&self, key: impl AsKey) -> bool {
        self.get(key).is_some()
    }

    /// Keys that are set, and their values, in the order in which the keys were first seen.
    pub fn iter(&self) -> impl Iterator<Item = (&str, ValueRef<'_>)> {
        let set = self.entries.iter().filter(|entry| entry.is_set);
        set.map(|entry| (entry.key.name(), entry.value.borrow()))
    }

    #[inline]
    fn find(&self, key: &impl AsKey) -> Option<usize> {
        let is_it = |&index: &u32| {
            let entry = &self.entries[index as usize].key;
            AsKey::hash(entry) == key.hash() && entry.name() == key.name()
        };
        self.table.find(key.hash(), is_it).map(|&index| index as usize)
    }

    /// Sets `key` to a copy of `value`, in the buffer of an earlier value where that is of the same
    /// kind.
    ///
    /// # Errors
    /// [`ContextError::OverBudget`], [`ContextError::OverLimit`]; the context is as it was.
    ///
    /// # Cost
    /// No allocation where the key was used before and its buffer is large enough.
    #[inline]
    pub fn set<'v>(
        &mut self,
        key: impl AsKey,
        value: impl Into<ValueRef<'v>>,
    ) -> Result<(), ContextError> {
        let value = value.into();
        let index = self.slot(&key)?;
        let (old, new) = (&self.entries[index], value.len_bytes());
        let (heap, after) = (old.value.heap(), old.value.heap_after(value));
        self.admit(index, new, self.held - heap + after)?;
        let entry = &mut self.entries[index];
        entry.value.assign(value);
        self.held = self.held - heap + entry.value.heap();
        self.mark_set(index, new);
        Ok(())
    }

    /// Sets `key` to `value`, which is moved in.
    ///
    /// # Errors
    /// As [`Context::set`].
    pub fn put(&mut self, key: impl AsKey, value: impl Into<Value>) -> Result<(), ContextError> {
        let mut value = value.into();
        self.swap_in(&key, &mut value)
    }

    /// Sets `key` to `value` and leaves what was in its place in `value`: buffers are exchanged.
    pub(crate) fn swap_in(
        &mut self,
        key: &impl AsKey,
        value: &mut Value,
    ) -> Result<(), ContextError> {
        let index = self.slot(key)?;
        let (new, heap) = (value.borrow().len_bytes(), value.heap());
        let held = self.held - self.entries[index].value.heap() + heap;
        self.admit(index, new, held)?;
        std::mem::swap(&mut self.entries[index].value, value);
        self.held = held;
        self.mark_set(index, new);
        Ok(())
    }

    /// Makes sure that all of `values` can be swapped in, so that all are or none.
    pub(crate) fn make_room<'v>(
        &mut self,
        values: impl Iterator<Item = (&'v Key, ValueRef<'v>)>,
    ) -> Result<(), ContextError> {
        let (mut len, mut more, mut last) = (self.said, 0, None);
        for (key, value) in values {
            let index = self.slot(&key)?;
            let entry = &self.entries[index];
            len = len - if entry.is_set { entry.len } else { 0 } + value.len_bytes();
            more += value.len_bytes();
            last = Some(key);
        }
        if let Some(key) = last.filter(|_| len as u64 > self.limit.get()) {
            let (key, needed, limit) = (key.name().to_owned(), Bytes::of(len), self.limit);
            return Err(ContextError::OverLimit { key, needed, limit });
        }
        Ok(self.charge.ensure(self.heap_now() + more)?)
    }

    /// Unsets `key`; says whether it was set. Its buffer is kept.
    pub fn remove(&mut self, key: impl AsKey) -> bool {
        let Some(index) = self.find(&key).filter(|&index| self.entries[index].is_set) else {
            return false;
        };
        let entry = &mut self.entries[index];
        entry.is_set = false;
        self.said -= entry.len;
        self.values_set -= 1;
        true
    }

    /// Holds what entry `index` would bring to the limit and to the budget.
    #[inline]
    fn admit(&mut self, index: usize, new: usize, held: usize) -> Result<(), ContextError> {
        let entry = &self.entries[index];
        let len = self.said - if entry.is_set { entry.len } else { 0 } + new;
        if len as u64 > self.limit.get() {
            let key = entry.key.name().to_owned();
            return Err(ContextError::OverLimit { key, needed: Bytes::of(len), limit: self.limit });
        }
        Ok(self.charge.ensure(self.heap_now() - self.held + held)?)
    }

    #[inline]
    fn mark_set(&mut self, index: usize, new: usize) {
        let entry = &mut self.entries[index];
        if entry.is_set {
            self.said -= entry.len;
        } else {
            self.values_set += 1;
        }
        entry.is_set = true;
        entry.len = new;
        self.said += new;
    }

    /// The entry of `key`, made if it is new.
    #[inline]
    fn slot(&mut self, key: &impl AsKey) -> Result<usize, ContextError> {
        match self.find(key) {
            Some(index) => Ok(index),
            None => self.add(key),
        }
    }

    #[cold]
    fn add(&mut self, key: &impl AsKey) -> Result<usize, ContextError> {
        let new = Key::new(key.name());
        let (index, bytes) = (self.entries.len(), new.heap());
        // A full table or list grows to at most twice its size, and starts with four.
        let list = if index == self.entries.capacity() { index.max(4) } else { 0 };
        let table =
            if index == self.table.capacity() { self.table.allocation_size().max(64) } else { 0 };
        let most = self.heap_now() + bytes + list * size_of::<Entry>() + 2 * table;
        self.charge.ensure(most)?;
        if list > 0 {
            self.entries.reserve_exact(list);
        }
        let hash = AsKey::hash(&new);
        let entries = &self.entries;
        let number = index as u32;
        self.table.insert_unique(hash, number, |&other| {
            if other == number { hash } else { AsKey::hash(&entries[other as usize].key) }
        });
        self.entries.push(Entry { key: new, value: Value::Null, len: 0, is_set: false });
        self.held += bytes;
        Ok(index)
    }

    /// Unsets everything and keeps the table and the buffers.
    pub fn clear(&mut self) {
        let (set, known) = (self.values_set, self.entries.len());
        for entry in &mut self.entries {
            entry.is_set = false;
            if let Value::Json(_) = entry.value {
                self.held -= entry.value.heap();
                entry.value = Value::Null;
            }
        }
        (self.said, self.values_set, self.limit) = (0, 0, Bytes::MAX);
        if known > KEYS_KEPT && set < known / 4 {
            (self.table, self.entries, self.held) = (HashTable::new(), Vec::new(), 0);
        }
    }

    /// Clears it for the pool, which charges what it holds from now on.
    pub(super) fn come_back(&mut self) {
        self.clear();
        let heap = self.heap_now();
        self.charge.hand_over(heap);
    }

    /// Says that a step broke off in the middle of its work: a pool will not keep this context.
    pub(crate) fn spoil(&mut self) {
        self.is_spoilt = true;
    }

    /// Whether a step panicked over this context; a pool does not keep it.
    pub fn is_spoilt(&self) -> bool {
        self.is_spoilt
    }

    /// A value that has to be there.
    ///
    /// # Errors
    /// [`ContextError::Missing`], with the nearest key that is set.
    #[inline]
    pub fn value(&self, key: impl AsKey) -> Result<ValueRef<'_>, ContextError> {
        self.get(&key).ok_or_else(|| self.missing(key.name()))
    }

    #[cold]
    pub(crate) fn missing(&self, key: &str) -> ContextError {
        let nearest = nearest(key, self.iter().map(|(key, _)| key));
        ContextError::Missing { key: key.to_owned(), nearest }
    }

    /// Sets one value for each field of a JSON map.
    ///
    /// # Errors
    /// As [`Context::set`]; [`ContextError::WrongType`] where `json` is no map. Fields before
    /// the one that failed are set.
    pub fn set_fields(&mut self, json: &Json) -> Result<(), ContextError> {
        let Json::Object(fields) = json else {
            let found = ValueRef::from(json).describe();
            return Err(ContextError::WrongType {
                key: "input".to_owned(),
                expected: Type::Map,
                found,
            });
        };
        fields.iter().try_for_each(|(key, value)| self.set(key, value))
    }

    /// All values as a JSON map; see [`Value::to_json`].
    pub fn to_json(&self) -> Json {
        self.iter().map(|(key, value)| (key.to_owned(), value.to_json())).collect()
    }
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident -> $type:ty, $kind:ident, $($pattern:pat => $value:expr),+;)*) => {
        impl ValueRef<'_> {
            /// What a reader of type `expected` is told.
            #[cold]
            pub(crate) fn wrong_type(self, key: &str, expected: Type) -> ContextError {
                let found = self.describe();
                ContextError::WrongType { key: key.to_owned(), expected, found }
            }
        }

        impl<'a> ValueRef<'a> {$(
            /// The value under `key` as this type.
            pub(crate) fn $name(self, key: &str) -> Result<$type, ContextError> {
                match self {
                    $($pattern => Ok($value),)+
                    other => Err(other.wrong_type(key, Type::$kind)),
                }
            }
        )*}

        impl Context {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// [`ContextError::Missing`], [`ContextError::WrongType`].
            #[inline]
            #[allow(clippy::needless_lifetimes, reason = "the types in the table name it")]
            pub fn $name<'a>(&'a self, key: impl AsKey) -> Result<$type, ContextError> {
                self.value(&key)?.$name(key.name())
            }
        )*}
    };
}

getters! {
    /// The truth value under `key`.
    bool -> bool, Bool, ValueRef::Bool(value) => value;
    /// The whole number under `key`.
    int -> i64, Int, ValueRef::Int(value) => value;
    /// The number under `key`; a whole one is converted.
    float -> f64, Float, ValueRef::Float(value) => value, ValueRef::Int(value) => value as f64;
    /// The text under `key`.
    text -> &'a str, Text, ValueRef::Text(value) => value;
    /// The bytes under `key`.
    bytes -> &'a [u8], Bytes, ValueRef::Bytes(value) => value;
    /// The array of floats under `key`.
    floats -> &'a [f32], Floats, ValueRef::Floats(value) => value;
    /// The list under `key`.
    list -> &'a [Json], List, ValueRef::Json(Json::Array(value)) => value;
    /// The map under `key`.
    map -> &'a serde_json::Map<String, Json>, Map, ValueRef::Json(Json::Object(value)) => value;
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
