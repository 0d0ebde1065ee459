//! Symbols to values, with room that survives clearing.
//!
//! Properties are few: they lie in one row, sorted by symbol, and are found by bisection. A
//! property that is cleared leaves its key and the capacity of its text behind, vacant, so that
//! an object which is filled with the same keys again and again allocates nothing. What stays
//! vacant through a whole filling goes at the next clearing.

use super::{PropertyValue, Symbol};
use crate::Bytes;

/// A key, and what it stands for.
#[derive(Debug, Clone)]
struct Property {
    key: Symbol,
    /// Without value at present; it holds only room.
    is_vacant: bool,
    value: PropertyValue,
}

/// Values by interned key.
///
/// # Example
/// ```
/// use ambit_mem::{Budget, Bytes, InternedProperties, Interner, InternerConfig, Priority};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("store/symbols", Priority::Write);
/// let names = Interner::new(InternerConfig::default(), &account)?;
/// let title = names.intern("title")?;
///
/// let mut properties = InternedProperties::new();
/// properties.insert_text(title, "On Computable Numbers");
/// properties.insert(names.intern("year")?, 1936_i64);
/// assert!(properties.get(title).is_some_and(|value| value.as_text().is_some()));
///
/// properties.clear();
/// assert!(properties.is_empty() && properties.get(title).is_none());
/// properties.insert_text(title, "Without a new allocation");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct InternedProperties {
    row: Vec<Property>,
    len: usize,
}

impl InternedProperties {
    /// No properties; allocates nothing.
    pub const fn new() -> Self {
        Self { row: Vec::new(), len: 0 }
    }

    /// Properties that have a value.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Has none a value?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of `key`, if it has one.
    #[inline]
    pub fn get(&self, key: Symbol) -> Option<&PropertyValue> {
        let property = &self.row[self.position(key).ok()?];
        (!property.is_vacant).then_some(&property.value)
    }

    /// Sets `key` to `value`; returns the value it had.
    pub fn insert(
        &mut self,
        key: Symbol,
        value: impl Into<PropertyValue>,
    ) -> Option<PropertyValue> {
        let property = self.property(key);
        let before = std::mem::replace(&mut property.value, value.into());
        let was_vacant = std::mem::replace(&mut property.is_vacant, false);
        self.len += usize::from(was_vacant);
        (!was_vacant).then_some(before)
    }

    /// Sets `key` to a text, in the room that an earlier text left where there is one.
    #[inline]
    pub fn insert_text(&mut self, key: Symbol, text: &str) {
        let property = self.property(key);
        if let PropertyValue::Text(room) = &mut property.value {
            room.clear();
            room.push_str(text);
        } else {
            property.value = PropertyValue::Text(text.to_owned());
        }
        let was_vacant = std::mem::replace(&mut property.is_vacant, false);
        self.len += usize::from(was_vacant);
    }

    /// Takes the value of `key` out, and the key with it.
    pub fn remove(&mut self, key: Symbol) -> Option<PropertyValue> {
        let property = self.row.remove(self.position(key).ok()?);
        self.len -= usize::from(!property.is_vacant);
        (!property.is_vacant).then_some(property.value)
    }

    /// Takes all values away and keeps the room: the row, the keys, the capacity of texts. Keys
    /// that had no value since the last time go.
    pub fn clear(&mut self) {
        self.row.retain_mut(|property| {
            if property.is_vacant {
                return false;
            }
            property.is_vacant = true;
            match &mut property.value {
                PropertyValue::Text(text) => text.clear(),
                other => *other = PropertyValue::Null,
            }
            true
        });
        self.len = 0;
    }

    /// Takes all values away as [`InternedProperties::clear`] does, and overwrites the texts
    /// first, so that none of them stays in memory.
    pub fn wipe(&mut self) {
        self.row.iter_mut().for_each(|property| wipe(&mut property.value));
        self.clear();
    }

    /// Gives the room back that no value needs.
    pub fn shrink_to_fit(&mut self) {
        self.row.retain(|property| !property.is_vacant);
        self.row.shrink_to_fit();
        for property in &mut self.row {
            match &mut property.value {
                PropertyValue::Text(text) => text.shrink_to_fit(),
                PropertyValue::Map(below) => below.shrink_to_fit(),
                _ => {}
            }
        }
    }

    /// Keys and values, in order of the keys' numbers.
    pub fn iter(&self) -> impl Iterator<Item = (Symbol, &PropertyValue)> {
        let present = self.row.iter().filter(|property| !property.is_vacant);
        present.map(|property| (property.key, &property.value))
    }

    /// Bytes that it holds beyond its own size, room included.
    pub fn heap_bytes(&self) -> Bytes {
        let own = Bytes::new((self.row.capacity() * size_of::<Property>()) as u64);
        let values = self.row.iter().map(|property| property.value.heap_bytes());
        values.fold(own, Bytes::saturating_add)
    }

    #[inline]
    fn position(&self, key: Symbol) -> Result<usize, usize> {
        self.row.binary_search_by_key(&key, |property| property.key)
    }

    /// The property of `key`, a vacant one if there was none.
    #[inline]
    fn property(&mut self, key: Symbol) -> &mut Property {
        let at = self.position(key).unwrap_or_else(|at| {
            self.row.insert(at, Property { key, is_vacant: true, value: PropertyValue::Null });
            at
        });
        &mut self.row[at]
    }
}

/// Overwrites all text in a value with zeros.
fn wipe(value: &mut PropertyValue) {
    match value {
        PropertyValue::Text(text) => {
            let mut bytes = std::mem::take(text).into_bytes();
            bytes.resize(bytes.capacity(), 0);
            bytes.fill(0);
            // The zeros must be written although nobody reads them.
            std::hint::black_box(&mut bytes);
            bytes.clear();
            *text = String::from_utf8(bytes).unwrap_or_default();
        }
        PropertyValue::List(values) => values.iter_mut().for_each(wipe),
        PropertyValue::Map(below) => below.wipe(),
        _ => {}
    }
}

/// Equal where the same keys have the same values; room does not count.
impl PartialEq for InternedProperties {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl FromIterator<(Symbol, PropertyValue)> for InternedProperties {
    /// The last value of a key counts.
    fn from_iter<I: IntoIterator<Item = (Symbol, PropertyValue)>>(properties: I) -> Self {
        let mut all = Self::new();
        for (key, value) in properties {
            all.insert(key, value);
        }
        all
    }
}
