//! What a node's definition says about keeping its results.
//!
//! `cache: true` keeps a result for as long as there is room; `cache: { ttl_ms: 60000 }` for a
//! minute at most. What may answer differently another time needs the second form: its author
//! says how old an answer may be.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The only field of the long form.
const TTL: &str = "ttl_ms";

/// Whether a node's results are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Caching {
    /// They are not.
    #[default]
    Off,
    /// As long as there is room.
    On,
    /// So many milliseconds at most, at least 1; a cache may round them up.
    For {
        /// Milliseconds.
        ttl_ms: u64,
    },
}

impl Serialize for Caching {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::On => serializer.serialize_bool(true),
            Self::For { ttl_ms } => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(TTL, ttl_ms)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Caching {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Caching;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, or a map with `ttl_ms`")
    }

    fn visit_bool<E: Error>(self, is_on: bool) -> Result<Caching, E> {
        Ok(if is_on { Caching::On } else { Caching::Off })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Caching, A::Error> {
        let mut ttl = None;
        while let Some(field) = map.next_key::<String>()? {
            match (field.as_str(), ttl) {
                (TTL, None) => ttl = Some(map.next_value()?),
                (TTL, Some(_)) => return Err(A::Error::duplicate_field(TTL)),
                (other, _) => return Err(A::Error::unknown_field(other, &[TTL])),
            }
        }
        match ttl {
            Some(ttl_ms) => Ok(Caching::For { ttl_ms }),
            None => Err(A::Error::missing_field(TTL)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_written_and_others_are_named() {
        for (text, caching) in [
            ("true", Caching::On),
            ("false", Caching::Off),
            (r#"{"ttl_ms":250}"#, Caching::For { ttl_ms: 250 }),
        ] {
            assert_eq!(serde_json::from_str::<Caching>(text).unwrap(), caching);
            assert_eq!(serde_json::to_string(&caching).unwrap(), text);
        }
        for (text, expected) in [
            ("{}", "missing field `ttl_ms`"),
            (r#"{"ttl":3}"#, "unknown field `ttl`, expected `ttl_ms`"),
            ("3", "expected true, false, or a map with `ttl_ms`"),
            (r#"{"ttl_ms":-3}"#, "invalid value"),
        ] {
            let error = serde_json::from_str::<Caching>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
