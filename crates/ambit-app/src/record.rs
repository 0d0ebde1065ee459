//! Entities as JSON, one object per line: what `add` reads and `get` prints.
//!
//! ```json
//! {"key": "a", "kind": "note", "text": "...", "properties": {"year": 1999}, "embeddings": {"text": [0.1, -2]},
//!  "sparse": {"terms": {"ids": [3, 700], "weights": [0.5, 1]}}}
//! ```
//!
//! Numbers of an embedding are parsed straight to float32, so that what `get` prints comes back
//! bit for bit; numbers that JSON cannot write are the strings `"inf"`, `"-inf"` and
//! `"nan:0x7fc00000"` (the bits). A key that stands twice in one object, an unknown field and a
//! number beyond its type are refused instead of guessed at.

use std::collections::BTreeMap;
use std::fmt;

use ambitdb::{Entity, SparseVector, Value};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;

use crate::keys;

/// Reads one line.
///
/// # Errors
/// What is wrong and at which byte of the line.
pub fn parse(line: &[u8]) -> Result<Entity, String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("not UTF-8 from byte {} of the line on", error.valid_up_to()))?;
    if !text.trim_start().starts_with('{') {
        return Err("not a JSON object; expected {\"key\": ...} on one line".into());
    }
    let record: Record = serde_json::from_str(text).map_err(|error| {
        // The line number within the line is always 1 and only misleads.
        error.to_string().replace(" at line 1 column ", " at byte ")
    })?;
    if let Some(what) = keys::fault(&record.key) {
        return Err(what);
    }
    Ok(Entity {
        key: record.key,
        kind: record.kind,
        text: record.text,
        properties: record.properties.0.into_iter().map(|(name, json)| (name, json.0)).collect(),
        embeddings: record.embeddings.0.into_iter().map(|(space, row)| (space, row.0)).collect(),
        sparse: record.sparse.0.into_iter().map(|(space, row)| (space, row.into())).collect(),
    })
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    key: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    properties: Named<Json>,
    #[serde(default)]
    embeddings: Named<Row>,
    #[serde(default)]
    sparse: Named<SparseRow>,
}

/// A sparse embedding.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SparseRow {
    ids: Vec<u32>,
    weights: Row,
}

impl From<SparseRow> for SparseVector {
    fn from(SparseRow { ids, weights }: SparseRow) -> Self {
        Self { ids, weights: weights.0 }
    }
}

/// A JSON object whose names differ.
struct Named<T>(BTreeMap<String, T>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Names<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Named<T>, A::Error> {
                distinct(object).map(Named)
            }
        }
        deserializer.deserialize_map(Names(std::marker::PhantomData))
    }
}

fn distinct<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    mut object: A,
) -> Result<BTreeMap<String, T>, A::Error> {
    let mut named = BTreeMap::new();
    while let Some((name, value)) = object.next_entry::<String, T>()? {
        if named.contains_key(&name) {
            return Err(de::Error::custom(format!("'{name}' stands twice in one object")));
        }
        named.insert(name, value);
    }
    Ok(named)
}

/// A property's value.
struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Json)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Integer).map_err(|_| {
            E::custom(format!(
                "{value} is beyond 64-bit integers with a sign; write it as a string"
            ))
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Json(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Value, A::Error> {
        let named = distinct::<Json, A>(object)?;
        Ok(Value::Map(named.into_iter().map(|(name, Json(value))| (name, value)).collect()))
    }
}

/// An embedding's numbers.
struct Row(Vec<f32>);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RowVisitor;
        impl<'de> Visitor<'de> for RowVisitor {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Row, A::Error> {
                let mut row = Vec::new();
                while let Some(raw) = list.next_element::<&RawValue>()? {
                    let number = float32(raw.get()).map_err(|what| {
                        de::Error::custom(format!("number {}: {what}", row.len()))
                    })?;
                    row.push(number);
                }
                Ok(Row(row))
            }
        }
        deserializer.deserialize_seq(RowVisitor)
    }
}

