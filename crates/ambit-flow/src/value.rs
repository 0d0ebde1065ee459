//! What can a key of a context hold?
//!
//! A [`Value`] is owned, a [`ValueRef`] borrows. Numbers, text and truth values stand for
//! themselves; bytes and float arrays are kept as they are, never turned into JSON; lists and
//! maps are `serde_json` values. A scalar that comes as JSON is taken apart, so that `Json` holds
//! lists and maps.
//!
//! Sizes: [`Value::heap`] is what a value holds beyond itself, by capacity; [`ValueRef::len_bytes`]
//! is what it says, by length, so that it is the same whatever buffer it sits in. Both count JSON
//! by its parts: a container's entries at their size in memory, and its texts.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// What a port takes or gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Type {
    /// Anything.
    #[default]
    Any,
    /// True or false.
    Bool,
    /// A whole number.
    Int,
    /// A number; a whole one will do.
    Float,
    /// Text.
    Text,
    /// Raw bytes.
    Bytes,
    /// An array of f32.
    Floats,
    /// A JSON list; an array of f32 will do.
    List,
    /// A JSON map.
    Map,
}

impl Type {
    /// Whether what gives `given` may be read as this.
    pub fn takes(self, given: Self) -> bool {
        self == given
            || self == Self::Any
            || given == Self::Any
            || (self == Self::Float && given == Self::Int)
            || (self == Self::List && given == Self::Floats)
    }

    /// Its name, as in a graph file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Floats => "floats",
            Self::List => "list",
            Self::Map => "map",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A value that somebody owns.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// An array of f32.
    Floats(Vec<f32>),
    /// A list or a map.
    Json(Json),
}

/// A value that is somewhere else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Raw bytes.
    Bytes(&'a [u8]),
    /// An array of f32.
    Floats(&'a [f32]),
    /// A list or a map.
    Json(&'a Json),
}

impl Value {
    /// The value, borrowed.
    #[inline]
    pub fn borrow(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Bool(value) => ValueRef::Bool(*value),
            Self::Int(value) => ValueRef::Int(*value),
            Self::Float(value) => ValueRef::Float(*value),
            Self::Text(value) => ValueRef::Text(value),
            Self::Bytes(value) => ValueRef::Bytes(value),
            Self::Floats(value) => ValueRef::Floats(value),
            Self::Json(value) => ValueRef::Json(value),
        }
    }

    /// Bytes that it holds on the heap, by capacity.
    #[inline]
    pub fn heap(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => 0,
            Self::Text(text) => text.capacity(),
            Self::Bytes(bytes) => bytes.capacity(),
            Self::Floats(floats) => floats.capacity() * size_of::<f32>(),
            Self::Json(json) => json_heap(json),
        }
    }

    /// Bytes that taking over `new` in place would leave on the heap: a buffer of the same kind
    /// is used again.
    #[inline]
    pub(crate) fn heap_after(&self, new: ValueRef<'_>) -> usize {
        match (self, new) {
            (Self::Text(old), ValueRef::Text(new)) => old.capacity().max(new.len()),
            (Self::Bytes(old), ValueRef::Bytes(new)) => old.capacity().max(new.len()),
            (Self::Floats(old), ValueRef::Floats(new)) => {
                old.capacity().max(new.len()) * size_of::<f32>()
            }
            (_, ValueRef::Json(json)) => json_heap(json),
            (_, new) => new.len_bytes().saturating_sub(SCALAR),
        }
    }

    /// Takes a copy of `new`, in the buffer that is here if it is of the same kind.
    #[inline]
    pub(crate) fn assign(&mut self, new: ValueRef<'_>) {
        match (&mut *self, new) {
            (Self::Text(old), ValueRef::Text(new)) => {
                old.clear();
                old.reserve_exact(new.len());
                old.push_str(new);
            }
            (Self::Bytes(old), ValueRef::Bytes(new)) => {
                old.clear();
                old.reserve_exact(new.len());
                old.extend_from_slice(new);
            }
            (Self::Floats(old), ValueRef::Floats(new)) => {
                old.clear();
                old.reserve_exact(new.len());
                old.extend_from_slice(new);
            }
            (_, new) => *self = new.to_owned(),
        }
    }

    /// The value as JSON: arrays of bytes and floats become lists of numbers, a number that JSON
    /// does not have (NaN, infinity) becomes null.
    pub fn to_json(&self) -> Json {
        self.borrow().to_json()
    }
}

/// Length of a scalar.
const SCALAR: usize = 8;

