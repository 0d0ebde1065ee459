//! Entities and relations, and how they lie in cells.

use std::collections::BTreeMap;

use ambit_store::ErrorKind as StoreErrorKind;
use ambit_store::StoreError;
use ambit_store::wire::{Put, Reader, WireError};

use crate::error::{Error, Result};
use crate::sparse::SparseVector;
use crate::value::{MAX_DEPTH, Properties, Value, put_properties, read_properties};

/// Bytes of an entity's key. At least 1.
pub const MAX_KEY: usize = 4096;
/// Bytes of a kind.
pub const MAX_KIND: usize = 255;
/// Bytes of an entity's text and properties together.
pub const MAX_BODY: usize = 1 << 20;

/// Names an entity by number: given when its key is first written, kept by later writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityId(pub u64);

/// A thing: a key, what is known of it, and at most one embedding per space.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entity {
    /// Unique in its collection: 1 to [`MAX_KEY`] bytes, no line breaks, no NUL.
    pub key: String,
    /// What sort of thing it is; may be empty.
    pub kind: String,
    /// The text that it stands for.
    pub text: Option<String>,
    /// Anything else.
    pub properties: Properties,
    /// Vectors by space: each has the space's dim of float32 values, kept bit for bit.
    pub embeddings: BTreeMap<String, Vec<f32>>,
    /// Terms and weights by sparse space, kept bit for bit.
    pub sparse: BTreeMap<String, SparseVector>,
}

/// A directed edge between two entities of a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    /// Key of the entity it starts from.
    pub source: String,
    /// What it says, for instance `part_of`.
    pub kind: String,
    /// Key of the entity it points to.
    pub target: String,
    /// How strong it is.
    pub weight: f64,
    /// Anything else.
    pub properties: Properties,
}

/// What an entity's `body` cell holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Body {
    pub kind: String,
    pub text: Option<String>,
    pub properties: Properties,
}

impl Body {
    /// ```text
    /// body = bytes kind, u8 0 | 1 bytes text, properties
    /// ```
    pub(crate) fn encode(kind: &str, text: Option<&str>, properties: &Properties) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + text.map_or(0, str::len));
        bytes.put_bytes(kind.as_bytes());
        match text {
            None => bytes.put_u8(0),
            Some(text) => {
                bytes.put_u8(1);
                bytes.put_bytes(text.as_bytes());
            }
        }
        put_properties(&mut bytes, properties);
        bytes
    }

    /// The text of an encoded body, in place.
    pub(crate) fn text_of(bytes: &[u8]) -> Result<Option<&str>> {
        let read = || -> std::result::Result<Option<&str>, WireError> {
            let mut reader = Reader::new(bytes);
            reader.bytes("a kind")?;
            match reader.u8("a text's presence")? {
                0 => Ok(None),
                _ => reader.str("a text").map(Some),
            }
        };
        read().map_err(|error| corrupt(format!("an entity's body: {error}")))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let read = || -> std::result::Result<Self, WireError> {
            let mut reader = Reader::new(bytes);
            let kind = reader.str("a kind")?.to_owned();
            let text = match reader.u8("a text's presence")? {
                0 => None,
                _ => Some(reader.str("a text")?.to_owned()),
            };
            Ok(Self { kind, text, properties: read_properties(&mut reader)? })
        };
        read().map_err(|error| corrupt(format!("an entity's body: {error}")))
    }
}

impl Entity {
    /// Holds key, kind and properties against the limits.
    pub(crate) fn check(&self) -> Result<()> {
        check_key(&self.key)?;
        check_kind(&self.key, &self.kind)?;
        check_properties(&self.key, &self.properties)
    }
}

/// Holds a key against the limits.
pub(crate) fn check_key(key: &str) -> Result<()> {
    if key.is_empty() || key.len() > MAX_KEY {
        let shown: String = key.chars().take(40).collect();
        return Err(Error::invalid(format!(
            "key {shown:?}{} has {} bytes; keys have 1 to {MAX_KEY}",
            if shown.len() < key.len() { "..." } else { "" },
            key.len()
        )));
    }
    if key.contains(['\n', '\r', '\0']) {
        return Err(Error::invalid(format!(
            "key {key:?} holds a line break or NUL; keys are one line of text"
        )));
    }
    Ok(())
}

fn check_kind(key: &str, kind: &str) -> Result<()> {
    if kind.len() > MAX_KIND {
        return Err(Error::invalid(format!(
            "{key}: a kind of {} bytes; at most {MAX_KIND}",
            kind.len()
        )));
    }
    Ok(())
}

fn check_properties(key: &str, properties: &Properties) -> Result<()> {
    match properties.values().map(Value::depth).max() {
        Some(depth) if depth > MAX_DEPTH => Err(Error::invalid(format!(
            "{key}: properties nested {depth} deep; at most {MAX_DEPTH}"
        ))),
        _ => Ok(()),
    }
}

impl Relation {
    pub(crate) fn check(&self) -> Result<()> {
        check_key(&self.source)?;
        check_key(&self.target)?;
        check_kind(&self.source, &self.kind)?;
        check_properties(&self.source, &self.properties)
    }

    /// `bytes source, bytes kind, target`: relations of a source share a prefix.
    pub(crate) fn row_key(source: &str, kind: &str, target: &str) -> Vec<u8> {
        let mut key = Vec::with_capacity(8 + source.len() + kind.len() + target.len());
        key.put_bytes(source.as_bytes());
        key.put_bytes(kind.as_bytes());
        key.extend_from_slice(target.as_bytes());
        key
    }

    /// `u64 weight's bits, properties`.
    pub(crate) fn body(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u64(self.weight.to_bits());
        put_properties(&mut bytes, &self.properties);
        bytes
    }

    pub(crate) fn decode(key: &[u8], body: &[u8]) -> Result<Self> {
        let read = || -> std::result::Result<Self, WireError> {
            let mut reader = Reader::new(key);
            let source = reader.str("a source")?.to_owned();
            let kind = reader.str("a kind")?.to_owned();
            let offset = reader.offset();
            let target = std::str::from_utf8(&key[offset..])
                .map_err(|_| WireError { offset, expected: "a target" })?
                .to_owned();
            let mut reader = Reader::new(body);
            let weight = f64::from_bits(reader.u64("a weight")?);
            let properties = read_properties(&mut reader)?;
            Ok(Self { source, kind, target, weight, properties })
        };
        read().map_err(|error| corrupt(format!("a relation: {error}")))
    }
}

pub(crate) fn corrupt(what: String) -> Error {
    StoreError::new(StoreErrorKind::Corrupt, what).into()
}