/// One number of an embedding from its JSON text, rounded once.
fn float32(json: &str) -> Result<f32, String> {
    match json {
        r#""inf""# => return Ok(f32::INFINITY),
        r#""-inf""# => return Ok(f32::NEG_INFINITY),
        _ => {}
    }
    let bits = json.strip_prefix("\"nan:0x").and_then(|rest| rest.strip_suffix('"'));
    if let Some(value) = bits.and_then(|hex| u32::from_str_radix(hex, 16).ok()).map(f32::from_bits)
    {
        return if value.is_nan() { Ok(value) } else { Err(format!("{json} is no NaN")) };
    }
    let is_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    match json.parse::<f32>() {
        Ok(value) if is_number && value.is_finite() => Ok(value),
        Ok(_) if is_number => Err(format!("{json} is beyond float32 (3.4028235e38)")),
        _ => Err(format!(
            "{json} is no number; expected a number, \"inf\", \"-inf\" or \"nan:0x7fc00000\""
        )),
    }
}

/// Whether the numbers of the embeddings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vectors {
    /// Under `embeddings`, as `add` reads them.
    Shown,
    /// Only their lengths, under `dims`.
    Hidden,
}

/// An entity as JSON.
#[derive(Debug)]
pub struct Printed<'a> {
    /// What is printed.
    pub entity: &'a Entity,
    /// With or without its vectors.
    pub vectors: Vectors,
}

impl Serialize for Printed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entity = self.entity;
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("key", &entity.key)?;
        object.serialize_entry("kind", &entity.kind)?;
        object.serialize_entry("text", &entity.text)?;
        let properties: BTreeMap<&String, PrintedValue> =
            entity.properties.iter().map(|(name, value)| (name, PrintedValue(value))).collect();
        object.serialize_entry("properties", &properties)?;
        match self.vectors {
            Vectors::Shown => {
                let rows: BTreeMap<&String, PrintedRow> =
                    entity.embeddings.iter().map(|(space, row)| (space, PrintedRow(row))).collect();
                object.serialize_entry("embeddings", &rows)?;
                if !entity.sparse.is_empty() {
                    let rows: BTreeMap<&String, PrintedSparse> = entity
                        .sparse
                        .iter()
                        .map(|(space, row)| (space, PrintedSparse(row)))
                        .collect();
                    object.serialize_entry("sparse", &rows)?;
                }
            }
            Vectors::Hidden => {
                let dims: BTreeMap<&String, usize> =
                    entity.embeddings.iter().map(|(space, row)| (space, row.len())).collect();
                object.serialize_entry("dims", &dims)?;
                if !entity.sparse.is_empty() {
                    let terms: BTreeMap<&String, usize> =
                        entity.sparse.iter().map(|(space, row)| (space, row.ids.len())).collect();
                    object.serialize_entry("terms", &terms)?;
                }
            }
        }
        object.end()
    }
}

/// A property's value as JSON.
#[derive(Debug)]
pub struct PrintedValue<'a>(pub &'a Value);

impl Serialize for PrintedValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Integer(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::String(value) => serializer.serialize_str(value),
            Value::List(values) => serializer.collect_seq(values.iter().map(PrintedValue)),
            Value::Map(named) => serializer
                .collect_map(named.iter().map(|(name, value)| (name, PrintedValue(value)))),
        }
    }
}

/// An embedding as JSON, every bit of it.
#[derive(Debug)]
pub struct PrintedRow<'a>(pub &'a [f32]);

impl Serialize for PrintedRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for number in self.0 {
            if number.is_finite() {
                list.serialize_element(number)?;
            } else if number.is_nan() {
                list.serialize_element(&format!("nan:{:#010x}", number.to_bits()))?;
            } else {
                list.serialize_element(if *number > 0.0 { "inf" } else { "-inf" })?;
            }
        }
        list.end()
    }
}