impl ValueRef<'_> {
    /// A copy that its holder owns.
    pub fn to_owned(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Float(value) => Value::Float(value),
            Self::Text(value) => Value::Text(value.to_owned()),
            Self::Bytes(value) => Value::Bytes(value.to_owned()),
            Self::Floats(value) => Value::Floats(value.to_owned()),
            Self::Json(value) => Value::Json(value.clone()),
        }
    }

    /// Its type.
    pub fn kind(self) -> Type {
        match self {
            Self::Null => Type::Any,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Float(_) => Type::Float,
            Self::Text(_) => Type::Text,
            Self::Bytes(_) => Type::Bytes,
            Self::Floats(_) => Type::Floats,
            Self::Json(json) => match json {
                Json::Null => Type::Any,
                Json::Bool(_) => Type::Bool,
                Json::Number(number) if number.is_f64() => Type::Float,
                Json::Number(_) => Type::Int,
                Json::String(_) => Type::Text,
                Json::Array(_) => Type::List,
                Json::Object(_) => Type::Map,
            },
        }
    }

    /// What it is, for a message.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Null | Self::Json(Json::Null) => "null",
            other => other.kind().name(),
        }
    }

    /// Bytes of what it says: 8 for a scalar, the length of anything else and 8.
    pub fn len_bytes(self) -> usize {
        let long = match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => 0,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Floats(floats) => size_of_val(floats),
            Self::Json(json) => json_heap(json),
        };
        long + SCALAR
    }

    /// Bytes that it holds on the heap where it is JSON.
    pub(crate) fn json_heap(self) -> usize {
        if let Self::Json(json) = self { json_heap(json) } else { 0 }
    }

    /// The value as JSON; see [`Value::to_json`].
    pub fn to_json(self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => value.into(),
            Self::Int(value) => value.into(),
            Self::Float(value) => value.into(),
            Self::Text(value) => value.into(),
            Self::Bytes(value) => value.into(),
            Self::Floats(value) => value.into(),
            Self::Json(value) => value.clone(),
        }
    }
}

/// Bytes that a JSON value holds on the heap, by its parts.
fn json_heap(json: &Json) -> usize {
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => 0,
        Json::String(text) => text.capacity(),
        Json::Array(list) => {
            list.capacity() * size_of::<Json>() + list.iter().map(json_heap).sum::<usize>()
        }
        Json::Object(map) => {
            let each = |(key, value): (&String, &Json)| key.capacity() + json_heap(value);
            map.len() * size_of::<(String, Json)>() + map.iter().map(each).sum::<usize>()
        }
    }
}

impl From<Json> for Value {
    fn from(json: Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text),
            list_or_map => Self::Json(list_or_map),
        }
    }
}

impl<'a> From<&'a Json> for ValueRef<'a> {
    #[inline]
    fn from(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text),
            list_or_map => Self::Json(list_or_map),
        }
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident($value:ident) $into:expr;)*) => {$(
        impl<'a> From<$from> for ValueRef<'a> {
            #[inline]
            fn from($value: $from) -> Self {
                Self::$variant($into)
            }
        }
    )*};
}

from! {
    bool => Bool(value) value;
    i64 => Int(value) value;
    i32 => Int(value) i64::from(value);
    u32 => Int(value) i64::from(value);
    f64 => Float(value) value;
    f32 => Float(value) f64::from(value);
    &'a str => Text(value) value;
    &'a String => Text(value) value;
    &'a [u8] => Bytes(value) value;
    &'a Vec<u8> => Bytes(value) value;
    &'a [f32] => Floats(value) value;
    &'a Vec<f32> => Floats(value) value;
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    #[inline]
    fn from(value: &'a Value) -> Self {
        value.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_port_takes_its_own_type_and_what_reads_as_it() {
        assert!(Type::Float.takes(Type::Int) && !Type::Int.takes(Type::Float));
        assert!(Type::List.takes(Type::Floats) && !Type::Floats.takes(Type::List));
        assert!(Type::Text.takes(Type::Any) && Type::Any.takes(Type::Map));
        assert!(!Type::Text.takes(Type::Int));
    }

    #[test]
    fn a_json_scalar_is_taken_apart_and_comes_back_the_same() {
        for json in [json!(null), json!(true), json!(-3), json!(2.5), json!("x"), json!([1, "a"])] {
            assert_eq!(Value::from(json.clone()).to_json(), json);
            assert_eq!(ValueRef::from(&json).to_json(), json);
        }
        assert_eq!(Value::from(json!(u64::MAX)), Value::Float(u64::MAX as f64));
    }

    #[test]
    fn a_buffer_is_used_again_by_a_value_of_its_kind() {
        let mut value = Value::Text("a long piece of text".into());
        let before = value.heap();
        assert_eq!(value.heap_after(ValueRef::Text("short")), before);
        value.assign(ValueRef::Text("short"));
        assert_eq!((value.heap(), value.borrow()), (before, ValueRef::Text("short")));
        value.assign(ValueRef::Int(1));
        assert_eq!(value.heap(), 0);
    }
}
