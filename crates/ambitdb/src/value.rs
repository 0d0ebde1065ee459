//! Properties: names with values, nested as JSON is.

use std::collections::BTreeMap;

use ambit_store::wire::{Put, Reader, WireError};

/// Deepest nesting of lists and maps in a value.
pub const MAX_DEPTH: usize = 64;

/// Names with values.
pub type Properties = BTreeMap<String, Value>;

/// One property's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A 64-bit integer.
    Integer(i64),
    /// A 64-bit float, kept bit for bit.
    Float(f64),
    /// Text.
    String(String),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Map(Properties),
}

impl Value {
    /// How deep lists and maps nest; 0 for a plain value.
    pub fn depth(&self) -> usize {
        match self {
            Self::List(values) => 1 + values.iter().map(Self::depth).max().unwrap_or(0),
            Self::Map(values) => 1 + values.values().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// ```text
/// properties = u32 count, count x (bytes name, value)
/// value      = u8 0 | 1 u8 | 2 u64 | 3 u64 | 4 bytes | 5 u32 count, values | 6 properties
/// ```
pub(crate) fn put_properties(into: &mut Vec<u8>, properties: &Properties) {
    into.put_u32(properties.len() as u32);
    for (name, value) in properties {
        into.put_bytes(name.as_bytes());
        put_value(into, value);
    }
}

fn put_value(into: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => into.put_u8(0),
        Value::Bool(value) => {
            into.put_u8(1);
            into.put_u8(u8::from(*value));
        }
        Value::Integer(value) => {
            into.put_u8(2);
            into.put_u64(value.cast_unsigned());
        }
        Value::Float(value) => {
            into.put_u8(3);
            into.put_u64(value.to_bits());
        }
        Value::String(value) => {
            into.put_u8(4);
            into.put_bytes(value.as_bytes());
        }
        Value::List(values) => {
            into.put_u8(5);
            into.put_u32(values.len() as u32);
            values.iter().for_each(|value| put_value(into, value));
        }
        Value::Map(values) => {
            into.put_u8(6);
            put_properties(into, values);
        }
    }
}

pub(crate) fn read_properties(reader: &mut Reader<'_>) -> Result<Properties, WireError> {
    read_map(reader, 0)
}

fn read_map(reader: &mut Reader<'_>, depth: usize) -> Result<Properties, WireError> {
    let mut properties = Properties::new();
    for _ in 0..reader.u32("a property count")? {
        let name = reader.str("a property name")?.to_owned();
        properties.insert(name, read_value(reader, depth)?);
    }
    Ok(properties)
}

fn read_value(reader: &mut Reader<'_>, depth: usize) -> Result<Value, WireError> {
    let offset = reader.offset();
    if depth > MAX_DEPTH {
        return Err(WireError { offset, expected: "a value nested at most 64 deep" });
    }
    Ok(match reader.u8("a value")? {
        0 => Value::Null,
        1 => Value::Bool(reader.u8("a bool")? != 0),
        2 => Value::Integer(reader.u64("an integer")?.cast_signed()),
        3 => Value::Float(f64::from_bits(reader.u64("a float")?)),
        4 => Value::String(reader.str("a string")?.to_owned()),
        5 => {
            let count = reader.u32("a list's length")?;
            let mut values = Vec::new();
            for _ in 0..count {
                values.push(read_value(reader, depth + 1)?);
            }
            Value::List(values)
        }
        6 => Value::Map(read_map(reader, depth + 1)?),
        _ => {
            return Err(WireError { offset, expected: "a value's kind, 0 to 6" });
        }
    })
}