/// A sparse embedding as JSON, every bit of it.
#[derive(Debug)]
pub struct PrintedSparse<'a>(pub &'a SparseVector);

impl Serialize for PrintedSparse<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(2))?;
        object.serialize_entry("ids", &self.0.ids)?;
        object.serialize_entry("weights", &PrintedRow(&self.0.weights))?;
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn printed(entity: &Entity) -> String {
        serde_json::to_string(&Printed { entity, vectors: Vectors::Shown }).unwrap()
    }

    #[test]
    fn a_full_record_is_read_and_printed_again() {
        let line = r#"{"key":"a#L1-L2","kind":"note","text":"two\nlines","properties":{"big":9007199254740993,"map":{"list":[1,2.5,true,null,"x"]}},"embeddings":{"text":[0.1,-0.0,1e-45]},"sparse":{"terms":{"ids":[3,700],"weights":[-0.0,1e-45]}}}"#;
        let entity = parse(line.as_bytes()).unwrap();
        assert_eq!(entity.embeddings["text"][1].to_bits(), 0x8000_0000);
        assert_eq!(parse(printed(&entity).as_bytes()).unwrap().embeddings, entity.embeddings);
        assert_eq!(entity.sparse["terms"].weights[0].to_bits(), 0x8000_0000);
        assert_eq!(parse(printed(&entity).as_bytes()).unwrap().sparse, entity.sparse);
        assert!(printed(&entity).contains(r#""big":9007199254740993"#));
    }

    #[test]
    fn only_the_key_is_needed() {
        let entity = parse(br#"{"key":"k"}"#).unwrap();
        assert_eq!((entity.key.as_str(), entity.kind.as_str(), entity.text), ("k", "", None));
        assert!(entity.properties.is_empty() && entity.embeddings.is_empty());
    }

    #[test]
    fn each_bad_line_says_what_is_wrong() {
        let long = format!(r#"{{"key":"{}"}}"#, "x".repeat(64 << 10));
        let deep = format!(r#"{{"key":"k","properties":{{"a":{}}}}}"#, "[".repeat(10_000));
        let cases: [(&[u8], &str); 17] = [
            (b"", "not a JSON object"),
            (b"{", "EOF"),
            (br#"["k","",null,{},{}]"#, "not a JSON object"),
            (b"\xff", "not UTF-8 from byte 0"),
            (br#"{"kind":"k"}"#, "missing field `key`"),
            (br#"{"key":""}"#, "empty"),
            (br#"{"key":"a\nb"}"#, "line break"),
            (long.as_bytes(), "65,536 bytes"),
            (br#"{"key":"k","colour":1}"#, "unknown field `colour`"),
            (br#"{"key":"k","key":"l"}"#, "duplicate field `key`"),
            (br#"{"key":"k","properties":{"a":1,"a":2}}"#, "'a' stands twice"),
            (br#"{"key":"k","properties":{"a":18446744073709551615}}"#, "beyond 64-bit"),
            (br#"{"key":"k","embeddings":{"s":[1,1e39]}}"#, "number 1: 1e39 is beyond float32"),
            (br#"{"key":"k","embeddings":{"s":[null]}}"#, "number 0: null is no number"),
            (br#"{"key":"k","sparse":{"s":{"ids":[1,-1],"weights":[1,1]}}}"#, "invalid value"),
            (br#"{"key":"k","sparse":{"s":{"ids":[1]}}}"#, "missing field `weights`"),
            (deep.as_bytes(), "recursion limit"),
        ];
        for (line, expected) in cases {
            let message = parse(line).unwrap_err();
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains("line 1 column"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn every_float32_comes_back_bit_for_bit(bits: Vec<u32>) {
            let row: Vec<f32> = bits.iter().copied().map(f32::from_bits).collect();
            let json = serde_json::to_string(&PrintedRow(&row)).unwrap();
            let Row(read) = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), bits);
        }

        #[test]
        fn no_line_makes_the_parser_panic(line: Vec<u8>) {
            let _ = parse(&line);
        }
    }
}
