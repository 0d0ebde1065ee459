//! Properties to and from JSON.
//!
//! Keys are interned, at every depth; texts are not. A symbol as a value is written as its
//! string, and read back as a text. Numbers keep their kind: integers of 64 bits come back as
//! such, all others as floats.

use std::fmt;

use serde_json::{Map, Number, Value};

use super::{InternError, InternedProperties, Interner, PropertyValue, Symbol};

/// Most levels of values in values.
const MOST_DEPTH: usize = 128;

/// Why properties did not become JSON, or JSON properties.
#[derive(Debug)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is no JSON.
    Syntax(serde_json::Error),
    /// The value is no object, so it has no properties.
    NoObject,
    /// Values lie in values deeper than 128 levels.
    TooDeep,
    /// A key did not fit into the interner.
    Intern(InternError),
    /// A symbol that the interner did not give.
    UnknownSymbol(Symbol),
    /// Infinite, or not a number: JSON has no such thing.
    NotFinite(f64),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => write!(f, "not JSON: {error}"),
            Self::NoObject => f.write_str("properties are a JSON object; this is another value"),
            Self::TooDeep => write!(f, "values lie in values more than {MOST_DEPTH} levels deep"),
            Self::Intern(error) => error.fmt(f),
            Self::UnknownSymbol(symbol) => {
                write!(f, "symbol {} is not of this interner", symbol.get())
            }
            Self::NotFinite(value) => write!(f, "{value} cannot be said in JSON"),
        }
    }
}

impl std::error::Error for JsonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Syntax(error) => Some(error),
            Self::Intern(error) => Some(error),
            _ => None,
        }
    }
}

impl From<InternError> for JsonError {
    fn from(error: InternError) -> Self {
        Self::Intern(error)
    }
}

impl InternedProperties {
    /// The properties that a JSON object has; its keys are interned in `names`.
    ///
    /// # Errors
    /// [`JsonError`] where `value` is no object or too deep, or a key does not fit.
    pub fn from_json(names: &Interner, value: &Value) -> Result<Self, JsonError> {
        let Value::Object(object) = value else { return Err(JsonError::NoObject) };
        from_object(names, object, MOST_DEPTH)
    }

    /// The properties of a JSON object in text.
    ///
    /// # Errors
    /// As [`InternedProperties::from_json`], and where the text is no JSON.
    pub fn from_json_text(names: &Interner, text: &str) -> Result<Self, JsonError> {
        Self::from_json(names, &serde_json::from_str(text).map_err(JsonError::Syntax)?)
    }

    /// The properties as a JSON object.
    ///
    /// # Errors
    /// [`JsonError`] where a symbol is not of `names`, a number is not finite, or values are too
    /// deep.
    pub fn to_json(&self, names: &Interner) -> Result<Value, JsonError> {
        to_object(names, self, MOST_DEPTH)
    }
}

fn from_object(
    names: &Interner,
    object: &Map<String, Value>,
    depth: usize,
) -> Result<InternedProperties, JsonError> {
    let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
    let property = |(key, value): (&String, &Value)| {
        Ok((names.intern(key)?, from_value(names, value, depth)?))
    };
    object.iter().map(property).collect()
}

fn from_value(names: &Interner, value: &Value, depth: usize) -> Result<PropertyValue, JsonError> {
    Ok(match value {
        Value::Null => PropertyValue::Null,
        Value::Bool(value) => PropertyValue::Bool(*value),
        Value::Number(number) => from_number(number),
        Value::String(text) => PropertyValue::Text(text.clone()),
        Value::Array(values) => {
            let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
            let values = values.iter().map(|value| from_value(names, value, depth));
            PropertyValue::List(values.collect::<Result<_, _>>()?)
        }
        Value::Object(object) => PropertyValue::Map(from_object(names, object, depth)?),
    })
}

fn from_number(number: &Number) -> PropertyValue {
    if let Some(integer) = number.as_i64() {
        PropertyValue::Int(integer)
    } else if let Some(integer) = number.as_u64() {
        PropertyValue::Unsigned(integer)
    } else {
        PropertyValue::Float(number.as_f64().unwrap_or(f64::NAN))
    }
}

fn to_object(
    names: &Interner,
    properties: &InternedProperties,
    depth: usize,
) -> Result<Value, JsonError> {
    let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
    let property = |(key, value): (Symbol, &PropertyValue)| {
        Ok((string(names, key)?, to_value(names, value, depth)?))
    };
    Ok(Value::Object(properties.iter().map(property).collect::<Result<_, JsonError>>()?))
}

fn to_value(names: &Interner, value: &PropertyValue, depth: usize) -> Result<Value, JsonError> {
    Ok(match value {
        PropertyValue::Null => Value::Null,
        PropertyValue::Bool(value) => Value::Bool(*value),
        PropertyValue::Int(value) => Value::from(*value),
        PropertyValue::Unsigned(value) => Value::from(*value),
        PropertyValue::Float(value) => {
            Value::Number(Number::from_f64(*value).ok_or(JsonError::NotFinite(*value))?)
        }
        PropertyValue::Text(text) => Value::String(text.clone()),
        PropertyValue::Symbol(symbol) => Value::String(string(names, *symbol)?),
        PropertyValue::List(values) => {
            let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
            let values = values.iter().map(|value| to_value(names, value, depth));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        PropertyValue::Map(properties) => to_object(names, properties, depth)?,
    })
}

fn string(names: &Interner, symbol: Symbol) -> Result<String, JsonError> {
    names.resolve(symbol).map(str::to_owned).ok_or(JsonError::UnknownSymbol(symbol))
}
