//! What a property may be.

use super::{InternedProperties, Symbol};
use crate::Bytes;

/// What a property may be.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PropertyValue {
    /// Nothing, said so.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer above [`i64::MAX`].
    Unsigned(u64),
    /// A number that is no integer, or too large for one.
    Float(f64),
    /// A string of its own.
    Text(String),
    /// A string that is interned, for values that repeat.
    Symbol(Symbol),
    /// Values in order.
    List(Vec<Self>),
    /// Properties below this one.
    Map(InternedProperties),
}

impl PropertyValue {
    /// Bytes that it holds beyond its own size.
    pub fn heap_bytes(&self) -> Bytes {
        match self {
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Unsigned(_) => Bytes::ZERO,
            Self::Float(_) | Self::Symbol(_) => Bytes::ZERO,
            Self::Text(text) => Bytes::new(text.capacity() as u64),
            Self::List(values) => {
                let own = Bytes::new((values.capacity() * size_of::<Self>()) as u64);
                values.iter().map(Self::heap_bytes).fold(own, Bytes::saturating_add)
            }
            Self::Map(properties) => properties.heap_bytes(),
        }
    }

    /// Its text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl From<bool> for PropertyValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for PropertyValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for PropertyValue {
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Unsigned(value), Self::Int)
    }
}

impl From<f64> for PropertyValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for PropertyValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for PropertyValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<Symbol> for PropertyValue {
    fn from(value: Symbol) -> Self {
        Self::Symbol(value)
    }
}
